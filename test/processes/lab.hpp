#pragma once

#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

namespace coopcache::test {

inline bool run(const std::string& command) {
  const auto quiet = command + " >/dev/null 2>&1";
  return std::system(quiet.c_str()) == 0; // NOLINT(cert-env33-c): our own
}

/// Hosts on one network, each in a namespace.
class lab {
public:
  explicit lab(std::size_t hosts) : hosts_(hosts) {
    good_ = run("ip netns add " + hub())
            && run("ip -n " + hub() + " link add br0 type bridge")
            && run("ip -n " + hub() + " link set br0 up");
    for (std::size_t i = 0; good_ && i < hosts; ++i)
      if (!plug(i))
        throw std::runtime_error("cannot set up " + name(i));
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

  /// What comes before a command that is to run on a host.
  [[nodiscard]] std::vector<std::string> prefix(std::size_t i) const {
    return {"/usr/bin/env", "ip", "netns", "exec", name(i)};
  }

  /// Nothing goes from host `a` to host `b` any more, or does again.
  void cut_one_way(std::size_t a, std::size_t b, bool is_cut = true) const {
    if (!run("ip -n " + name(a) + " route " + (is_cut ? "add" : "del")
             + " blackhole " + address(b) + "/32"))
      throw std::runtime_error("cannot change the routes of " + name(a));
  }

  void cut(std::size_t a, std::size_t b, bool is_cut = true) const {
    cut_one_way(a, b, is_cut);
    cut_one_way(b, a, is_cut);
  }

  /// Each host loses so many of the packets that come to it; false if this
  /// machine does not let us.
  [[nodiscard]] bool lose(int percent) const {
    bool good = true;
    for (std::size_t i = 0; i < hosts_; ++i)
      good = good
             && run("ip netns exec " + name(i)
                    + " nft 'flush ruleset; table inet loss { chain incoming {"
                      " type filter hook input priority 0;"
                      " numgen random mod 100 < "
                    + std::to_string(percent) + " drop; }; }'");
    return good;
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

} // namespace coopcache::test
