#include "support.hpp"

using namespace coopcache;
using namespace coopcache::test;

TEST_CASE("after a clear the next fetch loads") {
  one_node n;
  auto c = n.open<int>();
  std::atomic<int> runs{0};
  const auto count = [&] { return ++runs; };
  CHECK(c.fetch("a", count).value_or(0) == 1);
  CHECK(c.fetch("b", count).value_or(0) == 2);
  REQUIRE(c.clear("a"));
  CHECK(c.fetch("a", count).value_or(0) == 3);
  CHECK(c.fetch("b", count).how() == source::hit);
  REQUIRE(c.clear_all());
  CHECK(c.stats().entries == 0);
  CHECK(c.stats().bytes == 0);
  CHECK(c.fetch("b", count).value_or(0) == 4);
  CHECK(c.clear("never seen"));
}

TEST_CASE("a load begun before a clear answers its waiters, is not stored, and "
          "does not hold up new loads") {
  for (const bool all : {false, true}) {
    CAPTURE(all);
    one_node n;
    auto c = n.open<int>();
    gate old_load;
    std::atomic<int> old_answers{0};
    for (int i = 0; i < 5; ++i)
      c.fetch_async(
        "k",
        [&] {
          old_load.pass();
          return 1;
        },
        [&](const result<int>& r) { old_answers += r.value_or(0) == 1; });
    old_load.await_arrivals();
    REQUIRE((all ? c.clear_all() : c.clear("k")));
    const auto fresh = c.fetch("k", [] { return 2; });
    CHECK(fresh.value_or(0) == 2);
    CHECK(fresh.how() == source::loaded);
    old_load.open();
    REQUIRE(eventually([&] { return old_answers == 5; }));
    CHECK(c.fetch("k", [] { return 3; }).value_or(0) == 2);
    const auto s = c.stats();
    CHECK(s.superseded == 1);
    CHECK(s.loads == 2);
  }
}

TEST_CASE("a superseded load that nobody waits for is asked to stop") {
  one_node n;
  auto c = n.open<int>();
  gate begun;
  std::atomic<bool> stopped{false};
  begun.open();
  const auto late = c.fetch("k",
                            [&](std::stop_token stop) {
                              begun.pass();
                              stopped = eventually(
                                [&] { return stop.stop_requested(); });
                              return 1;
                            },
                            {.deadline = 1ms});
  CHECK(code_of(late) == errc::timeout);
  begun.await_arrivals();
  CHECK_FALSE(stopped);
  REQUIRE(c.clear("k"));
  CHECK(eventually([&] { return stopped.load(); }));
}

TEST_CASE("no reader sees an old value after a clear returned") {
  one_node n;
  auto c = n.open<int>();
  std::atomic<int> truth{0};
  std::atomic<bool> done{false};
  std::atomic<int> stale{0};
  std::atomic<std::uint64_t> reads{0};
  const auto load = [&] { return truth.load(); };
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t)
    readers.emplace_back([&] {
      while (!done) {
        const int least = truth;
        const auto r = c.fetch("k", load);
        // What was cleared before this fetch began has a smaller number; the
        // truth changes right before its clear, so one behind is allowed.
        stale += !r || *r < least - 1;
        ++reads;
      }
    });
  for (int i = 0; i < 2000; ++i) {
    ++truth;
    REQUIRE(c.clear("k"));
    const auto r = c.fetch("k", load);
    REQUIRE(r);
    CHECK(*r == truth);
  }
  done = true;
  for (auto& t : readers)
    t.join();
  CHECK(stale == 0);
  CHECK(reads > 0);
}

TEST_CASE("a put replaces the value and supersedes a running load") {
  one_node n;
  auto c = n.open<int>();
  gate hold;
  std::atomic<int> old_answer{0};
  c.fetch_async(
    "k",
    [&] {
      hold.pass();
      return 1;
    },
    [&](const result<int>& r) { old_answer = r.value_or(-1); });
  hold.await_arrivals();
  REQUIRE(c.put("k", 2));
  CHECK(c.fetch("k").value_or(0) == 2);
  hold.open();
  REQUIRE(eventually([&] { return old_answer == 1; }));
  CHECK(c.stats().superseded == 1);
  CHECK(c.fetch("k").value_or(0) == 2);
  REQUIRE(c.put("k", 3));
  CHECK(c.fetch("k").value_or(0) == 3);
  CHECK(c.stats().entries == 1);
}
