#include "sim/cluster_of.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

// One bad moment at a time: locks.

using namespace coopcache;
using namespace coopcache::sim;
using namespace std::chrono_literals;

namespace {

/// Whether each gets the lock in turn, so soon after it was given back.
void check_handed_down(cluster_of& c, std::uint64_t holder,
                       const std::vector<std::uint64_t>& waiting,
                       nanos within) {
  for (const auto next : waiting) {
    c.unlock(holder);
    c.w.run_for(within);
    CHECK(c.got(next));
    holder = next;
  }
}

} // namespace

TEST_CASE("an uncontended lock costs one round trip, at the home none") {
  for (const auto n : sizes{1, 3, 8}) {
    cluster_of c{n};
    const auto r = c.resource_at(0);
    const auto here = c.lock(0, r);
    CHECK(c.got(here));
    c.unlock(here);
    if (n == 1)
      continue;
    c.w.run_for(100ms);
    const auto sent = c.w.nodes()[1].sent + c.w.nodes()[0].sent;
    const auto there = c.lock(1, r);
    const auto took = c.time_until([&] { return c.got(there); });
    REQUIRE(took);
    CHECK(*took <= 2ms);
    CHECK(c.w.nodes()[1].sent + c.w.nodes()[0].sent <= sent + 6);
  }
}

TEST_CASE("waiters are granted in the order in which they came") {
  cluster_of c{4};
  const auto first = c.quiet_lock(0, "r");
  std::vector<std::uint64_t> waiting;
  for (std::size_t i = 0; i < 12; ++i) {
    waiting.push_back(c.quiet_lock(i % 4, "r"));
  }
  check_handed_down(c, first, waiting, 3ms);
}

TEST_CASE("the next waiter has a lock one trip after it was given back") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto r = c.resource_at(0);
  auto holder = c.lock(1, r);
  std::vector<std::uint64_t> waiting;
  for (std::size_t i = 0; i < 6; ++i) {
    c.w.run_for(5ms);
    waiting.push_back(c.lock(1 + (i + 1) % 3, r));
  }
  auto token = c.tokens[holder];
  for (const auto next : waiting) {
    c.w.run_for(5ms);
    c.unlock(holder);
    c.w.run_for(1ms);
    CHECK(c.got(next));
    CHECK(c.tokens[next] > token);
    token = c.tokens[next];
    holder = next;
  }
}

TEST_CASE("who is next and gives up does not keep others waiting") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto r = c.resource_at(0);
  for (const bool crossing : {false, true}) {
    const auto holder = c.quiet_lock(1, r);
    const auto first = c.quiet_lock(2, r);
    const auto second = c.quiet_lock(3, r);
    c.w.cancel(2, first);
    if (!crossing)
      c.w.run_for(5ms);
    c.unlock(holder);
    // At worst the home names the next one to a holder that has gone.
    c.w.run_for(crossing ? 4ms : 1ms);
    CHECK(c.answers[first] == cluster::verdict::cancelled);
    CHECK(c.got(second));
    c.unlock(second);
    c.w.run_for(5ms);
  }
}

TEST_CASE("a lock whose waiter gave up is free when it is given back") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto r = c.resource_at(0);
  const auto holder = c.quiet_lock(1, r);
  const auto waiter = c.lock(2, r, 50ms);
  c.w.run_for(100ms);
  CHECK(c.answers[waiter] == cluster::verdict::timed_out);
  c.unlock(holder);
  c.w.run_for(1ms);
  const auto next = c.lock(3, r);
  c.w.run_for(2ms);
  CHECK(c.got(next));
}

TEST_CASE("nobody comes before those who wait, whatever a member says") {
  cluster_of c{4};
  c.w.tamper = [](const auto& from, const auto&, cluster::message& what) {
    if (auto* const p = std::get_if<cluster::packet>(&what))
      for (auto& one : p->bodies)
        if (auto* const asked = std::get_if<cluster::lock_request>(&one))
          asked->ticket = from.name == "n4" ? 1 : asked->ticket;
  };
  const auto r = c.resource_at(0);
  const std::vector order{c.quiet_lock(1, r), c.quiet_lock(2, r),
                          c.quiet_lock(1, r), c.quiet_lock(3, r)};
  for (const auto next : order) {
    CHECK(c.got(next));
    c.unlock(next);
    c.w.run_for(5ms);
  }
}

TEST_CASE("who may not grant hands nothing on") {
  cluster_of c{4};
  const auto r = c.resource_at(3);
  const auto holder = c.quiet_lock(0, r);
  const auto next = c.quiet_lock(1, r);
  c.split(2);          // 0 1 | 2 3
  c.w.run_for(1400ms); // the home may count on nobody here any more
  c.unlock(holder);
  c.w.run_for(10ms);
  CHECK_FALSE(c.got(next));
  c.w.run_for(2s); // in a view of their own
  CHECK(c.got(next));
}

TEST_CASE("who shares a lock with its holder does not wait for others") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto r = c.resource_at(0);
  const auto holder = c.quiet_lock(1, r, 1h, "shared");
  const auto other = c.quiet_lock(2, r);
  const auto like = c.lock(3, r, 1h, "shared");
  c.w.run_for(4ms); // request, keep, kept, granted
  CHECK(c.got(like));
  CHECK_FALSE(c.got(other));
  c.unlock(holder);
  c.w.run_for(5ms);
  CHECK_FALSE(c.got(other));
  c.unlock(like);
  c.w.run_for(1ms);
  CHECK(c.got(other));
}

TEST_CASE("who was handed a lock can share it, and hand it on") {
  for (const std::size_t first : sizes{0, 1}) { // the home itself, and another
    cluster_of c{4};
    c.w.change_weather({1ms, 1ms, 0, false, 0});
    const auto r = c.resource_at(0);
    const auto holder = c.quiet_lock(first, r);
    const auto second = c.quiet_lock(2, r, 1h, "shared");
    c.unlock(holder);
    c.w.run_for(5ms);
    CHECK(c.got(second));
    const auto third = c.quiet_lock(3, r);
    const auto like = c.lock(1, r, 1h, "shared");
    c.w.run_for(4ms);
    CHECK(c.got(like));
    c.unlock(like);
    c.w.run_for(5ms);
    c.unlock(second);
    c.w.run_for(1ms);
    CHECK(c.got(third));
  }
}

TEST_CASE("a lock given back while another asks to share it is handed on") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto r = c.resource_at(0);
  const auto holder = c.quiet_lock(1, r, 1h, "shared");
  const auto other = c.quiet_lock(2, r);
  const auto like = c.lock(3, r, 1h, "shared");
  c.w.run_for(1500us); // the home has asked the holder to keep it
  c.unlock(holder);
  c.w.run_for(1ms);
  CHECK(c.got(other));
  c.w.run_for(5ms);
  CHECK_FALSE(c.got(like));
  c.unlock(other);
  c.w.run_for(1ms);
  CHECK(c.got(like));
}

TEST_CASE("the order of waiters outlives their home") {
  cluster_of c{4};
  const auto r = c.resource_at(3);
  auto holder = c.quiet_lock(0, r);
  std::vector<std::uint64_t> waiting;
  for (std::size_t i = 0; i < 6; ++i) {
    waiting.push_back(c.quiet_lock(i % 3, r));
  }
  c.w.crash(3);
  c.w.run_for(50ms);
  CHECK(c.lost.empty());
  check_handed_down(c, holder, waiting, 5ms);
}

TEST_CASE("when a holder's node is killed the next waiter has it in 20 ms") {
  cluster_of c{3};
  const auto r = c.resource_at(0);
  const auto holder = c.quiet_lock(2, r);
  CHECK(c.got(holder));
  const auto waiter = c.quiet_lock(1, r);
  c.w.crash(2);
  const auto took = c.time_until([&] { return c.got(waiter); });
  REQUIRE(took);
  CHECK(*took <= 20ms);
}

TEST_CASE("when a holder's client is gone the next waiter has it in 2 ms") {
  cluster_of c{3};
  const auto r = c.resource_at(0);
  const auto holder = c.quiet_lock(2, r);
  const auto waiter = c.quiet_lock(1, r);
  c.w.client_gone(2, holder);
  const auto took = c.time_until([&] { return c.got(waiter); });
  REQUIRE(took);
  CHECK(*took <= 2ms); // a message takes 1 ms at most
}

TEST_CASE("two holders at a heal: the greater token stays, the other is told") {
  cluster_of c{4};
  c.split(2);
  c.w.run_for(5s);
  const auto one = c.lock(0, "r");
  c.w.run_for(100ms);
  const auto two = c.lock(3, "r");
  c.w.run_for(100ms);
  CHECK(c.got(one));
  CHECK(c.got(two));
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(10ms);
  CHECK(c.lost.size() == 1);
  CHECK(c.lost.front() == (c.tokens[one] < c.tokens[two] ? one : two));
}

TEST_CASE("two halves of one view never give the same token") {
  cluster_of c{4};
  std::size_t together = 0; // halves that grant with numbers of nearly one time
  for (std::size_t round = 0; round < 200; ++round) {
    const auto resource = numbered("r", round);
    c.split(2);
    REQUIRE(c.time_until(
      [&] { return c.members(0) == "01" && c.members(3) == "23"; }));
    const auto one = c.quiet_lock(0, resource);
    const auto two = c.quiet_lock(3, resource);
    CHECK(c.tokens[one] != c.tokens[two]);
    const auto a = c.view(0).id.number, b = c.view(3).id.number;
    together += std::max(a, b) - std::min(a, b) < 4 ? 1 : 0;
    c.w.heal_network();
    REQUIRE(c.time_until([&] { return c.all_in_one(); }));
    c.w.run_for(10ms);
  }
  CHECK(together >= 20);
}

TEST_CASE("a holder that was overtaken while it was cut off is told") {
  cluster_of c{4};
  const auto taken = c.resource_at(0), untouched = c.resource_at(1);
  const auto gone = c.lock(3, taken);
  const auto kept = c.lock(3, untouched);
  c.w.run_for(10ms);
  for (int round = 0; round < 2; ++round) {
    c.split(3); // 0 1 2 | 3
    c.w.run_for(5s);
    const auto other = c.lock(1, taken, 1h);
    c.w.run_for(100ms);
    CHECK(c.got(other));
    c.unlock(other);
    c.w.run_for(100ms);
    CHECK(c.lost.size() == static_cast<std::size_t>(round));
    c.w.heal_network();
    REQUIRE(c.time_until([&] { return c.all_in_one(); }));
    c.w.run_for(10ms);
    CHECK(c.lost == std::vector{gone});
    const auto next = c.lock(2, taken);
    c.w.run_for(10ms);
    CHECK(c.got(next));
    c.unlock(next);
  }
  c.unlock(kept);
}

TEST_CASE("a lost lock is given back before one that was got again") {
  cluster_of c{4};
  const auto r = c.resource_at(0);
  const auto lost = c.lock(3, r, 1h, "x");
  const auto client = c.clients.at(lost);
  c.w.run_for(10ms);
  c.split(3); // 0 1 2 | 3
  c.w.run_for(5s);
  const auto other = c.quiet_lock(1, r, 1h, "y");
  REQUIRE(c.got(other));
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(10ms);
  REQUIRE(c.lost == std::vector{lost});
  c.unlock(other);
  c.w.run_for(10ms);
  cluster::lock_wish again; // by a handle of the same client
  again.request = ++c.last;
  again.client = lost;
  again.resource = r;
  again.requester = client.requester;
  again.by_handle = true;
  c.w.lock(3, again);
  c.w.run_for(10ms);
  REQUIRE(c.got(again.request));
  using cluster::unlocked;
  CHECK(c.w.unlock(3, lost, r, client.requester) == unlocked::lost);
  CHECK(c.w.unlock(3, lost, r, client.requester) == unlocked::not_held);
  CHECK(c.w.unlock(3, again.request) == unlocked::released);
  CHECK(c.w.unlock(3, again.request) == unlocked::not_held);
}

TEST_CASE("who is told of a loss has only what it locked again to give back") {
  cluster_of c{4};
  const auto lock = [&](bool by_handle) {
    cluster::lock_wish wish;
    wish.request = ++c.last;
    wish.client = 7;
    wish.resource = c.resource_at(0);
    wish.requester = std::string{"x"};
    wish.by_handle = by_handle;
    wish.is_told = true;
    c.w.lock(3, wish);
    c.w.run_for(10ms);
    return wish.request;
  };
  using cluster::unlocked;
  const auto r = c.resource_at(0);
  const auto first = lock(false);
  const auto handle = lock(true); // together with the first
  REQUIRE(c.got(handle));
  c.split(3); // 0 1 2 | 3
  c.w.run_for(5s);
  const auto other = c.quiet_lock(1, r, 1h, "y");
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(10ms);
  REQUIRE(c.lost == std::vector{first});
  c.unlock(other);
  c.w.run_for(10ms);
  REQUIRE(c.got(lock(false)));
  CHECK(c.w.unlock(3, 7, r, "x") == unlocked::released);
  CHECK(c.w.unlock(3, 7, r, "x") == unlocked::not_held);
  CHECK(c.w.unlock(3, first) == unlocked::lost); // the handle's
  CHECK(c.w.nodes()[3].machine->own_locks().all().empty());
}

TEST_CASE("work grows with the number of those who wait, not with its square") {
  const auto ticks_of = [](std::uint64_t count) {
    cluster_of c{3};
    c.w.on_effect = nullptr;
    const auto begin = std::clock(); // of the processor
    for (std::uint64_t i = 0; i < count; ++i)
      c.lock(1, "r");
    c.w.run_for(50ms);
    for (std::uint64_t i = 1; i <= count; ++i)
      c.w.client_gone(1, i);
    for (std::uint64_t i = 0; i < count; ++i)
      c.put(1, numbered("n", i));
    c.w.run_for(50ms);
    for (std::uint64_t i = 1; i <= count; ++i)
      c.w.owner_gone(1, count + i);
    c.w.run_for(50ms);
    return static_cast<double>(std::clock() - begin);
  };
  const auto some = ticks_of(2'000), many = ticks_of(8'000);
  CHECK(many < 9 * some); // 4 times as much; 16 would be the square
}

TEST_CASE("who thaws grants nothing before it knows that it was away") {
  cluster_of c{4};
  const auto r = c.resource_at(0);
  c.w.freeze(0);
  REQUIRE(c.time_until([&] { return c.members(1) == "123"; }));
  const auto other = c.quiet_lock(1, r);
  REQUIRE(c.got(other));
  std::uint64_t own = 0;
  c.w.thaw(0, [&] { own = c.lock(0, r); });
  CHECK_FALSE(c.got(own));
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(10ms);
  CHECK_FALSE(c.got(own));
  c.unlock(other);
  c.w.run_for(10ms);
  CHECK(c.got(own));
}

TEST_CASE("who locks again what it holds is told its token") {
  cluster_of c{3};
  for (std::size_t home = 0; home < 3; ++home) {
    const auto r = c.resource_at(home);
    const auto first = c.quiet_lock(2, r, 1h, "x");
    cluster::lock_wish again;
    again.request = ++c.last;
    again.client = first;
    again.resource = r;
    again.requester = std::string{"x"};
    c.w.lock(2, again);
    CHECK(c.got(again.request));
    CHECK(c.tokens[again.request] == c.tokens[first]);
  }
}

TEST_CASE("an attempt that ends without the lock changes no earlier hold") {
  cluster_of c{3};
  const auto r = c.resource_at(0), s = c.resource_at(1);
  const auto held = c.quiet_lock(1, r, 1h, "x");
  const auto client = held;
  const auto other = c.quiet_lock(2, s, 1h, "y");
  const auto attempt = [&](const std::string& resource,
                           const std::string& requester, bool once) {
    cluster::lock_wish wish;
    wish.request = ++c.last;
    wish.client = client;
    wish.resource = resource;
    wish.requester = requester;
    wish.once = once;
    wish.deadline = c.w.now() + 50ms;
    c.w.lock(1, wish);
    c.w.run_for(10ms);
    return wish.request;
  };
  using cluster::verdict;
  const auto refused = attempt(s, "x", true);
  CHECK(c.answers.at(refused) == verdict::refused);
  const auto cancelled = attempt(s, "x", false);
  c.w.cancel(1, cancelled);
  CHECK(c.answers.at(cancelled) == verdict::cancelled);
  const auto late = attempt(r, "z", false); // as somebody else
  c.w.run_for(100ms);
  CHECK(c.answers.at(late) == verdict::timed_out);
  CHECK(c.lost.empty());
  CHECK(c.w.nodes()[1].machine->own_locks().all().size() == 1);
  c.unlock(other);
  const auto next = c.quiet_lock(2, r);
  CHECK_FALSE(c.got(next));
  c.unlock(held);
  c.w.run_for(10ms);
  CHECK(c.got(next));
}

TEST_CASE("who leaves is answered whatever it waits for, and loses its locks") {
  cluster_of c{3};
  const auto r = c.resource_at(0), s = c.resource_at(1);
  const auto held = c.quiet_lock(2, s);
  const auto holder = c.quiet_lock(1, r);
  const auto waiting = c.quiet_lock(2, r);
  c.w.freeze(0); // so that no name can be had
  const auto name = c.put(2, "n");
  const auto removal = ++c.last;
  c.w.remove(2, removal, "none");
  c.w.leave(2);
  using cluster::verdict;
  CHECK(c.answers.at(waiting) == verdict::leaving);
  CHECK(c.answers.at(name) == verdict::leaving);
  CHECK(c.answers.at(removal) == verdict::leaving);
  CHECK(c.lost == std::vector{held});
  CHECK(c.answers.at(c.lock(2, r)) == verdict::leaving);
  CHECK(c.answers.at(c.put(2, "m")) == verdict::leaving);
  CHECK_FALSE(c.answers.at(holder) == verdict::leaving);
}

TEST_CASE("of many locks that were overtaken each is told") {
  cluster_of c{4};
  std::vector<std::uint64_t> gone;
  for (std::uint64_t i = 0; i < 250; ++i)
    gone.push_back(c.lock(3, numbered("many", i)));
  c.w.run_for(10ms);
  c.split(3); // 0 1 2 | 3
  c.w.run_for(5s);
  for (std::uint64_t i = 0; i < 250; ++i) {
    const auto other = c.quiet_lock(1, numbered("many", i));
    REQUIRE(c.got(other));
    c.unlock(other);
  }
  c.w.heal_network();
  REQUIRE(c.time_until([&] { return c.all_in_one(); }));
  c.w.run_for(10ms);
  std::sort(c.lost.begin(), c.lost.end());
  CHECK(c.lost == gone);
  c.w.crash(2);
  c.w.run_for(5s); // a new view: who has compared all says the same
  const auto lineage = [&](std::size_t node) {
    return c.w.nodes()[node].machine->own_locks().lineage();
  };
  CHECK(lineage(0) == lineage(1));
  CHECK(lineage(0) == lineage(3));
}

TEST_CASE("a node alone that has used its numbers up goes on at once") {
  cluster::registry_settings few;
  few.numbers_per_view = 10;
  cluster_of c{1, few};
  auto holder = c.lock(0, "r");
  for (int i = 0; i < 100; ++i) {
    const auto next = c.lock(0, "r");
    c.unlock(holder);
    CHECK(c.got(next));
    holder = next;
  }
}

TEST_CASE("a home that has used its numbers up asks for a new view") {
  cluster::registry_settings few;
  few.numbers_per_view = 5;
  cluster_of c{3, few};
  const auto r = c.resource_at(1);
  for (int i = 0; i < 50; ++i) {
    const auto request = c.lock(0, r);
    REQUIRE(c.time_until([&] { return c.got(request); }, 1s));
    c.unlock(request);
  }
}

TEST_CASE("a home that thaws grants nothing with the first message") {
  cluster_of c{4};
  const auto r = c.resource_at(3);
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto holder = c.quiet_lock(2, r);
  const auto here = c.quiet_lock(3, r);
  c.w.run_for(100ms);
  c.w.cancel(3, here); // and nobody is promised the lock
  c.w.run_for(200ms);
  const auto again = c.lock(3, r);
  c.unlock(holder); // arrives while the home is frozen
  c.w.run_for(500us);
  c.w.freeze(3);
  c.w.run_for(1ms);
  const auto other = c.lock(1, r);
  REQUIRE(c.time_until([&] { return c.got(other); }, 6s));
  c.w.thaw(3);
  CHECK_FALSE(c.got(again));
}

TEST_CASE("who is not to wait is refused, however many wait") {
  for (int waiters = 0; waiters < 3; ++waiters) {
    CAPTURE(waiters);
    cluster_of c{4};
    const auto r = c.resource_at(0);
    c.quiet_lock(1, r);
    for (int i = 0; i < waiters; ++i)
      c.quiet_lock(2, r);
    const auto hasty = c.try_lock(3, r);
    c.w.run_for(10ms);
    REQUIRE(c.answers.contains(hasty));
    CHECK(c.answers.at(hasty) == cluster::verdict::refused);
  }
}

TEST_CASE("a lock is given back as often as it was locked") {
  cluster_of c{3};
  const auto r = c.resource_at(0);
  const auto one = c.quiet_lock(1, r);
  const auto again = c.lock_again(one);
  CHECK(c.got(again));
  CHECK(c.tokens.at(again) == c.tokens.at(one));
  const auto next = c.quiet_lock(2, r);
  CHECK(c.give_back(one) == cluster::unlocked::counted);
  c.w.run_for(10ms);
  CHECK_FALSE(c.got(next));
  CHECK(c.give_back(one) == cluster::unlocked::released);
  CHECK(c.give_back(one) == cluster::unlocked::not_held);
  c.w.run_for(10ms);
  CHECK(c.got(next));
}

TEST_CASE("a check that a view change has cut short is made again") {
  for (auto when = 0us; when <= 8000us; when += 500us) {
    CAPTURE(when.count());
    cluster_of c{5};
    const auto r = c.resource_at(0);
    const auto overtaken = c.quiet_lock(4, r);
    c.split(4);
    c.w.run_for(5s);
    const auto other = c.quiet_lock(1, r);
    REQUIRE(c.got(other));
    c.unlock(other);
    c.w.run_for(50ms);
    c.w.heal_network();
    while (c.members(4) == "4")
      c.w.run_for(10us);
    c.w.run_for(when);
    c.w.crash(2);
    c.w.run_for(3s);
    CHECK(c.lost == std::vector{overtaken});
  }
}

TEST_CASE("who waits has the lock of a silent holder within 2 s") {
  for (const bool freezes : {false, true}) {
    CAPTURE(freezes);
    cluster_of c{4};
    const auto r = c.resource_at(0);
    c.quiet_lock(3, r);
    const auto next = c.quiet_lock(1, r);
    if (freezes)
      c.w.freeze(3);
    else
      c.split(3);
    const auto took = c.time_until([&] { return c.got(next); });
    REQUIRE(took);
    CHECK(*took <= 2s);
  }
}

TEST_CASE("nothing is granted between accepting a view and installing it") {
  cluster_of c{4};
  c.w.change_weather({1ms, 1ms, 0, false, 0});
  const auto r = c.resource_at(1);
  c.w.add_node();
  while (!c.w.nodes()[1].machine->members().changing())
    c.w.run_for(1us);
  const auto lock = c.lock(1, r);
  while (c.w.nodes()[1].machine->members().changing()) {
    REQUIRE_FALSE(c.got(lock));
    c.w.run_for(1us);
  }
  c.w.run_for(100ms);
  CHECK(c.got(lock));
}

TEST_CASE("a handle that is kept after its loss leaves nothing to give back") {
  cluster_of c{3};
  cluster::lock_wish wish;
  wish.request = wish.client = ++c.last;
  wish.resource = "r";
  wish.requester = std::string{"me"};
  wish.by_handle = wish.is_told = true;
  c.w.lock(1, wish);
  c.w.run_for(10ms);
  REQUIRE(c.got(wish.request));
  c.w.leave(1);
  REQUIRE(c.was_lost(wish.request));
  c.w.keep(1, wish.request);
  CHECK(c.w.nodes()[1].machine->own_locks().all().empty());
}
