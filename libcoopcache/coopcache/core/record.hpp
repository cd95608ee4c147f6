#pragma once

#include "coopcache/core/time.hpp"

#include <atomic>
#include <cstdint>

namespace coopcache::core {

/// What expiry, eviction and the ledger know of an entry.
///
/// A hook that the entry derives from, so that 100 000 entries need no second
/// table. Readers of the hot table touch only the two atomics; all the rest
/// belongs to the one writer.
struct record {
  /// Neighbours in the SIEVE queue. The memory is free for other use once the
  /// record has been removed for good.
  struct links {
    record* newer = nullptr;
    record* older = nullptr;
  } queue;

  /// Neighbours in a slot of the timer wheel.
  record* wheel_next = nullptr;
  record** wheel_link = nullptr;

  /// Bytes that the entry costs; in the ledger while `stored`.
  std::uint64_t charge = 0;

  /// When the timer wheel lets go of it; see `timer_wheel`.
  tick due = 0;

  /// True from admission to removal.
  bool stored = false;

  /// True while linked into the timer wheel.
  bool scheduled = false;

  /// The value must not be served at or after this instant. Set by `expire_at`.
  instant expires_at = never;

  // What every hit touches comes last, next to the key.

  /// The tick of the last read or write. Written by readers, at most once a
  /// tick each.
  std::atomic<tick> stamp{0};

  /// Read since the hand of SIEVE last passed.
  std::atomic<bool> visited{false};

  /// Whether `expires_at` is worth a look.
  bool may_expire = false;

  /// To be called before readers can find the entry.
  void expire_at(instant when) noexcept {
    expires_at = when;
    may_expire = when != never;
  }

  record() = default;
  record(const record&) = delete;
  record& operator=(const record&) = delete;
};

} // namespace coopcache::core
