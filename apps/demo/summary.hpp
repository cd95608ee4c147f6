#pragma once

#include "askers.hpp"
#include "baseline.hpp"
#include "crowd.hpp"
#include "folder.hpp"

#include <coopcache/stats.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace demo {

/// Whether the checksums are those of `sha256sum`.
struct agreement {
  bool asked = false; ///< there is such a program here
  std::uint64_t same = 0;
  std::uint64_t changed = 0; ///< of files that were written to meanwhile
  std::vector<std::string> differ;
};

/// All that the closing summary tells.
struct outcome {
  listing found;
  crowd_size size;
  std::uint64_t answers = 0;
  crowd::errors errors;
  coopcache::cache_stats stats;
  std::uint64_t bytes_hashed = 0;
  std::chrono::nanoseconds with_cache{0};
  std::optional<baseline> without_cache; ///< empty if interrupted
  std::optional<agreement> check;        ///< empty if interrupted
};

[[nodiscard]] std::string summary(const outcome& all);

} // namespace demo
