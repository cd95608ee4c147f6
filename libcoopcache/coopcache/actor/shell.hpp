#pragma once

#include "coopcache/core/error.hpp"

#include <caf/abstract_actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/error.hpp>

#include <memory>

/// @file
/// What the actors have in common that only take messages, for a core that does
/// the work.

namespace coopcache::actor {

/// Our error as the message that answers with it; `to_error` is the way back.
inline caf::error to_caf(const error& what) {
  return caf::make_error(what.code, what.reason, what.cache, what.key,
                         what.node);
}

/// Has `core` spawn another such actor when this one ends: anybody with a
/// handle may end it.
template <class Handle, class Core>
void respawn(const Handle& shell, std::weak_ptr<Core> core,
             void (Core::*spawn)()) {
  caf::actor_cast<caf::abstract_actor*>(shell)->attach_functor(
    [core = std::move(core), spawn](const caf::error&) {
      if (const auto still = core.lock())
        (*still.*spawn)(); // no effect once it is closed
    });
}

} // namespace coopcache::actor
