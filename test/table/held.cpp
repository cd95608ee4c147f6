#include "coopcache/table/thread_record.hpp"

#include "table/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

using namespace coopcache::test;
using coopcache::table::thread_indices;

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

  census all;
  std::unique_ptr<hot_table> table = std::make_unique<hot_table>(true, 1);
};

/// The entry that the calling thread holds without having counted it.
const entry* held_here() {
  using coopcache::table::detail::records;
  return records[coopcache::table::thread_index()].held;
}

} // namespace

TEST_CASE("a result that is dropped soon is not counted in the entry") {
  fixture f;
  std::jthread{[&] {
    REQUIRE(held_here() == nullptr);
    {
      const entry_ptr e = f.table->find("hot");
      CHECK(held_here() == e.get());
      const entry_ptr second = f.table->find("hot");
      const entry_ptr copy = e;
      CHECK(held_here() == e.get());
    }
    CHECK(held_here() == nullptr);
  }}.join();
}

TEST_CASE("a result that is kept is counted after a while") {
  fixture f;
  std::jthread{[&] {
    const entry_ptr kept = f.table->find("hot");
    put(*f.table, make_tracked("other", f.all, 7));
    CHECK(held_here() == kept.get());
    f.read("other", 64);
    CHECK(held_here() == nullptr);
    erase(*f.table, "hot");
    await_reclamation();
    CHECK(number_of(*kept) == 7);
  }}.join();
}

TEST_CASE("a reference may be dropped by another thread than took it") {
  fixture f;
  std::vector<entry_ptr> kept;
  std::jthread{[&] {
    for (int i = 0; i < 100; ++i)
      kept.push_back(f.table->find("hot"));
  }}.join();
  std::jthread{[&] { kept.resize(50); }}.join();
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
  std::jthread{[&] { kept.resize(1); }}.join();
  CHECK(f.all.alive == 1);
  kept.clear();
  CHECK(f.all.alive == 0);
}

// What a thread holds may be any of several references.
TEST_CASE("a thread may let go where another one's reference was meant") {
  fixture f;
  entry_ptr other = f.table->find("hot");
  std::jthread{[&] {
    entry_ptr own = f.table->find("hot");
    other = entry_ptr{};
    CHECK(number_of(*own) == 7);
    erase(*f.table, "hot");
    await_reclamation();
    CHECK(number_of(*own) == 7);
    CHECK(f.all.alive == 1);
  }}.join();
  await_reclamation();
  CHECK(f.all.alive == 0);
}

TEST_CASE("a thread keeps results of many entries") {
  constexpr unsigned many = 800;
  fixture f;
  std::vector<entry_ptr> kept;
  for (unsigned i = 0; i < many; ++i) {
    put(*f.table, make_tracked(key_of(i), f.all, i));
    kept.push_back(f.table->find(key_of(i)));
  }
  f.table->clear([](entry&) {});
  await_reclamation();
  CHECK(f.all.alive == many);
  for (unsigned i = 0; i < many; ++i)
    CHECK(number_of(*kept[i]) == i);
  kept.erase(kept.begin(), kept.begin() + many / 2);
  CHECK(f.all.alive == many / 2);
  std::jthread{[&] { kept.clear(); }}.join();
  CHECK(f.all.alive == 0);
}

// 1. A thread lets go of the entry that it holds.
// 2. Meanwhile that is retired, and references of threads are counted.
// 3. The one is either seen to be gone or counted, never both.
TEST_CASE("results are dropped while their entry is let go") {
  fixture f;
  std::atomic<bool> found{false};
  std::barrier step{3};
  on_threads(3, [&](std::size_t i) {
    for (std::uint64_t round = 0; round < 300 * effort; ++round) {
      if (i == 0)
        put(*f.table, make_tracked("next", f.all, round));
      step.arrive_and_wait();
      if (i == 0)
        erase(*f.table, "next");
      for (int turn = 0; i != 0 && turn < 20; ++turn) {
        entry_ptr e = f.table->find("next");
        if (!e)
          break;
        const entry_ptr copy = e;
        e = entry_ptr{};
        found = true;
        if (number_of(*copy) != round)
          ++f.all.damaged;
      }
      step.arrive_and_wait();
    }
  });
  CHECK(found);
  await_reclamation();
  CHECK(f.all.alive == 1);
}

TEST_CASE("results outlive the table and the thread that took them") {
  census all;
  entry_ptr kept;
  {
    fixture f;
    put(*f.table, make_tracked("kept", all, 3));
    std::jthread{[&] { kept = f.table->find("kept"); }}.join();
  }
  CHECK(all.alive == 1);
  CHECK(number_of(*kept) == 3);
  std::jthread{[&] { kept = entry_ptr{}; }}.join();
  CHECK(all.alive == 0);
  CHECK(all.damaged == 0);
}

TEST_CASE("a thread that held an entry may end before it") {
  fixture f;
  entry_ptr kept;
  std::jthread{[&] { kept = f.table->find("hot"); }}.join();
  std::jthread{[&] { // of the same index
    CHECK(held_here() == kept.get());
    const entry_ptr copy = kept;
    kept = f.table->find("hot");
    CHECK(held_here() == nullptr);
  }}
    .join();
  erase(*f.table, "hot");
  await_reclamation();
  CHECK(f.all.alive == 1);
  kept = entry_ptr{};
  CHECK(f.all.alive == 0);
}

TEST_CASE("more threads than indices count right, at once and in succession") {
  fixture f;
  for (int round = 0; round < 3; ++round) {
    constexpr std::size_t threads = thread_indices + 6;
    std::vector<std::vector<entry_ptr>> kept(threads);
    std::barrier all_live{static_cast<std::ptrdiff_t>(threads)};
    on_threads(threads, [&](std::size_t i) {
      for (int n = 0; n < 50; ++n)
        kept[i].push_back(f.table->find("hot"));
      all_live.arrive_and_wait();
      kept[(i + 1) % threads].clear();
      all_live.arrive_and_wait();
    });
  }
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
    CHECK(taken.back() < 16); // the lowest that are free
  }
}
