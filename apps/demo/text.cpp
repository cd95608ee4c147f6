#include "text.hpp"

#include <array>
#include <cstdio>

namespace demo {

namespace {

std::string decimal(double x, const char* unit) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), x < 9.95 ? "%.1f %s" : "%.0f %s", x,
                unit);
  return text.data();
}

} // namespace

std::string number(std::uint64_t n) {
  auto text = std::to_string(n);
  for (std::size_t from_end = 3; from_end < text.size(); from_end += 4)
    text.insert(text.size() - from_end, 1, ',');
  return text;
}

std::string bytes(std::uint64_t n) {
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB"};
  if (n < 1024)
    return std::to_string(n) + " B";
  auto size = static_cast<double>(n) / 1024;
  std::size_t unit = 0;
  for (; size >= 1000 && unit + 1 < units.size(); ++unit)
    size /= 1024;
  return decimal(size, units[unit]);
}

std::string duration(std::chrono::nanoseconds d) {
  const auto seconds = std::chrono::duration<double>(d).count();
  if (seconds < 1)
    return decimal(seconds * 1000, "ms");
  if (seconds < 120)
    return decimal(seconds, "s");
  const auto whole = static_cast<std::uint64_t>(seconds);
  return number(whole / 60) + " min " + std::to_string(whole % 60) + " s";
}

std::string count(std::uint64_t n, std::string_view thing) {
  return number(n) + ' ' + std::string{thing} + (n == 1 ? "" : "s");
}

std::string printable(std::string_view text) {
  std::string result;
  for (const auto c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      result += c;
      continue;
    }
    std::array<char, 8> escaped{};
    std::snprintf(escaped.data(), escaped.size(), "\\x%02x", byte);
    result += escaped.data();
  }
  return result;
}

} // namespace demo
