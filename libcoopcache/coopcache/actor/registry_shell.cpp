#include "coopcache/actor/registry_shell.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/registry_core.hpp"
#include "coopcache/actor/shell.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <chrono>
#include <optional>
#include <tuple>
#include <utility>

namespace coopcache::actor {

namespace {

/// Answers the current message of an actor, from whatever thread, whether the
/// actor still lives or not.
class reply_to {
public:
  template <class Self>
  explicit reply_to(Self* self) {
    std::tie(to_, id_) = take_over(self);
  }

  void operator()(const std::optional<error>& failure) const {
    if (to_ == nullptr)
      return; // nobody wants an answer
    if (failure)
      respond(to_, id_, to_caf(*failure));
    else
      respond(to_, id_, caf::message{});
  }

  template <class T>
  void send(T what) const {
    if (to_ != nullptr)
      respond(to_, id_, std::move(what));
  }

private:
  caf::strong_actor_ptr to_;
  caf::message_id id_;
};

constexpr std::chrono::milliseconds one_ms{1};

/// Who locks by message.
struct locker {
  std::uint64_t client;
  std::string requester;
};

/// The sender of the current message, who says that it is that requester; none
/// if there is no sender.
template <class Self>
std::optional<locker> sender_of(Self* self, registry_core& core,
                                const std::string& requester) {
  const auto from = caf::actor_cast<caf::strong_actor_ptr>(
    self->current_sender());
  if (from == nullptr)
    return std::nullopt;
  const auto client = core.client_of(from);
  return locker{client,
                requester.empty() ? core.requester_of(client) : requester};
}

caf::result<void> result_of(const std::optional<error>& failure) {
  if (failure)
    return to_caf(*failure);
  return {};
}

caf::error no_sender(const registry_core& core, const std::string& resource) {
  return to_caf(core.make_error(errc::not_held,
                                "the message has no sender, who could hold a "
                                "lock",
                                resource));
}

shell_actor::behavior_type shell(shell_actor::pointer self,
                                 std::shared_ptr<registry_core> core) {
  ignore_exits(self);
  const auto put = [self,
                    core](const std::string& name,
                          const caf::strong_actor_ptr& who, bool replace,
                          const std::string& resolver) -> caf::result<void> {
    core->put_anywhere({name, who, resolver, replace,
                        registry_core::default_deadline},
                       reply_to{self});
    return caf::delegated<void>{};
  };
  const auto removed = [self, core](const std::string& name) {
    return [core, name, reply = reply_to{self}](cluster::verdict how) {
      reply(core->error_of(how, name, errc::unknown_name));
    };
  };
  return {
    [put](register_atom, const std::string& name,
          const caf::strong_actor_ptr& who, const std::string& resolver) {
      return put(name, who, false, resolver);
    },
    [put](replace_atom, const std::string& name,
          const caf::strong_actor_ptr& who, const std::string& resolver) {
      return put(name, who, true, resolver);
    },
    [removed, core](unregister_atom, const std::string& name) {
      core->remove(name, registry_core::default_deadline, removed(name));
      return caf::result<void>{caf::delegated<void>{}};
    },
    [removed, core](unregister_atom, const std::string& name,
                    const caf::strong_actor_ptr& owner) {
      core->remove_from(name, owner, registry_core::default_deadline,
                        removed(name));
      return caf::result<void>{caf::delegated<void>{}};
    },
    [core](whereis_atom,
           const std::string& name) -> caf::result<caf::strong_actor_ptr> {
      const bool was_synced = core->synced();
      auto found = core->find(name);
      if (found != nullptr)
        return found;
      const auto why = core->unknown(name, was_synced);
      if (why.code == errc::not_synced)
        return to_caf(why);
      return caf::strong_actor_ptr{};
    },
    [self, core](lock_atom, const std::string& resource,
                 const std::string& requester,
                 caf::timespan deadline) -> caf::result<std::uint64_t> {
      const auto who = sender_of(self, *core, requester);
      if (!who)
        return no_sender(*core, resource);
      const bool waits = deadline.count() > 0;
      const auto limit = waits
                           ? core::clamped(deadline) + one_ms // it rounds down
                           : registry_core::default_deadline;
      core->lock({resource, who->requester, who->client, limit, !waits},
                 [core, resource, reply = reply_to{self}](cluster::verdict how,
                                                          auto state) {
                   if (how == cluster::verdict::done)
                     reply.send(state->token);
                   else
                     reply(core->error_of(how, resource, errc::lock_taken));
                 });
      return caf::delegated<std::uint64_t>{};
    },
    [self, core](unlock_atom, const std::string& resource,
                 const std::string& requester) -> caf::result<void> {
      const auto who = sender_of(self, *core, requester);
      if (!who)
        return no_sender(*core, resource);
      const auto how = core->unlock(who->client, resource, who->requester);
      return result_of(core->error_of(how, resource));
    },
    [self, core](cancel_atom, const std::string& resource,
                 const std::string& requester) -> caf::result<void> {
      const auto who = sender_of(self, *core, requester);
      if (!who)
        return no_sender(*core, resource);
      if (core->cancel(who->client, resource, who->requester))
        return {};
      return to_caf(core->make_error(errc::not_held,
                                     "that requester waits for no lock",
                                     resource));
    },
    [core](info_atom) { return core->info(); },
    [self, core](sync_atom, caf::timespan deadline) {
      core->sync(core::clamped(deadline), reply_to{self});
      return caf::result<void>{caf::delegated<void>{}};
    },
    [core](add_peer_atom, const std::string& endpoint) {
      return result_of(core->add_peer(endpoint));
    },
    [core](disconnect_atom, const std::string& node) {
      return result_of(core->disconnect(node));
    },
    [self](go_atom, const local_answer& what) -> caf::result<void> {
      if (what)
        what.as<shell_function>()(self);
      return {};
    },
  };
}

} // namespace

shell_actor spawn_registry_shell(caf::actor_system& sys,
                                 std::shared_ptr<registry_core> core) {
  const std::weak_ptr<registry_core> weak = core;
  // A host that blocks all threads of the scheduler does not block this.
  auto result = sys.spawn<caf::detached>(shell, std::move(core));
  respawn(result, weak, &registry_core::spawn_shell);
  return result;
}

} // namespace coopcache::actor
