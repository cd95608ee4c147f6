#pragma once

#include "coopcache/core/record.hpp"
#include "coopcache/core/timer_wheel.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace coopcache::core {

/// How a `store` keeps entries.
struct store_options {
  std::uint64_t memory_limit = 0;               ///< bytes; 0 stores nothing
  std::optional<std::chrono::nanoseconds> idle; ///< since last read or write
  std::optional<std::chrono::nanoseconds> time_to_live; ///< since stored
  bool evict = false; ///< make room by SIEVE instead of refusing
};

/// Which entries stay: the byte ledger, idle and absolute expiry, eviction.
///
/// A plain table over records: it owns none of them and finds none by key; it
/// says which the caller has to drop. Not thread-safe, except that readers may
/// write `stamp` and `visited` of a stored record at any time.
///
/// Invariants:
/// 1. `bytes()` is the sum of the charges of the stored records, plus `extra`.
/// 2. `bytes() <= memory_limit` after every call, unless `extra` alone grew.
/// 3. A stored record is in the SIEVE queue, and in the wheel if and only if
///    it can expire.
/// 4. An idle record comes out after the idle timeout since its last read, and
///    at most three ticks later.
class store {
public:
  store(const store_options& options, instant now) noexcept
    : options_(options), wheel_(to_tick(now)) {
  }

  store(const store&) = delete;
  store& operator=(const store&) = delete;

  /// Takes `r` in, charged with `r.charge` bytes and good until
  /// `r.expires_at`, which the time to live may shorten. Returns false if
  /// there is no room. Records to drop for it are appended to `victims`; they
  /// are no longer stored.
  [[nodiscard]] bool admit(record& r, instant now,
                           std::vector<record*>& victims);

  /// Lets go of `r`; no effect if it is not stored.
  void remove(record& r) noexcept;

  /// Appends what has expired by `now` to `out`; it is no longer stored.
  void expire(instant now, std::vector<record*>& out);

  /// When `expire` should be called next; `never` if nothing can expire.
  [[nodiscard]] instant next_wake() const noexcept;

  /// Bytes in the ledger.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return bytes_;
  }

  /// Number of stored records.
  [[nodiscard]] std::uint64_t entries() const noexcept {
    return entries_;
  }

private:
  [[nodiscard]] bool make_room(std::uint64_t need, std::vector<record*>& out);
  [[nodiscard]] instant due(const record& r) const noexcept;
  void push(record& r) noexcept;
  void unlink(record& r) noexcept;
  [[nodiscard]] record* pick_victim() noexcept;

  store_options options_;
  timer_wheel wheel_;
  std::uint64_t bytes_ = 0;
  std::uint64_t entries_ = 0;
  record* newest_ = nullptr;
  record* oldest_ = nullptr;
  record* hand_ = nullptr;
  std::vector<record*> woken_;
};

} // namespace coopcache::core
