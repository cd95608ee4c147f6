#include "rivals.hpp"
#include "suite.hpp"

#include "coopcache/table/hot_table.hpp"

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <latch>
#include <malloc.h>
#include <map>
#include <semaphore>
#include <sstream>
#include <thread>
#include <unistd.h>

/// @file
/// What needs a process of its own: memory, idle CPU time, compile time. The
/// benchmark runs itself again (`--child=...`), or a script, and reads lines of
/// a name and a number from it.

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t entry_count = 100'000;

// -- in the child -------------------------------------------------------------

/// What the process has: on its heap, by the allocator's own count, and in
/// memory.
struct footprint {
  double heap;
  double resident;

  static footprint now() {
    const auto info = mallinfo2();
    std::ifstream statm{"/proc/self/statm"};
    double pages = 0;
    statm >> pages >> pages;
    return {static_cast<double>(info.uordblks + info.hblkhd),
            pages * static_cast<double>(sysconf(_SC_PAGESIZE))};
  }
};

void print(const std::string& name, double value) {
  std::cout << name << ' ' << value << '\n';
}

void print_growth(const footprint& before) {
  const auto after = footprint::now();
  const auto n = static_cast<double>(entry_count);
  print("heap", (after.heap - before.heap) / n);
  print("resident", (after.resident - before.resident) / n);
}

/// As a program does it: by loading. At most 64 keys at a time.
void load_all(const coopcache::cache<std::string>& cache,
              const std::vector<std::string>& all, std::size_t size) {
  constexpr std::ptrdiff_t outstanding = 64;
  std::counting_semaphore<outstanding> places{outstanding};
  for (const auto& key : all) {
    places.acquire();
    cache.fetch_async(
      key, [size] { return std::string(size, 'v'); },
      [&places](const auto&) { places.release(); });
  }
  for (std::ptrdiff_t i = 0; i < outstanding; ++i)
    places.acquire();
}

void weigh_ours(const std::vector<std::string>& all, std::size_t size) {
  const auto cache = open_cache();
  load_all(cache, keys(1'000, true), size); // threads and their heaps
  static_cast<void>(cache.clear_all());
  coopcache::table::hot_table::drain();
  const auto before = footprint::now();
  load_all(cache, all, size);
  const auto ledger = static_cast<double>(cache.stats().bytes);
  coopcache::table::hot_table::drain();
  print_growth(before);
  print("ledger", ledger / static_cast<double>(entry_count));
}

template <class Rival>
void weigh(const std::vector<std::string>& all, std::size_t size) {
  const auto before = footprint::now();
  Rival rival;
  for (const auto& key : all)
    rival.put(key, std::string(size, 'v'));
  print_growth(before);
}

void weigh(const std::string& who, std::size_t size) {
  const auto& all = keys(entry_count);
  if (who == "fetch")
    weigh_ours(all, size);
  else if (who == "concurrent_hash_map")
    weigh<tbb_map>(all, size);
  else if (who == "shared_mutex")
    weigh<locked_map>(all, size);
  else
    weigh<memoizer>(all, size);
}

double cpu_seconds() {
  timespec ts;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) / 1e9;
}

/// One node, three caches of 1000 entries with all kinds of expiry, and nobody
/// who uses them.
void idle() {
  coopcache::cache_options with;
  const auto fill = [&with] { load_all(open_cache(with), keys(1'000), 32); };
  fill();
  with.cache_duration = 1h;
  fill();
  with.time_to_live = 1h;
  fill();
  std::this_thread::sleep_for(500ms);
  const auto start = clock::now();
  const double before = cpu_seconds();
  std::this_thread::sleep_for(5s);
  print("percent", 100 * (cpu_seconds() - before) / seconds_since(start));
}

// -- in the parent ------------------------------------------------------------

/// Runs a command; its lines become counters.
void measure(benchmark::State& state, const std::string& command) {
  for (auto _ : state) {
    std::FILE* const pipe = popen(command.c_str(), "r");
    if (pipe == nullptr)
      return state.SkipWithError("cannot start a process");
    char name[64];
    double value = 0;
    while (std::fscanf(pipe, "%63s %lf", name, &value) == 2)
      state.counters[name] = value;
    if (pclose(pipe) != 0)
      return state.SkipWithError("a process that measures has failed");
  }
}

} // namespace

void add_process(const std::string& name, const std::string& command) {
  add(name, [command](auto& state) { measure(state, command); })
    ->UseRealTime()
    ->Unit(benchmark::kSecond)
    ->Iterations(1)
    ->Repetitions(1);
}

std::string child_command(const std::string& what) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
  return '\'' + self + "' '--child=" + what + '\'';
}

int run_child(const std::string& what) {
  if (run_cluster_child(what)) {
    std::cout.flush();
    return std::cout.good() ? 0 : 1;
  }
  if (what == "idle") {
    idle();
  } else {
    std::istringstream words{what};
    std::string who;
    std::size_t size = 0;
    words >> who >> size;
    weigh(who, size);
  }
  std::cout.flush();
  // The node of `host` lives: leave without its end.
  std::_Exit(std::cout.good() ? 0 : 1);
}

void add_processes() {
  for (const auto* const who :
       {"fetch", "concurrent_hash_map", "shared_mutex", "memoizer"})
    for (const auto* const size : {"32", "1024"})
      add_process(std::string{"bytes/"} + who + "/bytes:" + size,
                  child_command(std::string{who} + ' ' + size));
  add_process("idle node", child_command("idle"));
  add_process("compile time", BENCH_COMPILE_TIME);
}

} // namespace bench
