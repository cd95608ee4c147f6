#include "support.hpp"

#include <algorithm>

using namespace coopcache;
using namespace coopcache::test;

TEST_CASE("get_if_present and visit load nothing") {
  one_node n;
  auto c = n.open();
  CHECK_FALSE(c.get_if_present("k").has_value());
  std::string seen;
  CHECK_FALSE(c.visit("k", [&](const std::string& v) { seen = v; }));
  REQUIRE(c.put("k", "v"));
  CHECK(c.get_if_present("k")->value() == "v");
  CHECK(c.visit("k", [&](const std::string& v) { seen = v; }));
  CHECK(seen == "v");
  CHECK(c.stats().loads == 0);
}

TEST_CASE("a refresh loads anew while the old value is served") {
  one_node n;
  auto c = n.open<int>();
  REQUIRE(c.put("k", 1));
  gate hold;
  std::atomic<int> refreshed{0};
  std::thread other{[&] {
    const auto r = c.refresh("k", [&] {
      hold.pass();
      return 2;
    });
    refreshed = r.value_or(-1);
  }};
  hold.await_arrivals();
  CHECK(c.fetch("k").value_or(0) == 1);
  CHECK(c.fetch("k").how() == source::hit);
  hold.open();
  other.join();
  CHECK(refreshed == 2);
  CHECK(c.fetch("k").value_or(0) == 2);
  CHECK(c.stats().entries == 1);
}

TEST_CASE("a refresh right after a load runs another load") {
  one_node n;
  auto c = n.open<int>();
  for (int i = 0; i < 500; ++i) {
    const auto key = std::to_string(i);
    CHECK(c.fetch(key, [] { return 1; }).value_or(0) == 1);
    CHECK(c.refresh(key, [] { return 2; }).value_or(0) == 2);
    CHECK(c.fetch(key).value_or(0) == 2);
  }
  CHECK(c.stats().loads == 1000);
}

TEST_CASE("a refresh that fails leaves the old value in place") {
  one_node n;
  auto c = n.open<int>();
  REQUIRE(c.put("k", 1));
  const auto r = c.refresh("k", []() -> int { throw 1; });
  CHECK(code_of(r) == errc::fetch_failed);
  CHECK(c.fetch("k").value_or(0) == 1);
}

TEST_CASE("fetch_many loads side by side and keeps the order") {
  one_node n{node_options{.workers = 4}};
  auto c = n.open<int>();
  REQUIRE(c.put("3", 33));
  gate together;
  std::vector<std::string> keys{"1", "2", "3", "1", "bad"};
  std::thread opener{[&] {
    together.await_arrivals(2);
    together.open();
  }};
  const auto all = c.fetch_many(keys, [&](const std::string& key) -> int {
    if (key == "bad")
      throw std::runtime_error("no");
    together.pass();
    return std::stoi(key);
  });
  opener.join();
  REQUIRE(all.size() == 5);
  CHECK(all[0].value_or(0) == 1);
  CHECK(all[1].value_or(0) == 2);
  CHECK(all[2].value_or(0) == 33);
  CHECK(all[3].value_or(0) == 1);
  CHECK(code_of(all[4]) == errc::fetch_failed);
  CHECK(c.fetch_many({}, [](const std::string&) { return 1; }).empty());
}

TEST_CASE("keys lists what has a value") {
  one_node n;
  auto c = n.open<int>();
  REQUIRE(c.put("a", 1));
  REQUIRE(c.put("b", 1));
  static_cast<void>(c.fetch("c", [] { return 1; }));
  static_cast<void>(c.fetch("d", [] { return uncached(1); }));
  REQUIRE(c.clear("a"));
  auto keys = c.keys();
  std::sort(keys.begin(), keys.end());
  CHECK(keys == std::vector<std::string>{"b", "c"});
}

TEST_CASE("a declared loader serves fetches that bring none") {
  one_node n;
  std::atomic<int> runs{0};
  auto c = n.open_with<std::string>({}, [&](std::string_view key) {
    ++runs;
    return "value of " + std::string{key};
  });
  CHECK(c.fetch("a").value_or("") == "value of a");
  CHECK(c.fetch("a").how() == source::hit);
  CHECK(c.fetch("b", [] { return "mine"; }).value_or("") == "mine");
  CHECK(runs == 1);
}

TEST_CASE("without any loader the error says so") {
  one_node n;
  auto c = n.open<int>();
  CHECK(code_of(c.fetch("a")) == errc::no_loader);
  CHECK(c.fetch("a", [] { return 1; }).has_value());
}

TEST_CASE("loaders of all shapes are called with what they ask for") {
  one_node n;
  auto c = n.open();
  const auto is_key = [](std::string_view key) { return std::string{key}; };
  CHECK(c.fetch("view", is_key).value_or("") == "view");
  CHECK(c.fetch("string", [](const std::string& k) { return k; }).value_or("")
        == "string");
  CHECK(c.fetch("stop", [](std::stop_token) { return "s"; }).value_or("")
        == "s");
  CHECK(c.fetch("both", [](std::string_view k,
                           std::stop_token) { return std::string{k}; })
          .value_or("")
        == "both");
  CHECK(c.fetch("context",
                [](const load_context& x) { return std::string{x.key()}; })
          .value_or("")
        == "context");
  auto only_moved = [p = std::make_unique<std::string>("m")] { return *p; };
  CHECK(c.fetch("moved", std::move(only_moved)).value_or("") == "m");
}

TEST_CASE("values may be types that cannot be copied") {
  one_node n;
  auto c = n.open<std::unique_ptr<int>>();
  const auto r = c.fetch("k", [] { return std::make_unique<int>(4); });
  REQUIRE(r);
  CHECK(**r == 4);
}

TEST_CASE("keys may be empty, long, and hold any byte") {
  one_node n;
  auto c = n.open<int>();
  const std::vector<std::string> keys{"", std::string(1, '\0'),
                                      std::string(2, '\0'), "\xff\xfe",
                                      std::string(60'000, 'k')};
  for (std::size_t i = 0; i < keys.size(); ++i)
    REQUIRE(c.put(keys[i], static_cast<int>(i)));
  for (std::size_t i = 0; i < keys.size(); ++i)
    CHECK(c.fetch(keys[i]).value_or(-1) == static_cast<int>(i));
}

TEST_CASE("statistics are exact in a quiet cache") {
  one_node n;
  auto c = n.open<int>();
  for (int i = 0; i < 10; ++i)
    static_cast<void>(c.fetch(std::to_string(i), [i] { return i; }));
  for (int i = 0; i < 10; ++i)
    for (int k = 0; k < 3; ++k)
      static_cast<void>(c.fetch(std::to_string(i)));
  static_cast<void>(c.fetch("u", [] { return uncached(1); }));
  static_cast<void>(c.fetch("f", []() -> int { throw 1; }));
  const auto s = c.stats();
  CHECK(s.misses == 12);
  CHECK(s.hits == 30);
  CHECK(s.joined == 0);
  CHECK(s.loads == 12);
  CHECK(s.failures == 1);
  CHECK(s.uncached == 1);
  CHECK(s.superseded == 0);
  CHECK(s.refused == 0);
  CHECK(s.evicted == 0);
  CHECK(s.expired == 0);
  CHECK(s.entries == 10);
  CHECK(s.bytes > 10 * 100);
  CHECK(s.load_time > 0ns);
  CHECK(s.memory_limit == cache_options{}.memory_limit);
}
