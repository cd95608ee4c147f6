#pragma once

/// @file
/// What differs between CAF 0.18.7 and 1.x, for the sources that include it.

#include <caf/action.hpp>
#include <caf/actor.hpp>
#include <caf/actor_addr.hpp>
#include <caf/actor_cast.hpp>
#include <caf/behavior.hpp>
#include <caf/config.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/message_id.hpp>
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

/// Has `handler` called in the context of `self` with one message that is not
/// the answer to a request of CAF's. Until then `self` lives on, as with any
/// pending request. The id goes to `respond`.
template <class Self>
caf::message_id expect_response(Self* self, caf::behavior handler) {
  const auto id = self->new_request_id(caf::message_priority::normal);
  self->add_multiplexed_response_handler(id.response_id(), std::move(handler));
  return id.response_id();
}

/// Sends the message that an actor expects; no effect if it has ended.
template <class T>
void respond(const caf::strong_actor_ptr& to, caf::message_id id, T&& x) {
#if CAF_MAJOR_VERSION >= 1
  auto element = caf::make_mailbox_element(nullptr, id, std::forward<T>(x));
#else
  auto element = caf::make_mailbox_element(nullptr, id, {}, std::forward<T>(x));
#endif
  to->enqueue(std::move(element), nullptr);
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
