#include "sim/cluster_of.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

// One bad moment at a time: strict clusters.

using namespace coopcache;
using namespace coopcache::sim;
using namespace std::chrono_literals;

TEST_CASE("strict: who is not to wait is told when the majority is lost") {
  cluster_of c{3, strict_of(3)};
  const auto r = c.resource_at(0);
  c.w.freeze(0);
  c.w.freeze(1);
  cluster::lock_wish hasty;
  hasty.request = hasty.client = ++c.last;
  hasty.resource = hasty.requester = r;
  hasty.deadline = c.w.now() + 1h;
  hasty.once = true;
  c.w.lock(2, hasty);
  CHECK(c.time_until([&] { return c.answers.contains(hasty.request); }, 3s));
  CHECK(c.answers[hasty.request] == cluster::verdict::no_majority);
}

TEST_CASE("strict: who is not to wait is answered at once in a minority") {
  cluster_of c{3, strict_of(3)};
  c.w.crash(0);
  c.w.crash(1);
  c.w.run_for(5s);
  cluster::lock_wish hasty;
  hasty.request = hasty.client = ++c.last;
  hasty.resource = hasty.requester = "r";
  hasty.once = true;
  c.w.lock(2, hasty);
  CHECK(c.answers.at(hasty.request) == cluster::verdict::no_majority);
}

TEST_CASE("strict: the minority grants nothing, says so, and takes away") {
  cluster_of c{5, strict_of(5)};
  const auto r = c.resource_at(0);
  const auto held = c.quiet_lock(4, r);
  CHECK(c.got(held));
  c.split(3);          // 0 1 2 | 3 4
  c.w.run_for(1400ms); // no heartbeat is echoed any more
  const auto minority = c.lock(3, "other", 3s);
  const auto majority = c.lock(1, r);
  const auto nameless = c.put(3, "a", "", false, 3s);
  const auto named = c.put(1, "b", "", false, 3s);
  c.w.run_for(5s);
  CHECK(c.lost == std::vector{held});
  CHECK(c.answers.at(minority) == cluster::verdict::no_majority);
  CHECK(c.got(majority));
  CHECK(c.answers.at(nameless) == cluster::verdict::no_majority);
  CHECK(c.got(named));
  CHECK(c.owner(4, "b") == 0);
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(10ms);
  CHECK(c.lost.size() == 1);
  CHECK(c.owner(4, "a") == 0);
  CHECK(c.owner(4, "b") == named);
}

TEST_CASE("strict: who thaws with a lock handed to it holds it alone") {
  for (auto frozen = 100ms; frozen <= 1800ms; frozen += 50ms) {
    CAPTURE(frozen.count());
    cluster_of c{5, strict_of(5)};
    const auto r = c.resource_at(0);
    const auto holder = c.quiet_lock(1, r);
    const auto next = c.quiet_lock(3, r);
    const auto last = c.quiet_lock(4, r);
    c.w.freeze(3);
    c.w.run_for(1ms);
    c.unlock(holder);
    c.w.run_for(frozen);
    c.w.thaw(3);
    const auto holds = [&](std::uint64_t request) {
      return c.got(request)
             && std::find(c.lost.begin(), c.lost.end(), request)
                  == c.lost.end();
    };
    CHECK_FALSE(c.time_until([&] { return holds(next) && holds(last); }, 5s));
    CHECK(holds(next) != holds(last));
    if (frozen > 7 * 1500ms / 8) // nothing may be held by then
      CHECK(c.lost.empty());
  }
}

TEST_CASE("strict: who thaws with locks of several homes gets each") {
  for (auto frozen = 1300ms; frozen < 1500ms; frozen += 10ms) {
    CAPTURE(frozen.count());
    cluster_of c{3, strict_of(3)};
    // The tokens of two homes of one view may be equal.
    std::vector<std::uint64_t> held, waiting;
    for (const std::size_t home : sizes{0, 1})
      held.push_back(c.quiet_lock(home, c.resource_at(home)));
    for (const std::size_t home : sizes{0, 1})
      waiting.push_back(c.quiet_lock(2, c.resource_at(home)));
    c.w.freeze(2);
    c.w.run_for(1ms);
    for (const auto one : held)
      c.unlock(one);
    c.w.run_for(frozen);
    c.w.thaw(2);
    c.w.run_for(5s);
    for (const auto one : waiting)
      CHECK(c.got(one));
  }
}

TEST_CASE("strict: who hears four of five, and is heard by one, loses locks") {
  cluster_of c{5, strict_of(5)};
  const auto r = c.resource_at(0);
  const auto held = c.quiet_lock(4, r);
  REQUIRE(c.got(held));
  for (const auto i : sizes{3, 4}) // nothing gets out of the two
    for (const auto j : sizes{0, 1, 2})
      c.w.cut(i, j);
  const auto next = c.lock(1, r);
  REQUIRE(c.time_until([&] { return c.got(next); }, 6s));
  CHECK(c.was_lost(held));
}

TEST_CASE("strict: locks end in time when a second node falls silent later") {
  cluster_of c{5, strict_of(5)};
  const auto r = c.resource_at(0);
  const auto held = c.quiet_lock(4, r);
  REQUIRE(c.got(held));
  c.split(3);
  const auto next = c.lock(1, r);
  c.w.run_for(1200ms);
  c.w.freeze(3);
  REQUIRE(c.time_until([&] { return c.got(next); }, 6s));
  CHECK(c.was_lost(held));
}

TEST_CASE("strict: a node that restarts keeps what it permitted before") {
  cluster_of c{3, strict_of(3)};
  c.w.change_weather({20us, 1ms, 0, false, 0, 24h}); // no death is proven
  const auto r = c.resource_at(2);
  const auto held = c.quiet_lock(1, r);
  REQUIRE(c.got(held));
  c.cut_both(1, 2);
  c.w.run_for(1s);
  c.w.crash(0);
  c.cut_both(0, 1);
  c.w.restart(0);
  const auto next = c.lock(2, r);
  REQUIRE(c.time_until([&] { return c.got(next); }, 8s));
  CHECK(c.was_lost(held));
}

TEST_CASE("strict: a broken link takes locks away before others get them") {
  for (const bool second_breaks : {false, true}) {
    CAPTURE(second_breaks);
    cluster_of c{3, strict_of(3)};
    const auto r = c.resource_at(0);
    const auto held = c.quiet_lock(1, r);
    REQUIRE(c.got(held));
    c.cut_both(0, 1);
    const auto next = c.lock(0, r);
    if (second_breaks) {
      c.w.run_for(1s);
      c.cut_both(2, 1);
    }
    REQUIRE(c.time_until([&] { return c.got(next); }, 8s));
    CHECK(c.was_lost(held));
  }
}

TEST_CASE(
  "strict: half of an even number grants nothing, and keeps its locks") {
  cluster_of c{4, strict_of(4)};
  const auto r = c.resource_at(0);
  const auto held = c.quiet_lock(1, r);
  REQUIRE(c.got(held));
  c.split(2);
  c.w.run_for(5s);
  REQUIRE(c.members(0) == "01");
  const auto next = c.lock(0, r);
  const auto other = c.lock(3, r);
  c.w.run_for(5s);
  CHECK(c.lost.empty()); // no majority can exist elsewhere
  c.unlock(held);
  c.w.run_for(5s);
  CHECK_FALSE(c.got(next));
  CHECK_FALSE(c.got(other));
  c.w.heal_network();
  c.w.run_for(1s);
  CHECK(c.got(next) != c.got(other));
}
