#pragma once

#include "coopcache/core/time.hpp"

#include <chrono>
#include <ctime>

namespace coopcache::table {

/// One of the kernel's clocks.
inline core::instant now_by(clockid_t clock) noexcept {
  timespec ts;
  clock_gettime(clock, &ts);
  return core::instant{std::chrono::seconds{ts.tv_sec}
                       + std::chrono::nanoseconds{ts.tv_nsec}};
}

/// The kernel's coarse monotonic clock: a few ns to read, behind the precise
/// one by at most `coarse_step`.
inline core::instant coarse_now() noexcept {
  return now_by(CLOCK_MONOTONIC_COARSE);
}

/// The monotonic clock on the same time line; the one of
/// `std::chrono::steady_clock`.
inline core::instant precise_now() noexcept {
  return now_by(CLOCK_MONOTONIC);
}

/// The clock that goes on while the machine is suspended: who wakes up has
/// missed what other machines did meanwhile.
inline core::instant boot_now() noexcept {
  return now_by(CLOCK_BOOTTIME);
}

/// Upper bound of how far the coarse clock is behind: the period of the
/// slowest kernel tick in use (100 Hz).
inline constexpr std::chrono::nanoseconds coarse_step{10'000'000};

} // namespace coopcache::table
