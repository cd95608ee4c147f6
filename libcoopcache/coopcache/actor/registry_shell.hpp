#pragma once

#include "coopcache/actor_types.hpp"

#include <caf/actor_system.hpp>

#include <functional>
#include <memory>

namespace coopcache::actor {

class registry_core;

/// The actor with what the core has it do: a function that it calls with
/// itself.
using shell_actor = registry_actor::extend<caf::result<void>(go_atom,
                                                             local_answer)>;

using shell_function = std::function<void(shell_actor::pointer)>;

/// Spawns the actor of a registry: it takes messages and calls the core. It
/// ignores exit messages of strangers; should it end all the same while the
/// node runs, another one takes its place.
[[nodiscard]] shell_actor
spawn_registry_shell(caf::actor_system& sys,
                     std::shared_ptr<registry_core> core);

} // namespace coopcache::actor
