#include "coopcache/core/units.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

namespace coopcache::core {

namespace {

constexpr std::uint64_t kb = 1000, mb = 1000 * kb, gb = 1000 * mb;
constexpr std::uint64_t kib = 1024, mib = 1024 * kib, gib = 1024 * mib;
constexpr auto most = std::numeric_limits<std::uint64_t>::max();
constexpr double beyond = 18446744073709551616.0; // 2^64

template <std::size_t N>
struct unit_table {
  std::array<std::string_view, N> names;
  std::array<std::uint64_t, N> factors;
};

constexpr unit_table<10> bytes{{"B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB",
                                "GiB", "TiB"},
                               {1, kb, kb, mb, gb, 1000 * gb, kib, mib, gib,
                                1024 * gib}};

constexpr unit_table<5> durations{{"ms", "s", "min", "h", "d"},
                                  {1, 1000, 60'000, 3'600'000, 86'400'000}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view take_digits(std::string_view& text) {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count]))
    ++count;
  const std::string_view digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

reading whole_part(std::string_view digits) {
  reading result;
  for (const char c : digits) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (result.value > (most - digit) / 10)
      return {0, "too large"};
    result.value = result.value * 10 + digit;
  }
  return result;
}

double fraction_part(std::string_view digits) {
  double result = 0, weight = 1;
  for (const char c : digits.substr(0, 18)) {
    weight /= 10;
    result += weight * (c - '0');
  }
  return result;
}

reading scaled(std::uint64_t whole, double fraction, std::uint64_t factor) {
  if (factor == 1 && fraction > 0)
    return {0, "not whole"};
  const auto part = static_cast<std::uint64_t>(
    std::llround(fraction * static_cast<double>(factor)));
  if (whole > (most - part) / factor)
    return {0, "too large"};
  return {whole * factor + part, {}};
}

template <std::size_t N>
reading read_quantity(std::string_view text, const unit_table<N>& units) {
  const bool negative = text.starts_with('-');
  if (negative)
    text.remove_prefix(1);
  const std::string_view digits = take_digits(text);
  std::string_view decimals;
  if (text.size() > 1 && text[0] == '.' && is_digit(text[1])) {
    text.remove_prefix(1);
    decimals = take_digits(text);
  }
  if (digits.empty())
    return {0, "not a number"};
  if (negative)
    return {0, "negative"};
  while (text.starts_with(' '))
    text.remove_prefix(1);
  if (text.empty())
    return {0, "unit missing"};
  const auto unit = std::find(units.names.begin(), units.names.end(), text);
  if (unit == units.names.end())
    return {0, "unknown unit"};
  const reading whole = whole_part(digits);
  if (!whole.ok())
    return whole;
  const auto index = static_cast<std::size_t>(unit - units.names.begin());
  return scaled(whole.value, fraction_part(decimals), units.factors[index]);
}

template <std::size_t N>
std::string exact_text(std::uint64_t value, const unit_table<N>& units,
                       std::size_t first) {
  std::size_t best = 0;
  for (std::size_t i = first; i < N; ++i)
    if (value != 0 && value % units.factors[i] == 0)
      best = i;
  std::string result = std::to_string(value / units.factors[best]);
  result += ' ';
  result += units.names[best];
  return result;
}

} // namespace

reading read_bytes(std::string_view text) {
  return read_quantity(text, bytes);
}

reading read_milliseconds(std::string_view text) {
  return read_quantity(text, durations);
}

reading whole_number(double number) {
  if (std::isnan(number))
    return {0, "not a number"};
  if (number < 0)
    return {0, "negative"};
  if (number >= beyond)
    return {0, "too large"};
  if (number != std::floor(number))
    return {0, "not whole"};
  return {static_cast<std::uint64_t>(number), {}};
}

reading milliseconds_of_seconds(double seconds) {
  if (seconds < 0)
    return {0, "negative"}; // what would be rounded to 0, too
  return whole_number(std::round(seconds * 1000));
}

std::string bytes_text(std::uint64_t value) {
  constexpr std::size_t first_binary_unit = 6;
  return exact_text(value, bytes, first_binary_unit);
}

std::string milliseconds_text(std::uint64_t value) {
  return exact_text(value, durations, 0);
}

std::span<const std::string_view> byte_units() {
  return bytes.names;
}

std::span<const std::string_view> duration_units() {
  return durations.names;
}

} // namespace coopcache::core
