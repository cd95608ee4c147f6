#pragma once

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor_types.hpp"
#include "coopcache/cache_base.hpp"

#include <utility>

namespace coopcache::actor {

/// Sends an answer to an actor that expects it, from whatever thread. Keeps the
/// actor in memory until then, as CAF's requests do: nobody else may have a
/// handle of it.
class response_waiter : public detail::async_waiter {
public:
  response_waiter(caf::strong_actor_ptr to, caf::message_id id) noexcept
    : to_(std::move(to)), id_(id) {
  }

  void deliver(detail::answer how) noexcept override {
    send(fetched{std::move(how)});
  }

  [[nodiscard]] bool quick() const noexcept final {
    return true;
  }

protected:
  template <class T>
  void send(T&& x) {
    if (to_ != nullptr) // else nobody wants an answer
      respond(to_, id_, std::forward<T>(x));
  }

private:
  caf::strong_actor_ptr to_;
  caf::message_id id_;
};

} // namespace coopcache::actor
