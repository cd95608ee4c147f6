#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace demo {

/// "1,234,567"
[[nodiscard]] std::string number(std::uint64_t n);

/// "1.2 GiB"
[[nodiscard]] std::string bytes(std::uint64_t n);

/// "340 ms", "3.4 s", "2 min 5 s"
[[nodiscard]] std::string duration(std::chrono::nanoseconds d);

/// "1 file", "2 files"
[[nodiscard]] std::string count(std::uint64_t n, std::string_view thing);

/// Fit for a terminal: control characters become `\xNN`.
[[nodiscard]] std::string printable(std::string_view text);

} // namespace demo
