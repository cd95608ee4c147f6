#include "coopcache/cluster/dialer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

using namespace coopcache;
using namespace std::chrono_literals;
using cluster::dialer;
using core::instant;
using endpoints = std::vector<std::string>;

namespace {

constexpr instant start{1h};

} // namespace

TEST_CASE("of a pair the smaller endpoint dials at once, the greater later") {
  dialer small{"a:1", {"b:1"}, start};
  dialer great{"b:1", {"a:1"}, start};
  CHECK(small.due(start) == endpoints{"b:1"});
  CHECK(great.due(start).empty());
  CHECK(great.next_wake() >= start + 500ms);
  CHECK(great.next_wake() < start + 600ms);
  CHECK(great.due(great.next_wake()) == endpoints{"a:1"});
}

TEST_CASE("who cannot be dialled dials everybody at once") {
  dialer d{"", {"a:1", "b:1"}, start};
  CHECK(d.due(start) == endpoints{"a:1", "b:1"});
}

TEST_CASE("a fresh attempt starts each 100 ms until there is a link") {
  dialer d{"a:1", {"b:1"}, start};
  auto now = start;
  for (int i = 0; i < 50; ++i, now += 100ms) {
    CHECK(d.due(now) == endpoints{"b:1"});
    CHECK(d.due(now + 99ms).empty());
    if (i % 3 == 0)
      d.failed("b:1");
  }
  d.linked("b:1");
  CHECK(d.next_wake() == core::never);
  CHECK(d.due(now + 1h).empty());
  d.unlinked("b:1", now + 1h);
  CHECK(d.due(now + 1h) == endpoints{"b:1"});
}

TEST_CASE("whether a lost peer still runs is checked several times, then not") {
  dialer d{"b:1", {"a:1"}, start};
  CHECK(d.to_check(start + 1h).empty());
  d.linked("a:1");
  for (const bool refused : {false, true}) {
    d.unlinked("a:1", start);
    auto now = start;
    for (const auto pause : {10ms, 20ms, 40ms, 80ms, 160ms, 320ms}) {
      CHECK(d.to_check(now) == endpoints{"a:1"});
      CHECK(d.to_check(now).empty());
      CHECK(d.next_wake() <= now + pause);
      now += pause;
      CHECK(d.to_check(now - 1ms).empty());
    }
    if (refused)
      d.failed("a:1");
    else
      CHECK(d.to_check(now) == endpoints{"a:1"});
    CHECK(d.to_check(start + 1h).empty());
    d.linked("a:1");
  }
}

TEST_CASE("the own endpoint is not dialled, and each other one once") {
  dialer d{"b:1", {"b:1", "c:1", "c:1"}, start};
  d.learn("b:1", start);
  d.learn("c:1", start);
  d.learn("", start);
  CHECK(d.due(start) == endpoints{"c:1"});
}

TEST_CASE("all are probed when each configured peer was linked or failed") {
  dialer d{"a:1", {"b:1", "c:1"}, start};
  CHECK_FALSE(d.probed());
  d.failed("b:1");
  CHECK_FALSE(d.probed());
  d.learn("d:1", start); // is not waited for
  d.linked("c:1");
  CHECK(d.probed());
  CHECK(dialer{"a:1", {}, start}.probed());
}

TEST_CASE("learnt peers are forgotten, configured ones are not, and there is "
          "a bound") {
  dialer d{"a:1", {"b:1"}, start};
  d.learn("c:1", start);
  CHECK_FALSE(d.forget("b:1"));
  CHECK(d.forget("c:1"));
  CHECK(d.due(start) == endpoints{"b:1"});
  for (std::size_t i = 0; i < 2 * dialer::most; ++i)
    d.learn(std::to_string(i), start);
  CHECK(d.due(start + 1s).size() == dialer::most);
}

TEST_CASE(
  "of two that got no answer one leaves the next attempt to the other") {
  dialer small{"a:1", {"b:1"}, start};
  dialer great{"b:1", {"a:1"}, start};
  const auto now = start + 10s;
  small.unanswered("b:1", now);
  great.unanswered("a:1", now);
  CHECK(small.may_dial("b:1", now));
  CHECK(small.due(now) == endpoints{"b:1"});
  CHECK_FALSE(great.may_dial("a:1", now + 499ms));
  CHECK(great.due(now + 499ms).empty());
  CHECK(great.due(now + 600ms) == endpoints{"a:1"});
  CHECK(small.probed());
}

TEST_CASE("whom both have dialled is not tried yet") {
  dialer small{"a:1", {"b:1"}, start};
  dialer great{"b:1", {"a:1"}, start};
  CHECK_FALSE(small.leaves_to("b:1"));
  CHECK(great.leaves_to("a:1"));
  CHECK(small.due(start) == endpoints{"b:1"});
  small.wait_for("b:1", start + 1ms);
  great.wait_for("a:1", start + 1ms);
  CHECK_FALSE(small.probed());
  CHECK_FALSE(great.probed());
  CHECK(small.due(start + 99ms).empty());
  CHECK(small.due(start + 100ms) == endpoints{"b:1"});
  CHECK_FALSE(great.may_dial("a:1", start + 500ms));
  CHECK(great.due(start + 601ms) == endpoints{"a:1"});
  small.wait_for("z:1", start);                             // unknown
  CHECK_FALSE(dialer{"", {"a:1"}, start}.leaves_to("a:1")); // nobody dials it
}

TEST_CASE("who always hangs up is not dialled more often than others") {
  dialer d{"a:1", {"b:1"}, start};
  CHECK(d.due(start) == endpoints{"b:1"});
  d.unanswered("b:1", start + 1ms);
  CHECK(d.due(start + 99ms).empty());
  CHECK(d.due(start + 100ms) == endpoints{"b:1"});
}

TEST_CASE("an endpoint where something else lives is left alone for a while") {
  dialer d{"a:1", {"b:1"}, start};
  d.pause("b:1", start + 5s);
  CHECK(d.due(start + 4999ms).empty());
  CHECK_FALSE(d.may_dial("b:1", start + 4999ms));
  CHECK(d.due(start + 5s) == endpoints{"b:1"});
  CHECK_FALSE(d.may_dial("z:1", start)); // unknown
}

TEST_CASE("what nobody configured is forgotten without a link, in time") {
  dialer d{"a:1", {"b:1"}, start};
  d.learn("c:1", start);
  d.learn("d:1", start);
  d.linked("d:1");
  CHECK(d.forget_before(start).empty());
  CHECK(d.forget_before(start + 1s) == endpoints{"c:1"});
  CHECK_FALSE(d.knows("c:1"));
  CHECK_FALSE(d.forget("d:1")); // linked
  d.unlinked("d:1", start + 2s);
  CHECK(d.forget_before(start + 2s).empty());
  CHECK(d.forget("d:1"));
  CHECK_FALSE(d.forget("b:1")); // configured
  CHECK(d.knows("b:1"));
}
