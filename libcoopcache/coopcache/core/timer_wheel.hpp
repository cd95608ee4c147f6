#pragma once

#include "coopcache/core/record.hpp"
#include "coopcache/core/time.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

namespace coopcache::core {

/// A hierarchical timing wheel over records: schedule and cancel in constant
/// time, without allocation.
///
/// Four levels of 64 slots cover 2^24 ticks (13 days); what is due later
/// circles in the last level. Not thread-safe. Source: G. Varghese, A. Lauck,
/// "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7.
///
/// Invariants:
/// 1. A record is linked if and only if it is `scheduled`.
/// 2. A linked record has `due > now()`.
/// 3. No linked record comes out before `next()`.
class timer_wheel {
public:
  explicit timer_wheel(tick now) noexcept : now_(now) {
  }

  /// Links `r` so that the first `advance` to `due` or later lets go of it. A
  /// due time that has passed counts as the next tick.
  /// Requires: `r` is not scheduled.
  void schedule(record& r, tick due) noexcept;

  /// Unlinks `r`; no effect if it is not scheduled.
  void cancel(record& r) noexcept;

  /// Moves the time forward to `now`; unlinks what has become due and appends
  /// it to `out`.
  void advance(tick now, std::vector<record*>& out);

  /// When `advance` should be called next; empty if nothing is scheduled. May
  /// be early after a cancellation, never late.
  [[nodiscard]] std::optional<tick> next() const noexcept;

  /// The tick up to which everything due has come out.
  [[nodiscard]] tick now() const noexcept {
    return now_;
  }

private:
  static constexpr unsigned bits = 6;
  static constexpr tick slots = tick{1} << bits;
  static constexpr unsigned levels = 4;

  void link(record& r) noexcept;
  void step(std::vector<record*>& out);
  [[nodiscard]] std::optional<tick> earliest() const noexcept;

  std::array<std::array<record*, slots>, levels> heads_{};
  tick now_;
  std::optional<tick> next_;
};

} // namespace coopcache::core
