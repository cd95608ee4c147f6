#include "core/random.hpp"
#include "table/support.hpp"

#include <doctest/doctest.h>

#include <array>
#include <memory>

// Readers against the one writer. What goes wrong here goes wrong for few
// nanoseconds: the tests are worth most under the sanitizers, and bounded by
// work, so that they end everywhere.

using namespace coopcache::test;

namespace {

constexpr std::size_t readers = 3;

/// A table with keys that are always there, and others that come and go.
struct busy {
  ~busy() {
    held = {};
    table = nullptr;
    await_reclamation();
    CHECK(all.alive == 0);
    CHECK(all.damaged == 0);
    CHECK(wrong == 0);
  }

  void put(std::uint64_t key) {
    coopcache::test::put(*table, make_tracked(key_of(key), all, key));
  }

  /// Reads a key and keeps the result for a while.
  bool read(std::size_t who, std::uint64_t key, std::uint64_t turn) {
    entry_ptr e = table->find(key_of(key));
    if (!e)
      return false;
    const auto& value = e->value<tracked>();
    if (!value.intact() || value.number() != key || e->key() != key_of(key))
      ++wrong;
    held[who][turn % held[who].size()] = std::move(e);
    return true;
  }

  void write_until_read(const std::function<void(std::uint64_t)>& write,
                        const std::function<void(std::size_t)>& read_all) {
    std::atomic<std::size_t> reading{readers};
    on_threads(readers + 1, [&](std::size_t i) {
      if (i < readers) {
        read_all(i);
        --reading;
        return;
      }
      for (std::uint64_t turn = 0; reading != 0; ++turn)
        write(turn);
    });
  }

  census all;
  std::atomic<std::uint64_t> wrong{0};
  std::unique_ptr<hot_table> table = std::make_unique<hot_table>(true, 1);
  std::array<std::array<entry_ptr, 8>, readers> held;
};

} // namespace

TEST_CASE("what is in the table is found while others come and go") {
  constexpr std::uint64_t stable = 20, passing = 400;
  busy b;
  for (std::uint64_t key = 0; key < stable; ++key)
    b.put(key);
  dice writer{1};
  b.write_until_read(
    [&](std::uint64_t turn) {
      // Waves: the table grows, and shrinks again.
      const auto key = stable + writer.below(passing);
      if (turn / 1000 % 2 == 0)
        b.put(key);
      else
        erase(*b.table, key_of(key));
      b.put(turn % stable);
    },
    [&](std::size_t who) {
      dice any{who};
      for (std::uint64_t turn = 0; turn < 20'000 * effort; ++turn) {
        if (!b.read(who, turn % stable, turn))
          ++b.wrong;
        static_cast<void>(b.read(who, stable + any.below(passing), turn));
      }
    });
}

TEST_CASE("a reader never sees an older value after a newer one") {
  census all;
  constexpr std::uint64_t keys = 8;
  std::array<std::atomic<std::uint64_t>, keys> written{};
  std::atomic<std::uint64_t> wrong{0};
  {
    hot_table t{false, 1};
    std::atomic<std::size_t> reading{readers};
    on_threads(readers + 1, [&](std::size_t i) {
      if (i == readers) {
        for (std::uint64_t n = 1; reading != 0; ++n) {
          const auto key = n % keys;
          if (n % 97 == 0)
            erase(t, key_of(key));
          if (n % 1009 == 0)
            t.clear([](entry&) {});
          put(t, make_tracked(key_of(key), all, n));
          written[key] = n;
        }
        return;
      }
      for (std::uint64_t turn = 0; turn < 20'000 * effort; ++turn) {
        const auto key = turn % keys;
        const std::uint64_t least = written[key];
        if (const entry_ptr e = t.find(key_of(key)); e && number_of(*e) < least)
          ++wrong;
      }
      --reading;
    });
  }
  await_reclamation();
  CHECK(wrong == 0);
  CHECK(all.alive == 0);
  CHECK(all.damaged == 0);
}

TEST_CASE("after a clear nobody sees what was there before") {
  census all;
  constexpr std::uint64_t keys = 50;
  std::atomic<std::uint64_t> epoch{0};
  std::atomic<std::uint64_t> wrong{0};
  {
    hot_table t{false, 1};
    std::atomic<std::size_t> reading{readers};
    on_threads(readers + 1, [&](std::size_t i) {
      if (i == readers) {
        for (std::uint64_t n = 1; reading != 0; ++n) {
          t.clear([](entry&) {});
          epoch = n;
          for (std::uint64_t key = 0; key < keys; ++key)
            put(t, make_tracked(key_of(key), all, n));
        }
        return;
      }
      for (std::uint64_t turn = 0; turn < 20'000 * effort; ++turn) {
        const std::uint64_t least = epoch;
        if (const entry_ptr e = t.find(key_of(turn % keys));
            e && number_of(*e) < least)
          ++wrong;
        if (turn % 1000 == 0) {
          std::vector<entry_ptr> now;
          t.collect(now);
          for (const entry_ptr& e : now)
            if (number_of(*e) < least)
              ++wrong;
        }
      }
      --reading;
    });
  }
  await_reclamation();
  CHECK(wrong == 0);
  CHECK(all.alive == 0);
  CHECK(all.damaged == 0);
}

TEST_CASE("results that go to other threads are counted under load") {
  busy b;
  constexpr std::uint64_t hot = 3;
  for (std::uint64_t key = 0; key < hot; ++key)
    b.put(key);
  std::array<std::atomic<entry*>, readers> handed{};
  dice writer{1};
  b.write_until_read(
    [&](std::uint64_t turn) {
      if (turn % 64 != 0)
        return std::this_thread::yield();
      if (writer.one_in(4))
        erase(*b.table, key_of(turn % hot));
      b.put(turn / 64 % hot);
    },
    [&](std::size_t who) {
      for (std::uint64_t turn = 0; turn < 60'000 * effort; ++turn) {
        static_cast<void>(b.read(who, turn / 128 % hot, turn));
        if (turn % 64 == 0)
          std::this_thread::yield(); // so that readers take turns
        // A result goes to another thread, which drops it.
        entry* const mine = entry_ptr{b.held[who][0]}.release();
        const entry_ptr dropped{handed[(who + 1) % readers].exchange(mine)};
      }
    });
  for (auto& each : handed)
    const entry_ptr dropped{each.exchange(nullptr)};
}

TEST_CASE("visitors and collectors do not see what is gone") {
  busy b;
  constexpr std::uint64_t keys = 30;
  b.write_until_read(
    [&](std::uint64_t turn) {
      b.put(turn % keys);
      erase(*b.table, key_of((turn + 7) % keys));
    },
    [&](std::size_t who) {
      const auto look = [](void* to, const entry& e) {
        if (!e.value<tracked>().intact())
          ++*static_cast<std::atomic<std::uint64_t>*>(to);
      };
      for (std::uint64_t turn = 0; turn < 10'000 * effort; ++turn) {
        static_cast<void>(
          b.table->visit(key_of((turn + who) % keys), look, &b.wrong));
        if (const entry_ptr e = b.table->peek(key_of(turn % keys)))
          look(&b.wrong, *e);
        if (turn % 100 != 0)
          continue;
        std::vector<entry_ptr> now;
        b.table->collect(now);
        for (const entry_ptr& e : now)
          look(&b.wrong, *e);
      }
    });
}

TEST_CASE("threads come and go while the table is read and written") {
  busy b;
  b.put(1);
  std::uint64_t expected = 0;
  for (int round = 0; round < 50; ++round) {
    on_threads(readers + 1, [&](std::size_t i) {
      for (std::uint64_t turn = 0; turn < 100; ++turn) {
        if (i == readers)
          b.put(1);
        else if (!b.read(i, 1, turn))
          ++b.wrong;
      }
    });
    expected += 100 * readers;
    REQUIRE(b.table->counts().hits == expected);
  }
}
