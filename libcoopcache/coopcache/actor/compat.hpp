#pragma once

/// @file
/// What differs between CAF 0.18.7 and 1.x, for the sources that include it.

#include <caf/action.hpp>
#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_companion.hpp>
#include <caf/behavior.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/byte_buffer.hpp>
#include <caf/callback.hpp>
#include <caf/config.hpp>
#include <caf/exit_reason.hpp>
#include <caf/io/basp/header.hpp>
#include <caf/io/basp/instance.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/message_id.hpp>
#include <caf/sec.hpp>
#include <caf/send.hpp>
#include <caf/system_messages.hpp>

#if CAF_MAJOR_VERSION >= 1
#  include <caf/anon_mail.hpp>
#else
#  include <caf/scoped_execution_unit.hpp>
#endif

#include <string_view>
#include <utility>
#include <vector>

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

/// Sends a request; what is returned takes `.then` or `.receive`.
template <class Self, class Handle, class Timeout, class... Ts>
auto request(Self* self, const Handle& to, Timeout timeout, Ts&&... xs) {
#if CAF_MAJOR_VERSION >= 1
  return self->mail(std::forward<Ts>(xs)...).request(to, timeout);
#else
  return self->request(to, timeout, std::forward<Ts>(xs)...);
#endif
}

/// Whom to answer the current message of `self`, and under which id: `respond`
/// may do it, from any thread. CAF does not answer it any more.
template <class Self>
std::pair<caf::strong_actor_ptr, caf::message_id> take_over(Self* self) {
  auto& current = *self->current_mailbox_element();
  const auto id = current.mid;
  current.mid.mark_as_answered();
  return {id.is_answered() ? nullptr : current.sender, id.response_id()};
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

/// Sends a message in the name of `from`, from any thread.
template <class... Ts>
void post_as(const caf::actor& from, const caf::strong_actor_ptr& to,
             Ts&&... xs) {
  auto sender = caf::actor_cast<caf::strong_actor_ptr>(from);
#if CAF_MAJOR_VERSION >= 1
  auto element = caf::make_mailbox_element(std::move(sender),
                                           caf::make_message_id(),
                                           std::forward<Ts>(xs)...);
#else
  auto element = caf::make_mailbox_element(std::move(sender),
                                           caf::make_message_id(), {},
                                           std::forward<Ts>(xs)...);
#endif
  to->enqueue(std::move(element), nullptr);
}

/// Has `f` called when the way to another process is lost that `self` watches.
/// With CAF 1.x a case of the behavior has to do it besides.
template <class Self, class F>
void on_node_down(Self* self, F f) {
#if CAF_MAJOR_VERSION < 1
  self->set_node_down_handler(
    [f](const caf::node_down_msg& what) { f(what.node); });
#else
  static_cast<void>(self);
  static_cast<void>(f);
#endif
}

/// Starts an actor that was spawned with `lazy_init`.
inline void wake_up(const caf::actor& whom) {
  post(whom, caf::make_action([] {}));
}

/// Ends a companion: it takes nothing any more, refuses requests, and who
/// watches it is told. Not by `disconnect`, which both versions declare and do
/// not have.
inline void end_companion(caf::actor_companion& whom) {
  whom.on_enqueue([](caf::mailbox_element_ptr what) {
    if (what->sender != nullptr && what->mid.is_request())
      respond(what->sender, what->mid.response_id(),
              caf::make_error(caf::sec::request_receiver_down));
  });
  whom.cleanup(caf::error{}, nullptr);
}

/// Ends an actor, whatever it thinks of it.
inline void end_actor(const caf::actor& whom) {
  caf::anon_send_exit(whom, caf::exit_reason::kill);
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

/// Appends values to `bytes`, in CAF's binary format.
inline caf::binary_serializer sink_to(caf::byte_buffer& bytes) {
#if CAF_MAJOR_VERSION >= 1
  return caf::binary_serializer{bytes};
#else
  return caf::binary_serializer{nullptr, bytes};
#endif
}

/// Reads what a serializer has written.
inline caf::binary_deserializer source_of(std::string_view bytes) {
#if CAF_MAJOR_VERSION >= 1
  return caf::binary_deserializer{bytes.data(), bytes.size()};
#else
  return caf::binary_deserializer{nullptr, bytes.data(), bytes.size()};
#endif
}

/// What CAF's broker would write to another process: `content` appends the rest
/// to what follows the header.
template <class Content>
caf::byte_buffer frame(caf::actor_system& sys, caf::io::basp::header header,
                       Content content) {
  auto writer = caf::make_callback(std::move(content));
  caf::byte_buffer bytes;
#if CAF_MAJOR_VERSION >= 1
  caf::io::basp::instance::write(sys, nullptr, bytes, header, &writer);
#else
  caf::scoped_execution_unit context{&sys};
  caf::io::basp::instance::write(&context, bytes, header, &writer);
#endif
  return bytes;
}

/// A message from an actor of this process to one of the process at the other
/// end of a connection.
inline caf::byte_buffer to_wire(caf::actor_system& sys, caf::actor_id from,
                                caf::actor_id to, const caf::message& what) {
  return frame(sys,
               {caf::io::basp::message_type::direct_message, 0, 0,
                caf::make_message_id().integer_value(), from, to},
               [&](caf::binary_serializer& sink) {
#if CAF_MAJOR_VERSION < 1
                 const std::vector<caf::strong_actor_ptr> no_stages;
                 if (!sink.apply(no_stages))
                   return false;
#endif
                 return sink.apply(what);
               });
}

/// What CAF says first on a connection that it has begun: which process it is.
inline caf::byte_buffer client_handshake(caf::actor_system& sys) {
  return frame(sys,
               {caf::io::basp::message_type::client_handshake, 0, 0, 0,
                caf::invalid_actor_id, caf::invalid_actor_id},
               [&](caf::binary_serializer& sink) {
                 return sink.apply(sys.node());
               });
}

} // namespace coopcache::actor
