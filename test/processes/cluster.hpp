#pragma once

#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace coopcache::test {

using namespace std::chrono_literals;

/// A program that is told what to do line by line; killed with its owner.
class process {
public:
  /// Starts it. Its error output goes to the file `log`.
  process(const std::vector<std::string>& command, const std::string& log);
  ~process();

  process(const process&) = delete;
  process& operator=(const process&) = delete;

  void say(const std::string& line);

  /// The next line that begins with `tag`, without it; lines with other
  /// beginnings are kept for others. Throws if none comes in time.
  std::string hear(const std::string& tag,
                   std::chrono::milliseconds patience = 20s);

  /// The next line, whatever it is.
  std::string ask(const std::string& line);

  /// Returns from SIGSTOP when it has stopped.
  void signal(int number);

  /// Which has it end in order.
  void close_input();

  /// Closes its input and waits for its end; returns its status.
  int finish();

private:
  bool read_some(std::chrono::steady_clock::time_point end);

  std::string log_;
  pid_t pid_ = 0;
  int in_ = -1;
  int out_ = -1;
  std::string buffer_;
  std::vector<std::string> lines_;
};

/// How a cluster is set up.
struct plan {
  std::size_t nodes = 3;
  std::string settings{}; ///< JSON members of "cluster", without braces
  /// Whether node i has node j among its `nodes`; empty: all have all.
  std::function<bool(std::size_t, std::size_t)> knows{};
  /// Address of a node's host; empty: the loopback interface.
  std::function<std::string(std::size_t)> host{};
  /// What comes before a node's command.
  std::function<std::vector<std::string>(std::size_t)> prefix{};
  /// Names of nodes; empty: n0, n1, ...
  std::function<std::string(std::size_t)> name{};
  /// Whose endpoint node i gives as its own; empty: everybody its own.
  std::function<std::size_t(std::size_t)> poses_as{};
};

/// Nodes in processes of their own.
class cluster {
public:
  explicit cluster(const plan& how = {});
  ~cluster();

  /// Starts a node, or starts it again.
  void start(std::size_t i);

  /// Waits until it listens.
  void await_ready(std::size_t i);

  /// Starts those that do not run, and waits until all are in one view.
  void gather();

  [[nodiscard]] process& operator[](std::size_t i) {
    return *nodes_[i];
  }

  [[nodiscard]] std::size_t size() const noexcept {
    return nodes_.size();
  }

  [[nodiscard]] bool runs(std::size_t i) const {
    return nodes_[i] != nullptr;
  }

  void kill(std::size_t i);

  /// Whether node `i` serves in a view of just these nodes.
  [[nodiscard]] bool is_in(std::size_t i, const std::vector<std::size_t>& view);

  /// Waits until each of these nodes serves in a view of just them; returns
  /// the time that it took.
  std::chrono::milliseconds
  await_view(const std::vector<std::size_t>& view,
             std::chrono::milliseconds patience = 20s);

  /// A resource whose home is node `i` of the current view.
  std::string resource_at(std::size_t i);

  /// What node `i` has said on its error output.
  [[nodiscard]] std::string log(std::size_t i) const;

  /// A file for all of them.
  [[nodiscard]] std::string scratch(const std::string& name) const {
    return folder_ / name;
  }

  [[nodiscard]] std::string endpoint(std::size_t i) const;

  [[nodiscard]] std::size_t port(std::size_t i) const {
    return ports_[i];
  }

  /// Settings of node `i` alone, in place of the plan's.
  void settings(std::size_t i, std::string text) {
    own_settings_[i] = std::move(text);
  }

private:
  [[nodiscard]] std::filesystem::path file(std::size_t i,
                                           const std::string& ending) const;

  plan how_;
  std::map<std::size_t, std::string> own_settings_;
  std::filesystem::path folder_;
  std::vector<std::size_t> ports_;
  std::vector<std::unique_ptr<process>> nodes_;
};

/// Waits until `holds()`; false if it does not within `patience`.
bool within(std::chrono::milliseconds patience,
            const std::function<bool()>& holds);

/// Whether node `i` says `text` on its error output within 10 s.
bool logs(const cluster& all, std::size_t i, const std::string& text);

} // namespace coopcache::test
