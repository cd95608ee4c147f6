// The registry over networks that break: each node in a network namespace of
// its own. Needs root, `ip` and `nft`; else the tests say that they are
// skipped, and why.

#include "cluster.hpp"
#include "lab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace coopcache::test;

namespace {

using clock = std::chrono::steady_clock;

/// Nodes on hosts of a lab; null, and said so, where there can be none.
struct field {
  explicit field(std::size_t count, const std::string& settings = {})
    : net(count) {
    if (!net) {
      MESSAGE("skipped: " << net.hindrance());
      return;
    }
    nodes = std::make_unique<cluster>(
      plan{.nodes = count,
           .settings = "\"trusted_network\": true" + settings,
           .host = [](std::size_t i) { return lab::address(i); },
           .prefix = [this](std::size_t i) { return net.prefix(i); }});
    nodes->gather();
  }

  explicit operator bool() const noexcept {
    return nodes != nullptr;
  }

  lab net;
  std::unique_ptr<cluster> nodes;
};

std::chrono::milliseconds since(clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now()
                                                               - begin);
}

std::string lock(cluster& all, std::size_t i, const std::string& tag) {
  all[i].say("lock " + tag + " shared - 10000");
  return all[i].hear(tag);
}

} // namespace

TEST_CASE("halves of a split go on, and agree again after the heal") {
  const struct {
    std::vector<std::size_t> left, right, all;
  } table[] = {{{0, 1}, {2}, {0, 1, 2}}, {{0, 1}, {2, 3}, {0, 1, 2, 3}}};
  for (const auto& row : table) {
    CAPTURE(row.all.size());
    field f{row.all.size()};
    if (!f)
      return;
    auto& all = *f.nodes;
    CHECK(all[0].ask("register left notify") == "ok");
    CHECK(all[2].ask("register right notify") == "ok");
    const auto rare = all.resource_at(1);
    const auto open = [&] { return std::stoul(all[0].ask("descriptors")); };
    const auto before = open();
    f.net.cut_between(row.left, row.right);
    const auto cut = clock::now();
    all.await_view(row.left);
    all.await_view(row.right);
    MESSAGE("apart after " << since(cut).count() << " ms");
    CHECK(since(cut) <= 2500ms); // 2 s, and what a busy machine takes
    // Three attempts at each that cannot be reached, and what is being ended.
    for (int i = 0; i < 30; ++i) {
      CHECK(open() <= before + 5 * row.right.size());
      std::this_thread::sleep_for(50ms);
    }
    // Each side has its own holder, and forgets the other's names.
    CHECK(lock(all, 0, "ours").starts_with("token"));
    CHECK(lock(all, 2, "theirs").starts_with("token"));
    CHECK(all[1].ask("whereis right") == "none");
    CHECK(all[2].ask("whereis left") == "none");
    const auto register_all = [&](std::size_t notified, std::size_t others) {
      CHECK(all[notified].ask("register both notify") == "ok");
      CHECK(all[others].ask("register decided later") == "ok");
      CHECK(all[others].ask("register " + rare + " rare") == "ok");
      for (const std::string kind : {"exit", "notify_all", "throws", "hangs"})
        CHECK(all[others].ask("register for-" + kind + ' ' + kind) == "ok");
    };
    register_all(1, 0);
    std::this_thread::sleep_for(5ms); // for the wall clock to show it
    register_all(2, 2);
    const auto begin = clock::now();
    f.net.cut_between(row.left, row.right, false);
    all.await_view(row.all);
    const auto took = since(begin);
    MESSAGE(row.left.size() << "+" << row.right.size() << ": in one view "
                            << took.count() << " ms after the heal");
    // A probe each 100 ms, and 300, on a machine that does nothing else.
    CHECK(took <= 1s);
    for (const auto i : row.all) {
      CHECK(within(5s, [&] { return all[i].ask("ask left") == "at n0"; }));
      CHECK(within(5s, [&] { return all[i].ask("ask right") == "at n2"; }));
    }
    // Of two holders one is left, and of two owners; the other is told.
    CHECK(within(5s, [&] {
      return (all[0].ask("lost ours") == "lost")
             != (all[2].ask("lost theirs") == "lost");
    }));
    std::string owner;
    CHECK(within(5s, [&] {
      owner = all[0].ask("ask both");
      return std::all_of(row.all.begin(), row.all.end(), [&](auto i) {
        return all[i].ask("ask both") == owner;
      });
    }));
    CHECK(owner == "at n1"); // which was first
    CHECK(all[2].hear("lost-name both") == "clash");
    // A function of the application's keeps the one that was registered later;
    // one that throws, or does not answer, keeps nobody.
    for (const auto i : row.all) {
      CHECK(within(5s, [&] { return all[i].ask("ask decided") == "at n2"; }));
      CHECK(within(5s, [&] { return all[i].ask("ask for-exit") == "at n0"; }));
      for (const std::string kind : {"notify_all", "throws", "hangs"})
        CHECK(
          within(5s, [&] { return all[i].ask("ask for-" + kind) == "none"; }));
    }
    CHECK(all[0].hear("lost-name decided") == "clash");
    for (const std::string kind : {"notify_all", "throws", "hangs"})
      for (const std::size_t i : {std::size_t{0}, std::size_t{2}})
        CHECK(all[i].hear("lost-name for-" + kind) == "clash");
    CHECK(within(5s, [&] {
      return std::any_of(row.all.begin(), row.all.end(), [&](auto i) {
        return all.log(i).find("the resolver \"hangs\" took more than a second")
               != std::string::npos;
      });
    }));
    for (const auto i : row.all)
      CHECK(within(5s, [&] { return all[i].ask("ask " + rare) == "none"; }));
    CHECK(logs(all, 1, "the resolver \"rare\" is not known here"));
    CHECK(all[2].ask("lives for-exit") == "ended");
    CHECK(all[0].ask("lives decided") == "lives");
    all[0].ask("unlock ours");
    all[2].ask("unlock theirs");
    CHECK(lock(all, 1, "after").starts_with("token"));
  }
}

TEST_CASE("one broken link costs one node, and it comes back") {
  field f{4};
  if (!f)
    return;
  auto& all = *f.nodes;
  for (const bool one_way : {false, true}) {
    CAPTURE(one_way);
    CHECK(lock(all, 0, "before").starts_with("token"));
    CHECK(all[0].ask("register inner notify") == "ok");
    if (one_way)
      f.net.cut_one_way(1, 3);
    else
      f.net.cut(1, 3);
    // The younger one leaves, whoever noticed; which of two that started within
    // a millisecond that is, nobody can say beforehand.
    CHECK(within(20s, [&] {
      return (all.is_in(0, {0, 1, 2}) && all.is_in(2, {0, 1, 2}))
             || (all.is_in(0, {0, 2, 3}) && all.is_in(2, {0, 2, 3}));
    }));
    const std::size_t out = all.is_in(0, {0, 1, 2}) ? 3 : 1;
    CHECK(all[0].ask("lost before") == "held");
    CHECK(all[2].ask("ask inner") == "at n0");
    // Both sides grant, and each goes on with its own names.
    CHECK(within(5s, [&] { return all.is_in(out, {out}); }));
    CHECK(lock(all, out, "theirs").starts_with("token"));
    CHECK(all[out].ask("register outer notify") == "ok");
    if (one_way)
      f.net.cut_one_way(1, 3, false);
    else
      f.net.cut(1, 3, false);
    all.await_view({0, 1, 2, 3});
    CHECK(within(5s, [&] {
      return (all[0].ask("lost before") == "lost")
             != (all[out].ask("lost theirs") == "lost");
    }));
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(within(5s, [&] { return all[i].ask("ask inner") == "at n0"; }));
      CHECK(within(5s, [&] {
        return all[i].ask("ask outer") == "at n" + std::to_string(out);
      }));
    }
    all[0].ask("unlock before");
    all[out].ask("unlock theirs");
    CHECK(all[0].ask("unregister inner") == "ok");
    CHECK(all[out].ask("unregister outer") == "ok");
  }
}

TEST_CASE("while packets are lost a lock excludes, and nobody waits for ever") {
  field f{4, ", \"strict\": true"};
  if (!f)
    return;
  auto& all = *f.nodes;
  const auto number = all.scratch("number");
  int expected = 0;
  for (const int percent : {5, 20}) {
    CAPTURE(percent);
    f.net.lose(percent);
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i].say("count " + number + " counter 10");
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto counted = all[i].hear("counted", 120s);
      CAPTURE(counted);
      expected += std::stoi(counted);
    }
    f.net.lose(0);
    all.await_view({0, 1, 2, 3});
    std::ifstream in{number};
    int is = 0;
    in >> is;
    CHECK(is == expected);
    if (percent == 5)
      CHECK(is == 40); // nobody has waited in vain
    MESSAGE(percent << " % lost: counted to " << is);
    CHECK(all[1].ask("register after exit") == "ok");
    // A connection may be replaced now that was silent while packets were lost;
    // a request that is on its way then is lost.
    for (std::size_t i = 0; i < all.size(); ++i)
      CHECK(within(5s, [&] { return all[i].ask("ask after") == "at n1"; }));
    CHECK(all[0].ask("unregister after") == "ok");
  }
  CHECK(expected > 40);
}

TEST_CASE("who sends a long message over a slow network is not silent") {
  field f{3};
  if (!f)
    return;
  auto& all = *f.nodes;
  CHECK(all[2].ask("register sink exit") == "ok");
  CHECK(within(5s, [&] { return all[0].ask("ask sink") == "at n2"; }));
  const auto before = all.log(2);
  f.net.slow_down(2, 4);
  const auto begin = clock::now();
  CHECK(all[0].ask("flood sink 24") == "ok");
  CHECK(all[2].hear("got", 60s) == std::to_string(24 * 1024 * 1024));
  const auto took = since(begin);
  MESSAGE("it took " << took.count() << " ms");
  CHECK(took > 3s);            // twice the detection time
  CHECK(all.log(2) == before); // no link was lost, no view has changed
  f.net.lose(0);
  all.await_view({0, 1, 2});
}

TEST_CASE("a lock of a program that is no node is free once it is unplugged") {
  field f{3};
  if (!f)
    return;
  auto& all = *f.nodes;
  // The program runs on host 2, and asks the node of host 0 or 1.
  CHECK(all[2].ask("stranger lock far") == "held");
  all[0].say("lock waits far - 60000");
  f.net.cut_between({2}, {0, 1});
  const auto cut = clock::now();
  CHECK(all[0].hear("waits", 60s).starts_with("token"));
  const auto took = since(cut);
  MESSAGE("free " << took.count() << " ms after the cut");
  CHECK(took <= 11s); // 10 s, and what a busy machine takes
  f.net.cut_between({2}, {0, 1}, false);
  CHECK(all[2].ask("stranger unlock far") != "ok");
  CHECK(all[2].ask("stranger lost far") == "yes");
  CHECK(all[0].ask("lost waits") == "held");
}
