#include "sim/cluster_of.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

// One bad moment at a time: names.

using namespace coopcache;
using namespace coopcache::sim;
using namespace std::chrono_literals;

namespace {

/// An actor of node 1 replaces one of node 2, and of the others only node 0 has
/// heard of it from the home, which is node 3.
struct replaced {
  std::string name;
  std::uint64_t one; ///< the registration that is replaced
  std::uint64_t two;
};

/// What is said about names from now on.
struct traffic {
  using counts = std::map<std::size_t, std::size_t>; ///< by receiver

  explicit traffic(cluster_of& c) {
    c.w.tamper = [this, &c](const auto&, const auto& to, const auto& what) {
      if (const auto* const p = std::get_if<cluster::packet>(&what))
        for (const auto& one : p->bodies)
          note(c.w.index_of(to), one);
    };
  }

  void clear() {
    claims.clear();
    states.clear();
    wanted = 0;
  }

  counts claims;
  counts states;
  std::size_t wanted = 0;

private:
  void note(std::size_t to, const cluster::body& what) {
    if (std::holds_alternative<cluster::name_claim>(what))
      ++claims[to];
    else if (std::holds_alternative<cluster::name_state>(what))
      ++states[to];
    else if (std::holds_alternative<cluster::names_wanted>(what))
      ++wanted;
  }
};

replaced uncertain_replace(cluster_of& c, nanos within = 1h) {
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  replaced made{c.resource_at(3), 0, 0};
  made.one = c.put(2, made.name);
  c.w.run_for(100ms);
  REQUIRE(c.got(made.one));
  c.w.cut(3, 1);
  c.w.cut(3, 2);
  made.two = c.put(1, made.name, "", true, within);
  c.w.run_for(4ms);
  REQUIRE(c.owner(0, made.name) == made.two);
  REQUIRE(c.owner(2, made.name) == made.one);
  return made;
}

} // namespace

TEST_CASE("two full halves have the same names, and one holder, in 300 ms") {
  constexpr std::uint64_t count = 50;
  cluster_of c{6};
  for (std::uint64_t i = 0; i < count; ++i)
    c.put(i % 6, numbered("own", i));
  c.w.run_for(20ms);
  c.split(3);
  c.w.run_for(5s);
  std::map<std::string, std::vector<std::uint64_t>> holders;
  for (std::uint64_t i = 0; i < count; ++i)
    for (const std::size_t node : sizes{i % 3, 3 + i % 3}) {
      c.put(node, numbered("both", i), "notify");
      const auto resource = numbered("r", i);
      holders[resource].push_back(c.lock(node, resource));
    }
  c.w.run_for(20ms);
  for (const auto& [resource, requests] : holders)
    for (const auto request : requests)
      REQUIRE(c.got(request));
  c.w.heal_network();
  const auto agree = [&] {
    if (!c.all_in_one())
      return false;
    const auto& names = c.w.nodes()[0].machine->names().replica().all();
    if (names.size() != 2 * count)
      return false;
    for (const auto& node : c.w.nodes())
      if (node.machine->names().replica().all() != names)
        return false;
    return std::all_of(holders.begin(), holders.end(), [&](const auto& one) {
      const auto& both = one.second;
      return std::count_if(both.begin(), both.end(),
                           [&](auto request) { return c.was_lost(request); })
             == 1;
    });
  };
  const auto took = c.time_until(agree);
  REQUIRE(took);
  CHECK(*took <= 300ms);
}

TEST_CASE("a view change tells of names only what somebody does not know") {
  constexpr std::uint64_t count = 100;
  cluster_of c{4};
  for (std::uint64_t i = 0; i < count; ++i)
    c.put(i % 3, numbered("n", i));
  c.w.run_for(100ms);
  traffic seen{c};
  const auto all_have = [&](const sizes& nodes) {
    for (std::uint64_t i = 0; i < count; ++i)
      for (const auto node : nodes)
        if (c.owner(node, numbered("n", i)) != i + 1)
          return false;
    return true;
  };
  SUBCASE("a death: nothing") {
    c.w.crash(3);
    c.w.run_for(1s);
    REQUIRE(c.members(0) == "012");
    CHECK(seen.claims.empty());
    CHECK(seen.states.empty());
    CHECK(all_have({0, 1, 2}));
  }
  SUBCASE("a newcomer: to it what it is the home of, and it all names") {
    const auto fresh = c.w.add_node();
    c.w.run_for(1s);
    REQUIRE(c.all_in_one());
    std::size_t here = 0;
    for (std::uint64_t i = 0; i < count; ++i)
      here += c.home(numbered("n", i)) == fresh ? 1 : 0;
    CHECK(here > 0);
    CHECK(seen.claims == traffic::counts{{fresh, here}});
    CHECK(seen.states == traffic::counts{{fresh, count - here}});
    CHECK(all_have({0, 1, 2, 3, fresh}));
  }
  SUBCASE("a heal: what the others' homes do not know") {
    c.w.cut(3, 0);
    c.w.cut(3, 1);
    c.w.cut(3, 2);
    c.put(3, "apart");
    c.w.run_for(5s);
    REQUIRE(c.members(0) == "012");
    seen.clear();
    c.w.heal_network();
    REQUIRE(c.time_until([&] { return c.all_in_one(); }));
    c.w.run_for(1s);
    CHECK(all_have({0, 1, 2, 3}));
    CHECK(c.owner(0, "apart") == count + 1);
    for (const auto node : sizes{0, 1, 2})
      CHECK(seen.claims[node] <= 1);
  }
  CHECK(seen.wanted == 0);
}

TEST_CASE("a home that has missed a change is told of it by the owner's node") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  // The home of a name dies when of the others only its owner's node has heard.
  constexpr std::size_t owner = 0, home = 3;
  std::string name;
  for (std::uint64_t i = 0; name.empty(); ++i) {
    const auto one = numbered("n", i);
    auto rest = c.view(0);
    std::erase(rest.members, c.w.nodes()[home].id);
    const auto next = c.w.index_of(core::homes{rest}.of(one));
    if (c.home(one) == home && next != owner)
      name = one;
  }
  traffic seen{c};
  c.w.cut(home, 1);
  c.w.cut(home, 2);
  const auto request = c.put(owner, name);
  c.w.run_for(3ms);
  REQUIRE(c.owner(owner, name) == request);
  REQUIRE(c.owner(1, name) == 0);
  c.w.crash(home);
  SUBCASE("which lives") {
    REQUIRE(c.time_until([&] { return c.got(request); }));
    for (const auto node : sizes{0, 1, 2})
      CHECK(c.owner(node, name) == request);
  }
  SUBCASE("which ends while the home asks") {
    REQUIRE(c.time_until([&] { return seen.wanted == 1; }));
    c.w.owner_gone(owner, request);
    c.w.run_for(100ms);
    for (const auto node : sizes{0, 1, 2}) {
      CHECK(c.owner(node, name) == 0);
      CHECK(c.w.nodes()[node].machine->names().pending() == 0);
      CHECK(c.w.nodes()[node].machine->home_names().pending() == 0);
    }
  }
  CHECK(seen.wanted == 1);
}

TEST_CASE("who dies in the middle of a change leaves it done or undone") {
  enum class change { put, replace, remove };
  constexpr std::size_t requester = 1, owner = 2, home = 3;
  for (const auto action : {change::put, change::replace, change::remove})
    for (const auto dies : {requester, home})
      for (auto when = 0us; when <= 4000us; when += 100us) {
        CAPTURE(static_cast<int>(action));
        CAPTURE(dies);
        CAPTURE(when.count());
        cluster_of c{4};
        const auto name = c.resource_at(home);
        const auto old = action == change::put ? 0 : c.put(owner, name);
        c.w.run_for(10ms);
        std::uint64_t request = 0;
        if (action == change::remove)
          c.w.remove(requester, request = ++c.last, name);
        else
          request = c.put(requester, name, "", action == change::replace);
        c.w.run_for(when);
        c.w.crash(dies);
        c.w.run_for(1s);
        const auto now = c.owner(0, name);
        for (std::size_t i = 0; i < 4; ++i)
          if (i != dies)
            CHECK(c.owner(i, name) == now);
        const auto wanted = action == change::remove ? 0 : request;
        if (dies == home) {
          CHECK(c.got(request));
          CHECK(now == wanted);
        } else {
          CHECK((now == old || now == 0));
        }
      }
}

TEST_CASE("a registration takes two rounds at most") {
  cluster_of c{5};
  const auto trip = 1ms; // at most
  for (std::uint64_t i = 0; i < 50; ++i) {
    const auto one = c.put(i % 5, numbered("n", i));
    c.w.run_for(4 * trip);
    CHECK(c.got(one));
  }
}

TEST_CASE("of two nodes that register one name at once one gets yes") {
  cluster_of c{3};
  for (std::uint64_t i = 0; i < 20; ++i) {
    const auto name = numbered("n", i);
    const auto one = c.put(0, name);
    const auto two = c.put(1, name);
    c.w.run_for(10ms);
    CHECK(c.got(one) != c.got(two));
    for (std::size_t node = 0; node < 3; ++node)
      CHECK(c.owner(node, name) == (c.got(one) ? one : two));
  }
}

TEST_CASE("a replaced owner is told once, and readers see no gap") {
  cluster_of c{3};
  const auto one = c.put(0, "a");
  c.w.run_for(10ms);
  const auto two = c.put(1, "a", "", true);
  CHECK(c.time_until([&] {
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(c.owner(i, "a") != 0);
    return c.got(two);
  }));
  REQUIRE(c.told.size() == 1);
  CHECK(c.told[0].owner.actor == one);
}

TEST_CASE("an actor has one name, unless it takes one over") {
  cluster_of c{2};
  const auto one = c.put(0, "a");
  c.w.run_for(10ms);
  cluster::name_wish again;
  again.request = 1000;
  again.actor = one;
  again.name = "b";
  c.w.put(0, again);
  c.w.run_for(10ms);
  CHECK(c.answers.at(1000) == cluster::verdict::refused);
  c.put(1, "b");
  c.w.run_for(10ms);
  again.request = 1001;
  again.replace = true;
  c.w.put(0, again);
  c.w.run_for(10ms);
  CHECK(c.answers.at(1001) == cluster::verdict::done);
  CHECK(c.owner(1, "a") == one);
  CHECK(c.owner(1, "b") == one);
}

TEST_CASE("a dead owner's name is gone everywhere") {
  cluster_of c{3};
  const auto one = c.put(2, "a");
  c.w.run_for(10ms);
  c.w.owner_gone(2, one);
  const auto took = c.time_until([&] {
    return c.owner(0, "a") == 0 && c.owner(1, "a") == 0 && c.owner(2, "a") == 0;
  });
  REQUIRE(took);
  CHECK(*took <= 1ms); // within one way
}

TEST_CASE("after a heal a node is synced when it knows the names again") {
  cluster_of c{4};
  c.split(3); // 0 1 2 | 3
  c.w.run_for(5s);
  const auto one = c.put(0, "a");
  c.w.run_for(10ms);
  REQUIRE(c.got(one));
  const auto& names = c.w.nodes()[3].machine->names();
  REQUIRE(names.synced());
  c.w.heal_network();
  while (c.members(3) == "3")
    c.w.run_for(1us);
  CHECK_FALSE(names.synced());
  while (!names.synced())
    c.w.run_for(1us);
  CHECK(c.owner(3, "a") == one);
}

TEST_CASE("whoever sees that a name is free can have it") {
  for (const bool node_dies : {false, true})
    for (const std::size_t home : sizes{0, 1}) {
      CAPTURE(node_dies);
      CAPTURE(home);
      cluster_of c{3};
      std::string name = "a";
      while (c.home(name) != home)
        name += "a";
      for (int round = 0; round < (node_dies ? 20 : 200); ++round) {
        // The proof of a death may come later than the end of the link.
        c.w.change_weather({20us, 1ms, 0, false, 0, (round % 4) * 2ms});
        const auto one = c.put(2, name);
        c.w.run_for(10ms);
        REQUIRE(c.got(one));
        const auto& seen = c.w.nodes()[1].lost_links;
        const auto before = seen;
        if (node_dies)
          c.w.crash(2);
        else
          c.w.owner_gone(2, one);
        // From the first moment on.
        while (c.owner(1, name) != 0 && seen == before)
          c.w.run_for(1us);
        const auto again = c.put(1, name);
        CHECK(c.time_until([&] { return c.answers.contains(again); }, 100ms));
        CHECK(c.got(again));
        c.w.owner_gone(1, again);
        if (node_dies)
          c.w.restart(2);
        REQUIRE(c.time_until([&] { return c.all_in_one(); }));
        c.w.run_for(10ms);
      }
    }
}

TEST_CASE("an actor that ends while it is being registered is refused") {
  cluster_of c{3};
  std::string name = "a";
  while (c.home(name) == 2)
    name += "a";
  const auto one = c.put(2, name);
  c.w.owner_gone(2, one);
  c.w.run_for(20ms);
  CHECK(c.answers.at(one) == cluster::verdict::owner_dead);
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(c.owner(i, name) == 0);
}

TEST_CASE("a replace for an actor that has ended spares the living owner") {
  cluster_of c{4};
  const auto name = c.resource_at(3);
  const auto living = c.put(2, name);
  c.w.run_for(10ms);
  c.w.freeze(3); // the home
  const auto dead = c.put(1, name, "", true);
  c.w.run_for(10ms);
  c.w.owner_gone(1, dead);
  c.w.run_for(5s);
  c.w.thaw(3);
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(100ms);
  CHECK(c.answers.at(dead) == cluster::verdict::owner_dead);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(c.owner(i, name) == living);
  CHECK(c.told.empty());
}

TEST_CASE("who ends while a resolver is asked wins nothing") {
  using cluster::survivor;
  for (const auto who : {survivor::first, survivor::second})
    for (const bool first_ends : {false, true}) {
      CAPTURE(first_ends);
      cluster_of c{4};
      std::uint64_t question = 0;
      std::size_t asked = 0;
      c.asked = [&](std::size_t node, const cluster::ask_resolver& q) {
        asked = node;
        question = q.question;
      };
      c.split(2);
      c.w.run_for(5s);
      const auto one = c.put(0, "a", "custom");
      c.w.run_for(100ms);
      const auto two = c.put(3, "a", "custom");
      c.w.run_for(100ms);
      c.w.heal_network();
      REQUIRE(c.time_until([&] { return question != 0; }));
      if (first_ends)
        c.w.owner_gone(0, one);
      else
        c.w.owner_gone(3, two);
      c.w.run_for(10ms);
      c.w.resolved(asked, question, who);
      c.w.run_for(100ms);
      for (std::size_t i = 0; i < 4; ++i)
        CHECK(c.owner(i, "a") == (first_ends ? two : one));
    }
}

TEST_CASE("who ends while it is being replaced leaves nothing behind") {
  cluster_of c{5};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto name = c.resource_at(3);
  const auto one = c.put(2, name);
  c.w.run_for(100ms);
  c.w.crash(4); // in the next view the home tells nobody what all know
  c.w.run_for(1s);
  const auto two = c.put(1, name, "", true);
  c.w.run_for(500us);
  c.w.owner_gone(2, one);
  c.w.run_for(100ms);
  for (const auto node : sizes{0, 1, 2, 3}) {
    CHECK(c.owner(node, name) == two);
    CHECK(c.w.nodes()[node].machine->names().pending() == 0);
  }
}

TEST_CASE("a function's word is not undone by the next resolver") {
  cluster_of c{6};
  c.decide = [](const auto&) { return cluster::survivor::second; };
  for (const std::size_t a : sizes{0, 1, 2, 3, 4, 5})
    for (const std::size_t b : sizes{0, 1, 2, 3, 4, 5})
      if (a / 2 != b / 2)
        c.w.cut(a, b);
  c.w.run_for(5s);
  c.put(0, "a", "custom");
  c.w.run_for(10ms);
  const auto kept = c.put(2, "a", "exit");
  c.w.run_for(10ms);
  c.put(4, "a", "exit");
  c.w.run_for(100ms);
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(1s);
  for (std::size_t i = 0; i < 6; ++i)
    CHECK(c.owner(i, "a") == kept);
  for (const auto& told : c.told)
    CHECK(told.cause == cluster::name_cause::clash);
  CHECK(c.told.size() == 2);
}

TEST_CASE("a clash at a heal is resolved as the earlier registration says") {
  using cluster::survivor;
  const struct {
    std::string resolver;
    std::optional<survivor> answer; ///< of a function of the user's
    int stays;                      ///< 1, 2 or 0
    std::size_t told;
  } table[] = {
    {"", {}, 1, 1},
    {"exit", {}, 1, 1},
    {"notify", {}, 1, 1},
    {"notify_all", {}, 0, 2},
    {"mine", survivor::first, 1, 1},
    {"mine", survivor::second, 2, 1},
    {"mine", survivor::nobody, 0, 2},
    {"hangs", {}, 0, 2},
  };
  for (const auto& row : table)
    for (const std::size_t early : sizes{0, 3}) {
      CAPTURE(row.resolver);
      CAPTURE(early);
      cluster_of c{4};
      std::uint64_t one = 0, two = 0;
      c.decide = [&](const auto& about) {
        CHECK(about.first.actor == one);
        CHECK(about.second.actor == two);
        return row.answer;
      };
      c.split(2);
      c.w.run_for(5s);
      one = c.put(early, "a", row.resolver);
      c.w.run_for(100ms);
      two = c.put(3 - early, "a", "notify_all");
      c.w.run_for(100ms);
      CHECK(c.got(one));
      CHECK(c.got(two));
      c.w.heal_network();
      REQUIRE(c.time_until([&] { return c.all_in_one(); }));
      c.w.run_for(1100ms);
      const std::uint64_t expected[] = {0, one, two};
      for (std::size_t i = 0; i < 4; ++i)
        CHECK(c.owner(i, "a") == expected[row.stays]);
      CHECK(c.told.size() == row.told);
      using cause = cluster::name_cause;
      const bool ends = row.resolver.empty() || row.resolver == "exit";
      for (const auto& told : c.told)
        CHECK(told.cause == (ends ? cause::clash_exit : cause::clash));
      const bool ours = row.resolver == "mine" || row.resolver == "hangs";
      CHECK(c.questions == (ours ? 1 : 0));
      CHECK(c.late == (row.resolver == "hangs" ? 1 : 0));
    }
}

TEST_CASE("resolvers are asked one after the other, and once for each clash") {
  cluster_of c{5};
  std::set<std::pair<std::uint64_t, std::uint64_t>> asked;
  c.asked = [&](std::size_t node, const cluster::ask_resolver& q) {
    CHECK(asked.emplace(q.first.actor, q.second.actor).second);
    // Each takes longer than a tenth of what one may take.
    c.w.at(c.w.now() + 150ms, [&c, node, question = q.question] {
      c.w.resolved(node, question, cluster::survivor::second);
    });
  };
  std::vector<std::string> names;
  for (std::uint64_t i = 0; names.size() < 24; ++i)
    if (c.home(numbered("name", i)) != 4)
      names.push_back(numbered("name", i));
  c.split(2); // 0 1 | 2 3 4
  c.w.run_for(5s);
  std::vector<std::uint64_t> left, right;
  for (const auto& name : names) {
    left.push_back(c.put(0, name, "mine"));
    right.push_back(c.put(2, name, "mine"));
    c.w.run_for(10ms);
    CHECK(c.got(left.back()));
    CHECK(c.got(right.back()));
  }
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(200ms);
  c.w.crash(4); // the homes stay, and ask no more than they have
  c.w.run_for(8s);
  CHECK(asked.size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i)
    CHECK(
      (c.owner(0, names[i]) == left[i] || c.owner(0, names[i]) == right[i]));
}

TEST_CASE("who was cut off keeps its own names and drops the others") {
  cluster_of c{3};
  const auto mine = c.put(2, "mine");
  const auto yours = c.put(0, "yours");
  c.w.run_for(10ms);
  c.split(2);
  c.w.run_for(5s);
  CHECK(c.owner(2, "mine") == mine);
  CHECK(c.owner(2, "yours") == 0);
  CHECK(c.owner(0, "mine") == 0);
  CHECK(c.owner(0, "yours") == yours);
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(20ms);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(c.owner(i, "mine") == mine);
    CHECK(c.owner(i, "yours") == yours);
  }
}
TEST_CASE("a name is taken from nobody but the owner that is said") {
  cluster_of c{3};
  const auto one = c.put(1, "a"), two = c.put(2, "b");
  c.w.run_for(10ms);
  const auto& nodes = c.w.nodes();
  const auto attempt = [&](const std::string& name, std::size_t node,
                           std::uint64_t actor) {
    const auto request = ++c.last;
    c.w.remove(0, request, name, core::name_owner{nodes[node].id, actor});
    c.w.run_for(10ms);
    return c.answers.at(request);
  };
  using cluster::verdict;
  CHECK(attempt("a", 2, two) == verdict::refused);
  CHECK(attempt("a", 1, two) == verdict::refused);
  CHECK(attempt("none", 1, one) == verdict::refused);
  CHECK(c.owner(0, "a") == one);
  CHECK(attempt("a", 1, one) == verdict::done);
  CHECK(c.owner(0, "a") == 0);
  CHECK(c.owner(0, "b") == two);
}

TEST_CASE("a registration that timed out can be asked for again") {
  cluster_of c{4};
  c.w.freeze(3);
  const auto late = c.put(1, "a", "", false, 200ms);
  c.w.run_for(300ms);
  CHECK(c.answers.at(late) == cluster::verdict::timed_out);
  cluster::name_wish again;
  again.request = ++c.last;
  again.actor = late; // the same actor
  again.name = "a";
  again.deadline = c.w.now() + 10s;
  c.w.put(1, again);
  REQUIRE(c.time_until([&] { return c.got(c.last); }, 10s));
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(c.owner(i, "a") == late);
}

TEST_CASE(
  "a replace that timed out leaves the name with one of two that live") {
  const struct {
    std::size_t frozen;
    nanos limit;
  } table[] = {{3, 200ms}, {3, 20ms}, {2, 200ms}};
  for (const auto& row : table) {
    CAPTURE(row.frozen);
    cluster_of c{4};
    const auto before = c.put(1, "a");
    REQUIRE(c.time_until([&] { return c.got(before); }));
    c.w.freeze(row.frozen);
    const auto late = c.put(0, "a", "", true, row.limit);
    c.w.run_for(row.limit + 10ms);
    CHECK(c.answers.at(late) == cluster::verdict::timed_out);
    c.w.run_for(5s);
    c.w.thaw(row.frozen);
    REQUIRE(c.time_until([&] { return c.all_in_one(); }));
    c.w.run_for(100ms);
    const auto now = c.owner(0, "a");
    CHECK((now == before || now == late));
    for (std::size_t i = 1; i < 4; ++i)
      CHECK(c.owner(i, "a") == now);
    CHECK(c.told.size() == (now == late ? 1 : 0));
  }
}

TEST_CASE("the names of a silent node are gone with its view") {
  cluster_of c{4};
  const auto one = c.put(3, "a");
  c.w.run_for(20ms);
  REQUIRE(c.got(one));
  c.w.freeze(3);
  c.w.run_for(1s);
  for (const auto i : sizes{0, 1, 2}) {
    REQUIRE(c.owner(i, "a") == one);
    while (c.view(i).members.size() == 4)
      c.w.run_for(1us);
    CHECK(c.owner(i, "a") == 0); // whoever else has told anything
  }
}

TEST_CASE("a put takes no name from a living owner, on whichever node") {
  cluster_of c{3};
  std::uint64_t count = 0;
  for (const auto a : sizes{0, 1, 2})
    for (const auto b : sizes{0, 1, 2}) {
      const auto name = numbered("n", ++count);
      const auto one = c.put(a, name);
      c.w.run_for(10ms);
      const auto two = c.put(b, name);
      c.w.run_for(10ms);
      CHECK(c.got(one));
      CHECK_FALSE(c.got(two));
      CHECK(c.owner(0, name) == one);
    }
  CHECK(c.told.empty());
}

TEST_CASE("who was replaced, and has not heard of it, does not clash") {
  cluster_of c{5};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto name = c.resource_at(3);
  const auto one = c.put(0, name, "custom");
  c.w.run_for(200ms);
  c.w.cut(3, 0);
  const auto two = c.put(1, name, "custom", true);
  c.w.run_for(3ms);
  REQUIRE(c.owner(1, name) == two);
  REQUIRE(c.owner(0, name) == one);
  c.w.cut(3, 0, false);
  c.w.crash(2);
  c.w.run_for(3s);
  CHECK(c.questions == 0);
  CHECK(c.got(two));
  CHECK(c.owner(4, name) == two);
  REQUIRE(c.told.size() == 1);
  CHECK(c.told[0].owner.actor == one);
  CHECK(c.told[0].cause == cluster::name_cause::request);
}

TEST_CASE("a member that alone has heard of a change does not keep it") {
  cluster_of c{4};
  const auto [name, one, two] = uncertain_replace(c, 3ms);
  c.w.crash(3);
  c.w.run_for(5s);
  for (const auto i : sizes{0, 1, 2}) {
    CHECK(c.view(i).members.size() == 3);
    CHECK(c.owner(i, name) == c.owner(0, name));
  }
}

TEST_CASE("what is cancelled before it has begun does not begin") {
  cluster_of c{4};
  const auto name = c.resource_at(3);
  const auto one = c.put(2, name);
  c.w.run_for(20ms);
  c.w.freeze(0); // changes wait for it
  const auto two = c.put(2, name, "", true);
  c.w.run_for(20ms);
  const auto three = c.put(1, name, "", true);
  c.w.run_for(20ms);
  c.w.owner_gone(1, three);
  c.w.run_for(20ms);
  c.w.thaw(0);
  c.w.run_for(500ms);
  CHECK(c.got(two));
  CHECK(c.answers.at(three) == cluster::verdict::owner_dead);
  for (const auto i : sizes{0, 1, 2, 3})
    CHECK(c.owner(i, name) == two);
  REQUIRE(c.told.size() == 1);
  CHECK(c.told[0].owner.actor == one);
}

TEST_CASE("a registration that was late is nowhere") {
  for (auto limit = 100us; limit <= 5000us; limit += 100us) {
    CAPTURE(limit.count());
    cluster_of c{4};
    const auto name = c.resource_at(3);
    const auto one = c.put(1, name, "", false, limit);
    c.w.run_for(300ms);
    for (const auto i : sizes{0, 1, 2, 3})
      CHECK(c.owner(i, name) == (c.got(one) ? one : 0));
  }
}

TEST_CASE("a removal is about the registration that was seen") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto name = c.resource_at(3);
  const auto one = c.put(2, name);
  c.w.run_for(50ms);
  cluster::name_wish again; // of the same actor
  again.request = ++c.last;
  again.actor = one;
  again.name = name;
  again.replace = true;
  again.deadline = c.w.now() + 10s;
  c.w.put(2, again);
  c.w.run_for(100us);
  c.w.remove(0, ++c.last, name);
  c.w.run_for(500ms);
  CHECK(c.got(again.request));
  CHECK(c.owner(1, name) == one);
}

TEST_CASE("a node that does not know all names does not say there is none") {
  cluster_of c{3};
  const auto one = c.put(0, "n");
  c.w.run_for(10ms);
  const auto late = c.w.add_node();
  bool was_early = false;
  for (int ms = 0; ms < 300 && c.owner(late, "n") == 0; ++ms) {
    const auto early = ++c.last;
    c.w.remove(late, early, "n");
    CHECK(c.answers.at(early) == cluster::verdict::not_synced);
    was_early = true;
    c.w.run_for(1ms);
  }
  CHECK(was_early);
  CHECK(c.owner(late, "n") == one);
  const auto removal = ++c.last;
  c.w.remove(late, removal, "n");
  c.w.run_for(10ms);
  CHECK(c.got(removal));
}

TEST_CASE("a removal for an actor spares the names of others") {
  cluster_of c{3};
  const auto one = c.put(1, "a");
  c.w.run_for(20ms);
  const auto removal = ++c.last;
  c.w.remove(1, removal, "a", core::name_owner{c.w.nodes()[1].id, one + 1});
  REQUIRE(c.answers.contains(removal));
  CHECK(c.answers.at(removal) == cluster::verdict::refused);
  c.w.run_for(20ms);
  CHECK(c.owner(0, "a") == one);
}

TEST_CASE("who ends while versions are told anew is not seen again") {
  for (std::uint64_t round = 0; round < 320; ++round) {
    CAPTURE(round);
    test::dice dice{round};
    cluster_of c{4};
    c.w.change_weather({20us, 3ms, 0, false, 0});
    c.w.run_for(std::chrono::milliseconds{dice.below(1000)}); // other delays
    const auto name = c.resource_at(0);
    auto other = name; // of another side, so that all is told anew
    while (c.home(other) != 0 || other == name)
      other += "x";
    const auto one = c.put(2, name);
    c.w.run_for(20ms);
    REQUIRE(c.got(one));
    c.split(3);
    c.w.run_for(5s);
    c.put(3, other);
    c.w.run_for(20ms);
    const auto views = c.views;
    c.w.heal_network();
    while (c.views == views)
      c.w.run_for(10us);
    c.w.run_for(std::chrono::microseconds{dice.below(9000)});
    c.w.owner_gone(2, one);
    while (c.owner(1, name) != 0)
      c.w.run_for(5us);
    const auto again = c.put(1, name);
    c.w.run_for(200ms);
    CHECK(c.got(again));
    CHECK(c.owner(3, name) == again);
  }
}

TEST_CASE("a replace that was removed before it was certain has happened") {
  cluster_of c{4};
  const auto [name, one, two] = uncertain_replace(c);
  const auto removal = ++c.last;
  c.w.remove(0, removal, name);
  c.w.run_for(2ms);
  c.w.crash(3);
  c.w.run_for(5s);
  CHECK(c.got(two));
  CHECK(c.got(removal));
  for (const auto i : sizes{0, 1, 2})
    CHECK(c.owner(i, name) == 0);
  REQUIRE_FALSE(c.told.empty());
  CHECK(c.told[0].owner.actor == one);
}
