#include "coopcache/actor/cache_shell.hpp"

#include "coopcache/actor/compat.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <utility>

namespace coopcache::actor {

namespace {

using promise = caf::typed_response_promise<fetched>;

caf::error to_caf(const error& what) {
  return caf::make_error(what.code, to_string(what));
}

void deliver(promise& to, detail::answer how) {
  if (how.failure != nullptr)
    to.deliver(to_caf(*how.failure));
  else
    to.deliver(fetched{std::move(how)});
}

/// Answers a fetch message. The load ends on a worker, and a promise belongs to
/// its actor: so the answer goes there first.
class message_waiter final : public detail::async_waiter {
public:
  message_waiter(caf::actor_addr shell, promise to)
    : shell_(std::move(shell)), to_(std::move(to)) {
  }

  void deliver(detail::answer how) noexcept override {
    run_in(shell_, [to = to_, how = std::move(how)]() mutable {
      actor::deliver(to, std::move(how));
    });
  }

private:
  caf::actor_addr shell_;
  promise to_;
};

core_actor::behavior_type shell(core_actor::pointer self,
                                std::shared_ptr<cache_core> core) {
  ignore_exits(self);
  const auto fetch = [self, core](const std::string& key,
                                  std::unique_ptr<table::loader> work) {
    auto answer = self->make_response_promise<fetched>();
    if (auto hit = core->table.find(key))
      deliver(answer, {std::move(hit), nullptr, source::hit});
    else
      core->fetch(detail::cache_base::request{.key = key,
                                              .work = std::move(work),
                                              .options = {}},
                  std::make_unique<message_waiter>(self->address(), answer));
    return answer;
  };
  return {
    [fetch](fetch_atom, const std::string& key) { return fetch(key, nullptr); },
    [fetch](fetch_atom, const std::string& key, const local_loader& work) {
      return fetch(key, work.make());
    },
    [core](clear_atom, const std::string& key) -> caf::result<void> {
      core->clear_now(key);
      return {};
    },
    [core](clear_all_atom) -> caf::result<void> {
      core->clear_all_now();
      return {};
    },
    [core](stats_atom) { return core->stats_now(); },
    [self, core](drain_atom) -> caf::result<void> {
      if (core->drain())
        post(core_actor{self}, drain_atom_v);
      return {};
    },
  };
}

} // namespace

core_actor spawn_shell(caf::actor_system& sys,
                       std::shared_ptr<cache_core> core) {
  const std::weak_ptr<cache_core> weak = core;
  auto result = sys.spawn(shell, std::move(core));
  caf::actor_cast<caf::abstract_actor*>(result)->attach_functor(
    [weak](const caf::error&) {
      if (const auto still = weak.lock())
        still->spawn(); // no effect once the cache is closed
    });
  return result;
}

} // namespace coopcache::actor
