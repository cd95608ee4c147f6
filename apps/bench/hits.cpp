#include "rivals.hpp"
#include "suite.hpp"

#include <map>
#include <utility>

namespace bench {

namespace {

constexpr int rounds = 15;
constexpr double round_seconds = 0.03;

struct shape {
  std::size_t keys;
  std::size_t value_size;
};

/// The rival for a shape, filled. Never destroyed. Called first before anything
/// runs: later the heap has holes, and whoever is filled then gets memory
/// spread over many pages, which costs more than what is measured.
template <class Rival>
Rival& filled(const shape& s) {
  static std::mutex mutex;
  static auto& all = *new std::map<std::pair<std::size_t, std::size_t>,
                                   std::unique_ptr<Rival>>;
  const std::lock_guard guard{mutex};
  auto& rival = all[{s.keys, s.value_size}];
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
void read_all(benchmark::State& state, const shape& s) {
  auto& rival = filled<Rival>(s);
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
void add_rival(const std::string& name) {
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
        ->Repetitions(rounds);
    }
}

} // namespace

void add_hits() {
  add_rival<our_fetch>("fetch");
  add_rival<our_fetch_idle>("fetch, cache_duration");
  add_rival<our_fetch_expiring>("fetch, expires_at");
  add_rival<our_visit>("visit");
  add_rival<our_table>("hot_table");
  add_rival<bare_rculfhash>("rculfhash");
  add_rival<tbb_map>("concurrent_hash_map");
  add_rival<locked_map>("shared_mutex");
  add_rival<memoizer>("memoizer");
}

} // namespace bench
