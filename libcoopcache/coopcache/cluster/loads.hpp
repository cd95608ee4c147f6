#pragma once

#include "coopcache/core/time.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace coopcache::cluster {

/// Names one load; drawn by the node from a counter, never used twice.
using load_id = std::uint64_t;

/// Limits on the loads of a cache.
struct load_limits {
  /// Who waits at this age of a load is answered with `timeout`; the load and
  /// its lease stay.
  std::optional<std::chrono::nanoseconds> soft;
  /// At this age the load loses its lease.
  std::chrono::nanoseconds hard{std::chrono::minutes{5}};
  /// For so long after a failure a key is not loaded again.
  std::optional<std::chrono::nanoseconds> backoff;
};

/// The leases of one cache: which load may store the value of which key.
///
/// A pure machine: an event and the time go in, the decision comes out. It
/// does no I/O and knows neither values nor waiters. Not thread-safe.
///
/// Invariants:
/// 1. At most one load per key holds the lease.
/// 2. A load that has lost its lease (to a clear, a put or the hard limit)
///    never gets it back, and its result is never stored.
/// 3. What is remembered is bounded by the running loads and `max_failures`.
class loads {
public:
  /// Failures remembered for back-off; beyond that the oldest is forgotten.
  static constexpr std::size_t max_failures = 10'000;

  explicit loads(const load_limits& limits) : limits_(limits) {
  }

  /// Grants the lease of `key` to `id` and returns nothing; or refuses it and
  /// says until when the key backs off. A load that had the lease loses it.
  [[nodiscard]] std::optional<core::instant>
  request(load_id id, std::string_view key, core::instant now);

  /// Notes a load that was superseded before it could ask for the lease: it
  /// runs for those who wait, and the limits hold for it.
  void run_without_lease(load_id id, std::string_view key, core::instant now);

  enum class outcome {
    cached,
    uncached,
    failed,
    not_run, ///< no worker took it
  };
  enum class verdict {
    store,      ///< the value is to be stored
    drop,       ///< answered only
    superseded, ///< answered only, because the lease was lost meanwhile
  };

  /// The load has ended; an unknown id counts as superseded.
  [[nodiscard]] verdict finished(load_id id, outcome how, core::instant now);

  /// Takes the lease of `key` away; the load that had it is returned.
  std::optional<load_id> revoke(std::string_view key);

  /// Takes all leases away and forgets all failures.
  std::vector<load_id> revoke_all();

  /// What the passing of time has done to loads.
  struct overdue {
    std::vector<load_id> soft; ///< answer their waiters with a timeout
    std::vector<load_id> hard; ///< have lost their lease: end their flights
  };

  [[nodiscard]] overdue expire(core::instant now);

  /// When `expire` should be called next.
  [[nodiscard]] core::instant next_wake() const noexcept;

  /// Whether `id` is known and has not finished.
  [[nodiscard]] bool knows(load_id id) const {
    return running_.contains(id);
  }

  /// Loads that have been granted and have not finished.
  [[nodiscard]] std::size_t running() const noexcept {
    return running_.size();
  }

private:
  struct load {
    std::string key;
    load_id id;
    core::instant started;
    bool leased = false;
    bool soft_told = false;
    bool hard_told = false;
  };

  struct failure {
    core::instant until;
    load_id id;
    std::string key;
  };

  struct pause {
    core::instant until;
    load_id after;
  };

  void forget_ended();
  load& start(load_id id, std::string_view key, core::instant now);
  void note_failure(const std::string& key, load_id id, core::instant now);
  void forget_oldest_failure();
  void forget_failures(core::instant now);
  [[nodiscard]] std::chrono::nanoseconds first_limit() const noexcept;

  load_limits limits_;
  std::unordered_map<load_id, load> running_;
  std::deque<load_id>
    by_time_; ///< running loads as they began; some have ended
  std::unordered_map<std::string_view, load*> leases_; ///< keys of the loads
  std::map<std::string, pause, std::less<>> backing_off_;
  std::deque<failure> failures_; ///< ordered by time; some are overtaken
};

} // namespace coopcache::cluster
