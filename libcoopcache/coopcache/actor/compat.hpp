#pragma once

/// @file
/// What differs between CAF 0.18.7 and 1.x, for the sources that include it.

#include <caf/action.hpp>
#include <caf/actor.hpp>
#include <caf/actor_addr.hpp>
#include <caf/actor_cast.hpp>
#include <caf/config.hpp>
#include <caf/send.hpp>
#include <caf/system_messages.hpp>

#if CAF_MAJOR_VERSION >= 1
#  include <caf/anon_mail.hpp>
#endif

#include <utility>

namespace coopcache::actor {

/// Sends a message that has no sender.
template <class Handle, class... Ts>
void post(const Handle& to, Ts&&... xs) {
#if CAF_MAJOR_VERSION >= 1
  caf::anon_mail(std::forward<Ts>(xs)...).send(to);
#else
  caf::anon_send(to, std::forward<Ts>(xs)...);
#endif
}

/// Calls `f` in the context of an event-based actor, if it still lives.
template <class F>
void run_in(const caf::actor_addr& where, F f) {
  if (auto to = caf::actor_cast<caf::actor>(where))
    post(to, caf::make_action(std::move(f)));
}

/// Makes an actor deaf to exit messages, but for `kill`.
template <class Self>
void ignore_exits(Self* self) {
#if CAF_MAJOR_VERSION >= 1
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif
  self->set_exit_handler([](caf::exit_msg&) {});
#if CAF_MAJOR_VERSION >= 1
#  pragma GCC diagnostic pop
#endif
}

} // namespace coopcache::actor
