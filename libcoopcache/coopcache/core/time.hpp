#pragma once

#include <chrono>
#include <cstdint>

namespace coopcache::core {

/// The time line of everything inside: monotonic, never sent to another node.
/// It has no `now()`: the machines are told the time, they do not ask for it.
struct monotonic {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<monotonic>;
  static constexpr bool is_steady = true;
};

/// A point on the monotonic time line.
using instant = monotonic::time_point;

/// Later than every other instant.
inline constexpr instant never = instant::max();

/// `at + by`, or `never` where the sum leaves the range.
constexpr instant later(instant at, std::chrono::nanoseconds by) noexcept {
  return by.count() > 0 && at > never - by ? never : at + by;
}

/// Any length of time in milliseconds; what is beyond 200 years, which is as
/// good as for ever, counts as that, so that sums stay in range.
template <class Rep, class Period>
constexpr std::chrono::milliseconds
clamped(std::chrono::duration<Rep, Period> length) noexcept {
  using std::chrono::milliseconds;
  constexpr milliseconds longest{std::chrono::years{200}};
  const std::chrono::duration<double, std::milli> rough{length};
  if (rough >= longest)
    return longest;
  if (rough <= -longest)
    return -longest;
  return std::chrono::duration_cast<milliseconds>(length);
}

/// Coarse time, in steps of `tick_length` since the origin of `instant`.
/// 32 bits of them last nine years of uptime.
using tick = std::uint32_t;

/// Length of one tick: 2^26 ns, about 67 ms, so that a hit makes a tick out
/// of an instant with one shift.
inline constexpr std::chrono::nanoseconds tick_length{std::int64_t{1} << 26};

/// The tick in which `at` lies.
constexpr tick to_tick(instant at) noexcept {
  return static_cast<tick>(at.time_since_epoch().count() >> 26);
}

/// The first tick that begins at or after `at`, or the last there is.
constexpr tick tick_after(instant at) noexcept {
  constexpr instant last{tick_length * std::int64_t{~tick{0}}};
  return at >= last ? ~tick{0}
                    : to_tick(at + (tick_length - std::chrono::nanoseconds{1}));
}

/// The instant at which `t` begins.
constexpr instant start_of(tick t) noexcept {
  return instant{std::chrono::nanoseconds{std::int64_t{t} << 26}};
}

} // namespace coopcache::core
