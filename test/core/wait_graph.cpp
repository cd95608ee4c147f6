#include "coopcache/core/wait_graph.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

using namespace coopcache::core;
using namespace coopcache::test;

TEST_CASE("a ring of any length is refused where it would close") {
  for (const wait_graph::load length : {1U, 2U, 3U, 10U, 1000U}) {
    CAPTURE(length);
    wait_graph graph;
    for (wait_graph::load i = 1; i < length; ++i)
      REQUIRE(graph.add(i, i + 1));
    CHECK_FALSE(graph.add(length, 1));
    CHECK(graph.edges() == length - 1);
  }
}

TEST_CASE("two loads that join each other's keys are a ring") {
  wait_graph graph;
  CHECK(graph.add(1, 2));
  CHECK_FALSE(graph.add(2, 1));
  graph.remove(1, 2);
  CHECK(graph.add(2, 1));
  CHECK_FALSE(graph.add(1, 2));
}

TEST_CASE("a load may wait for many, and many for one") {
  wait_graph graph;
  for (wait_graph::load i = 2; i < 100; ++i) {
    CHECK(graph.add(1, i));
    CHECK(graph.add(i, 100));
  }
  CHECK_FALSE(graph.add(100, 1));
  CHECK(graph.edges() == 2 * 98);
}

TEST_CASE("an edge noted twice holds until it was taken back twice") {
  wait_graph graph;
  CHECK(graph.add(1, 2));
  CHECK(graph.add(1, 2));
  CHECK(graph.edges() == 2);
  graph.remove(1, 2);
  CHECK_FALSE(graph.add(2, 1));
  graph.remove(1, 2);
  CHECK(graph.edges() == 0);
  CHECK(graph.add(2, 1));
}

TEST_CASE("taking back what was never noted has no effect") {
  wait_graph graph;
  graph.remove(1, 2);
  CHECK(graph.add(1, 2));
  graph.remove(1, 3);
  graph.remove(2, 1);
  CHECK(graph.edges() == 1);
}

namespace {

using edge = std::pair<wait_graph::load, wait_graph::load>;

/// Whether `to` can be reached, by widening the set of what can until it does
/// not grow any more.
bool reaches(const std::multiset<edge>& all, wait_graph::load from,
             wait_graph::load to) {
  std::set<wait_graph::load> seen{from};
  for (std::size_t before = 0; before != seen.size();) {
    before = seen.size();
    for (const auto& [a, b] : all)
      if (seen.count(a) != 0)
        seen.insert(b);
  }
  return seen.count(to) != 0;
}

void run_random_graph(std::uint64_t seed) {
  CAPTURE(seed);
  dice any{seed};
  wait_graph graph;
  std::multiset<edge> model;
  const auto nodes = 2 + any.below(8);
  for (int step = 0; step < 1000; ++step) {
    const edge e{any.below(nodes), any.below(nodes)};
    if (any.one_in(3)) {
      graph.remove(e.first, e.second);
      if (const auto found = model.find(e); found != model.end())
        model.erase(found);
    } else {
      const bool allowed = !reaches(model, e.second, e.first);
      REQUIRE(graph.add(e.first, e.second) == allowed);
      if (allowed)
        model.insert(e);
    }
    REQUIRE(graph.edges() == model.size());
  }
}

} // namespace

TEST_CASE("the graph refuses what closes a ring, and nothing else") {
  for (const auto seed : seeds(20))
    run_random_graph(seed);
}
