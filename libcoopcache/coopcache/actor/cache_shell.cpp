#include "coopcache/actor/cache_shell.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/response_waiter.hpp"
#include "coopcache/actor/shell.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/message.hpp>
#include <caf/sec.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <utility>

namespace coopcache::actor {

namespace {

/// Answers a fetch message, whether the actor that took it still lives or not.
class message_waiter final : public response_waiter {
public:
  using response_waiter::response_waiter;

  void deliver(detail::answer how) noexcept override {
    if (how.failure != nullptr)
      send(to_caf(*how.failure));
    else
      response_waiter::deliver(std::move(how));
  }
};

core_actor::behavior_type shell(core_actor::pointer self,
                                std::shared_ptr<cache_core> core) {
  ignore_exits(self);
  const auto fetch =
    [self, core](const std::string& key,
                 std::unique_ptr<table::loader> work) -> caf::result<fetched> {
    if (auto hit = core->table.find(key))
      return fetched{{std::move(hit), nullptr, source::hit}};
    auto [to, id] = take_over(self);
    core->fetch(detail::cache_base::request{.key = key,
                                            .work = std::move(work),
                                            .options = {}},
                std::make_unique<message_waiter>(std::move(to), id));
    return caf::delegated<fetched>{};
  };
  return {
    [fetch](fetch_atom, const std::string& key) { return fetch(key, nullptr); },
    [fetch, core](fetch_atom, const std::string& key,
                  const local_loader& work) -> caf::result<fetched> {
      auto made = work.make();
      if (made != nullptr && work.type() != core->type)
        return to_caf(
          *core->make_error(errc::wrong_type,
                            "the loader in the message makes another type",
                            key));
      return fetch(key, std::move(made));
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
    [core](drain_atom) -> caf::result<void> {
      core->drain();
      return {};
    },
    [self](stop_atom) -> caf::result<void> {
      self->quit();
      return {};
    },
  };
}

} // namespace

core_actor spawn_shell(caf::actor_system& sys,
                       std::shared_ptr<cache_core> core) {
  const std::weak_ptr<cache_core> weak = core;
  auto result = sys.spawn(shell, std::move(core));
  respawn(result, weak, &cache_core::spawn);
  return result;
}

} // namespace coopcache::actor

namespace coopcache {

error to_error(const caf::error& what) {
  error result;
  const auto& all = what.context();
  const bool ours = what.category() == caf::type_id_v<errc>;
  if (ours
      && all.match_elements<std::string, std::string, std::string,
                            std::string>()) {
    result.code = static_cast<errc>(what.code());
    result.reason = all.get_as<std::string>(0);
    result.cache = all.get_as<std::string>(1);
    result.key = all.get_as<std::string>(2);
    result.node = all.get_as<std::string>(3);
    return result;
  }
  result.code = what == caf::sec::request_timeout ? errc::timeout
                                                  : errc::shutting_down;
  result.reason = "no answer from the actor: " + to_string(what);
  return result;
}

} // namespace coopcache
