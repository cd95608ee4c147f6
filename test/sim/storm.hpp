#pragma once

#include "sim/witnesses.hpp"
#include "sim/world.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace coopcache::sim {

/// What happened in a run.
struct tally {
  std::size_t grants = 0;
  std::size_t registrations = 0;
  std::size_t lost = 0;    ///< locks that were taken away
  std::size_t clashes = 0; ///< owners that lost a name to a clash
  std::size_t views = 0;
  std::size_t messages = 0;
  std::size_t hand_overs = 0; ///< of which the time was looked at
};

/// One whole run: nodes start, clients work, faults happen, then all is healed,
/// clients finish, and everything has to be at rest. `tamper` makes it worse
/// than nature. @throws violation.
tally run_storm(std::uint64_t seed, const tampering& tamper = {});

} // namespace coopcache::sim
