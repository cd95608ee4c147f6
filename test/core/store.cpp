#include "coopcache/core/store.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>

using namespace coopcache::core;
using namespace coopcache::test;
using namespace std::chrono_literals;

namespace {

constexpr instant origin{1000h};

using maybe_time = std::optional<std::chrono::nanoseconds>;

store_options refusing(std::uint64_t limit, maybe_time idle = {},
                       maybe_time time_to_live = {}) {
  return {limit, idle, time_to_live, false};
}

store_options evicting(std::uint64_t limit, maybe_time idle = {}) {
  return {limit, idle, {}, true};
}

/// A store with the time and the records that it speaks of.
struct kept {
  explicit kept(const store_options& options) : table(options, now) {
  }

  record& make(std::uint64_t charge, instant expires_at = never) {
    record& r = records.emplace_back();
    r.charge = charge;
    r.expire_at(expires_at);
    return r;
  }

  bool admit(record& r) {
    victims.clear();
    return table.admit(r, now, victims);
  }

  void read(record& r) {
    r.stamp = to_tick(now);
    r.visited = true;
  }

  /// Lets the time pass as the cache does: it expires when the store asks for
  /// it. Returns what has expired on the way, and when.
  std::map<record*, instant> pass(std::chrono::nanoseconds duration) {
    std::map<record*, instant> result;
    const instant end = now + duration;
    for (;;) {
      now = std::max(now, std::min(end, table.next_wake()));
      std::vector<record*> out;
      table.expire(now, out);
      for (record* const r : out)
        result.emplace(r, now);
      if (table.next_wake() > end)
        break;
    }
    now = end;
    return result;
  }

  instant now = origin;
  store table;
  std::deque<record> records;
  std::vector<record*> victims;
};

} // namespace

TEST_CASE("a full store refuses, and what is in it stays") {
  kept k{refusing(100)};
  record& a = k.make(60);
  record& b = k.make(41);
  record& c = k.make(40);
  CHECK(k.admit(a));
  CHECK_FALSE(k.admit(b));
  CHECK(k.victims.empty());
  CHECK_FALSE(b.stored);
  CHECK(k.admit(c));
  CHECK(k.table.bytes() == 100);
  CHECK(k.table.entries() == 2);
}

TEST_CASE("a limit of zero stores nothing") {
  for (const bool evict : {false, true}) {
    kept k{evict ? evicting(0) : refusing(0)};
    CHECK_FALSE(k.admit(k.make(1)));
    CHECK(k.table.bytes() == 0);
  }
}

TEST_CASE("what is larger than the limit evicts nobody") {
  kept k{evicting(100)};
  CHECK(k.admit(k.make(50)));
  CHECK_FALSE(k.admit(k.make(101)));
  CHECK_FALSE(k.admit(k.make(~std::uint64_t{0})));
  CHECK(k.victims.empty());
  CHECK(k.table.entries() == 1);
}

TEST_CASE("a large newcomer evicts as many as its room needs") {
  kept k{evicting(100)};
  for (int i = 0; i < 10; ++i)
    CHECK(k.admit(k.make(10)));
  CHECK(k.admit(k.make(35)));
  CHECK(k.victims.size() == 4);
  for (const record* const r : k.victims)
    CHECK_FALSE(r->stored);
  CHECK(k.table.bytes() == 95);
  CHECK(k.admit(k.make(100)));
  CHECK(k.table.entries() == 1);
}

TEST_CASE("letting go gives the memory back once") {
  kept k{refusing(100, 1s)};
  record& r = k.make(70);
  CHECK(k.admit(r));
  k.table.remove(r);
  k.table.remove(r);
  CHECK(k.table.bytes() == 0);
  CHECK(k.table.entries() == 0);
  CHECK_FALSE(r.scheduled);
  CHECK(k.admit(r));
  CHECK(k.table.bytes() == 70);
}

// -- eviction -----------------------------------------------------------------

namespace {

/// A cache of letters, asked for one after the other as in the paper.
struct letters {
  explicit letters(std::size_t room) : k(evicting(room)) {
  }

  /// Asks for each letter; returns who was evicted on the way.
  std::string ask(const std::string& sequence) {
    std::string evicted;
    for (const char letter : sequence) {
      if (const auto hit = stored.find(letter); hit != stored.end()) {
        k.read(*hit->second);
        continue;
      }
      record& r = k.make(1);
      REQUIRE(k.admit(r));
      stored[letter] = &r;
      for (const record* const victim : k.victims)
        evicted += forget(*victim);
    }
    return evicted;
  }

  char forget(const record& victim) {
    const auto at = std::find_if(stored.begin(), stored.end(), [&](auto& each) {
      return each.second == &victim;
    });
    const char letter = at->first;
    stored.erase(at);
    return letter;
  }

  kept k;
  std::map<char, record*> stored;
};

} // namespace

// The shape of figure 1 in the paper: the hand starts at the oldest, spares
// and unmarks what was visited, and stays where it evicted.
TEST_CASE("the hand of SIEVE goes from old to new and stays where it was") {
  letters cache{7};
  CHECK(cache.ask("ABCDEFG") == "");
  CHECK(cache.ask("ABG") == "");
  CHECK(cache.ask("H") == "C"); // spares A and B
  CHECK(cache.ask("AD") == "");
  CHECK(cache.ask("I") == "E"); // spares D
  CHECK(cache.ask("B") == "");
  CHECK(cache.ask("J") == "F");
  CHECK(cache.ask("K") == "H");     // spares G
  CHECK(cache.ask("LMN") == "IJK"); // newcomers go soon if nobody asks
  CHECK(cache.ask("OPQ") == "LMN");
  CHECK(cache.ask("R") == "O");
}

TEST_CASE("a scan does not push out what is asked for") {
  letters cache{4};
  CHECK(cache.ask("ABAB") == "");
  for (char scan = 'a'; scan <= 'z'; ++scan)
    cache.ask(std::string{scan} + "AB");
  CHECK(cache.stored.count('A') == 1);
  CHECK(cache.stored.count('B') == 1);
}

TEST_CASE("if all were visited the one under the hand goes") {
  letters cache{3};
  CHECK(cache.ask("ABCABC") == "");
  CHECK(cache.ask("D") == "A");
  CHECK(cache.ask("BCDE") == "B");
}

TEST_CASE("the hand moves on when the record under it is removed") {
  letters cache{4};
  cache.ask("ABCDA");
  CHECK(cache.ask("E") == "B"); // the hand is at C now
  cache.k.table.remove(*cache.stored.at('C'));
  cache.stored.erase('C');
  CHECK(cache.ask("F") == "");
  CHECK(cache.ask("G") == "D");
}

namespace {

/// SIEVE over a list, oldest first, as plainly as it can be said.
struct naive_sieve {
  struct item {
    record* r;
    bool visited = false;
  };

  void insert(record* r) {
    queue.push_back({r});
  }

  void remove(const record* r) {
    const auto at = find(r);
    if (at == hand)
      ++hand;
    queue.erase(at);
  }

  void visit(const record* r) {
    find(r)->visited = true;
  }

  record* evict() {
    for (;; ++hand) {
      if (hand == queue.end())
        hand = queue.begin();
      if (!std::exchange(hand->visited, false))
        break;
    }
    record* const victim = hand->r;
    hand = queue.erase(hand);
    return victim;
  }

  std::list<item>::iterator find(const record* r) {
    return std::find_if(queue.begin(), queue.end(),
                        [r](const item& i) { return i.r == r; });
  }

  std::list<item> queue;
  std::list<item>::iterator hand = queue.end();
};

void run_random_sieve(std::uint64_t seed) {
  CAPTURE(seed);
  dice any{seed};
  const std::uint64_t room = 1 + any.below(20);
  kept k{evicting(room)};
  naive_sieve model;
  for (int step = 0; step < 3000; ++step) {
    CAPTURE(step);
    record* const some = model.queue.empty()
                           ? nullptr
                           : std::next(model.queue.begin(),
                                       static_cast<long>(
                                         any.below(model.queue.size())))
                               ->r;
    if (some != nullptr && !any.one_in(3)) {
      k.read(*some);
      model.visit(some);
    } else if (some != nullptr && any.one_in(4)) {
      k.table.remove(*some);
      model.remove(some);
    } else {
      std::vector<record*> expected;
      if (model.queue.size() == room)
        expected.push_back(model.evict());
      record& fresh = k.make(1);
      REQUIRE(k.admit(fresh));
      model.insert(&fresh);
      REQUIRE(k.victims == expected);
    }
  }
}

} // namespace

TEST_CASE("eviction follows a plain SIEVE") {
  for (const auto seed : seeds(20))
    run_random_sieve(seed);
}

// -- expiry -------------------------------------------------------------------

TEST_CASE("an idle record lives its timeout and little longer") {
  for (const std::chrono::nanoseconds idle :
       {std::chrono::nanoseconds{1ms}, std::chrono::nanoseconds{67ms},
        std::chrono::nanoseconds{1s}, std::chrono::nanoseconds{10s},
        std::chrono::nanoseconds{1h}, std::chrono::nanoseconds{8760h}}) {
    for (const auto phase : {0ns, 1ns, 33'000'000ns, tick_length - 1ns}) {
      CAPTURE(idle.count());
      CAPTURE(phase.count());
      kept k{refusing(100, idle)};
      k.pass(phase);
      record& r = k.make(1);
      CHECK(k.admit(r));
      const auto gone = k.pass(2 * idle + 2s);
      REQUIRE(gone.count(&r) == 1);
      const auto life = gone.at(&r) - (origin + phase);
      CHECK(life >= idle);
      CHECK(life <= idle + 3 * tick_length);
      CHECK(life <= idle + idle / 10 + 1s);
      CHECK(k.table.bytes() == 0);
      CHECK(k.table.next_wake() == never);
    }
  }
}

TEST_CASE("a read starts the idle timeout anew") {
  kept k{refusing(100, 10s)};
  record& r = k.make(1);
  CHECK(k.admit(r));
  for (int i = 0; i < 100; ++i) {
    CHECK(k.pass(9900ms).empty());
    k.read(r);
  }
  const instant last = k.now;
  const auto gone = k.pass(11s);
  REQUIRE(gone.count(&r) == 1);
  CHECK(gone.at(&r) - last >= 10s);
}

TEST_CASE("a reader whose ticker is a tick behind does not cut a life short") {
  kept k{refusing(100, 1s)};
  record& r = k.make(1);
  CHECK(k.admit(r));
  k.pass(900ms);
  const instant last = k.now;
  r.stamp = to_tick(last) - 1;
  const auto gone = k.pass(3s);
  CHECK(gone.at(&r) - last >= 1s);
}

TEST_CASE("the earliest of idle timeout, time to live, expiry counts") {
  const maybe_time none;
  struct {
    maybe_time idle, time_to_live, expires_in;
    std::chrono::nanoseconds life;
  } const table[] = {
    {none, none, 5s, 5s},    {none, 7s, none, 7s}, {none, 7s, 5s, 5s},
    {none, 5s, 7s, 5s},      {3s, 5s, 7s, 3s},     {7s, 3s, 5s, 3s},
    {7s, 5s, 3s, 3s},        {7s, none, 3s, 3s},   {3s, none, none, 3s},
    {none, 87'600h, 1s, 1s},
  };
  for (const auto& row : table) {
    CAPTURE(row.life.count());
    kept k{refusing(100, row.idle, row.time_to_live)};
    record& r = k.make(1, row.expires_in ? k.now + *row.expires_in : never);
    CHECK(k.admit(r));
    const auto gone = k.pass(10s);
    REQUIRE(gone.count(&r) == 1);
    const auto life = gone.at(&r) - origin;
    CHECK(life >= row.life);
    CHECK(life <= row.life + 3 * tick_length);
  }
}

TEST_CASE("reads do not prolong a time to live") {
  kept k{refusing(100, 1s, 3s)};
  record& r = k.make(1);
  CHECK(k.admit(r));
  std::map<record*, instant> gone;
  while (gone.empty()) {
    REQUIRE(k.now < origin + 4s);
    k.read(r);
    gone = k.pass(500ms);
  }
  CHECK(gone.at(&r) - origin >= 3s);
  CHECK(gone.at(&r) - origin <= 3s + tick_length);
}

TEST_CASE("what cannot expire never wakes the store") {
  kept k{refusing(100)};
  CHECK(k.admit(k.make(1)));
  CHECK(k.table.next_wake() == never);
  CHECK(k.pass(100'000h).empty());
}

TEST_CASE("what has expired before it came goes with the next tick") {
  kept k{refusing(100)};
  record& r = k.make(1, k.now - 1h);
  CHECK(k.admit(r));
  CHECK(k.pass(2 * tick_length).count(&r) == 1);
}

// 32 bits of ticks last nine years.
TEST_CASE("an expiry in many years does not wake the store every tick") {
  for (const auto years : {9, 10, 20, 50, 100, 200}) {
    for (const auto more : {1h, 1000h, 1500h, 2000h}) {
      kept k{refusing(100)};
      CHECK(k.admit(k.make(1, k.now + years * 8766h + more)));
      int wakes = 0;
      for (const instant end = k.now + 1000h; wakes < 1000; ++wakes) {
        if (k.table.next_wake() > end)
          break;
        k.pass(k.table.next_wake() - k.now);
      }
      CHECK(wakes < 1000);
    }
  }
}

// -- the ledger ---------------------------------------------------------------

namespace {

/// Random events, with the invariants of the header after each.
struct random_ledger {
  random_ledger(std::uint64_t seed, const store_options& options_arg)
    : any(seed), options(options_arg), k(options_arg) {
  }

  void step() {
    switch (any.below(7)) {
      case 0:
      case 1:
      case 2:
        return admit();
      case 3:
      case 4:
        return read();
      case 5:
        return remove();
      default:
        return pass();
    }
  }

  void admit() {
    record& r = k.make(1 + any.below(options.memory_limit / 8),
                       any.one_in(2) ? never : k.now + some_time());
    const auto before = k.table.bytes();
    if (k.admit(r)) {
      stored[&r] = k.now;
      REQUIRE(k.table.bytes() <= options.memory_limit);
    } else {
      REQUIRE(before + r.charge > options.memory_limit);
    }
    REQUIRE((options.evict || k.victims.empty()));
    for (record* const victim : k.victims)
      REQUIRE(stored.erase(victim) == 1);
  }

  void read() {
    if (stored.empty())
      return;
    auto& [r, last] = *some();
    k.read(*r);
    last = k.now;
  }

  void remove() {
    if (stored.empty())
      return;
    const auto at = some();
    k.table.remove(*at->first);
    stored.erase(at);
  }

  void pass() {
    for (const auto& [r, when] : k.pass(some_time())) {
      REQUIRE(stored.count(r) == 1);
      REQUIRE(when >= end_of(*r));
      REQUIRE(when < later(end_of(*r), 3 * tick_length + 1ns));
      stored.erase(r);
    }
    for (const auto& [r, last] : stored)
      REQUIRE(k.now < later(end_of(*r), 3 * tick_length + 1ns));
  }

  instant end_of(record& r) {
    return std::min(r.expires_at,
                    options.idle ? later(stored.at(&r), *options.idle) : never);
  }

  void check() {
    REQUIRE(k.table.bytes() == charges());
    REQUIRE(k.table.entries() == stored.size());
    for (const record& r : k.records)
      REQUIRE(r.stored == (stored.count(const_cast<record*>(&r)) == 1));
    for (const auto& [r, last] : stored)
      REQUIRE(r->scheduled == (end_of(*r) != never));
  }

  std::uint64_t charges() const {
    std::uint64_t sum = 0;
    for (const auto& [r, last] : stored)
      sum += r->charge;
    return sum;
  }

  std::chrono::nanoseconds some_time() {
    return std::chrono::nanoseconds{any.below(any.any_of<std::uint64_t>(
      {1'000'000, 100'000'000, 10'000'000'000, 3'600'000'000'000}))};
  }

  std::map<record*, instant>::iterator some() {
    return std::next(stored.begin(),
                     static_cast<long>(any.below(stored.size())));
  }

  dice any;
  store_options options;
  kept k;
  std::map<record*, instant> stored; ///< with the last read
};

} // namespace

TEST_CASE("the ledger is the sum of the charges, whatever happens") {
  for (const auto seed : seeds(10)) {
    for (const bool evict : {false, true}) {
      for (const bool idle : {false, true}) {
        CAPTURE(seed);
        CAPTURE(evict);
        CAPTURE(idle);
        const maybe_time timeout = idle ? maybe_time{5s} : std::nullopt;
        random_ledger ledger{seed, evict ? evicting(1000, timeout)
                                         : refusing(1000, timeout)};
        for (int step = 0; step < 1000; ++step) {
          CAPTURE(step);
          ledger.step();
          ledger.check();
        }
      }
    }
  }
}
