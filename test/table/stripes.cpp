#include "coopcache/table/stripes.hpp"

#include "table/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

using namespace coopcache::test;
using coopcache::table::max_striped;
using coopcache::table::stripe_count;
using coopcache::table::stripes;

namespace {

/// A table of one tracked entry, and what its readers do.
struct fixture {
  fixture() {
    put(*table, make_tracked("hot", all, 7));
  }

  ~fixture() {
    table = nullptr;
    await_reclamation();
    CHECK(all.alive == 0);
    CHECK(all.damaged == 0);
  }

  void read(std::string_view key, int times) {
    for (int i = 0; i < times; ++i)
      if (const entry_ptr e = table->find(key); !e || number_of(*e) != 7)
        ++all.damaged;
  }

  /// Two threads take turns, each long enough to be sampled.
  void contend(std::string_view key, std::size_t rounds = 40) {
    in_turns(2, rounds, [&](std::size_t) { read(key, 64); });
  }

  std::uint64_t striped() const {
    return table->striped_bytes() / sizeof(stripes);
  }

  census all;
  std::unique_ptr<hot_table> table = std::make_unique<hot_table>(true, 1);
};

} // namespace

TEST_CASE("an entry on which threads collide counts per thread") {
  fixture f;
  f.contend("hot");
  CHECK(f.striped() == 1);
  CHECK(f.table->striped_bytes() == sizeof(stripes));
  f.read("hot", 100);
}

TEST_CASE("an entry that one thread reads does not count per thread") {
  fixture f;
  f.read("hot", 100'000);
  CHECK(f.striped() == 0);
}

TEST_CASE("collisions in different ticks do not add up") {
  fixture f;
  for (unsigned tick = 2; tick < 20; ++tick) {
    f.table->set_time(tick);
    f.contend("hot", 8);
  }
  CHECK(f.striped() == 0);
}

TEST_CASE("only so many entries of a table count per thread") {
  fixture f;
  for (unsigned i = 0; i < max_striped + 5; ++i)
    put(*f.table, make_tracked(key_of(i), f.all, 7));
  for (unsigned i = 0; i < max_striped + 5; ++i)
    f.contend(key_of(i), 20);
  CHECK(f.striped() == max_striped);
  erase(*f.table, key_of(0));
  await_reclamation();
  CHECK(f.striped() == max_striped - 1);
  f.contend(key_of(max_striped + 1), 20);
  CHECK(f.striped() == max_striped);
  f.table->clear([](entry&) {});
  await_reclamation();
  CHECK(f.striped() == 0);
}

TEST_CASE("a reference may be dropped by another thread than took it") {
  fixture f;
  f.contend("hot");
  std::vector<entry_ptr> held;
  std::jthread{[&] {
    for (int i = 0; i < 100; ++i)
      held.push_back(f.table->find("hot"));
  }}.join();
  std::jthread{[&] { held.resize(50); }}.join();
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
  CHECK(f.striped() == 0);
  std::jthread{[&] { held.resize(1); }}.join();
  CHECK(f.all.alive == 1);
  held.clear();
  CHECK(f.all.alive == 0);
}

TEST_CASE("a result taken before an entry counted per thread counts after") {
  fixture f;
  const entry_ptr before = f.table->find("hot");
  f.contend("hot");
  REQUIRE(f.striped() == 1);
  entry_ptr copy = before;
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
  CHECK(number_of(*before) == 7);
}

// 1. A thread that copies a result finds that the entry counts per thread.
// 2. The entry is let go, and its counts per thread are taken from it.
// 3. The thread counts in them: they must be there, and this must be seen.
TEST_CASE("copies of a result are counted while the entry is let go") {
  fixture f;
  const auto in_use = std::make_shared<std::atomic<int>>(0);
  entry_ptr kept;
  std::barrier step{3};
  on_threads(3, [&](std::size_t i) {
    for (int round = 0; round < 20; ++round) {
      if (i == 0) {
        put(*f.table, make_tracked("next", f.all, 7));
        stripes::give(*f.table->lookup("next"), in_use);
        kept = f.table->find("next");
        erase(*f.table, "next");
      }
      step.arrive_and_wait();
      while (*in_use != 0) {
        const entry_ptr copy = kept;
        if (number_of(*copy) != 7)
          ++f.all.damaged;
      }
      step.arrive_and_wait();
    }
  });
  await_reclamation();
  CHECK(f.all.alive == 2);
}

TEST_CASE("results outlive the table and the thread that took them") {
  census all;
  entry_ptr plain, striped;
  {
    fixture f;
    put(*f.table, make_tracked("plain", all, 1));
    put(*f.table, make_tracked("striped", all, 7));
    f.contend("striped");
    CHECK(f.striped() == 1);
    std::jthread{[&] {
      plain = f.table->find("plain");
      striped = f.table->find("striped");
    }}.join();
  }
  CHECK(all.alive == 2);
  CHECK(number_of(*plain) == 1);
  CHECK(number_of(*striped) == 7);
  std::jthread{[&] { plain = entry_ptr{}; }}.join();
  CHECK(all.alive == 1);
  striped = entry_ptr{};
  CHECK(all.alive == 0);
  CHECK(all.damaged == 0);
}

// The thread that finds an entry first counts in a small counter of its own.
TEST_CASE("one thread takes more references than its counter holds") {
  constexpr std::size_t many = 2'200'000;
  fixture f;
  std::vector<entry_ptr> held;
  held.reserve(many);
  for (std::size_t i = 0; i < many; ++i)
    held.push_back(f.table->find("hot"));
  std::jthread{[&] { held.resize(1); }}.join();
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
  held.clear();
  CHECK(f.all.alive == 0);
}

TEST_CASE("one thread drops more references than its counter holds") {
  constexpr std::size_t many = 2'200'000;
  fixture f;
  std::vector<entry_ptr> held(many, f.table->find("hot"));
  std::jthread{[&] { held.assign(many, f.table->find("hot")); }}.join();
  held.resize(1);
  CHECK(f.all.alive == 1);
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
  held.clear();
  CHECK(f.all.alive == 0);
}

TEST_CASE("a thread that owned an entry may end before it") {
  fixture f;
  entry_ptr kept;
  std::jthread{[&] { kept = f.table->find("hot"); }}.join();
  std::jthread{[&] {
    const entry_ptr copy = kept; // by a thread of the same index
    kept = f.table->find("hot");
  }}.join();
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
  kept = entry_ptr{};
  CHECK(f.all.alive == 0);
}

TEST_CASE("more threads than stripes count right, at once and in succession") {
  fixture f;
  f.contend("hot");
  for (int round = 0; round < 3; ++round) {
    constexpr std::size_t threads = stripe_count + 6;
    std::vector<std::vector<entry_ptr>> held(threads);
    std::barrier all_live{static_cast<std::ptrdiff_t>(threads)};
    on_threads(threads, [&](std::size_t i) {
      for (int n = 0; n < 50; ++n)
        held[i].push_back(f.table->find("hot"));
      all_live.arrive_and_wait();
      held[(i + 1) % threads].clear();
      all_live.arrive_and_wait();
    });
  }
  CHECK(f.striped() == 1);
  const entry_ptr last = f.table->find("hot");
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
}

TEST_CASE("each live thread has an index of its own, and gives it back") {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::uint32_t> taken(8);
    std::barrier all_live{8};
    on_threads(8, [&](std::size_t i) {
      taken[i] = coopcache::table::thread_index();
      all_live.arrive_and_wait();
    });
    std::sort(taken.begin(), taken.end());
    CHECK(std::adjacent_find(taken.begin(), taken.end()) == taken.end());
    CHECK(taken.back() < stripe_count); // the lowest that are free
  }
}
