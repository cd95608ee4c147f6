#pragma once

#include <cstddef>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace coopcache::test {

/// Runs a command of a shell; what it says when it fails, in one line.
inline std::optional<std::string> failure_of(const std::string& command) {
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr)
    return "no process can be started";
  std::string said;
  for (int c; (c = std::fgetc(pipe)) != EOF;)
    said += static_cast<char>(c == '\n' ? ' ' : c);
  const int status = ::pclose(pipe);
  if (status == 0)
    return std::nullopt;
  return said + "(status " + std::to_string(WEXITSTATUS(status)) + ')';
}

/// Hosts on one network, each in a namespace.
class lab {
public:
  explicit lab(std::size_t hosts) : hosts_(hosts) {
    if (::geteuid() != 0) {
      hindrance_ = "needs root";
      return;
    }
    if (!run("nft --version") || !run("ip netns add " + hub())
        || !run("ip -n " + hub() + " link add br0 type bridge"))
      return;
    // From here on what fails is a fault.
    try {
      must("ip -n " + hub() + " link set br0 up");
      for (std::size_t i = 0; i < hosts; ++i)
        set_up(i);
    } catch (...) {
      take_down();
      throw;
    }
  }

  ~lab() {
    take_down();
  }

  lab(const lab&) = delete;
  lab& operator=(const lab&) = delete;

  /// False if this machine does not let us.
  explicit operator bool() const noexcept {
    return hindrance_.empty();
  }

  /// Why it does not.
  [[nodiscard]] const std::string& hindrance() const noexcept {
    return hindrance_;
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
    must(filter(b, std::string{is_cut ? "add" : "delete"}
                     + " element inet lab cut { " + address(a) + " }"));
  }

  void cut(std::size_t a, std::size_t b, bool is_cut = true) const {
    cut_one_way(a, b, is_cut);
    cut_one_way(b, a, is_cut);
  }

  /// Each host loses so many of the packets that come to it.
  void lose(int percent) const {
    for (std::size_t i = 0; i < hosts_; ++i)
      must(filter(i, "flush chain inet lab loss; add rule inet lab loss"
                     " numgen random mod 100 < "
                       + std::to_string(percent) + " drop"));
  }

  /// A host takes so many bytes a second at most.
  void slow_down(std::size_t i, int mib_per_second) const {
    must(
      filter(i, "flush chain inet lab loss; add rule inet lab loss limit rate"
                " over "
                  + std::to_string(mib_per_second)
                  + " mbytes/second burst 1 mbytes drop"));
  }

  void cut_between(const std::vector<std::size_t>& left,
                   const std::vector<std::size_t>& right,
                   bool is_cut = true) const {
    for (const auto a : left)
      for (const auto b : right)
        cut(a, b, is_cut);
  }

  /// Takes the plug of a host out of the network, or puts it in again.
  void unplug(std::size_t i, bool is_out = true) const {
    must("ip -n " + hub() + " link set " + port(i)
         + (is_out ? " down" : " up"));
  }

private:
  [[nodiscard]] static std::string hub() {
    std::string result{"coopcache-"};
    return result += std::to_string(::getpid());
  }

  /// The other end of a host's cable.
  [[nodiscard]] static std::string port(std::size_t i) {
    std::string result{"port"};
    return result += std::to_string(i);
  }

  [[nodiscard]] std::string filter(std::size_t i,
                                   const std::string& rules) const {
    return "ip netns exec " + name(i) + " nft '" + rules + "'";
  }

  static void must(const std::string& command) {
    if (const auto why = failure_of(command))
      throw std::runtime_error('`' + command + "` failed: " + *why);
  }

  /// False, and noted, if it fails.
  bool run(const std::string& command) {
    if (const auto why = failure_of(command))
      hindrance_ = '`' + command + "` failed: " + *why;
    return hindrance_.empty();
  }

  void set_up(std::size_t i) const {
    const auto own = name(i);
    must("ip netns add " + own);
    must("ip link add eth0 netns " + own + " type veth peer name " + port(i)
         + " netns " + hub());
    must("ip -n " + own + " addr add " + address(i) + "/24 dev eth0");
    must("ip -n " + own + " link set eth0 up");
    must("ip -n " + own + " link set lo up");
    must("ip -n " + hub() + " link set " + port(i) + " master br0 up");
    must(filter(i, "table inet lab {"
                   " set cut { type ipv4_addr; };"
                   " chain loss { };"
                   " chain incoming { type filter hook input priority 0;"
                   " ip saddr @cut meta l4proto tcp drop; jump loss; }; }"));
  }

  void take_down() const {
    for (std::size_t i = 0; i < hosts_; ++i)
      static_cast<void>(failure_of("ip netns del " + name(i)));
    static_cast<void>(failure_of("ip netns del " + hub()));
  }

  std::size_t hosts_;
  std::string hindrance_;
};

} // namespace coopcache::test
