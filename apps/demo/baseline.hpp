#pragma once

#include "folder.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <vector>

namespace demo {

/// What requests cost that have no cache: each reads and hashes its file.
struct baseline {
  std::uint64_t requests = 0;
  std::chrono::nanoseconds time{0};

  /// The time of so many requests.
  [[nodiscard]] std::chrono::nanoseconds of(std::uint64_t n) const;
};

/// Measures one request for every `step`-th file in the order of size, so that
/// large and small files have their share.
[[nodiscard]] baseline measure_without_cache(const std::vector<file>& files,
                                             std::size_t step,
                                             std::size_t threads,
                                             const std::stop_token& stop);

} // namespace demo
