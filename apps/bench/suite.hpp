#pragma once

#include "coopcache/coopcache.hpp"

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

/// @file
/// What the benchmarks share: keys, values, and the node under test.
///
/// Each workload is registered with Google Benchmark, in short rounds that the
/// library runs in random order, so that a busy moment of the machine does not
/// hit one rival alone. The closing table compares medians over the rounds.

namespace bench {

using clock = std::chrono::steady_clock;

inline double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

/// `n` keys of 16 bytes in random order, the same in every run. What is
/// `unread` shares no key with the rest.
const std::vector<std::string>& keys(std::size_t n, bool unread = false);

/// A key of 16 bytes that nobody has used before.
std::string fresh_key();

/// The node that stays open during the whole run: library defaults.
coopcache::node& host();

/// A new cache of `host`.
coopcache::cache<std::string> open_cache(const coopcache::cache_options& with);

/// A cache of the given size limit, library defaults else.
coopcache::cache<std::string> open_cache(std::uint64_t memory_limit = 1 << 30);

/// Runs `f(0)` ... `f(n - 1)` in `n` threads that exist and sleep before the
/// clock starts; returns when it started. All have ended by then.
clock::time_point together(std::size_t n,
                           const std::function<void(std::size_t)>& f);

/// Registers a workload. Real time counts.
benchmark::internal::Benchmark* add(const std::string& name,
                                    std::function<void(benchmark::State&)> f);

/// Tells how long the calling thread was ready to run and had no core, because
/// other programs had it: such rounds are not comparable. Threads add up.
class disturbance {
public:
  explicit disturbance(benchmark::State& state) : state_(state) {
  }

  ~disturbance();

  disturbance(const disturbance&) = delete;
  disturbance& operator=(const disturbance&) = delete;

private:
  /// Nanoseconds; 0 where the kernel does not tell.
  static double waited();

  benchmark::State& state_;
  const double before_ = waited();
  const clock::time_point start_ = clock::now();
};

void add_hits();
void add_readers();
void add_stampedes();
void add_cold_keys();
void add_processes();
void add_clusters();

/// Registers a workload that a process of its own measures: it prints lines of
/// a name and a number, which become counters.
void add_process(const std::string& name, const std::string& command);

/// This program with `--child=what`.
std::string child_command(const std::string& what);

/// Runs in a process of its own what must not share one; see `processes.cpp`.
int run_child(const std::string& what);

/// The same for clusters; false if it is something else.
bool run_cluster_child(const std::string& what);

} // namespace bench
