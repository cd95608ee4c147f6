#include "coopcache/cluster/loads.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

using namespace coopcache;
using namespace coopcache::test;
using namespace std::chrono_literals;

using cluster::load_id;
using cluster::load_limits;
using cluster::loads;
using core::instant;
using outcome = loads::outcome;
using verdict = loads::verdict;

namespace {

constexpr instant origin{1000h};

load_limits limited(std::chrono::nanoseconds hard,
                    std::optional<std::chrono::nanoseconds> soft = {},
                    std::optional<std::chrono::nanoseconds> backoff = {}) {
  return {soft, hard, backoff};
}

bool granted(loads& machine, load_id id, std::string_view key, instant now) {
  return !machine.request(id, key, now);
}

} // namespace

TEST_CASE("what is stored is the value of the load that has the lease") {
  struct {
    outcome how;
    verdict leased, revoked;
  } const table[] = {
    {outcome::cached, verdict::store, verdict::superseded},
    {outcome::uncached, verdict::drop, verdict::superseded},
    {outcome::failed, verdict::drop, verdict::superseded},
  };
  for (const auto& row : table) {
    loads machine{limited(1h)};
    CHECK(granted(machine, 1, "a", origin));
    CHECK(machine.finished(1, row.how, origin) == row.leased);
    CHECK(granted(machine, 2, "a", origin));
    CHECK(machine.revoke("a") == load_id{2});
    CHECK(machine.finished(2, row.how, origin) == row.revoked);
  }
}

TEST_CASE("a load that nobody knows is superseded") {
  loads machine{limited(1h)};
  CHECK(machine.finished(1, outcome::cached, origin) == verdict::superseded);
  CHECK(granted(machine, 2, "a", origin));
  CHECK(machine.finished(2, outcome::cached, origin) == verdict::store);
  CHECK(machine.finished(2, outcome::cached, origin) == verdict::superseded);
}

TEST_CASE("a load is known from its grant to its end") {
  loads machine{limited(1s)};
  CHECK_FALSE(machine.knows(1));
  CHECK(granted(machine, 1, "a", origin));
  CHECK(machine.knows(1));
  static_cast<void>(machine.revoke("a"));
  static_cast<void>(machine.expire(origin + 2s));
  CHECK(machine.knows(1));
  CHECK(machine.running() == 1);
  static_cast<void>(machine.finished(1, outcome::cached, origin + 2s));
  CHECK_FALSE(machine.knows(1));
  CHECK(machine.running() == 0);
}

TEST_CASE("a new load of a key takes the lease of the old one") {
  loads machine{limited(1h)};
  CHECK(granted(machine, 1, "a", origin));
  CHECK(granted(machine, 2, "a", origin));
  CHECK(machine.finished(1, outcome::cached, origin) == verdict::superseded);
  CHECK(machine.finished(2, outcome::cached, origin) == verdict::store);
}

TEST_CASE("the end of a superseded load does not touch its successor") {
  loads machine{limited(1h, {}, 1s)};
  CHECK(granted(machine, 1, "a", origin));
  CHECK(machine.revoke("a") == load_id{1});
  CHECK(granted(machine, 2, "a", origin));
  CHECK(machine.finished(1, outcome::failed, origin) == verdict::superseded);
  CHECK(machine.finished(2, outcome::cached, origin) == verdict::store);
  CHECK(granted(machine, 3, "a", origin));
}

TEST_CASE("a clear takes all leases at once") {
  loads machine{limited(1h)};
  CHECK(granted(machine, 1, "a", origin));
  CHECK(granted(machine, 2, "b", origin));
  auto lost = machine.revoke_all();
  std::sort(lost.begin(), lost.end());
  CHECK(lost == std::vector<load_id>{1, 2});
  CHECK(machine.revoke_all().empty());
  CHECK(machine.finished(1, outcome::cached, origin) == verdict::superseded);
  CHECK(machine.finished(2, outcome::cached, origin) == verdict::superseded);
}

// -- limits -------------------------------------------------------------------

TEST_CASE("the soft limit is told once, and the lease stays") {
  loads machine{limited(1h, 2s)};
  CHECK(granted(machine, 1, "a", origin));
  CHECK(machine.next_wake() == origin + 2s);
  CHECK(machine.expire(origin + 2s - 1ns).soft.empty());
  CHECK(machine.expire(origin + 2s).soft == std::vector<load_id>{1});
  CHECK(machine.expire(origin + 3s).soft.empty());
  CHECK(machine.next_wake() == origin + 1h);
  CHECK(machine.finished(1, outcome::cached, origin + 3s) == verdict::store);
}

TEST_CASE("the hard limit is told once, and the lease is lost") {
  loads machine{limited(3s, 2s)};
  CHECK(granted(machine, 1, "a", origin));
  const auto at_soft = machine.expire(origin + 2s);
  CHECK(at_soft.soft.size() == 1);
  CHECK(at_soft.hard.empty());
  const auto at_hard = machine.expire(origin + 3s);
  CHECK(at_hard.soft.empty());
  CHECK(at_hard.hard == std::vector<load_id>{1});
  CHECK(machine.expire(origin + 4s).hard.empty());
  CHECK(machine.next_wake() == core::never);
  CHECK_FALSE(machine.revoke("a"));
  CHECK(machine.finished(1, outcome::cached, origin + 4s)
        == verdict::superseded);
}

TEST_CASE("a late look tells both limits") {
  loads machine{limited(3s, 2s)};
  CHECK(granted(machine, 1, "a", origin));
  const auto late = machine.expire(origin + 1h);
  CHECK(late.soft.size() == 1);
  CHECK(late.hard.size() == 1);
}

TEST_CASE("a successor keeps the lease when the hard limit meets the first") {
  loads machine{limited(3s)};
  CHECK(granted(machine, 1, "a", origin));
  CHECK(granted(machine, 2, "a", origin + 2s));
  CHECK(machine.expire(origin + 3s).hard == std::vector<load_id>{1});
  CHECK(machine.finished(2, outcome::cached, origin + 4s) == verdict::store);
}

TEST_CASE("a limit beyond the end of time is none") {
  loads machine{limited(std::chrono::nanoseconds::max())};
  CHECK(granted(machine, 1, "a", origin));
  CHECK(machine.next_wake() == core::never);
  CHECK(machine.expire(origin + 100'000h).hard.empty());
}

// Threads draw their numbers before they reach the machine.
TEST_CASE("loads that come in another order than they were numbered meet "
          "their limits in time") {
  loads machine{limited(3s, 2s)};
  CHECK(granted(machine, 2, "b", origin));
  CHECK(granted(machine, 1, "a", origin + 1s));
  CHECK(machine.next_wake() == origin + 2s);
  CHECK(machine.expire(origin + 2s).soft == std::vector<load_id>{2});
  CHECK(machine.next_wake() == origin + 3s);
}

// -- back-off -----------------------------------------------------------------

TEST_CASE("after a failure the key backs off, and no other does") {
  loads machine{limited(1h, {}, 5s)};
  CHECK(granted(machine, 1, "a", origin));
  static_cast<void>(machine.finished(1, outcome::failed, origin + 1s));
  CHECK(machine.request(2, "a", origin + 1s) == origin + 6s);
  CHECK(machine.request(3, "a", origin + 6s - 1ns) == origin + 6s);
  CHECK_FALSE(machine.knows(3));
  CHECK(granted(machine, 4, "b", origin + 2s));
  CHECK(granted(machine, 5, "a", origin + 6s));
}

TEST_CASE("only a failure with the lease makes a key back off") {
  for (const auto how : {outcome::cached, outcome::uncached}) {
    loads machine{limited(1h, {}, 5s)};
    CHECK(granted(machine, 1, "a", origin));
    static_cast<void>(machine.finished(1, how, origin));
    CHECK(granted(machine, 2, "a", origin));
    static_cast<void>(machine.revoke("a"));
    static_cast<void>(machine.finished(2, outcome::failed, origin));
    CHECK(granted(machine, 3, "a", origin));
  }
}

TEST_CASE("without back-off a failed key is loaded again at once") {
  loads machine{limited(1h)};
  CHECK(granted(machine, 1, "a", origin));
  static_cast<void>(machine.finished(1, outcome::failed, origin));
  CHECK(granted(machine, 2, "a", origin));
}

TEST_CASE("a clear ends the back-off") {
  for (const bool all : {false, true}) {
    loads machine{limited(1h, {}, 5s)};
    CHECK(granted(machine, 1, "a", origin));
    static_cast<void>(machine.finished(1, outcome::failed, origin));
    if (all)
      CHECK(machine.revoke_all().empty());
    else
      CHECK_FALSE(machine.revoke("a"));
    CHECK(granted(machine, 2, "a", origin));
    static_cast<void>(machine.finished(2, outcome::failed, origin + 4s));
    CHECK(machine.request(3, "a", origin + 6s) == origin + 9s);
  }
}

TEST_CASE("of too many failures the oldest is forgotten") {
  loads machine{limited(1h, {}, 1h)};
  const auto fail = [&](std::size_t i) {
    CHECK(granted(machine, i, std::to_string(i), origin));
    static_cast<void>(machine.finished(i, outcome::failed, origin));
  };
  for (std::size_t i = 1; i <= loads::max_failures; ++i)
    fail(i);
  CHECK(machine.request(20'000, "1", origin));
  fail(loads::max_failures + 1);
  CHECK(granted(machine, 20'001, "1", origin));
  CHECK(machine.request(20'002, "2", origin));
  CHECK(
    machine.request(20'003, std::to_string(loads::max_failures + 1), origin));
}

// After a clear a key can have failed twice; the older failure goes first.
TEST_CASE("forgetting an old failure of a key leaves its newer one") {
  loads machine{limited(1h, {}, 1h)};
  load_id last = 0;
  const auto fail = [&](const std::string& key) {
    CHECK(granted(machine, ++last, key, origin));
    static_cast<void>(machine.finished(last, outcome::failed, origin));
  };
  fail("a");
  static_cast<void>(machine.revoke("a"));
  fail("a");
  for (std::size_t i = 2; i <= loads::max_failures; ++i)
    fail(std::to_string(i));
  CHECK(machine.request(++last, "a", origin));
}

// -- against a naive model ----------------------------------------------------

namespace {

/// What the header of `loads` promises, as plainly as it can be said.
struct naive_loads {
  struct load {
    std::string key;
    instant started;
    bool leased = true;
    bool soft_told = false;
    bool hard_told = false;
  };

  std::optional<instant> request(load_id id, const std::string& key,
                                 instant now) {
    if (const auto at = backoff.find(key); at != backoff.end()) {
      if (at->second > now)
        return at->second;
      backoff.erase(at);
    }
    static_cast<void>(revoke(key));
    all[id] = {key, now};
    return std::nullopt;
  }

  verdict finished(load_id id, outcome how, instant now) {
    const auto at = all.find(id);
    if (at == all.end())
      return verdict::superseded;
    const load ended = at->second;
    all.erase(at);
    if (!ended.leased)
      return verdict::superseded;
    if (how == outcome::failed && limits.backoff)
      backoff[ended.key] = now + *limits.backoff;
    return how == outcome::cached ? verdict::store : verdict::drop;
  }

  std::optional<load_id> revoke(const std::string& key) {
    backoff.erase(key);
    std::optional<load_id> result;
    for (auto& [id, each] : all)
      if (each.key == key && std::exchange(each.leased, false))
        result = id;
    return result;
  }

  std::set<load_id> revoke_all() {
    backoff.clear();
    std::set<load_id> result;
    for (auto& [id, each] : all)
      if (std::exchange(each.leased, false))
        result.insert(id);
    return result;
  }

  std::set<load_id> soft(instant now) {
    std::set<load_id> result;
    for (auto& [id, each] : all)
      if (limits.soft && each.started + *limits.soft <= now
          && !std::exchange(each.soft_told, true))
        result.insert(id);
    return result;
  }

  std::set<load_id> hard(instant now) {
    std::set<load_id> result;
    for (auto& [id, each] : all) {
      if (each.started + limits.hard > now
          || std::exchange(each.hard_told, true))
        continue;
      result.insert(id);
      if (std::exchange(each.leased, false) && limits.backoff)
        backoff[each.key] = now + *limits.backoff;
    }
    return result;
  }

  instant next_wake() const {
    instant result = core::never;
    for (const auto& [id, each] : all) {
      if (limits.soft && !each.soft_told)
        result = std::min(result, each.started + *limits.soft);
      if (!each.hard_told)
        result = std::min(result, each.started + limits.hard);
    }
    return result;
  }

  bool one_lease_per_key() const {
    std::set<std::string> keys;
    return std::all_of(all.begin(), all.end(), [&](const auto& each) {
      return !each.second.leased || keys.insert(each.second.key).second;
    });
  }

  load_limits limits;
  std::map<load_id, load> all;
  std::map<std::string, instant> backoff;
};

std::set<load_id> as_set(const std::vector<load_id>& ids) {
  const std::set<load_id> result{ids.begin(), ids.end()};
  REQUIRE(result.size() == ids.size());
  return result;
}

/// The machine and the model, given the same events.
struct both_loads {
  both_loads(std::uint64_t seed, const load_limits& limits)
    : any(seed), machine(limits), model{limits, {}, {}} {
  }

  void step() {
    switch (any.below(10)) {
      case 0:
      case 1:
      case 2:
        return request();
      case 3:
      case 4:
      case 5:
        return finish();
      case 6:
        return revoke(some_key());
      case 7:
        return any.one_in(5) ? revoke_all() : expire();
      case 8:
        if (const instant wake = machine.next_wake(); wake != core::never)
          now = std::max(now, wake);
        return expire();
      default:
        now += std::chrono::milliseconds{any.below(1500)};
    }
  }

  void request() {
    const auto key = some_key();
    const auto id = ++last;
    if (any.one_in(5)) {
      machine.run_without_lease(id, key, now);
      model.all[id] = {key, now, false};
      return;
    }
    REQUIRE(machine.request(id, key, now) == model.request(id, key, now));
  }

  void finish() {
    // Mostly one of the newest, sometimes one that has ended or is to come.
    const auto id = last + 1 - std::min(last, any.below(10));
    const auto how = any.any_of(
      {outcome::cached, outcome::uncached, outcome::failed, outcome::not_run});
    const auto decided = machine.finished(id, how, now);
    REQUIRE(decided == model.finished(id, how, now));
    if (decided == verdict::store)
      REQUIRE(lost.count(id) == 0);
  }

  void revoke(const std::string& key) {
    const auto id = machine.revoke(key);
    REQUIRE(id == model.revoke(key));
    if (id)
      lost.insert(*id);
  }

  void revoke_all() {
    const auto ids = as_set(machine.revoke_all());
    REQUIRE(ids == model.revoke_all());
    lost.insert(ids.begin(), ids.end());
  }

  void expire() {
    const auto told = machine.expire(now);
    const auto hard = as_set(told.hard);
    REQUIRE(as_set(told.soft) == model.soft(now));
    REQUIRE(hard == model.hard(now));
    lost.insert(hard.begin(), hard.end());
    REQUIRE(machine.next_wake() > now);
  }

  void check() const {
    REQUIRE(machine.next_wake() == model.next_wake());
    REQUIRE(machine.running() == model.all.size());
    REQUIRE(model.one_lease_per_key());
    REQUIRE(machine.knows(last) == (model.all.count(last) != 0));
  }

  std::string some_key() {
    return std::string(1, static_cast<char>('a' + any.below(6)));
  }

  dice any;
  loads machine;
  naive_loads model;
  instant now = origin;
  load_id last = 0;
  std::set<load_id> lost;
};

} // namespace

TEST_CASE("leases, limits, and back-off are as a plain model has them") {
  const load_limits table[] = {
    limited(5min),   limited(3s),         limited(3s, 1s),
    limited(3s, 3s), limited(1s, {}, 2s), limited(4s, 2s, 500ms),
  };
  for (const auto seed : seeds(20)) {
    for (std::size_t row = 0; row < std::size(table); ++row) {
      CAPTURE(seed);
      CAPTURE(row);
      both_loads both{seed, table[row]};
      for (int step = 0; step < 1000; ++step) {
        CAPTURE(step);
        both.step();
        both.check();
      }
    }
  }
}
