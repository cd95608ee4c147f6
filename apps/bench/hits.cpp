#include "rivals.hpp"
#include "suite.hpp"

#include <map>
#include <tuple>
#include <utility>

namespace bench {

namespace {

constexpr int rounds = 15;
constexpr int more_rounds = 60; ///< of what is judged to a tenth
constexpr double round_seconds = 0.03;

struct shape {
  std::size_t keys;
  std::size_t value_size;
};

/// One of the rivals for a shape, filled. Never destroyed. Called first before
/// anything runs: later the heap has holes, and whoever is filled then gets
/// memory spread over many pages, which costs more than what is measured.
template <class Rival>
Rival& filled(const shape& s, int copy = 0) {
  static std::mutex mutex;
  static auto& all = *new std::map<std::tuple<std::size_t, std::size_t, int>,
                                   std::unique_ptr<Rival>>;
  const std::lock_guard guard{mutex};
  auto& rival = all[{s.keys, s.value_size, copy}];
  if (rival == nullptr) {
    rival = std::make_unique<Rival>();
    const std::string value(s.value_size, 'v');
    for (std::size_t i = 0; i < s.keys; ++i)
      rival->put(keys(s.keys)[i * 7919 % s.keys], value);
  }
  return *rival;
}

/// Reads all keys in turn, which is a random order in every rival's memory.
template <class Rival>
void read_all(benchmark::State& state, const shape& s, int copy = 0) {
  auto& rival = filled<Rival>(s, copy);
  const auto& all = keys(s.keys);
  const auto part = all.size() / static_cast<std::size_t>(state.threads());
  auto i = static_cast<std::size_t>(state.thread_index()) * part;
  // What ran before has pushed our memory out of the caches: a round is too
  // short to be measured from there.
  for (std::size_t warm = 0; warm < 2 * s.keys; ++warm)
    benchmark::DoNotOptimize(rival.read(all[(i + warm) % all.size()]));
  const disturbance watch{state};
  for (auto _ : state) {
    benchmark::DoNotOptimize(rival.read(all[i]));
    if (++i == all.size())
      i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}

template <class Rival>
void add_rival(const std::string& name, int times = rounds) {
  for (const std::size_t n : {1, 10'000})
    for (const std::size_t size : {32, 1024}) {
      filled<Rival>({n, size});
      const auto full = "hit/" + name + "/keys:" + std::to_string(n)
                        + "/bytes:" + std::to_string(size);
      add(full,
          [s = shape{n, size}](auto& state) { read_all<Rival>(state, s); })
        ->Threads(1)
        ->Threads(2)
        ->UseRealTime()
        ->MinTime(round_seconds)
        ->Repetitions(times);
    }
}

/// Two threads that share nothing: what the machine lets two threads do. A
/// core is slower while the other one works, and how much so changes by the
/// minute, so that one thread alone says little about two.
template <class Rival>
void add_unshared(const std::string& name) {
  for (const std::size_t n : {1, 10'000})
    for (const std::size_t size : {32, 1024}) {
      filled<Rival>({n, size}, 1);
      add("hit/" + name + "/keys:" + std::to_string(n)
            + "/bytes:" + std::to_string(size),
          [s = shape{n, size}](auto& state) {
            read_all<Rival>(state, s, state.thread_index());
          })
        ->Threads(2)
        ->UseRealTime()
        ->MinTime(round_seconds)
        ->Repetitions(more_rounds);
    }
}

} // namespace

void add_hits() {
  add_rival<our_fetch>("fetch", more_rounds);
  add_unshared<our_fetch>("fetch, a cache each");
  add_rival<our_fetch_idle>("fetch, cache_duration");
  add_rival<our_fetch_expiring>("fetch, expires_at");
  add_rival<our_visit>("visit");
  add_rival<our_table>("hot_table");
  add_rival<bare_rculfhash>("rculfhash", more_rounds);
  add_rival<tbb_map>("concurrent_hash_map");
  add_rival<locked_map>("shared_mutex");
  add_rival<memoizer>("memoizer");
}

} // namespace bench
