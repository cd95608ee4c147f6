#include "sim/cluster_of.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

// One bad moment at a time: views.

using namespace coopcache;
using namespace coopcache::sim;
using namespace std::chrono_literals;

TEST_CASE("nodes that start together make one view") {
  for (const auto n : sizes{1, 2, 3, 5, 8}) {
    const cluster_of c{n};
    CHECK(c.all_in_one());
  }
}

TEST_CASE("a node that finds nobody serves alone after its join timeout") {
  cluster_of c{1};
  REQUIRE(c.grants(0));
  c.w.crash(0);
  c.w.end_probes();
  c.w.restart(0);
  const auto serves = [&] { return c.grants(0); };
  const auto took = c.time_until(serves);
  REQUIRE(took);
  CHECK(*took >= 1500ms);
  CHECK(*took < 1600ms);
}

TEST_CASE("pairs that start together grant nothing before they have met") {
  world w{1, {}, {20us, 1ms, 0, false, 0}};
  for (int i = 0; i < 4; ++i)
    w.add_node();
  const auto cut = [&](bool is_cut) {
    for (const std::size_t a : sizes{0, 1})
      for (const std::size_t b : sizes{2, 3}) {
        w.cut(a, b, is_cut);
        w.cut(b, a, is_cut);
      }
  };
  const auto members = [&](std::size_t node) {
    return w.nodes()[node].machine->members().current().members.size();
  };
  const auto grants = [&](std::size_t node) {
    return w.nodes()[node].machine->grants(w.on_clock_of(node, w.now()));
  };
  cut(true);
  for (int ms = 0; ms < 390; ++ms) { // then each has tried to reach all
    if (ms == 250)
      cut(false);
    w.run_for(1ms);
    for (const std::size_t node : sizes{0, 1, 2, 3})
      CHECK((members(node) == 4 || !grants(node)));
    if (ms == 240)
      CHECK(members(0) == 2);
  }
  w.run_for(100ms);
  for (const std::size_t node : sizes{0, 1, 2, 3}) {
    CHECK(members(node) == 4);
    CHECK(grants(node));
  }
  // Who comes to those that serve is served, and does not stop them.
  w.end_probes();
  const auto late = w.add_node();
  w.run_for(300ms);
  CHECK(members(late) == 5);
  for (const std::size_t node : sizes{0, 1, 2, 3, late})
    CHECK(grants(node));
}

TEST_CASE("the others agree when a coordinator dies after k of n installs") {
  for (int k = 0; k < 3; ++k) { // of three
    CAPTURE(k);
    cluster_of c{5};
    const auto r = c.resource_at(1);
    const auto held = c.quiet_lock(2, r);
    REQUIRE(c.got(held));
    c.w.crash_in_install(k);
    c.w.crash(4);
    const auto agree = [&] {
      return !c.w.runs(0) && c.members(1) == "123" && c.view(1) == c.view(2)
             && c.view(1) == c.view(3);
    };
    REQUIRE(c.time_until(agree));
    const auto next = c.lock(3, r);
    c.w.run_for(50ms);
    CHECK_FALSE(c.got(next));
    c.unlock(held);
    c.w.run_for(5ms);
    CHECK(c.got(next));
    CHECK(c.lost.empty());
  }
}

TEST_CASE("of five nodes one killed leaves the view within 10 ms") {
  for (std::size_t victim = 0; victim < 5; ++victim) {
    cluster_of c{5};
    c.w.crash(victim);
    const auto other = victim == 0 ? 1u : 0u;
    const auto took = c.time_until(
      [&] { return c.view(other).members.size() == 4; });
    REQUIRE(took);
    CHECK(*took <= 10ms);
  }
}

TEST_CASE("a death that is proven late ends the wait for its permission") {
  for (const auto proof : {100ms, 400ms, 1000ms}) {
    cluster_of c{5};
    c.w.change_weather({1ms, 1ms, 0, false, 0, proof});
    c.w.crash(0);
    const auto took = c.time_until(
      [&] { return c.view(1).members.size() == 4; });
    REQUIRE(took);
    CHECK(*took <= proof + 20ms);
  }
}

TEST_CASE("who waits for a permission goes on when its owner is dead") {
  for (const bool dies : {false, true}) {
    CAPTURE(dies);
    cluster_of c{5};
    c.cut_both(3, 4); // of which 4 leaves; others still hear it
    const auto& members = c.w.nodes()[0].machine->members();
    REQUIRE(c.time_until([&] { return members.changing(); }, 3s));
    c.w.run_for(100ms);
    REQUIRE(members.changing());
    if (dies)
      c.w.crash(4);
    const auto took = c.time_until([&] { return c.members(0) == "0123"; });
    REQUIRE(took);
    CHECK((*took <= 20ms) == dies);
  }
}

TEST_CASE("nodes that start within 50 ms of each other join in one view") {
  cluster_of c{1};
  const auto views = c.views;
  for (int i = 0; i < 5; ++i) {
    c.w.add_node();
    c.w.run_for(8ms);
  }
  REQUIRE(c.time_until([&] { return c.all_in_one(); }, 3s));
  CHECK(c.view(0).members.size() == 6);
  CHECK(c.views == views + 6); // each node enters one
}

TEST_CASE("a frozen node leaves within 2 s, and is back within 1 s") {
  for (std::size_t victim = 0; victim < 4; ++victim) {
    cluster_of c{4};
    c.w.freeze(victim);
    const auto other = victim == 0 ? 1u : 0u;
    const auto left = c.time_until(
      [&] { return c.view(other).members.size() == 3; });
    REQUIRE(left);
    CHECK(*left <= 2s);
    c.w.thaw(victim);
    const auto back = c.time_until([&] { return c.all_in_one(); });
    REQUIRE(back);
    CHECK(*back <= 1s);
  }
}

TEST_CASE("a frozen node that was not left out is not left out afterwards") {
  for (nanos frozen = 1s; frozen < 1500ms; frozen += 20ms) {
    CAPTURE(frozen.count());
    cluster_of c{3};
    const auto before = c.views;
    c.w.freeze(1);
    c.w.run_for(frozen);
    REQUIRE(c.views == before);
    c.w.thaw(1);
    c.w.run_for(5s);
    CHECK(c.views == before);
  }
}

TEST_CASE("of a broken link the end leaves that ranks last") {
  const struct {
    std::size_t a, b;
    bool one_way;
    std::string stay;
  } table[] = {
    {0, 1, false, "0234"}, {1, 0, true, "0234"},  {0, 4, false, "0123"},
    {2, 3, true, "0124"},  {3, 2, false, "0124"},
  };
  for (const auto& row : table) {
    CAPTURE(row.stay);
    cluster_of c{5};
    if (row.one_way)
      c.w.cut(row.a, row.b);
    else
      c.cut_both(row.a, row.b);
    c.w.run_for(6s);
    CHECK(c.members(0) == row.stay);
    const auto views = c.views;
    c.w.run_for(10s);
    CHECK(c.views == views); // and nobody tries again and again
    c.w.heal_network();
    CHECK(c.time_until([&] { return c.all_in_one(); }));
  }
}

TEST_CASE("a node with two broken links leaves, whatever its rank") {
  for (std::size_t victim = 0; victim < 5; ++victim) {
    CAPTURE(victim);
    cluster_of c{5};
    c.cut_both(victim, (victim + 1) % 5);
    c.cut_both(victim, (victim + 2) % 5);
    c.w.run_for(6s);
    CHECK(c.members((victim + 1) % 5).size() == 4);
    CHECK(c.members(victim).size() == 1);
    const auto views = c.views;
    c.w.run_for(10s);
    CHECK(c.views == views);
  }
}

TEST_CASE("who waits to come back does not delay the loss of another") {
  cluster_of c{4};
  for (int i = 0; i < 6; ++i) {
    c.w.crash(3);
    c.w.run_for(20ms);
    c.w.restart(3);
    c.w.run_for(2s);
  }
  c.w.crash(3);
  c.w.run_for(20ms);
  c.w.restart(3);
  c.w.run_for(200ms); // linked, and not let in yet
  REQUIRE(c.view(0).members.size() == 3);
  c.w.crash(2);
  const auto took = c.time_until([&] { return c.view(0).members.size() == 2; });
  REQUIRE(took);
  CHECK(*took <= 10ms);
}

TEST_CASE("two halves are one again within 300 ms") {
  for (const auto n : sizes{2, 4, 8, 12}) {
    cluster_of c{n};
    c.split(n / 2);
    c.w.run_for(5s);
    CHECK(c.view(0).members.size() == n / 2);
    CHECK(c.view(n - 1).members.size() == n / 2);
    c.w.heal_network();
    const auto took = c.time_until([&] { return c.all_in_one(); });
    REQUIRE(took);
    CHECK(*took <= 300ms);
  }
}

TEST_CASE("a merge that leaves a member out waits for its permission") {
  cluster_of c{4};
  c.split(2);
  c.w.run_for(5s);
  // 0 and 1 meet 2 and 3 again, but 1 and 2 do not meet.
  c.w.heal_network();
  c.cut_both(1, 2);
  c.w.run_for(5s);
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < 4; ++j) {
      const bool both = c.view(i).has(c.w.nodes()[j].id)
                        && c.view(j).has(c.w.nodes()[i].id);
      CHECK(both == (c.view(i).id == c.view(j).id));
    }
  CHECK(c.members(0).size() == 3);
}

TEST_CASE("a node that leaves is gone at once, and its locks go on elsewhere") {
  cluster_of c{3};
  const auto r = c.resource_at(2);
  const auto holder = c.lock(0, r);
  c.w.run_for(10ms);
  const auto waiter = c.lock(1, r);
  c.w.run_for(10ms);
  c.w.leave(2);
  const auto took = c.time_until([&] { return c.view(0).members.size() == 2; });
  REQUIRE(took);
  CHECK(*took <= 20ms);
  CHECK(
    c.time_until([&] { return c.w.nodes()[2].machine->members().has_left(); },
                 500ms));
  c.unlock(holder);
  c.w.run_for(10ms);
  CHECK(c.got(waiter));
  CHECK(c.lost.empty());
}

TEST_CASE("the death of a node costs at most 10 N^2 messages") {
  for (const auto n : sizes{3, 6, 12}) {
    cluster_of c{n};
    const auto quiet = c.w.messages();
    c.w.run_for(100ms);
    const auto usual = c.w.messages() - quiet;
    const auto before = c.w.messages();
    c.w.crash(n - 1);
    c.w.run_for(100ms);
    CHECK(c.w.messages() - before - usual <= 10 * n * n);
  }
}

TEST_CASE("who is cut off or frozen is out of the view in 2 s, for 10 N^2 "
          "messages") {
  for (const auto n : sizes{3, 6, 12})
    for (const bool freezes : {true, false}) {
      cluster_of c{n};
      const auto quiet = c.w.messages();
      c.w.run_for(2s);
      const auto usual = c.w.messages() - quiet;
      const auto before = c.w.messages();
      const auto start = c.w.now();
      if (freezes)
        c.w.freeze(n - 1);
      else
        c.split(n - 1);
      CHECK(
        c.time_until([&] { return c.view(0).members.size() == n - 1; }, 2s));
      c.w.run_until(start + 2s);
      CHECK(c.w.messages() - before <= usual + 10 * n * n);
    }
}

TEST_CASE("one broken link costs at most 10 N^2 messages") {
  for (const auto n : sizes{3, 6, 12}) {
    cluster_of c{n};
    const auto quiet = c.w.messages();
    c.w.run_for(3s);
    const auto usual = c.w.messages() - quiet;
    const auto before = c.w.messages();
    c.cut_both(0, n - 1);
    c.w.run_for(3s);
    CHECK(c.view(0).members.size() == n - 1);
    CHECK(c.w.messages() - before <= usual + 10 * n * n);
  }
}

TEST_CASE("tokens grow when the whole cluster starts anew") {
  cluster_of c{3};
  std::uint64_t last = 0;
  for (int round = 0; round < 5; ++round) {
    for (std::size_t i = 0; i < 3; ++i) {
      const auto got = c.quiet_lock(i, "r");
      REQUIRE(c.got(got));
      CHECK(c.tokens[got] > last);
      last = c.tokens[got];
      c.unlock(got);
      c.w.run_for(5ms);
    }
    for (std::size_t i = 0; i < 3; ++i)
      c.w.crash(i);
    c.w.restart(2); // one alone at first
    c.w.run_for(5s);
    const auto got = c.quiet_lock(2, "r");
    REQUIRE(c.got(got));
    CHECK(c.tokens[got] > last);
    last = c.tokens[got];
    c.unlock(got);
    c.w.restart(0);
    c.w.restart(1);
    REQUIRE(c.time_until([&] { return c.all_in_one(); }));
    c.w.run_for(10ms);
  }
}

TEST_CASE("500 joins and losses leave nothing behind") {
  cluster_of c{3};
  c.put(0, "a");
  const auto holder = c.lock(0, c.resource_at(1));
  const auto lose_and_join = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      c.w.crash(2);
      REQUIRE(c.time_until([&] { return c.view(0).members.size() == 2; }));
      c.w.restart(2);
      c.w.run_for(10ms);
      const auto own = c.put(2, "b");
      const auto lock = c.lock(2, "r");
      // Who flaps is let in later and later.
      REQUIRE(c.time_until([&] { return c.all_in_one(); }, 120s));
      REQUIRE(c.time_until([&] { return c.got(own) && c.got(lock); }, 1s));
    }
    c.answers.clear();
    c.tokens.clear();
    c.lost = {};
    c.told = {};
    std::erase_if(c.clients,
                  [&](const auto& one) { return one.first != holder; });
  };
  lose_and_join(100);
  const auto before = heap_in_use();
  lose_and_join(400);
  const auto after = heap_in_use();
  CHECK(after < before + 8192); // bytes, also of the simulator
  c.w.crash(2);
  c.w.run_for(1s);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& m = *c.w.nodes()[i].machine;
    CHECK(m.traffic().kept() == 0);
    CHECK(m.names().replica().all().size() == 1);
    CHECK(m.members().links().size() == 1);
  }
  CHECK(c.lost.empty());
  c.unlock(holder);
}

TEST_CASE("who flaps joins later and later, the others are left in peace") {
  cluster_of c{3};
  std::size_t in = 0;
  for (int i = 0; i < 100; ++i) {
    c.w.crash(2);
    c.w.run_for(20ms);
    c.w.restart(2);
    c.w.run_for(300ms);
    in += c.view(0).members.size() == 3 ? 1 : 0;
  }
  CHECK(in < 30);
}

TEST_CASE("a healthy view change pauses grants for at most 20 ms") {
  cluster_of c{5};
  nanos longest{0};
  instant since = c.w.now();
  bool pause = false;
  const auto watch = [&] {
    for (std::size_t i = 0; i < 5; ++i) {
      const bool grants = c.grants(i);
      if (grants)
        continue;
      if (!pause)
        since = c.w.now();
      pause = true;
      longest = std::max(longest, c.w.now() - since);
      return;
    }
    pause = false;
  };
  const auto await = [&](std::size_t members) {
    CHECK(c.time_until(
      [&] {
        watch();
        return !pause && c.view(0).members.size() == members;
      },
      3s));
  };
  for (int round = 0; round < 30; ++round) {
    c.w.add_node();
    await(6);
    const auto guest = c.w.nodes().size() - 1;
    c.w.leave(guest);
    await(5);
    c.w.crash(guest);
    c.w.run_for(1s);
  }
  CHECK(longest <= 20ms);
  CHECK(longest > 0ms);
}
TEST_CASE("who was taken for dead by mistake comes back within 2 s") {
  cluster_of c{5};
  c.w.take_for_dead(0, 4);
  REQUIRE(c.time_until([&] { return c.members(0) == "0123"; }, 100ms));
  const auto back = c.time_until([&] { return c.all_in_one(); });
  REQUIRE(back);
  CHECK(*back <= 2s); // those who were told fall silent to it
}

namespace {

/// The node, as it is, registers a name of its own.
void put_name(cluster_of& c, std::size_t node) {
  c.put(node, numbered("own", c.last + 1));
}

void put_names(cluster_of& c) {
  for (std::size_t i = 0; i < c.w.nodes().size(); ++i)
    put_name(c, i);
}

/// Whether a cluster whose network stays as it is comes to rest: no further
/// views, each node serves, and the members of a view are in it and have the
/// names of just these. Each node has put one.
void check_settles(cluster_of& c) {
  c.w.run_for(20s);
  const auto views = c.views;
  c.w.run_for(10s);
  CHECK(c.views == views);
  for (std::size_t i = 0; i < c.w.nodes().size(); ++i) {
    CAPTURE(i);
    CHECK(c.grants(i));
    const auto& names = c.w.nodes()[i].machine->names();
    CHECK(names.synced());
    CHECK(names.pending() == 0);
    CHECK(names.replica().all().size() == c.view(i).members.size());
    for (std::size_t j = 0; j < c.w.nodes().size(); ++j) {
      if (!c.view(i).has(c.w.nodes()[j].id))
        continue;
      CHECK(c.view(i) == c.view(j));
      CHECK(names.replica().all()
            == c.w.nodes()[j].machine->names().replica().all());
    }
  }
}

void check_heals(cluster_of& c) {
  c.w.heal_network();
  CHECK(c.time_until([&] { return c.all_in_one(); }));
  check_settles(c);
}

/// The first half of the nodes come last in rank from now on.
void restart_half(cluster_of& c) {
  const auto half = c.w.nodes().size() / 2;
  for (std::size_t i = 0; i < half; ++i)
    c.w.crash(i);
  c.w.run_for(1s);
  for (std::size_t i = 0; i < half; ++i)
    c.w.restart(i);
}

} // namespace

TEST_CASE("whatever links are broken, views settle") {
  for (std::uint64_t seed = 1; seed <= 48; ++seed) {
    CAPTURE(seed);
    test::dice dice{seed};
    const auto n = 3 + dice.below(5);
    const auto broken = 1 + dice.below(8); // of ten links
    cluster_of c{n};
    if (seed % 3 != 0)
      restart_half(c);
    if (seed % 3 == 1)
      REQUIRE(c.time_until([&] { return c.all_in_one(); }));
    put_names(c);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i + 1; j < n; ++j)
        if (dice.below(10) < broken) {
          if (dice.one_in(4))
            c.w.cut(i, j);
          else
            c.cut_both(i, j);
        }
    check_settles(c);
    check_heals(c);
  }
}

TEST_CASE("groups that share members hold nobody up") {
  enum class start : std::uint8_t { merged, restarting, restarted };
  const struct {
    std::size_t n;
    start from;
    std::vector<std::pair<std::size_t, std::size_t>> cuts;
    std::vector<std::pair<std::size_t, std::size_t>> one_way;
  } table[] = {
    {6, start::restarting, {{0, 1}, {2, 4}, {3, 5}}, {}},
    {6, start::restarted, {{0, 1}, {2, 4}, {3, 5}}, {}},
    {5, start::restarting, {{0, 1}, {1, 2}, {2, 3}}, {}},
    {5, start::restarted, {{0, 1}, {1, 2}, {2, 3}}, {}},
    {6, start::restarting, {{0, 1}, {2, 4}, {4, 5}}, {}},
    {6, start::restarted, {{0, 2}, {1, 2}, {1, 3}, {1, 4}, {2, 3}, {3, 5}}, {}},
    {7,
     start::merged,
     {{0, 3}, {1, 5}, {2, 6}, {3, 6}},
     {{0, 1}, {0, 4}, {3, 2}, {6, 4}}},
    {7, start::merged, {{0, 5}, {0, 6}}, {{0, 1}, {2, 1}, {1, 5}, {3, 2}}},
  };
  for (std::size_t row = 0; row < std::size(table); ++row) {
    CAPTURE(row);
    cluster_of c{table[row].n};
    if (table[row].from != start::merged)
      restart_half(c);
    if (table[row].from == start::restarted)
      REQUIRE(c.time_until([&] { return c.all_in_one(); }));
    put_names(c);
    for (const auto& [a, b] : table[row].cuts)
      c.cut_both(a, b);
    for (const auto& [a, b] : table[row].one_way)
      c.w.cut(a, b);
    check_settles(c);
    check_heals(c);
  }
}

TEST_CASE("however links break and heal, views settle") {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    CAPTURE(seed);
    test::dice dice{seed};
    const auto n = 4 + dice.below(5);
    cluster_of c{n};
    put_names(c);
    std::set<std::pair<std::size_t, std::size_t>> broken;
    for (auto steps = 3 + dice.below(10); steps > 0; --steps) {
      const auto a = dice.below(n);
      const auto b = (a + 1 + dice.below(n - 1)) % n;
      const std::pair link{std::min(a, b), std::max(a, b)};
      if (dice.one_in(12)) {
        c.w.crash(a);
        c.w.run_for(std::chrono::milliseconds{dice.below(800)});
        c.w.restart(a);
        put_name(c, a);
      } else if (broken.erase(link) > 0) {
        c.cut_both(a, b, false);
      } else if (broken.size() < 2 + seed % 6) {
        broken.insert(link);
        c.cut_both(a, b);
      }
      if (!dice.one_in(3))
        c.w.run_for(std::chrono::milliseconds{dice.below(4000)});
    }
    check_settles(c);
    check_heals(c);
  }
}

TEST_CASE("a process that restarts without end keeps no frozen node a member") {
  for (const auto up : {10ms, 60ms})
    for (const auto down : {5ms, 100ms})
      for (const bool was_member : {false, true}) {
        CAPTURE(up.count());
        CAPTURE(down.count());
        CAPTURE(was_member);
        cluster_of c{5};
        if (!was_member) {
          c.w.crash(4);
          c.w.run_for(2s);
        }
        std::function<void()> rise, look;
        rise = [&] {
          c.w.restart(4);
          look();
        };
        look = [&] {
          const bool linked = c.w.nodes()[4].machine->members().is_linked(
            c.w.nodes()[0].id);
          const std::function<void()> fall = [&] {
            c.w.crash(4);
            c.w.at(c.w.now() + down, rise);
          };
          c.w.at(c.w.now() + (linked ? up : 2ms), linked ? fall : look);
        };
        rise();
        c.w.run_for(5s);
        c.w.freeze(3);
        const auto id = c.w.nodes()[3].id;
        CHECK(c.time_until([&] { return !c.view(0).has(id); }, 2s));
      }
}

TEST_CASE("a view with the number of the last one is not accepted") {
  cluster_of c{3};
  cluster::propose equal{c.view(1), {}, {}};
  equal.next.id.proposer = c.w.nodes()[2].id;
  REQUIRE(c.view(1).id < equal.next.id);
  for (const auto& one : c.w.receive(1, 2, equal))
    if (const auto* const sent = std::get_if<cluster::send_message>(&one))
      CHECK_FALSE(std::holds_alternative<cluster::accept>(sent->what));
}

TEST_CASE("a wall clock that cannot be meant keeps nobody out") {
  for (const auto year : {2095, 2110, 5000, -300}) {
    CAPTURE(year);
    cluster_of c{3};
    const auto before = c.view(0).id.number;
    c.w.set_wall_back(0, std::chrono::milliseconds{31'557'600'000}
                           * (2023 - year));
    c.w.crash(2); // the first in rank proposes
    CHECK(c.time_until([&] { return c.members(0) == "01"; }, 1s));
    c.w.restart(2);
    CHECK(c.time_until([&] { return c.all_in_one(); }));
    c.w.crash(0);
    c.w.restart(0); // alone, and with a view of its own
    CHECK(c.time_until([&] { return c.all_in_one(); }));
    CHECK(c.view(0).id.number > before);
    CHECK(c.view(0).id.number < cluster::largest_view_number / 8 * 7);
  }
}
