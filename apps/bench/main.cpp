// The benchmarks: every workload with a target, beside its rivals.
//
// Takes the options of Google Benchmark, such as --benchmark_filter=hit/ and
// --benchmark_out=file.json. With COOPCACHE_NODES=50 in the environment there
// is a workload more, "start": so many nodes start together.

#include "report.hpp"
#include "suite.hpp"

#include <condition_variable>
#include <iostream>
#include <malloc.h>
#include <mutex>
#include <string_view>
#include <thread>

namespace {

/// A second thread that is alive all the time. A process with one thread
/// counts references without atomics, which no server does.
class company {
public:
  company() = default;

  ~company() {
    const std::lock_guard guard{mutex_};
    over_ = true;
    changed_.notify_one();
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::jthread thread_{[this] {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [this] { return over_; });
  }};
};

/// Has the allocator keep what was freed. Else rounds that need much memory
/// spend a sixth of their time on pages that the kernel gives anew each time.
void keep_memory() {
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

/// The arguments after our defaults, which they override.
std::vector<char*> with_defaults(int argc, char** argv) {
  static char interleave[] = "--benchmark_enable_random_interleaving=true";
  static char format[] = "--benchmark_out_format=json";
  std::vector<char*> all{argv[0], interleave, format};
  all.insert(all.end(), argv + 1, argv + argc);
  return all;
}

} // namespace

int main(int argc, char** argv) {
  constexpr std::string_view child = "--child=";
  if (argc == 2 && std::string_view{argv[1]}.starts_with(child))
    return bench::run_child(argv[1] + child.size());
  auto arguments = with_defaults(argc, argv);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data()))
    return 2;
  keep_memory();
  const company beside;
  bench::add_hits();
  bench::add_readers();
  bench::add_stampedes();
  bench::add_cold_keys();
  bench::add_processes();
  bench::add_clusters();
  bench::results all;
  benchmark::RunSpecifiedBenchmarks(&all);
  bench::print_tables(std::cout, all);
  std::cout.flush();
  static_cast<void>(bench::host().shutdown());
  return all.failed().empty() ? 0 : 1;
}
