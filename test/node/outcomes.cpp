#include "support.hpp"

#include <caf/expected.hpp>
#include <caf/sec.hpp>

#include <stdexcept>

using namespace coopcache;
using namespace coopcache::test;

namespace {

wall_time wall_now() {
  return std::chrono::floor<std::chrono::milliseconds>(
    std::chrono::system_clock::now());
}

} // namespace

TEST_CASE("every way to return a value is answered, and stored or not") {
  one_node n;
  auto c = n.open();
  using text = std::string;
  struct row {
    std::string key;
    std::function<outcome<text>()> loader;
    bool stored;
  };
  const row rows[] = {
    {"plain", [] { return text{"v"}; }, true},
    {"literal", [] { return "v"; }, true},
    {"cached", [] { return cached(text{"v"}); }, true},
    {"cached until", [] { return cached(text{"v"}, wall_now() + 1h); }, true},
    {"cached for", [] { return cached(text{"v"}, 1h); }, true},
    {"cached until ms",
     [] {
       return cached(text{"v"}, (wall_now() + 1h).time_since_epoch().count());
     },
     true},
    {"uncached", [] { return uncached(text{"v"}); }, false},
    {"expired", [] { return cached(text{"v"}, wall_now() - 1ms); }, false},
    {"expired for", [] { return cached(text{"v"}, 0s); }, false},
  };
  for (const auto& each : rows) {
    const auto& key = each.key;
    const auto& loader = each.loader;
    CAPTURE(key);
    const auto r = c.fetch(key, loader);
    REQUIRE(r);
    CHECK(*r == "v");
    CHECK(c.get_if_present(key).has_value() == each.stored);
    CHECK((c.fetch(key, loader).how() == source::hit) == each.stored);
  }
}

TEST_CASE("expires_at is what the loader said, to the millisecond") {
  one_node n;
  auto c = n.open<int>();
  const auto until = wall_now() + 1h;
  CHECK(c.fetch("a", [=] { return cached(1, until); }).expires_at() == until);
  CHECK(c.fetch("a", [] { return 2; }).expires_at() == until);
  CHECK_FALSE(c.fetch("b", [] { return 1; }).expires_at().has_value());
}

TEST_CASE("a time in seconds is refused by name") {
  one_node n;
  auto c = n.open<int>();
  const auto r = c.fetch("k",
                         [] { return cached(1, std::int64_t{1'800'000'000}); });
  CHECK(code_of(r) == errc::fetch_failed);
  CHECK(r.error().reason.find("seconds?") != std::string::npos);
}

TEST_CASE("every way to fail is answered with its text, and never stored") {
  one_node n;
  auto c = n.open<int>();
  struct odd {};
  struct row {
    std::string key;
    std::function<outcome<int>()> loader;
    const char* reason;
  };
  const row rows[] = {
    {"failed", [] { return failed("no such report"); }, "no such report"},
    {"runtime_error", []() -> int { throw std::runtime_error("boom"); },
     "boom"},
    {"string", []() -> int { throw std::string{"boom"}; }, "boom"},
    {"literal", []() -> int { throw "boom"; }, "boom"},
    {"int", []() -> int { throw 42; }, "exception of type int"},
    {"odd", []() -> int { throw odd{}; }, "odd"},
  };
  for (const auto& each : rows) {
    const auto& key = each.key;
    CAPTURE(key);
    const auto r = c.fetch(key, each.loader);
    REQUIRE_FALSE(r);
    CHECK(r.error().code == errc::fetch_failed);
    CHECK(r.error().reason.find(each.reason) != std::string::npos);
    CHECK(r.error().key == key);
    const auto again = c.fetch(key, [] { return 7; });
    CHECK(again.value_or(0) == 7);
    CHECK(again.how() == source::loaded);
  }
}

TEST_CASE("a caf::expected is a value or its error") {
  one_node n;
  auto c = n.open<int>();
  const auto good = c.fetch("a", []() -> caf::expected<int> { return 3; });
  CHECK(good.value_or(0) == 3);
  const auto bad = c.fetch("b", []() -> caf::expected<int> {
    return caf::make_error(caf::sec::runtime_error, "no luck");
  });
  CHECK(code_of(bad) == errc::fetch_failed);
  CHECK(bad.error().reason.find("no luck") != std::string::npos);
}

TEST_CASE("all who wait for a failing load get its error, the next loads") {
  one_node n;
  auto c = n.open<int>();
  gate hold;
  std::atomic<int> failures{0};
  for (int i = 0; i < 10; ++i)
    c.fetch_async(
      "k",
      [&]() -> int {
        hold.pass();
        throw std::runtime_error("boom");
      },
      [&](const result<int>& r) {
        failures += !r && r.error().reason == "boom";
      });
  hold.open();
  REQUIRE(eventually([&] { return failures == 10; }));
  CHECK(c.fetch("k", [] { return 1; }).value_or(0) == 1);
  const auto s = c.stats();
  CHECK(s.loads == 2);
  CHECK(s.failures == 1);
}

TEST_CASE("value() throws the error, value_or and share do what they say") {
  one_node n;
  auto c = n.open<int>();
  const auto bad = c.fetch("k", []() -> int { throw 1; });
  CHECK_THROWS_AS(static_cast<void>(bad.value()), bad_result);
  CHECK(bad.value_or(9) == 9);
  CHECK(bad.share() == nullptr);
  std::shared_ptr<const int> kept;
  {
    const auto good = c.fetch("k", [] { return 5; });
    kept = good.share();
  }
  CHECK(c.clear_all());
  CHECK(*kept == 5);
  CHECK(c.fetch_or_throw("k", [] { return 6; }) == 6);
  CHECK_THROWS_AS(static_cast<void>(
                    c.fetch_or_throw("x", []() -> int { throw 1; })),
                  bad_result);
}

TEST_CASE("after a failure a key backs off if it is told to") {
  one_node n;
  cache_options patient;
  patient.failure_backoff = 200ms;
  auto c = n.open<int>(patient);
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE_FALSE(c.fetch("k", []() -> int { throw 1; }).has_value());
  std::atomic<int> runs{0};
  const auto second = c.fetch("k", counted(runs, 1));
  CHECK(code_of(second) == errc::backing_off);
  CHECK(runs == 0);
  CHECK(c.fetch("other", counted(runs, 1)).has_value());
  REQUIRE(
    eventually([&] { return c.fetch("k", counted(runs, 1)).has_value(); }));
  CHECK(std::chrono::steady_clock::now() - begin >= 200ms);
}

TEST_CASE("a clear ends the back-off of a key") {
  one_node n;
  cache_options patient;
  patient.failure_backoff = 1h;
  auto c = n.open<int>(patient);
  REQUIRE_FALSE(c.fetch("k", []() -> int { throw 1; }).has_value());
  CHECK(c.clear("k"));
  CHECK(c.fetch("k", [] { return 1; }).has_value());
}

TEST_CASE("lengths of time beyond all bounds are as good as long ones") {
  one_node n;
  auto c = n.open<int>();
  const auto one = [] { return 1; };
  CHECK(c.fetch("a", one, {.deadline = std::chrono::milliseconds::max()})
          .has_value());
  CHECK(c.fetch("b", [] { return cached(1, std::chrono::hours::max()); })
          .has_value());
  CHECK(c.get_if_present("b").has_value());
  CHECK(c.fetch("c", [] { return cached(1, std::chrono::hours::min()); })
          .has_value());
  CHECK_FALSE(c.get_if_present("c").has_value());
  gate hold;
  const auto late = c.fetch("d",
                            [&] {
                              hold.pass();
                              return 1;
                            },
                            {.deadline = std::chrono::milliseconds::min()});
  CHECK(code_of(late) == errc::timeout);
  CHECK(late.error().reason == "no answer within 0 ms");
  hold.open();
}
