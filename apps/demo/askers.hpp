#pragma once

#include "checksum.hpp"
#include "crowd.hpp"

#include <caf/fwd.hpp>

#include <cstddef>
#include <thread>
#include <vector>

namespace demo {

/// How many ask at the same time, and how: each asks once for each file.
struct crowd_size {
  std::size_t threads = 16;   ///< block in `fetch(key)`
  std::size_t fetchers = 8;   ///< actors that use `fetch(self, key).then`
  std::size_t messengers = 8; ///< actors that send messages to the cache

  [[nodiscard]] std::size_t all() const noexcept {
    return threads + fetchers + messengers;
  }
};

/// Starts the askers, and returns those that are threads. `who` must outlive
/// all of them: see `crowd::wait_for`.
[[nodiscard]] std::vector<std::jthread>
start_askers(crowd& who, caf::actor_system& sys, const crowd_size& size);

} // namespace demo
