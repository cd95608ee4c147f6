#pragma once

/// @file
/// What differs between CAF 0.18 and 1.x. A program for one of them calls
/// `self->request` and `caf::anon_send` in 0.18, or `self->mail` and
/// `caf::anon_mail` in 1.x, itself.

#include <caf/config.hpp>
#include <caf/send.hpp>
#if CAF_MAJOR_VERSION >= 1
#  include <caf/anon_mail.hpp>
#endif

#include <chrono>
#include <utility>

namespace app {

/// Sends a request; `.then(on_answer, on_error)` says what to do next.
template <class Self, class Handle, class... Ts>
auto request(Self* self, const Handle& to, std::chrono::milliseconds timeout,
             Ts&&... xs) {
#if CAF_MAJOR_VERSION >= 1
  return self->mail(std::forward<Ts>(xs)...).request(to, timeout);
#else
  return self->request(to, timeout, std::forward<Ts>(xs)...);
#endif
}

/// Sends a message that has no sender.
template <class Handle, class... Ts>
void post(const Handle& to, Ts&&... xs) {
#if CAF_MAJOR_VERSION >= 1
  caf::anon_mail(std::forward<Ts>(xs)...).send(to);
#else
  caf::anon_send(to, std::forward<Ts>(xs)...);
#endif
}

} // namespace app
