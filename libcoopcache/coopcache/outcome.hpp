#pragma once

#include "coopcache/core/time.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace coopcache {

/// Wall-clock time in the resolution of `expires_at`.
using wall_time = std::chrono::sys_time<std::chrono::milliseconds>;

/// Until when a loader says that its value is good.
using expiry = std::variant<std::monostate,            // no end
                            wall_time,                 // at that time
                            std::chrono::milliseconds, // so long from now
                            std::int64_t>;             // Unix time in ms

/// What `cached` and `uncached` return; becomes an `outcome`.
template <class T>
struct answered {
  T value;
  expiry until;
  bool store;
};

/// What `failed` returns; becomes an `outcome` of any type.
struct failure {
  std::string reason;
};

/// The value is to be answered and stored: what a plain `return` means, too.
template <class T>
[[nodiscard]] answered<std::decay_t<T>> cached(T&& value) {
  return {std::forward<T>(value), {}, true};
}

/// The same, good until a wall-clock time. What has expired when the loader
/// returns is answered and not stored.
template <class T, class Duration>
[[nodiscard]] answered<std::decay_t<T>>
cached(T&& value, std::chrono::sys_time<Duration> expires_at) {
  return {std::forward<T>(value),
          std::chrono::floor<std::chrono::milliseconds>(expires_at), true};
}

/// The same, good for so long. A length that is not positive means: answered
/// and not stored; one above 200 years means 200 years.
template <class T, class Rep, class Period>
[[nodiscard]] answered<std::decay_t<T>>
cached(T&& value, std::chrono::duration<Rep, Period> time_to_live) {
  return {std::forward<T>(value), core::clamped(time_to_live), true};
}

/// The same, good until a Unix time in milliseconds. A number below 10^11 makes
/// the load fail: it is a time in seconds by mistake.
template <class T>
[[nodiscard]] answered<std::decay_t<T>> cached(T&& value,
                                               std::int64_t unix_ms) {
  return {std::forward<T>(value), unix_ms, true};
}

/// The value is to be answered to all who wait, and not stored.
template <class T>
[[nodiscard]] answered<std::decay_t<T>> uncached(T&& value) {
  return {std::forward<T>(value), {}, false};
}

/// The load has failed: all who wait get the reason, and nothing is stored.
[[nodiscard]] inline failure failed(std::string reason) {
  return {std::move(reason)};
}

/// What a loader may return when it has more than one way to end: a value, a
/// `cached`, an `uncached` or a `failed`.
template <class T>
class outcome {
public:
  using value_type = T;

  template <class U>
  requires std::is_convertible_v<U&&, T>
  outcome(U&& value) // NOLINT: implicit, so that loaders just return
    : value_(std::forward<U>(value)) {
  }

  template <class U>
  requires std::is_convertible_v<U&&, T> outcome(answered<U> how) // NOLINT
    : value_(std::move(how.value)), until_(how.until), store_(how.store) {
  }

  outcome(failure how) : reason_(std::move(how.reason)) { // NOLINT
  }

  /// Whether the load has a value.
  explicit operator bool() const noexcept {
    return value_.has_value();
  }

  /// Requires: has a value.
  [[nodiscard]] T& value() noexcept {
    return *value_;
  }

  [[nodiscard]] const expiry& until() const noexcept {
    return until_;
  }

  [[nodiscard]] bool store() const noexcept {
    return store_;
  }

  [[nodiscard]] const std::string& reason() const noexcept {
    return reason_;
  }

private:
  std::optional<T> value_;
  expiry until_;
  bool store_ = true;
  std::string reason_;
};

} // namespace coopcache
