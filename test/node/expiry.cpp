#include "support.hpp"

using namespace coopcache;
using namespace coopcache::test;

using clock_type = std::chrono::steady_clock;

TEST_CASE("an idle entry leaves by itself and gives its memory back") {
  one_node n;
  cache_options idle;
  idle.cache_duration = 200ms;
  auto c = n.open(idle);
  const auto begin = clock_type::now();
  REQUIRE(c.fetch("k", [] { return "v"; }).has_value());
  CHECK(c.stats().bytes > 0);
  REQUIRE(eventually([&] { return c.stats().expired == 1; }));
  const auto lived = clock_type::now() - begin;
  CHECK(lived >= 200ms);
  CHECK(lived <= 220ms + 1s);
  CHECK(c.stats().bytes == 0);
  CHECK(c.stats().entries == 0);
}

TEST_CASE("reading an entry keeps it") {
  one_node n;
  cache_options idle;
  idle.cache_duration = 400ms;
  auto c = n.open(idle);
  REQUIRE(c.put("read", "v"));
  REQUIRE(c.put("idle", "v"));
  const auto begin = clock_type::now();
  REQUIRE(eventually([&] {
    return c.get_if_present("read").has_value() && c.stats().expired == 1;
  }));
  const auto last_read = clock_type::now();
  CHECK(last_read - begin >= 400ms);
  CHECK_FALSE(c.get_if_present("idle").has_value());
  REQUIRE(eventually([&] { return c.stats().expired == 2; }));
  CHECK(clock_type::now() - last_read >= 400ms);
}

TEST_CASE("a value is not served past its expires_at, read or not") {
  one_node n;
  auto c = n.open();
  const auto begin = clock_type::now();
  REQUIRE(c.fetch("k", [] { return cached("v", 150ms); }).has_value());
  REQUIRE(eventually([&] { return !c.get_if_present("k").has_value(); }));
  CHECK(clock_type::now() - begin >= 149ms);
  REQUIRE(eventually([&] { return c.stats().expired == 1; }));
  CHECK(c.stats().bytes == 0);
}

TEST_CASE("time_to_live of the cache shortens what the loader says") {
  one_node n;
  cache_options brief;
  brief.time_to_live = 150ms;
  auto c = n.open(brief);
  const auto begin = clock_type::now();
  REQUIRE(c.fetch("k", [] { return cached("v", 1h); }).has_value());
  REQUIRE(eventually([&] { return !c.get_if_present("k").has_value(); }));
  CHECK(clock_type::now() - begin >= 149ms);
}

TEST_CASE("a load that takes longer than cache_duration is answered") {
  one_node n;
  cache_options idle;
  idle.cache_duration = 50ms;
  auto c = n.open(idle);
  gate hold;
  std::atomic<int> good{0};
  const auto begin = clock_type::now();
  for (int i = 0; i < 3; ++i)
    c.fetch_async(
      "k",
      [&] {
        hold.pass();
        return "v";
      },
      [&](const result<std::string>& r) { good += r ? 1 : 0; });
  REQUIRE(eventually([&] { return clock_type::now() - begin > 300ms; }));
  hold.open();
  REQUIRE(eventually([&] { return good == 3; }));
  CHECK(c.stats().loads == 1);
}

TEST_CASE("an expired entry makes room without being asked for") {
  one_node n;
  cache_options small;
  small.memory_limit = 2000;
  small.cache_duration = 100ms;
  auto c = n.open(small);
  REQUIRE(c.fetch("a", [] { return std::string(1500, 'a'); }).has_value());
  REQUIRE(c.fetch("b", [] { return std::string(1500, 'b'); }).has_value());
  CHECK(c.stats().refused == 1);
  REQUIRE(eventually([&] { return c.stats().entries == 0; }));
  REQUIRE(c.fetch("b", [] { return std::string(1500, 'b'); }).has_value());
  CHECK(c.stats().entries == 1);
}
