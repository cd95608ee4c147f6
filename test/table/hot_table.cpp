#include "coopcache/table/hot_table.hpp"

#include "coopcache/table/clock.hpp"
#include "coopcache/table/hash.hpp"
#include "core/random.hpp"
#include "table/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

using namespace coopcache;
using namespace coopcache::test;
using namespace std::chrono_literals;

namespace {

/// An entry with nothing to say.
entry_ptr make_plain(std::string_view key,
                     core::instant expires_at = core::never) {
  entry_ptr e{entry::make(key, 0)};
  e->expire_at(expires_at);
  return e;
}

} // namespace

// -- against a plain map ------------------------------------------------------

namespace {

/// The table beside a `std::map`, both written alike.
struct table_and_model {
  table_and_model(std::uint64_t seed, std::uint64_t keys_arg)
    : any(seed), keys(keys_arg) {
  }

  /// One event; of eight puts and erasures, `puts` are puts.
  void step(std::uint64_t puts) {
    const auto key = key_of(any.below(keys));
    if (any.below(8) < puts) {
      test::put(*table, make_tracked(key, all, ++last));
      model[key] = last;
    } else {
      test::erase(*table, key);
      model.erase(key);
    }
    check(key);
    check(key_of(any.below(keys)));
    REQUIRE(table->size() == model.size());
  }

  void clear() {
    std::map<std::string, std::uint64_t> seen;
    table->clear(
      [&](entry& e) { seen.emplace(std::string{e.key()}, number_of(e)); });
    REQUIRE(seen == model);
    model.clear();
    REQUIRE(table->size() == 0);
  }

  void check(const std::string& key) const {
    const auto expected = model.find(key);
    const entry_ptr found = table->find(key);
    REQUIRE(table->peek(key).get() == found.get());
    REQUIRE(table->lookup(key) == found.get());
    REQUIRE(!found == (expected == model.end()));
    if (found)
      REQUIRE(number_of(*found) == expected->second);
  }

  void check_all() const {
    std::vector<entry_ptr> found;
    table->collect(found);
    std::map<std::string, std::uint64_t> as_map;
    for (const auto& e : found)
      as_map.emplace(std::string{e->key()}, number_of(*e));
    REQUIRE(found.size() == model.size());
    REQUIRE(as_map == model);
    for (const auto& [key, number] : model)
      check(key);
  }

  dice any;
  std::uint64_t keys;
  census all;
  std::unique_ptr<hot_table> table = std::make_unique<hot_table>(true, 1);
  std::map<std::string, std::uint64_t> model;
  std::uint64_t last = 0;
};

void run_random_table(std::uint64_t seed, std::uint64_t keys) {
  CAPTURE(seed);
  CAPTURE(keys);
  table_and_model both{seed, keys};
  const auto steps = 500 + 2 * keys;
  // Grows, churns, shrinks, grows, is cleared, grows again.
  for (const std::uint64_t puts : {8U, 7U, 4U, 1U, 0U, 6U}) {
    for (std::uint64_t i = 0; i < steps; ++i)
      both.step(puts);
    both.check_all();
  }
  both.clear();
  both.check_all();
  for (std::uint64_t i = 0; i < steps; ++i)
    both.step(5);
  both.check_all();
  await_reclamation();
  REQUIRE(both.all.alive == static_cast<std::int64_t>(both.model.size()));
  both.table = nullptr;
  await_reclamation();
  REQUIRE(both.all.alive == 0);
  REQUIRE(both.all.damaged == 0);
}

} // namespace

TEST_CASE("the table has what a plain map would have") {
  for (const auto seed : seeds(effort / 2))
    for (const std::uint64_t keys : {1U, 10U, 16U, 100U, 3000U})
      run_random_table(seed, keys);
}

TEST_CASE("a replaced entry is returned, and good for those who have it") {
  census all;
  hot_table t{false, 1};
  CHECK(t.put(make_tracked("a", all, 1)) == nullptr);
  const entry_ptr held = t.find("a");
  entry* const old = t.put(make_tracked("a", all, 2));
  REQUIRE(old == held.get());
  CHECK(number_of(*old) == 1);
  CHECK(number_of(*t.find("a")) == 2);
  CHECK(t.size() == 1);
  hot_table::retire(*old);
  await_reclamation();
  CHECK(number_of(*held) == 1);
  CHECK(all.alive == 2);
}

TEST_CASE("puts and erasures for ever do not fill the table with ruins") {
  hot_table t{false, 1};
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    put(t, make_plain(key_of(i)));
    if (i >= 5)
      erase(t, key_of(i - 5));
    REQUIRE(t.size() == std::min<std::uint64_t>(i + 1, 5));
  }
  CHECK_FALSE(t.find("never there"));
}

#ifndef COOPCACHE_TEST_THREAD_SANITIZED // which does not see liburcu wait
TEST_CASE("to drain is to wait until all that was retired is destroyed") {
  for (int round = 0; round < 20; ++round) {
    census all;
    hot_table t{false, 1};
    for (std::uint64_t i = 0; i < 100; ++i)
      put(t, make_tracked(key_of(i), all, i));
    t.clear([](entry&) {});
    hot_table::drain();
    REQUIRE(all.alive == 0);
  }
}
#endif

// -- keys that look alike -----------------------------------------------------

namespace {

/// What the table knows of a hash: the start of the probe in its smallest
/// array, and the tag.
std::uint64_t look_of(std::string_view key) {
  const auto hash = table::hash_of(key, table::hash_seed());
  return (hash >> 48 & 0x7fff) << 4 | (hash & 15);
}

/// Two keys of `size` bytes that look alike to a table and differ only within
/// the three bytes at `at`.
std::optional<std::pair<std::string, std::string>> twins(std::size_t size,
                                                         std::size_t at) {
  std::unordered_map<std::uint64_t, std::string> seen;
  std::string key(size, 'x');
  for (unsigned i = 0; i < 10'000; ++i) {
    key[at] = static_cast<char>(i);
    key[at + 1] = static_cast<char>(i >> 8);
    key[at + 2] = static_cast<char>(i * 7);
    const auto [other, fresh] = seen.emplace(look_of(key), key);
    if (!fresh)
      return std::pair{other->second, key};
  }
  return std::nullopt;
}

} // namespace

TEST_CASE("keys with the same tag and place differ by their bytes") {
  census all;
  int found = 0;
  for (std::size_t size = 3; size <= 40; ++size) {
    for (const std::size_t at : {std::size_t{0}, size / 2 - 1, size - 3}) {
      const auto pair = twins(size, at);
      if (!pair)
        continue;
      ++found;
      CAPTURE(size);
      CAPTURE(at);
      hot_table t{false, 1};
      put(t, make_tracked(pair->first, all, 1));
      CHECK_FALSE(t.find(pair->second));
      put(t, make_tracked(pair->second, all, 2));
      CHECK(t.size() == 2);
      CHECK(number_of(*t.find(pair->first)) == 1);
      CHECK(number_of(*t.find(pair->second)) == 2);
      erase(t, pair->first);
      CHECK_FALSE(t.find(pair->first));
      CHECK(number_of(*t.find(pair->second)) == 2);
    }
  }
  CHECK(found >= 100);
}

TEST_CASE("keys of any bytes and any length are told apart") {
  hot_table t{false, 1};
  std::vector<std::string> keys{"", std::string(1, '\0'), std::string(2, '\0'),
                                "\xff", std::string(65'536, 'x')};
  for (std::size_t size = 1; size < 70; ++size)
    keys.push_back(std::string(size, 'k'));
  for (const auto& key : keys) {
    CHECK_FALSE(t.find(key));
    put(t, make_plain(key));
  }
  for (const auto& key : keys)
    CHECK(t.find(key)->key() == key);
  CHECK(t.size() == keys.size());
}

TEST_CASE("a chain of entries in one place survives erasures within it") {
  std::map<std::uint64_t, std::vector<std::string>> by_place;
  for (std::uint64_t i = 0; i < 200; ++i)
    by_place[table::hash_of(key_of(i), table::hash_seed()) & 15].push_back(
      key_of(i));
  const auto longest = std::max_element(by_place.begin(), by_place.end(),
                                        [](const auto& a, const auto& b) {
                                          return a.second.size()
                                                 < b.second.size();
                                        });
  auto& chain = longest->second;
  chain.resize(10);
  for (unsigned gone = 0; gone < 1024; ++gone) {
    hot_table t{false, 1};
    for (const auto& key : chain)
      put(t, make_plain(key));
    for (unsigned i = 0; i < 10; ++i)
      if ((gone >> i & 1U) != 0)
        erase(t, chain[i]);
    for (unsigned i = 0; i < 10; ++i)
      REQUIRE(!t.find(chain[i]) == ((gone >> i & 1U) != 0));
    for (const auto& key : chain)
      put(t, make_plain(key));
    REQUIRE(t.size() == 10);
  }
}

// -- expiry -------------------------------------------------------------------

TEST_CASE("what has expired is not served, though it is still there") {
  hot_table t{true, 1};
  const auto now = table::precise_now();
  put(t, make_plain("old", now - 1ms));
  put(t, make_plain("now", now));
  put(t, make_plain("good", now + 1h));
  put(t, make_plain("for ever"));
  int visits = 0;
  const auto count = [](void* n, const entry&) { ++*static_cast<int*>(n); };
  for (const auto* const key : {"old", "now"}) {
    CHECK_FALSE(t.find(key));
    CHECK_FALSE(t.peek(key));
    CHECK_FALSE(t.visit(key, count, &visits));
    CHECK(t.lookup(key) != nullptr);
  }
  CHECK(visits == 0);
  CHECK(t.find("good"));
  CHECK(t.find("for ever"));
  std::vector<entry_ptr> all;
  t.collect(all);
  CHECK(all.size() == 2);
  CHECK(t.size() == 4);
  CHECK(t.counts().hits == 2);
}

TEST_CASE("an entry is served until its instant and not after it") {
  for (int round = 0; round < 3; ++round) {
    hot_table t{false, 1};
    const auto end = table::precise_now() + 15ms;
    put(t, make_plain("a", end));
    for (bool over = false; !over;) {
      const auto before = table::precise_now();
      const bool hit = static_cast<bool>(t.find("a"));
      const auto after = table::precise_now();
      if (before >= end)
        REQUIRE_FALSE(hit);
      if (after < end)
        REQUIRE(hit);
      over = before >= end;
    }
  }
}

TEST_CASE("the coarse clock is behind the precise one, and not by much") {
  for (int i = 0; i < 10'000; ++i) {
    const auto before = table::precise_now();
    const auto coarse = table::coarse_now();
    const auto after = table::precise_now();
    REQUIRE(coarse <= after);
    REQUIRE(coarse + table::coarse_step >= before);
  }
}

// -- what a read leaves behind ------------------------------------------------

TEST_CASE("a hit leaves its tick, a mark, and a count; a look does not") {
  for (const bool stamps : {false, true}) {
    CAPTURE(stamps);
    hot_table t{stamps, 100};
    put(t, make_plain("a"));
    entry& e = *t.lookup("a");
    CHECK(t.peek("a"));
    std::vector<entry_ptr> all;
    t.collect(all);
    CHECK(e.stamp == 0);
    CHECK_FALSE(e.visited);
    CHECK(t.counts().hits == 0);
    CHECK(t.find("a"));
    CHECK(e.stamp == (stamps ? 100 : 0));
    CHECK(e.visited);
    t.set_time(101);
    CHECK(t.visit(
      "a", [](void*, const entry&) {}, nullptr));
    CHECK(e.stamp == (stamps ? 101 : 0));
    CHECK(t.counts().hits == 2);
  }
}

TEST_CASE("a visitor gets its context and the entry, and takes no reference") {
  census all;
  hot_table t{false, 1};
  put(t, make_tracked("a", all, 7));
  std::uint64_t seen = 0;
  const auto see = [](void* to, const entry& e) {
    *static_cast<std::uint64_t*>(to) = number_of(e);
  };
  CHECK(t.visit("a", see, &seen));
  CHECK(seen == 7);
  CHECK_FALSE(t.visit("b", see, &seen));
  erase(t, "a");
  await_reclamation();
  CHECK(all.alive == 0);
}

TEST_CASE("counts are exact, also of threads that have ended") {
  hot_table t{false, 1};
  put(t, make_plain("a"));
  for (std::uint64_t round = 1; round <= 5; ++round) {
    on_threads(4, [&](std::size_t i) {
      for (std::size_t n = 0; n < 1000 + i; ++n) {
        static_cast<void>(t.find("a"));
        static_cast<void>(t.find("b"));
        t.count_miss();
        if (n % 2 == 0)
          t.count_join();
      }
      for (int n = 0; n < 10; ++n)
        t.count_hit();
    });
    const auto counts = t.counts();
    CHECK(counts.hits == round * (4006 + 40));
    CHECK(counts.misses == round * 4006);
    CHECK(counts.joined == round * (500 + 501 + 501 + 502));
  }
}

TEST_CASE("a thread counts for each of many tables") {
  std::vector<std::unique_ptr<hot_table>> tables;
  for (int i = 0; i < 50; ++i) {
    tables.push_back(std::make_unique<hot_table>(false, 1));
    put(*tables.back(), make_plain("a"));
  }
  on_threads(2, [&](std::size_t) {
    for (int round = 0; round < 20; ++round)
      for (const auto& t : tables)
        static_cast<void>(t->find("a"));
  });
  for (const auto& t : tables)
    CHECK(t->counts().hits == 40);
  for (std::size_t i = 0; i < tables.size(); i += 2)
    tables[i] = std::make_unique<hot_table>(false, 1);
  for (std::size_t i = 0; i < tables.size(); ++i) {
    tables[i]->count_miss();
    CHECK(tables[i]->counts().hits == (i % 2 == 0 ? 0 : 40));
    CHECK(tables[i]->counts().misses == 1);
  }
}

TEST_CASE("a thread may outlive the tables that it has read") {
  std::barrier step{2};
  auto t = std::make_unique<hot_table>(false, 1);
  put(*t, make_plain("a"));
  std::jthread reader{[&] {
    static_cast<void>(t->find("a"));
    step.arrive_and_wait();
    step.arrive_and_wait();
    hot_table other{false, 1};
    CHECK_FALSE(other.find("a"));
  }};
  step.arrive_and_wait();
  t = nullptr;
  step.arrive_and_wait();
}

// A thread-local object that is made before the first read is destroyed after
// the readers of its thread have been given back.
TEST_CASE("a thread may read until its very end") {
  static hot_table* table = nullptr;
  hot_table t{false, 1};
  table = &t;
  REQUIRE(t.put(entry_ptr{entry::make("a", 1)}) == nullptr);
  static std::atomic<int> seen{0};
  struct late_reader {
    ~late_reader() {
      seen = table->find("a") ? 1 : -1;
    }
  };
  std::thread{[&t] {
    static thread_local const late_reader late;
    static_cast<void>(late);
    static_cast<void>(t.find("a"));
  }}.join();
  CHECK(seen == 1);
  CHECK(t.counts().hits == 2);
}
