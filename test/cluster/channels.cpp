#include "coopcache/cluster/channels.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <vector>

using namespace coopcache;
using namespace std::chrono_literals;
using cluster::body;
using cluster::channels;
using cluster::packet;
using core::instant;

namespace {

const core::node_id a{"a", 1};
const core::node_id b{"b", 2};

core::view view(std::uint64_t number) {
  return {{number, a}, {a, b}};
}

body numbered(std::uint64_t n) {
  return cluster::lock_release{n};
}

std::vector<std::uint64_t> numbers(const std::vector<body>& all) {
  std::vector<std::uint64_t> result;
  for (const auto& one : all)
    result.push_back(std::get<cluster::lock_release>(one).seq);
  return result;
}

using seqs = std::vector<std::uint64_t>;

/// Two ends, both in a view.
struct fixture {
  channels from;
  channels to;
  instant now{1h};

  fixture() {
    from.enter(view(1), a);
    to.enter(view(1), b);
  }

  packet flushed() {
    const auto all = from.flush(now);
    REQUIRE(all.size() == 1);
    return all[0].what;
  }
};

} // namespace

TEST_CASE("all of a turn goes in one packet, and arrives once, in order") {
  fixture f;
  for (std::uint64_t i = 1; i <= 3; ++i)
    f.from.send(b, numbered(i));
  const auto p = f.flushed();
  CHECK(numbers(f.to.receive(a, packet{p}, f.now)) == seqs{1, 2, 3});
  CHECK(f.to.receive(a, packet{p}, f.now).empty());
  CHECK(f.from.flush(f.now).empty());
}

TEST_CASE("what comes too early waits for its turn") {
  fixture f;
  f.from.send(b, numbered(1));
  const auto first = f.flushed();
  f.from.send(b, numbered(2));
  const auto second = f.flushed();
  CHECK(f.to.receive(a, packet{second}, f.now).empty());
  CHECK(numbers(f.to.receive(a, packet{first}, f.now)) == seqs{1, 2});
}

TEST_CASE("however much comes too early, the turn comes") {
  fixture f;
  f.from.send(b, numbered(0));
  auto first = f.flushed();
  for (std::uint64_t i = 1; i <= 9000; ++i)
    f.from.send(b, numbered(i));
  for (auto& each : f.from.flush(f.now))
    CHECK(f.to.receive(a, std::move(each.what), f.now).empty());
  CHECK(f.to.receive(a, std::move(first), f.now).size() == 4000);
  while (f.from.kept() > 0) {
    f.now += 20ms;
    for (auto& each : f.to.flush(f.now))
      CHECK(f.from.receive(b, std::move(each.what), f.now).empty());
    for (auto& each : f.from.flush(f.now))
      static_cast<void>(f.to.receive(a, std::move(each.what), f.now));
  }
}

TEST_CASE("what is not acknowledged is repeated, then no more") {
  fixture f;
  f.from.send(b, numbered(1));
  static_cast<void>(f.flushed());
  f.now = f.from.next_wake();
  const auto again = f.flushed();
  CHECK(numbers(f.to.receive(a, packet{again}, f.now)) == seqs{1});
  CHECK(f.from.kept() == 1);
  f.now = f.to.next_wake();
  const auto back = f.to.flush(f.now);
  REQUIRE(back.size() == 1);
  CHECK(back[0].what.bodies.empty());
  CHECK(f.from.receive(b, packet{back[0].what}, f.now).empty());
  CHECK(f.from.kept() == 0);
  CHECK(f.from.next_wake() == core::never);
  CHECK(f.to.next_wake() == core::never);
}

TEST_CASE("a lock that was handed on is given back within 20 ms") {
  fixture f;
  const body patient = cluster::lock_release{1, true};
  f.from.send(b, patient);
  CHECK(f.from.flush(f.now).empty());
  CHECK(f.from.next_wake() == f.now + 20ms);
  f.now += 19ms;
  CHECK(f.from.flush(f.now).empty());
  f.now += 1ms;
  CHECK(numbers(f.to.receive(a, f.flushed(), f.now)) == seqs{1});
  f.from.send(b, patient);
  CHECK(f.from.flush(f.now).empty());
  f.from.send(b, numbered(2)); // which it goes with
  CHECK(numbers(f.to.receive(a, f.flushed(), f.now)) == seqs{1, 2});
}

TEST_CASE("a new link has all repeated at once") {
  fixture f;
  f.from.send(b, numbered(1));
  static_cast<void>(f.flushed());
  CHECK(f.from.flush(f.now).empty());
  f.from.relinked(b);
  CHECK(f.flushed().bodies.size() == 1);
}

TEST_CASE("other views and strangers have no effect") {
  fixture f;
  f.from.send(b, numbered(1));
  const auto old = f.flushed();
  f.to.enter(view(2), b);
  CHECK(f.to.receive(a, packet{old}, f.now).empty());
  f.from.enter(view(2), a);
  CHECK(f.from.flush(f.now).empty()); // the end of a view ends its messages
  f.from.send({"c", 3}, numbered(1));
  CHECK(f.from.flush(f.now).empty());
  CHECK(
    f.to.receive({"c", 3}, {view(2).id, 0, 0, {numbered(1)}}, f.now).empty());
}

TEST_CASE("whatever the link does, all arrives once, in order") {
  for (const auto seed : test::seeds(100)) {
    CAPTURE(seed);
    test::dice dice{seed};
    fixture f;
    std::vector<std::pair<bool, packet>> flying;
    seqs got;
    std::uint64_t sent = 0;
    for (int step = 0; step < 2000 || got.size() < sent; ++step) {
      REQUIRE(step < 20'000);
      f.now += 5ms;
      if (step < 1000 && dice.one_in(3))
        f.from.send(b, numbered(++sent));
      for (auto& each : f.from.flush(f.now))
        flying.emplace_back(true, std::move(each.what));
      for (auto& each : f.to.flush(f.now))
        flying.emplace_back(false, std::move(each.what));
      while (!flying.empty() && !dice.one_in(3)) {
        const auto i = dice.below(flying.size());
        const auto [forth, what] = flying[i];
        if (!dice.one_in(10)) // else it will come once more
          flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(i));
        if (dice.one_in(5))
          continue; // lost
        const auto bodies = forth ? f.to.receive(a, packet{what}, f.now)
                                  : f.from.receive(b, packet{what}, f.now);
        for (const auto n : numbers(bodies))
          got.push_back(n);
      }
    }
    seqs expected;
    for (std::uint64_t i = 1; i <= sent; ++i)
      expected.push_back(i);
    CHECK(got == expected);
  }
}
