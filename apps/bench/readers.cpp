#include "rivals.hpp"
#include "suite.hpp"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <optional>
#include <sched.h>
#include <thread>

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t key_count = 10'000;

/// Gives the calling thread a core of its own for as long as it lives, and all
/// other threads of the process, those of the cache too, another one: so that
/// a writer costs the reader what the two share in memory, and no CPU time.
class own_core {
public:
  own_core() {
    sched_getaffinity(0, sizeof all_, &all_);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &all_) && found_ < 2)
        CPU_SET(cpu, &cores_[found_++]);
    if (found_ < 2)
      return;
    pin_everybody(cores_[1]);
    sched_setaffinity(0, sizeof(cpu_set_t), &cores_[0]);
  }

  ~own_core() {
    pin_everybody(all_);
  }

  own_core(const own_core&) = delete;
  own_core& operator=(const own_core&) = delete;

  [[nodiscard]] bool possible() const noexcept {
    return found_ == 2;
  }

  /// Called by a thread that has been started since.
  void leave() const noexcept {
    sched_setaffinity(0, sizeof(cpu_set_t), &cores_[1]);
  }

private:
  static void pin_everybody(const cpu_set_t& where) {
    for (const auto& task :
         std::filesystem::directory_iterator{"/proc/self/task"})
      sched_setaffinity(std::stoi(task.path().filename()), sizeof where,
                        &where);
  }

  cpu_set_t all_{};
  cpu_set_t cores_[2]{};
  std::size_t found_ = 0;
};

/// A thread that calls `f(i)` 100 000 times per second, evenly, and looks at
/// the clock all the time between: as busy whatever `f` is.
class paced_thread {
public:
  template <class F>
  paced_thread(const own_core& cores, F f)
    : thread_([this, &cores, f = std::move(f)](std::stop_token stop) mutable {
        cores.leave();
        run(stop, f);
      }) {
  }

  /// Calls per second so far.
  [[nodiscard]] double rate() const {
    return static_cast<double>(calls_) / seconds_since(start_);
  }

private:
  template <class F>
  void run(const std::stop_token& stop, F& f) {
    auto next = clock::now();
    while (!stop.stop_requested()) {
      const auto now = clock::now();
      if (now < next)
        continue;
      next = std::max(next + 10us, now - 1ms); // catches up with 1 ms at most
      f(calls_.fetch_add(1, std::memory_order_relaxed));
    }
  }

  const clock::time_point start_ = clock::now();
  std::atomic<std::size_t> calls_{0};
  std::jthread thread_;
};

enum class writes { none, put, clear };

/// Writes keys that nobody reads through the public functions, which wait for
/// the cache's actor. To clear is to put and to clear in turn, so that there
/// is something to clear.
class public_writes : public our_fetch {
public:
  void write(writes what, std::size_t i) {
    const auto& key = keys(key_count, true)[i / 2 % key_count];
    if (what == writes::put)
      static_cast<void>(
        cache_.put(keys(key_count, true)[i % key_count], std::string(32, 'w')));
    else if (i % 2 == 0)
      static_cast<void>(cache_.put(key, std::string(32, 'w')));
    else
      static_cast<void>(cache_.clear(key));
  }
};

/// The same through the writer's functions of the table, as the actor does.
class direct_writes : public our_table {
public:
  void write(writes what, std::size_t i) {
    const auto& key = keys(key_count, true)[i / 2 % key_count];
    if (what == writes::put)
      put(keys(key_count, true)[i % key_count], std::string(32, 'w'));
    else if (i % 2 == 0)
      put(key, std::string(32, 'w'));
    else
      erase(key);
  }
};

/// Times single reads, two clock readings included, and those alone.
template <class Rival>
void show_latency(benchmark::State& state, Rival& rival) {
  std::vector<double> ns;
  const auto show = [&](const std::string& name, double part) {
    const auto at = static_cast<std::ptrdiff_t>(
      part * static_cast<double>(ns.size()));
    std::nth_element(ns.begin(), ns.begin() + at, ns.end());
    state.counters[name] = ns[static_cast<std::size_t>(at)];
  };
  const auto time = [&](const auto& f) {
    ns.clear();
    for (const auto& key : keys(key_count)) {
      const auto start = clock::now();
      f(key);
      ns.push_back(seconds_since(start) * 1e9);
    }
  };
  time([](const std::string&) {});
  show("clock_ns", 0.5);
  ns.reserve(5 * key_count);
  for (int i = 0; i < 5; ++i)
    for (const auto& key : keys(key_count)) {
      const auto start = clock::now();
      benchmark::DoNotOptimize(rival.read(key));
      ns.push_back(seconds_since(start) * 1e9);
    }
  show("p50_ns", 0.5);
  show("p99_ns", 0.99);
  show("p99.9_ns", 0.999);
}

template <class Rival>
Rival& filled() {
  static auto& rival = *new Rival;
  static const bool once = [] {
    for (const auto& key : keys(key_count))
      rival.put(key, std::string(32, 'v'));
    return true;
  }();
  static_cast<void>(once);
  return rival;
}

template <class Rival>
void read_beside(benchmark::State& state, writes what) {
  auto& rival = filled<Rival>();
  const own_core core;
  if (!core.possible())
    return state.SkipWithError("needs two cores");
  const paced_thread other{core, [&rival, what](std::size_t i) {
                             if (what != writes::none)
                               rival.write(what, i);
                           }};
  const auto& all = keys(key_count);
  std::size_t i = 0;
  std::optional<disturbance> watch{std::in_place, state};
  for (auto _ : state) {
    benchmark::DoNotOptimize(rival.read(all[i]));
    if (++i == all.size())
      i = 0;
  }
  watch.reset();
  state.counters["writes_per_s"] = other.rate();
  show_latency(state, rival);
}

template <class Rival>
void add_beside(const std::string& name, const std::string& other,
                writes what) {
  add("readers/" + name + "/beside:" + other,
      [what](auto& state) { read_beside<Rival>(state, what); })
    ->UseRealTime()
    ->MinTime(0.15)
    ->Repetitions(9);
}

} // namespace

void add_readers() {
  add_beside<public_writes>("fetch", "nothing", writes::none);
  add_beside<public_writes>("fetch", "put", writes::put);
  add_beside<public_writes>("fetch", "clear", writes::clear);
  add_beside<direct_writes>("hot_table", "nothing", writes::none);
  add_beside<direct_writes>("hot_table", "put", writes::put);
  add_beside<direct_writes>("hot_table", "clear", writes::clear);
}

} // namespace bench
