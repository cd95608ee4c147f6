// The registry over real processes, sockets and signals.

#include "cluster.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace coopcache::test;

namespace {

using clock = std::chrono::steady_clock;

std::chrono::milliseconds since(clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now()
                                                               - begin);
}

std::uint64_t token(const std::string& line) {
  REQUIRE_MESSAGE(line.starts_with("token "), line);
  return std::stoull(line.substr(6));
}

/// The cluster of three that these tests share; each leaves it whole.
cluster& three() {
  static cluster all;
  all.gather();
  return all;
}

/// The cluster of five, likewise.
cluster& five() {
  static cluster all{{.nodes = 5}};
  all.gather();
  return all;
}

/// The nodes of a view in the order of their ranks, the coordinator first.
std::vector<std::size_t> ranks(cluster& all) {
  std::istringstream in{all[0].ask("view")};
  std::vector<std::size_t> result;
  std::string name;
  in >> name; // the state
  while (in >> name)
    result.push_back(std::stoul(name.substr(1)));
  return result;
}

std::string at(std::size_t node) {
  std::string result{"at n"};
  return result += std::to_string(node);
}

/// Waits until a home has so many holders and waiters: "1 2".
void await_queue(cluster& all, std::size_t home, const std::string& resource,
                 const std::string& expected) {
  if (within(5s,
             [&] { return all[home].ask("queue " + resource) == expected; }))
    return;
  std::string seen;
  for (std::size_t i = 0; i < all.size(); ++i)
    seen += all[i].ask("queue " + resource) + " in " + all[i].ask("view")
            + "; ";
  FAIL_CHECK(resource << " at n" << home << " is not " << expected << ": "
                      << seen);
}

} // namespace

TEST_CASE("three processes find each other") {
  auto& all = three();
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(all[i].ask("sync 5000") == "ok");
}

TEST_CASE("a name is found everywhere at once, until its owner ends") {
  auto& all = three();
  CHECK(all[0].ask("register alpha exit") == "ok");
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(all[i].ask("ask alpha") == "at n0");
  CHECK(all[2].ask("tell alpha hello") == "ok");
  CHECK(all[0].hear("told") == "hello");
  CHECK(all[2].ask("tell nobody hello") == "unknown_name");
  CHECK(all[1].ask("register alpha exit") == "name_taken");
  CHECK(all[1].ask("replace alpha exit") == "ok");
  CHECK(all[0].hear("lost-name") == "alpha replaced");
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(all[i].ask("ask alpha") == "at n1");
  CHECK(all[1].ask("kill alpha") == "ok");
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(within(5s, [&] { return all[i].ask("whereis alpha") == "none"; }));
  CHECK(all[2].ask("register alpha exit") == "ok");
  CHECK(all[0].ask("unregister alpha") == "ok");
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(all[i].ask("whereis alpha") == "none");
  CHECK(all[0].ask("unregister alpha") == "unknown_name");
}

TEST_CASE("while a name goes from node to node somebody has it") {
  auto& all = three();
  CHECK(all[0].ask("register roams exit") == "ok");
  for (std::size_t i = 1; i < 3; ++i) {
    CHECK(within(5s, [&] { return all[i].ask("whereis roams") == "found"; }));
    all[i].say("gaps roams 2000");
    CHECK(all[i].hear("gaps:") == "looking");
  }
  const auto end = std::chrono::steady_clock::now() + 1800ms;
  std::size_t owner = 0;
  while (std::chrono::steady_clock::now() < end)
    CHECK(all[owner = 1 - owner].ask("replace roams exit") == "ok");
  for (std::size_t i = 1; i < 3; ++i)
    CHECK(all[i].hear("gaps:") == "0");
  CHECK(all[0].ask("unregister roams") == "ok");
}

TEST_CASE("an actor of another node is registered where it lives") {
  auto& all = three();
  CHECK(all[1].ask("register old exit") == "ok");
  CHECK(all[1].ask("register strange nonsense") == "unknown_resolver");
  CHECK(all[0].ask("keep old") == "ok");
  CHECK(all[0].ask("adopt new") == "ok");
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(all[i].ask("whereis old") == "none");
    CHECK(all[i].ask("ask new") == "at n1");
  }
  CHECK(all[2].ask("keep nobody") == "unknown_name");
  CHECK(all[2].ask("adopt alone") == "owner_dead");
  // From anywhere, a name can be taken from just that actor.
  CHECK(all[2].ask("register other exit") == "ok");
  CHECK(all[0].ask("release other new") == "unknown_name");
  CHECK(all[0].ask("release other other") == "ok");
  CHECK(all[1].ask("whereis other") == "none");
  CHECK(all[1].ask("kill old") == "ok");
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(within(5s, [&] { return all[i].ask("whereis new") == "none"; }));
}

TEST_CASE("an actor of a frozen node gets no name after the deadline") {
  auto& all = three();
  CHECK(all[1].ask("register old exit") == "ok");
  CHECK(all[0].ask("keep old") == "ok");
  all[1].signal(SIGSTOP);
  CHECK(all[0].ask("adopt late 200") == "timeout");
  all[1].signal(SIGCONT);
  all.await_view({0, 1, 2});
  CHECK(within(5s, [&] { return all[0].ask("adopt again 5000") == "ok"; }));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(all[i].ask("ask again") == "at n1");
    CHECK(all[i].ask("whereis late") == "none");
  }
  CHECK(all[1].ask("kill old") == "ok");
}

TEST_CASE("a replace that came after its deadline leads to a living actor") {
  auto& all = three();
  const std::string name = "late";
  CHECK(all[2].ask("register " + name + " exit") == "ok");
  // One of them is the home, or else a member that has to acknowledge.
  for (const std::size_t frozen : {std::size_t{1}, std::size_t{2}}) {
    all[frozen].signal(SIGSTOP);
    CHECK(all[0].ask("replace " + name + " exit 300") == "timeout");
    all[frozen].signal(SIGCONT);
    all.await_view({0, 1, 2});
    std::string owner;
    CHECK(within(5s, [&] {
      owner = all[0].ask("ask " + name);
      return (owner == "at n0" || owner == "at n2")
             && all[1].ask("ask " + name) == owner
             && all[2].ask("ask " + name) == owner;
    }));
  }
  CHECK(all[2].ask("unregister " + name) == "ok");
}

TEST_CASE("a node that leaves answers whoever waits, also for other nodes") {
  auto& all = three();
  const auto resource = all.resource_at(1);
  CHECK(all[1].ask("register old exit") == "ok");
  CHECK(all[0].ask("keep old") == "ok");
  all[1].say("lock mine " + resource + " - 20000");
  static_cast<void>(token(all[1].hear("mine")));
  all[0].say("lock other " + resource + " - 20000");
  await_queue(all, 1, resource, "1 1");
  all[1].signal(SIGSTOP);
  all[0].say("adopt-later late");
  CHECK(all[0].hear("late") == "is asked for");
  all[0].close_input();
  CHECK(all[0].hear("late", 5s) == "shutting_down");
  CHECK(all[0].hear("other", 5s) == "shutting_down");
  CHECK(all[0].finish() == 0);
  all[1].signal(SIGCONT);
  CHECK(all[1].ask("unlock mine") == "unlocked");
  CHECK(all[1].ask("kill old") == "ok");
  all.kill(0);
}

TEST_CASE("a message to a name whose node is not linked is refused") {
  auto& all = three();
  CHECK(all[2].ask("register far exit") == "ok");
  CHECK(all[0].ask("tell far hello") == "ok");
  all[1].signal(SIGSTOP); // so that there is no new view at once
  all.kill(2);
  std::string answer;
  CHECK(within(1s, [&] {
    answer = all[0].ask("tell far hello");
    return answer != "ok";
  }));
  CHECK(answer == "unknown_node");
  CHECK(
    within(5s, [&] { return all[0].ask("tell far hello") == "unknown_name"; }));
  all[1].signal(SIGCONT);
}

TEST_CASE("a lock is handed over from node to node, in order") {
  auto& all = three();
  const auto resource = all.resource_at(1);
  all[0].say("lock first " + resource + " - 20000");
  auto last = token(all[0].hear("first"));
  all[2].say("lock second " + resource + " - 20000");
  await_queue(all, 1, resource, "1 1");
  all[1].say("lock third " + resource + " - 20000");
  await_queue(all, 1, resource, "1 2");
  all[0].say("lock impatient " + resource + " - 100");
  CHECK(all[0].hear("impatient") == "timeout");
  CHECK(all[0].ask("unlock first") == "unlocked");
  const auto second = token(all[2].hear("second"));
  CHECK(second > last);
  await_queue(all, 1, resource, "1 1");
  CHECK(all[2].ask("unlock second") == "unlocked");
  CHECK(token(all[1].hear("third")) > second);
  CHECK(all[1].ask("unlock third") == "unlocked");
  await_queue(all, 1, resource, "0 0");
}

TEST_CASE("who names one requester holds a lock together, on several nodes") {
  auto& all = three();
  const auto resource = all.resource_at(1);
  all[0].say("lock one " + resource + " shared 20000");
  static_cast<void>(token(all[0].hear("one")));
  all[2].say("lock two " + resource + " shared 20000");
  static_cast<void>(token(all[2].hear("two")));
  all[1].say("lock other " + resource + " - 20000");
  await_queue(all, 1, resource, "2 1");
  CHECK(all[0].ask("unlock one") == "unlocked");
  await_queue(all, 1, resource, "1 1");
  CHECK(all[2].ask("unlock two") == "unlocked");
  static_cast<void>(token(all[1].hear("other")));
  CHECK(all[1].ask("unlock other") == "unlocked");
}

TEST_CASE("a lock is asked for by message, with any deadline") {
  auto& all = three();
  const auto resource = all.resource_at(1);
  const std::vector<std::string> deadlines{"0", "-1", "1000",
                                           "9223372036854"}; // CAF's longest
  for (std::size_t i = 0; i < 3; ++i)
    for (const auto& deadline : deadlines) {
      CHECK(all[i].ask("request " + resource + ' ' + deadline) == "ok");
      await_queue(all, 1, resource, "0 0"); // the end of the actor got there
    }
  all[0].say("lock mine " + resource + " - 9223372036854775807");
  static_cast<void>(token(all[0].hear("mine")));
  for (std::size_t i = 1; i < 3; ++i) {
    CHECK(all[i].ask("request " + resource + " 0") == "lock_taken");
    CHECK(all[i].ask("request " + resource + " 1") == "timeout");
  }
  await_queue(all, 1, resource, "1 0");
  CHECK(all[0].ask("unlock mine") == "unlocked");
}

TEST_CASE("the holder is killed: the next waiter has the lock at once") {
  auto& all = three();
  const auto resource = all.resource_at(1);
  all[2].say("lock mine " + resource + " - 20000");
  const auto first = token(all[2].hear("mine"));
  all[0].say("lock next " + resource + " - 20000");
  await_queue(all, 1, resource, "1 1");
  const auto begin = clock::now();
  all.kill(2);
  CHECK(token(all[0].hear("next")) > first);
  const auto took = since(begin);
  MESSAGE("the next waiter had it after " << took.count() << " ms");
  CHECK(took < 1000ms);
  CHECK(all[0].ask("unlock next") == "unlocked");
}

TEST_CASE("the home is killed: holder and waiter keep their places") {
  auto& all = three();
  const auto resource = all.resource_at(2);
  all[0].say("lock mine " + resource + " - 20000");
  const auto first = token(all[0].hear("mine"));
  all[1].say("lock next " + resource + " - 20000");
  await_queue(all, 2, resource, "1 1");
  all.kill(2);
  const auto took = all.await_view({0, 1});
  MESSAGE("a view without the home after " << took.count() << " ms");
  CHECK(took < 1000ms);
  CHECK(all[0].ask("lost mine") == "held");
  CHECK(all[0].ask("unlock mine") == "unlocked");
  CHECK(token(all[1].hear("next")) > first);
  CHECK(all[1].ask("unlock next") == "unlocked");
}

TEST_CASE("a waiter is killed: nothing is left of it") {
  auto& all = three();
  const auto resource = all.resource_at(0);
  all[0].say("lock mine " + resource + " - 20000");
  token(all[0].hear("mine"));
  all[1].say("lock next " + resource + " - 20000");
  await_queue(all, 0, resource, "1 1");
  all.kill(1);
  await_queue(all, 0, resource, "1 0");
  CHECK(all[0].ask("unlock mine") == "unlocked");
}

TEST_CASE("the owner's node is killed: its names go, and can be had again") {
  auto& all = three();
  CHECK(all[1].ask("register beta exit") == "ok");
  CHECK(all[0].ask("ask beta") == "at n1");
  all.kill(1);
  CHECK(within(5s, [&] { return all[0].ask("whereis beta") == "none"; }));
  CHECK(within(5s, [&] { return all[2].ask("whereis beta") == "none"; }));
  CHECK(all[2].ask("register beta exit") == "ok");
  CHECK(all[0].ask("ask beta") == "at n2");
  all.gather();
  CHECK(all[1].ask("sync 10000") == "ok");
  CHECK(all[1].ask("ask beta") == "at n2"); // the joiner learns it
  CHECK(all[2].ask("unregister beta") == "ok");
}

TEST_CASE("a frozen node is left out within two seconds, and comes back") {
  auto& all = three();
  for (std::size_t frozen = 0; frozen < 3; ++frozen) {
    CAPTURE(frozen);
    const auto left = (frozen + 1) % 3, right = (frozen + 2) % 3;
    const auto resource = all.resource_at(left);
    all[frozen].say("lock mine " + resource + " - 20000");
    const auto first = token(all[frozen].hear("mine"));
    all[right].say("lock next " + resource + " - 20000");
    await_queue(all, left, resource, "1 1");
    CHECK(all[frozen].ask("register delta exit") == "ok");
    const auto begin = clock::now();
    all[frozen].signal(SIGSTOP);
    CHECK(token(all[right].hear("next")) > first);
    const auto took = since(begin);
    MESSAGE("left out after " << took.count() << " ms");
    CHECK(took <= 2000ms);
    for (const auto i : {left, right})
      CHECK(within(1s, [&] { return all[i].ask("whereis delta") == "none"; }));
    all[frozen].signal(SIGCONT);
    all.await_view({0, 1, 2});
    // It has kept its own name, and the others learn it.
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(within(5s, [&] { return all[i].ask("ask delta") == at(frozen); }));
    CHECK(all[left].ask("unregister delta") == "ok");
    CHECK(within(5s, [&] { return all[frozen].ask("lost mine") == "lost"; }));
    CHECK(all[right].ask("unlock next") == "unlocked");
    CHECK(all[frozen].ask("unlock mine") == "lost");
  }
}

TEST_CASE("a frozen node is left out after the time that was set") {
  cluster all{{.nodes = 3, .settings = "\"failure_detection\": \"600 ms\""}};
  all.gather();
  all[2].signal(SIGSTOP);
  const auto took = all.await_view({0, 1});
  MESSAGE("left out after " << took.count() << " ms");
  CHECK(took >= 500ms); // its last beat may have been a while ago
  CHECK(took <= 1300ms);
  all[2].signal(SIGCONT);
  all.await_view({0, 1, 2});
}

TEST_CASE("a host that blocks every thread of CAF's scheduler stays a member") {
  auto& all = three();
  const auto resource = all.resource_at(0);
  CHECK(all[0].ask("register old exit") == "ok");
  CHECK(all[1].ask("keep old") == "ok");
  const auto before = all.log(1);
  CHECK(all[0].ask("block 10000") == "ok");
  const auto end = clock::now() + 10s;
  while (clock::now() < end - 2s) {
    CHECK(all.is_in(1, {0, 1, 2}));
    // Its registry works as well, also by message and for other nodes.
    CHECK(all[0].ask("request " + resource + " 1000") == "ok");
    CHECK(all[0].ask("register own exit") == "ok");
    CHECK(all[0].ask("unregister own") == "ok");
    CHECK(all[1].ask("adopt new 1000") == "ok");
    CHECK(all[1].ask("unregister new") == "ok");
    std::this_thread::sleep_for(200ms);
  }
  std::this_thread::sleep_until(end);
  CHECK(all.is_in(1, {0, 1, 2}));
  CHECK(all[0].ask("kill old") == "ok");
  CHECK(all.log(1) == before); // no view has come and gone
}

TEST_CASE("a node that leaves says so, and its locks and names go with it") {
  auto& all = three();
  const auto resource = all.resource_at(1);
  all[2].say("lock mine " + resource + " - 20000");
  token(all[2].hear("mine"));
  CHECK(all[2].ask("register gamma exit") == "ok");
  all[0].say("lock next " + resource + " - 20000");
  await_queue(all, 1, resource, "1 1");
  const auto begin = clock::now();
  all[2].close_input();
  token(all[0].hear("next"));
  const auto took = since(begin);
  CHECK(all[2].finish() == 0);
  all.kill(2);
  MESSAGE("handed over after " << took.count() << " ms");
  CHECK(took < 1000ms);
  all.await_view({0, 1});
  CHECK(all[0].ask("whereis gamma") == "none");
  CHECK(all[0].ask("unlock next") == "unlocked");
}

TEST_CASE("two nodes that start at the same instant always find each other") {
  cluster pair{{.nodes = 2}};
  for (int round = 0; round < 50; ++round) {
    CAPTURE(round);
    pair.start(0);
    pair.start(1);
    pair.await_ready(0);
    pair.await_ready(1);
    pair.await_view({0, 1}, 10s);
    CHECK(pair[0].ask("register x exit") == "ok");
    CHECK(pair[1].ask("ask x") == "at n0");
    pair.kill(0);
    pair.kill(1);
  }
}

TEST_CASE("eight nodes that start together are soon one cluster") {
  cluster all{{.nodes = 8}};
  for (std::size_t i = 0; i < 8; ++i)
    all.start(i);
  for (std::size_t i = 0; i < 8; ++i)
    all.await_ready(i);
  const auto took = all.await_view({0, 1, 2, 3, 4, 5, 6, 7});
  MESSAGE("in one view after " << took.count() << " ms");
  CHECK(all[7].ask("register h exit") == "ok");
  for (std::size_t i = 0; i < 8; ++i)
    CHECK(all[i].ask("ask h") == "at n7");
}

namespace {

enum class role { coordinator, home, holder, waiter, owner };

/// One lock that is held and waited for, and one name, in a cluster of five
/// where each node has a part of its own.
struct parts {
  explicit parts(cluster& of)
    : all(of), order(ranks(of)), resource(of.resource_at(node(role::home))) {
    REQUIRE(order.size() == 5);
    all[node(role::holder)].say("lock mine " + resource + " - 20000");
    first = token(all[node(role::holder)].hear("mine"));
    all[node(role::waiter)].say("lock next " + resource + " - 20000");
    await_queue(all, node(role::home), resource, "1 1");
    CHECK(all[node(role::owner)].ask("register omega exit") == "ok");
  }

  [[nodiscard]] std::size_t node(role r) const {
    return order.at(static_cast<std::size_t>(r));
  }

  [[nodiscard]] std::vector<std::size_t> without(role r) const {
    auto result = order;
    std::erase(result, node(r));
    return result;
  }

  /// The four others go on.
  void check_without(role lost) {
    for (const auto i : without(lost)) {
      if (lost == role::owner)
        CHECK(
          within(1s, [&] { return all[i].ask("whereis omega") == "none"; }));
      else
        CHECK(all[i].ask("ask omega") == at(node(role::owner)));
    }
    if (lost != role::holder) {
      auto& holder = all[node(role::holder)];
      CHECK(holder.ask("lost mine") == "held");
      CHECK(holder.ask("unlock mine") == "unlocked");
    }
    const auto next = lost == role::waiter ? role::owner : role::waiter;
    if (lost == role::waiter)
      all[node(next)].say("lock next " + resource + " - 20000");
    last = token(all[node(next)].hear("next"));
    CHECK(last > first);
    CHECK(all[node(next)].ask("unlock next") == "unlocked");
  }

  /// Who was frozen learns what it missed; what it still owns, it keeps.
  void check_return(role r) {
    auto& back = all[node(r)];
    if (r == role::holder) {
      CHECK(within(5s, [&] { return back.ask("lost mine") == "lost"; }));
      CHECK(back.ask("unlock mine") == "lost");
    }
    if (r == role::waiter) {
      CHECK(token(back.hear("next")) > last);
      CHECK(back.ask("unlock next") == "unlocked");
    }
    for (const auto i : order)
      CHECK(within(5s, [&] {
        return all[i].ask("ask omega") == at(node(role::owner));
      }));
  }

  cluster& all;
  std::vector<std::size_t> order;
  std::string resource;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

constexpr role each_role[] = {role::coordinator, role::home, role::holder,
                              role::waiter, role::owner};

} // namespace

TEST_CASE("whoever is killed, the four others go on at once") {
  for (const auto lost : each_role) {
    CAPTURE(static_cast<int>(lost));
    parts p{five()};
    p.all.kill(p.node(lost));
    const auto took = p.all.await_view(p.without(lost));
    CHECK(took < 1000ms);
    p.check_without(lost);
    p.all.gather();
    CHECK(p.all[p.node(lost)].ask("sync 10000") == "ok");
    // Who comes back is another one: it has no name, and no lock.
    if (lost == role::owner)
      CHECK(p.all[p.node(lost)].ask("whereis omega") == "none");
    else
      CHECK(p.all[p.node(lost)].ask("unregister omega") == "ok");
    await_queue(p.all, p.node(role::home), p.resource, "0 0");
  }
}

TEST_CASE("whoever is frozen, the four others go on within two seconds") {
  for (const auto lost : each_role) {
    CAPTURE(static_cast<int>(lost));
    parts p{five()};
    const auto begin = clock::now();
    p.all[p.node(lost)].signal(SIGSTOP);
    p.all.await_view(p.without(lost));
    CHECK(since(begin) <= 2s);
    p.check_without(lost);
    p.all[p.node(lost)].signal(SIGCONT);
    p.all.await_view(p.order);
    p.check_return(lost);
    CHECK(p.all[p.node(lost)].ask("unregister omega") == "ok");
  }
}

TEST_CASE("the coordinator and the home die together in a cluster of five") {
  parts p{five()};
  const auto coordinator = p.node(role::coordinator), home = p.node(role::home);
  p.all[coordinator].signal(SIGKILL);
  p.all[home].signal(SIGKILL);
  p.all.kill(coordinator);
  p.all.kill(home);
  const auto took = p.all.await_view(
    {p.node(role::holder), p.node(role::waiter), p.node(role::owner)});
  MESSAGE("in a view of the others after " << took.count() << " ms");
  CHECK(p.all[p.node(role::holder)].ask("unlock mine") == "unlocked");
  CHECK(token(p.all[p.node(role::waiter)].hear("next")) > p.first);
  CHECK(p.all[p.node(role::waiter)].ask("unlock next") == "unlocked");
  CHECK(p.all[p.node(role::owner)].ask("unregister omega") == "ok");
}

TEST_CASE("a strict cluster of two says what that means") {
  cluster all{{.nodes = 2, .settings = "\"strict\": true"}};
  all.gather();
  CHECK(all.log(0).find("warning: cluster.strict with two nodes")
        != std::string::npos);
}

TEST_CASE("a strict cluster grants in the majority only") {
  cluster all{{.nodes = 3, .settings = "\"strict\": true"}};
  all.gather();
  all[2].say("lock mine r - 20000");
  const auto first = token(all[2].hear("mine"));
  all[0].signal(SIGSTOP);
  all[1].signal(SIGSTOP);
  CHECK(within(5s, [&] { return all[2].ask("lost mine") == "lost"; }));
  all[2].say("lock again r - 1000");
  CHECK(all[2].hear("again") == "no_majority");
  CHECK(all[2].ask("sync 100") == "no_majority");
  CHECK(all[2].ask("view").starts_with("waiting"));
  all[0].signal(SIGCONT);
  all[1].signal(SIGCONT);
  all.await_view({0, 1, 2});
  CHECK(all[2].ask("unlock mine") == "lost");
  all[2].say("lock again r - 20000");
  CHECK(token(all[2].hear("again")) > first);
}

TEST_CASE("strict: a holder that was frozen sees that before it is told") {
  cluster all{{.nodes = 3, .settings = "\"strict\": true"}};
  all.gather();
  all[2].say("lock mine r - 20000");
  const auto first = token(all[2].hear("mine"));
  all[2].say("watch mine");
  CHECK(all[2].hear("mine") == "is watched");
  all[2].signal(SIGSTOP);
  all.await_view({0, 1});
  all[0].say("lock other r - 20000");
  CHECK(token(all[0].hear("other")) > first);
  all[2].signal(SIGCONT);
  CHECK(all[2].hear("mine") == "lost");
  all.await_view({0, 1, 2});
  CHECK(all[2].ask("unlock mine") == "lost");
}

TEST_CASE("who gives back a lock that was lost is told, by name and by guard") {
  for (const bool strict : {false, true}) {
    CAPTURE(strict);
    cluster all{
      {.nodes = 3, .settings = strict ? "\"strict\": true" : std::string{}}};
    all.gather();
    auto& holder = all[2];
    for (int i = 0; i < 2; ++i)
      CHECK(holder.ask("set-lock named me") == "ok");
    const std::pair<std::string, std::string> guards[] = {{"shared", "named"},
                                                          {"guard", "guarded"},
                                                          {"kept", "kept"},
                                                          {"late", "late"}};
    for (const auto& [tag, resource] : guards) {
      holder.say("lock " + tag + ' ' + resource + " me 20000");
      static_cast<void>(token(holder.hear(tag)));
    }
    CHECK(holder.ask("keep-lock kept") == "ok");
    holder.say("actor-lock agent sent me");
    static_cast<void>(token(holder.hear("agent")));
    const std::string resources[] = {"named", "guarded", "kept", "late",
                                     "sent"};
    if (strict) {
      all[0].signal(SIGSTOP);
      all[1].signal(SIGSTOP);
      CHECK(within(5s, [&] { return holder.ask("lost guard") == "lost"; }));
      all[0].signal(SIGCONT);
      all[1].signal(SIGCONT);
    } else {
      holder.signal(SIGSTOP);
      all.await_view({0, 1});
      for (const auto& resource : resources)
        CHECK(all[0].ask("set-lock " + resource + " you") == "ok");
      holder.signal(SIGCONT);
    }
    all.await_view({0, 1, 2});
    CHECK(holder.hear("agent") == "has lost sent");
    for (const auto& one : guards)
      CHECK(
        within(5s, [&] { return holder.ask("lost " + one.first) == "lost"; }));
    if (!strict)
      for (const auto& resource : resources)
        CHECK(all[0].ask("del-lock " + resource + " you") == "ok");
    // By name, once for each time that it was got, and before what the same
    // requester has got anew.
    CHECK(holder.ask("set-lock named me") == "ok");
    CHECK(holder.ask("del-lock named me") == "lock_lost");
    CHECK(holder.ask("del-lock named me") == "lock_lost");
    CHECK(holder.ask("del-lock named me") == "ok");
    CHECK(holder.ask("del-lock named me") == "not_held");
    // By guard, also where the name is the same.
    CHECK(holder.ask("unlock shared") == "lost");
    CHECK(holder.ask("unlock guard") == "lost");
    CHECK(holder.ask("del-lock guarded me") == "not_held");
    // Whether it was kept before or after.
    CHECK(holder.ask("keep-lock late") == "ok");
    for (const std::string resource : {"kept", "late"}) {
      CHECK(holder.ask("del-lock " + resource + " me") == "lock_lost");
      CHECK(holder.ask("del-lock " + resource + " me") == "not_held");
    }
    // The actor was told, and has nothing to give back.
    CHECK(holder.ask("actor-del-lock agent") == "not_held");
    for (const auto& resource : resources)
      CHECK(all[0].ask("set-lock " + resource + " you") == "ok");
  }
}
