#include "suite.hpp"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <unistd.h>

namespace bench {

namespace {

std::string key_text(std::size_t i) {
  std::string digits = std::to_string(i);
  return "key:" + std::string(12 - digits.size(), '0') + digits;
}

/// Tells that something happens; Google Benchmark reports only at the end.
void show_progress() {
  static std::atomic<unsigned> rounds{0};
  static const auto start = clock::now();
  static std::atomic<int> next{0};
  const unsigned n = ++rounds;
  const int now = static_cast<int>(seconds_since(start));
  const bool live = isatty(STDERR_FILENO) != 0;
  int due = next.load();
  if (now < due || !next.compare_exchange_strong(due, now + (live ? 1 : 20)))
    return;
  std::fprintf(stderr, "%s%4d s, %u rounds%s", live ? "\r" : "", now, n,
               live ? " " : "\n");
}

} // namespace

const std::vector<std::string>& keys(std::size_t n, bool unread) {
  static std::map<std::pair<std::size_t, bool>, std::vector<std::string>> all;
  static std::mutex mutex;
  const std::lock_guard guard{mutex};
  auto& made = all[{n, unread}];
  if (made.empty()) {
    made.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      made.push_back(key_text(i + (unread ? n : 0)));
    std::shuffle(made.begin(), made.end(), std::mt19937_64{n});
  }
  return made;
}

std::string fresh_key() {
  static std::atomic<std::size_t> next{std::size_t{1} << 32};
  return key_text(next++);
}

coopcache::node& host() {
  // Never destroyed: the rivals are not, either.
  static auto* const node = new coopcache::node{coopcache::config{}};
  return *node;
}

coopcache::cache<std::string> open_cache(const coopcache::cache_options& with) {
  static std::atomic<int> next{0};
  return host().open<std::string>("bench-" + std::to_string(next++), with);
}

coopcache::cache<std::string> open_cache(std::uint64_t memory_limit) {
  coopcache::cache_options options;
  options.memory_limit = memory_limit;
  return open_cache(options);
}

clock::time_point together(std::size_t n,
                           const std::function<void(std::size_t)>& f) {
  std::barrier gate{static_cast<std::ptrdiff_t>(n + 1)};
  std::atomic<std::size_t> there{0};
  std::vector<std::jthread> crew;
  for (std::size_t i = 0; i < n; ++i)
    crew.emplace_back([&, i] {
      ++there;
      gate.arrive_and_wait();
      f(i);
    });
  while (there < n)
    std::this_thread::yield();
  // From `there` to sleep in the barrier, behind its spinning.
  std::this_thread::sleep_for(std::chrono::milliseconds{1});
  const auto start = clock::now();
  static_cast<void>(gate.arrive());
  crew.clear();
  return start;
}

disturbance::~disturbance() {
  state_.counters["disturbed"] = (waited() - before_) / 1e9
                                 / seconds_since(start_);
}

double disturbance::waited() {
  std::ifstream in{"/proc/thread-self/schedstat"};
  double ran = 0;
  double ready = 0;
  in >> ran >> ready;
  return ready;
}

benchmark::internal::Benchmark* add(const std::string& name,
                                    std::function<void(benchmark::State&)> f) {
  return benchmark::RegisterBenchmark(name.c_str(),
                                      [f = std::move(f)](auto& state) {
                                        if (state.thread_index() == 0)
                                          show_progress();
                                        f(state);
                                      });
}

} // namespace bench
