#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace coopcache::core {

/// A quantity that was read from text, or why there is none.
struct reading {
  std::uint64_t value = 0;
  std::string_view fault; ///< a constant phrase; empty when all is well

  [[nodiscard]] bool ok() const noexcept {
    return fault.empty();
  }
};

/// Reads text such as "50 MiB" as bytes. A number with an optional fraction,
/// blanks, a unit of `byte_units()`; parts of a byte are rounded. Faults: "not
/// a number", "negative", "unit missing", "unknown unit", "too large", "not
/// whole" (part of a unit that has none).
[[nodiscard]] reading read_bytes(std::string_view text);

/// Reads text such as "10 s" as milliseconds; the rest as `read_bytes`.
[[nodiscard]] reading read_milliseconds(std::string_view text);

/// A number of bytes or of things. Faults: "not a number", "negative", "too
/// large", "not whole".
[[nodiscard]] reading whole_number(double number);

/// A number of seconds as milliseconds, rounded to the nearest. Faults: "not a
/// number", "negative", "too large".
[[nodiscard]] reading milliseconds_of_seconds(double seconds);

/// Exact text that `read_bytes` reads back: the largest binary unit that needs
/// no fraction.
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

/// Exact text that `read_milliseconds` reads back.
[[nodiscard]] std::string milliseconds_text(std::uint64_t milliseconds);

/// B, kB, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (of 1024).
[[nodiscard]] std::span<const std::string_view> byte_units();

/// ms, s, min, h, d.
[[nodiscard]] std::span<const std::string_view> duration_units();

} // namespace coopcache::core
