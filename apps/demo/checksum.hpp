#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <stop_token>
#include <string>

namespace demo {

/// A SHA-256.
using digest = std::array<std::uint8_t, 32>;

/// As 64 hexadecimal digits.
[[nodiscard]] std::string to_hex(const digest& d);

/// Thrown when a checksum is not wanted any more.
class stopped : public std::runtime_error {
public:
  stopped() : std::runtime_error("stopped") {
  }
};

struct hashed {
  digest sum;
  std::uint64_t bytes;
};

/// Reads a file and computes its SHA-256, in pieces of bounded size.
/// Thread-safe. @throws std::system_error if it cannot be read,
/// std::runtime_error if it is not a regular file, stopped
[[nodiscard]] hashed hash_file(const std::string& path,
                               const std::stop_token& stop);

} // namespace demo
