#include "suite.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <semaphore>
#include <sstream>
#include <thread>

namespace bench {

namespace {

/// How an application starts CAF, under a scheduler policy.
struct host_config : caf::actor_system_config {
  explicit host_config(const std::string& policy) {
    coopcache::init_types();
    std::istringstream nothing;
    static_cast<void>(parse(std::vector<std::string>{}, nothing));
    set("caf.scheduler.policy", policy);
  }
};

/// A node in an actor system of the application's.
class guest {
public:
  explicit guest(const std::string& policy) : cfg_(policy) {
  }

  coopcache::cache<std::string> cache() {
    return node_.open<std::string>("cold", coopcache::cache_options{});
  }

private:
  host_config cfg_;
  caf::actor_system sys_{cfg_};
  coopcache::node node_ = coopcache::node::start(sys_);
};

std::string trivial_load() {
  return std::string(32, 'v');
}

/// Loads fresh keys, at most 64 at a time. Seconds.
double load_many(const coopcache::cache<std::string>& cache,
                 const std::vector<std::string>& fresh) {
  constexpr std::ptrdiff_t outstanding = 64;
  std::counting_semaphore<outstanding> places{outstanding};
  const auto start = clock::now();
  for (const auto& key : fresh) {
    places.acquire();
    cache.fetch_async(key, trivial_load,
                      [&places](const auto&) { places.release(); });
  }
  for (std::ptrdiff_t i = 0; i < outstanding; ++i)
    places.acquire();
  return seconds_since(start);
}

/// The same with one thread that waits for each.
double load_each(const coopcache::cache<std::string>& cache,
                 const std::vector<std::string>& fresh) {
  const auto start = clock::now();
  for (const auto& key : fresh)
    benchmark::DoNotOptimize(cache.fetch(key, trivial_load)->size());
  return seconds_since(start);
}

using workload = double (*)(const coopcache::cache<std::string>&,
                            const std::vector<std::string>&);

void add_cold(const std::string& name, const std::string& policy, workload run,
              std::size_t n) {
  add("cold keys/" + name + "/policy:" + policy,
      [policy, run, n](benchmark::State& state) {
        guest app{policy};
        const auto cache = app.cache();
        std::vector<std::string> fresh(n);
        for (auto& key : fresh)
          key = fresh_key();
        load_many(cache, {fresh_key(), fresh_key()}); // starts workers
        // CAF's own workers poll eagerly for a while after their last job: that
        // is the start of the actor system, not the loads.
        std::this_thread::sleep_for(std::chrono::milliseconds{200});
        for (auto _ : state)
          state.SetIterationTime(run(cache, fresh) / static_cast<double>(n));
      })
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond)
    ->Iterations(1)
    ->Repetitions(9);
}

} // namespace

void add_cold_keys() {
  for (const auto* const policy : {"stealing", "sharing"}) {
    add_cold("64 outstanding", policy, load_many, 20'000);
    add_cold("one at a time", policy, load_each, 2'000);
  }
}

} // namespace bench
