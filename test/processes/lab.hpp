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
    good_ = run("nft --version") && run("ip netns add " + hub())
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

  /// What TCP sends from host `a` to host `b` is lost from now on, or gets
  /// through again.
  void cut_one_way(std::size_t a, std::size_t b, bool is_cut = true) const {
    if (!filter(b, std::string{is_cut ? "add" : "delete"}
                     + " element inet lab cut { " + address(a) + " }"))
      throw std::runtime_error("cannot change what reaches " + name(b));
  }

  void cut(std::size_t a, std::size_t b, bool is_cut = true) const {
    cut_one_way(a, b, is_cut);
    cut_one_way(b, a, is_cut);
  }

  /// Each host loses so many of the packets that come to it.
  void lose(int percent) const {
    for (std::size_t i = 0; i < hosts_; ++i)
      if (!filter(i, "flush chain inet lab loss; add rule inet lab loss"
                     " numgen random mod 100 < "
                       + std::to_string(percent) + " drop"))
        throw std::runtime_error("cannot change what reaches " + name(i));
  }

  /// A host takes so many bytes a second at most.
  void slow_down(std::size_t i, int mib_per_second) const {
    if (!filter(i,
                "flush chain inet lab loss; add rule inet lab loss limit rate"
                " over "
                  + std::to_string(mib_per_second)
                  + " mbytes/second burst 1 mbytes drop"))
      throw std::runtime_error("cannot change what reaches " + name(i));
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

  [[nodiscard]] bool filter(std::size_t i, const std::string& rules) const {
    return run("ip netns exec " + name(i) + " nft '" + rules + "'");
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
           && run("ip -n " + hub() + " link set " + port + " master br0 up")
           && filter(i,
                     "table inet lab {"
                     " set cut { type ipv4_addr; };"
                     " chain loss { };"
                     " chain incoming { type filter hook input priority 0;"
                     " ip saddr @cut meta l4proto tcp drop; jump loss; }; }");
  }

  std::size_t hosts_;
  bool good_ = false;
};

} // namespace coopcache::test
