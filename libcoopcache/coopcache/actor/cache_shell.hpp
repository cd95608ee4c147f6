#pragma once

#include "coopcache/actor/cache_core.hpp"

#include <caf/fwd.hpp>

#include <memory>

namespace coopcache::actor {

/// Spawns the actor of a cache: it takes messages and calls the core. It
/// ignores exit messages of strangers; should it end all the same while the
/// cache is open, another one takes its place.
[[nodiscard]] core_actor spawn_shell(caf::actor_system& sys,
                                     std::shared_ptr<cache_core> core);

} // namespace coopcache::actor
