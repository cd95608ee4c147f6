#pragma once

#include "coopcache/coopcache.hpp"

#include <doctest/doctest.h>

#include <caf/actor_system_config.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace coopcache::test {

using namespace std::chrono_literals;

/// Holds loaders back until the test lets them go; remembers that it is open.
class gate {
public:
  void open() {
    {
      const std::lock_guard guard{mutex_};
      open_ = true;
    }
    changed_.notify_all();
  }

  /// Called by a loader.
  void pass() {
    std::unique_lock guard{mutex_};
    ++arrived_;
    changed_.notify_all();
    changed_.wait(guard, [this] { return open_; });
  }

  /// Waits until `n` loaders have come to the gate.
  void await_arrivals(int n = 1) {
    std::unique_lock guard{mutex_};
    REQUIRE(changed_.wait_for(guard, 20s, [&] { return arrived_ >= n; }));
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int arrived_ = 0;
};

/// Waits until `holds()`, at most 20 s; false if it never did.
template <class Predicate>
bool eventually(Predicate holds) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// Of a node that others can be linked to.
inline config listening(const std::string& name) {
  config result;
  result.node.name = name;
  result.node.listen = "127.0.0.1:0";
  return result;
}

/// Of an actor system whose programs can reach nodes.
struct settings_with_io : caf::actor_system_config {
  settings_with_io() {
    init_types();
    prepare(*this);
  }
};

/// A node with its own actor system that keeps its log.
class one_node {
public:
  explicit one_node(node_options options = {})
    : node_(make(std::move(options)), [this](log_level, std::string_view line) {
        const std::lock_guard guard{mutex_};
        log_.emplace_back(line);
      }) {
  }

  template <class T = std::string>
  cache<T> open(const cache_options& options = {}) {
    return node_.open<T>("cache" + std::to_string(++opened_), options);
  }

  template <class T, class F>
  cache<T> open_with(const cache_options& options, F loader) {
    return node_.open<T>("cache" + std::to_string(++opened_), options,
                         std::move(loader));
  }

  node& operator*() {
    return node_;
  }

  node* operator->() {
    return &node_;
  }

  std::vector<std::string> log() {
    const std::lock_guard guard{mutex_};
    return log_;
  }

private:
  static config make(node_options options) {
    config result;
    result.node = std::move(options);
    result.node.name = "n1";
    return result;
  }

  std::mutex mutex_;
  std::vector<std::string> log_;
  int opened_ = 0;
  node node_;
};

/// A loader that returns `value` and counts its runs.
template <class T>
auto counted(std::atomic<int>& runs, T value) {
  return [&runs, value] {
    ++runs;
    return value;
  };
}

/// The error of a result that must have one.
template <class T>
errc code_of(const result<T>& r) {
  REQUIRE_FALSE(r.has_value());
  return r.error().code;
}

} // namespace coopcache::test

namespace doctest {

template <>
struct StringMaker<coopcache::errc> {
  static String convert(coopcache::errc code) {
    return std::string{to_string(code)}.c_str();
  }
};

template <>
struct StringMaker<coopcache::source> {
  static String convert(coopcache::source how) {
    constexpr const char* names[] = {"hit", "loaded", "joined"};
    return names[static_cast<int>(how)];
  }
};

} // namespace doctest
