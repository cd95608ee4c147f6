#include "rivals.hpp"
#include "suite.hpp"

#include <algorithm>
#include <atomic>
#include <latch>
#include <semaphore>
#include <thread>

namespace bench {

namespace {

using namespace std::chrono_literals;

/// One cold key and all who ask for it.
struct crowd {
  std::size_t requests;
  std::size_t threads;
  std::chrono::milliseconds load; ///< how long the loader takes
  bool gated = false;             ///< the loader ends when everybody has asked
};

/// The last of the moments that several threads report.
class last_moment {
public:
  void note() noexcept {
    const auto now = clock::now().time_since_epoch().count();
    auto seen = last_.load();
    while (seen < now && !last_.compare_exchange_weak(seen, now)) {}
  }

  [[nodiscard]] clock::time_point get() const noexcept {
    return clock::time_point{clock::duration{last_.load()}};
  }

private:
  std::atomic<clock::rep> last_{0};
};

double between(clock::time_point start, const last_moment& end) {
  return std::chrono::duration<double>(end.get() - start).count();
}

std::string slow_value(std::chrono::milliseconds time) {
  if (time > 0ms)
    std::this_thread::sleep_for(time);
  return std::string(32, 'v');
}

/// Seconds until the last call-back of `fetch_async` has run.
double ask_async(benchmark::State& state, const crowd& c) {
  static auto& cache = *new auto(open_cache());
  const auto key = fresh_key();
  std::latch asked{static_cast<std::ptrdiff_t>(c.threads)};
  std::atomic<std::size_t> open{c.requests};
  std::atomic<bool> failed{false};
  std::binary_semaphore done{0};
  last_moment end;
  const auto load = [&] {
    if (c.gated)
      asked.wait();
    return slow_value(c.load);
  };
  const auto answered = [&](const coopcache::result<std::string>& r) {
    if (!r)
      failed = true;
    if (--open == 0) {
      end.note();
      done.release();
    }
  };
  const auto start = together(c.threads, [&](std::size_t) {
    for (std::size_t i = 0; i < c.requests / c.threads; ++i)
      cache.fetch_async(key, load, answered);
    asked.count_down();
  });
  done.acquire();
  if (failed)
    state.SkipWithError("a waiter got an error");
  return between(start, end);
}

/// Seconds until the last thread has got its last value; `ask(key)` gets one.
template <class Ask>
double ask_blocking(const crowd& c, Ask ask) {
  const auto key = fresh_key();
  last_moment end;
  const auto start = together(c.threads, [&](std::size_t) {
    for (std::size_t i = 0; i < c.requests / c.threads; ++i)
      benchmark::DoNotOptimize(ask(key));
    end.note();
  });
  return between(start, end);
}

double ask_ours(benchmark::State&, const crowd& c) {
  static auto& cache = *new auto(open_cache());
  return ask_blocking(c, [&](const std::string& key) {
    return cache.fetch(key, [&c] { return slow_value(c.load); })->size();
  });
}

double ask_memoizer(benchmark::State&, const crowd& c) {
  static auto& cache = *new memoizer;
  return ask_blocking(c, [&](const std::string& key) {
    const auto future = cache.fetch(key, [&c] { return slow_value(c.load); });
    return future.get()->size();
  });
}

using stampede = double (*)(benchmark::State&, const crowd&);

void add_crowd(const std::string& who, stampede run, const crowd& c) {
  const auto name = "stampede/" + who
                    + "/requests:" + std::to_string(c.requests)
                    + "/from:" + std::to_string(c.threads)
                    + (c.gated
                         ? "/load:until all wait"
                         : "/load:" + std::to_string(c.load.count()) + " ms");
  add(name,
      [run, c](benchmark::State& state) {
        for (auto _ : state)
          state.SetIterationTime(run(state, c));
      })
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(c.load > 0ms ? 1 : 3)
    ->Repetitions(c.load > 0ms ? 5 : 15);
}

} // namespace

void add_stampedes() {
  for (const auto load : {0ms, 50ms}) {
    add_crowd("fetch_async", ask_async, {10'000, 1, load});
    add_crowd("fetch_async", ask_async, {10'000, 8, load});
    add_crowd("memoizer", ask_memoizer, {10'000, 8, load});
    add_crowd("fetch", ask_ours, {64, 64, load});
    add_crowd("memoizer", ask_memoizer, {64, 64, load});
  }
  add_crowd("fetch_async", ask_async, {40'000, 1, 0ms});
  add_crowd("fetch_async", ask_async, {40'000, 8, 0ms});
  for (const std::size_t threads : {1, 8})
    for (const std::size_t requests : {10'000, 40'000})
      add_crowd("fetch_async", ask_async, {requests, threads, 0ms, true});
}

} // namespace bench
