// The registry over networks that break: each node in a network namespace of
// its own. Needs root and `ip`; else the tests say that they are skipped.

#include "cluster.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

using namespace coopcache::test;

namespace {

using clock = std::chrono::steady_clock;

bool run(const std::string& command) {
  const auto quiet = command + " >/dev/null 2>&1";
  return std::system(quiet.c_str()) == 0; // NOLINT(cert-env33-c): our own tests
}

/// Hosts on one network, each in a namespace.
class lab {
public:
  explicit lab(std::size_t hosts) : hosts_(hosts) {
    good_ = run("ip netns add " + hub())
            && run("ip -n " + hub() + " link add br0 type bridge")
            && run("ip -n " + hub() + " link set br0 up");
    for (std::size_t i = 0; good_ && i < hosts; ++i)
      good_ = plug(i);
  }

  ~lab() {
    for (std::size_t i = 0; i < hosts_; ++i)
      run("ip netns del " + name(i));
    run("ip netns del " + hub());
  }

  lab(const lab&) = delete;
  lab& operator=(const lab&) = delete;

  /// False if this machine does not let us.
  explicit operator bool() const noexcept {
    return good_;
  }

  [[nodiscard]] std::string name(std::size_t i) const {
    auto result = hub() + '-';
    return result += std::to_string(i);
  }

  [[nodiscard]] static std::string address(std::size_t i) {
    std::string result{"10.77.0."};
    result += std::to_string(i + 1);
    return result;
  }

  /// Nothing goes from host `a` to host `b` any more, or does again.
  void cut_one_way(std::size_t a, std::size_t b, bool is_cut = true) const {
    REQUIRE(run("ip -n " + name(a) + " route " + (is_cut ? "add" : "del")
                + " blackhole " + address(b) + "/32"));
  }

  void cut(std::size_t a, std::size_t b, bool is_cut = true) const {
    cut_one_way(a, b, is_cut);
    cut_one_way(b, a, is_cut);
  }

  void cut_between(const std::vector<std::size_t>& left,
                   const std::vector<std::size_t>& right,
                   bool is_cut = true) const {
    for (const auto a : left)
      for (const auto b : right)
        cut(a, b, is_cut);
  }

private:
  [[nodiscard]] static std::string hub() {
    std::string result{"coopcache-"};
    return result += std::to_string(::getpid());
  }

  [[nodiscard]] bool plug(std::size_t i) const {
    const auto own = name(i);
    std::string port{"port"};
    port += std::to_string(i);
    return run("ip netns add " + own)
           && run("ip link add eth0 netns " + own + " type veth peer name "
                  + port + " netns " + hub())
           && run("ip -n " + own + " addr add " + address(i) + "/24 dev eth0")
           && run("ip -n " + own + " link set eth0 up")
           && run("ip -n " + own + " link set lo up")
           && run("ip -n " + hub() + " link set " + port + " master br0 up");
  }

  std::size_t hosts_;
  bool good_ = false;
};

/// Nodes on hosts of a lab; null, and said so, where there can be none.
struct field {
  explicit field(std::size_t count) : net(count) {
    if (!net) {
      MESSAGE("skipped: needs root and network namespaces");
      return;
    }
    nodes = std::make_unique<cluster>(
      plan{.nodes = count,
           .settings = "\"trusted_network\": true",
           .host = [](std::size_t i) { return lab::address(i); },
           .prefix =
             [this](std::size_t i) {
               return std::vector<std::string>{"/usr/bin/env", "ip", "netns",
                                               "exec", net.name(i)};
             }});
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
    f.net.cut_between(row.left, row.right);
    all.await_view(row.left);
    all.await_view(row.right);
    // Each side has its own holder, and forgets the other's names.
    CHECK(lock(all, 0, "ours").starts_with("token"));
    CHECK(lock(all, 2, "theirs").starts_with("token"));
    CHECK(all[1].ask("whereis right") == "none");
    CHECK(all[2].ask("whereis left") == "none");
    CHECK(all[1].ask("register both notify") == "ok");
    CHECK(all[2].ask("register both notify") == "ok");
    CHECK(all[0].ask("register decided later") == "ok");
    CHECK(all[2].ask("register decided later") == "ok");
    const auto begin = clock::now();
    f.net.cut_between(row.left, row.right, false);
    all.await_view(row.all);
    const auto took = since(begin);
    MESSAGE(row.left.size() << "+" << row.right.size() << ": in one view "
                            << took.count() << " ms after the heal");
    // A probe each 100 ms, and 300: on a machine that does nothing else.
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
    CHECK((owner == "at n1" || owner == "at n2"));
    CHECK(all[owner == "at n1" ? 2 : 1].hear("lost-name both") == "conflict");
    // A function of the application's keeps the one that was registered later.
    CHECK(within(5s, [&] {
      owner = all[0].ask("ask decided");
      return std::all_of(row.all.begin(), row.all.end(), [&](auto i) {
        return all[i].ask("ask decided") == owner;
      });
    }));
    CHECK((owner == "at n0" || owner == "at n2"));
    CHECK(all[owner == "at n0" ? 2 : 0].hear("lost-name decided")
          == "conflict");
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
    CHECK(lock(all, 0, "mine").starts_with("token"));
    CHECK(all[0].ask("unlock mine") == "unlocked");
    if (one_way)
      f.net.cut_one_way(1, 3, false);
    else
      f.net.cut(1, 3, false);
    all.await_view({0, 1, 2, 3});
  }
}
