#pragma once

#include <chrono>
#include <cstdint>

namespace coopcache {

/// What a cache has done since it was opened. Exact while nobody uses it.
///
/// Every fetch counts as exactly one of `hits`, `misses` and `joined`, unless
/// it is refused before the key is looked for. A look that loads nothing
/// (`get_if_present`, `visit`) counts only if it is a hit.
struct cache_stats {
  std::uint64_t hits = 0;       ///< fetches answered from the table
  std::uint64_t misses = 0;     ///< fetches that asked for a load of their own
  std::uint64_t joined = 0;     ///< fetches that met a load in progress
  std::uint64_t loads = 0;      ///< loaders run
  std::uint64_t failures = 0;   ///< loads that ended with an error
  std::uint64_t uncached = 0;   ///< loads whose value was not to be stored
  std::uint64_t superseded = 0; ///< loads that lost their lease; see `clear`
  std::uint64_t refused = 0;    ///< values for which there was no room
  std::uint64_t evicted = 0;    ///< entries that made room for others
  std::uint64_t expired = 0;    ///< entries whose time had come
  std::uint64_t throws = 0;     ///< callbacks that threw
  std::uint64_t entries = 0;    ///< in the table now
  std::uint64_t bytes = 0;      ///< in the ledger now
  std::uint64_t memory_limit = 0;        ///< bytes
  std::chrono::nanoseconds load_time{0}; ///< sum over all loads

  friend bool operator==(const cache_stats&, const cache_stats&) = default;

  template <class Inspector>
  friend bool inspect(Inspector& f, cache_stats& x) {
    auto get = [&x] { return static_cast<std::int64_t>(x.load_time.count()); };
    auto set = [&x](std::int64_t ns) {
      x.load_time = std::chrono::nanoseconds{ns};
      return true;
    };
    return f.object(x)
      .fields(f.field("hits", x.hits), f.field("misses", x.misses),
              f.field("joined", x.joined), f.field("loads", x.loads),
              f.field("failures", x.failures), f.field("uncached", x.uncached),
              f.field("superseded", x.superseded),
              f.field("refused", x.refused), f.field("evicted", x.evicted),
              f.field("expired", x.expired), f.field("throws", x.throws),
              f.field("entries", x.entries), f.field("bytes", x.bytes),
              f.field("memory_limit", x.memory_limit),
              f.field("load_time", get, set));
  }
};

} // namespace coopcache
