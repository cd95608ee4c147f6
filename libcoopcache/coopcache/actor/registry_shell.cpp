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
    else if (id_
               .is_response()) // who has not asked is not told that all is well
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

caf::result<void> result_of(const std::optional<error>& failure) {
  if (failure)
    return to_caf(*failure);
  return {};
}

/// What the messages have the core do. Used in the context of `self`.
struct desk {
  shell_actor::pointer self;
  std::shared_ptr<registry_core> core;

  // -- names ------------------------------------------------------------------

  [[nodiscard]] caf::result<void> put(const std::string& name,
                                      const caf::strong_actor_ptr& who,
                                      bool replace,
                                      const std::string& resolver) const {
    core->put_anywhere({name, who, resolver, replace,
                        registry_core::default_deadline},
                       reply_to{self});
    return caf::delegated<void>{};
  }

  [[nodiscard]] registry_core::name_done
  removed(const std::string& name) const {
    return [core = core, name, reply = reply_to{self}](cluster::verdict how) {
      reply(core->error_of(how, name, errc::unknown_name));
    };
  }

  [[nodiscard]] caf::result<void> remove(const std::string& name) const {
    core->remove(name, registry_core::default_deadline, removed(name));
    return caf::delegated<void>{};
  }

  [[nodiscard]] caf::result<void>
  remove_from(const std::string& name,
              const caf::strong_actor_ptr& owner) const {
    core->remove_from(name, owner, registry_core::default_deadline,
                      removed(name));
    return caf::delegated<void>{};
  }

  [[nodiscard]] caf::result<caf::strong_actor_ptr>
  whereis(const std::string& name) const {
    const bool was_synced = core->synced();
    auto found = core->find(name);
    if (found != nullptr)
      return found;
    const auto why = core->unknown(name, was_synced);
    if (why.code == errc::not_synced)
      return to_caf(why);
    return caf::strong_actor_ptr{};
  }

  // -- locks ------------------------------------------------------------------

  /// The sender of the current message, who says that it is that requester;
  /// none if there is no sender.
  [[nodiscard]] std::optional<locker>
  sender(const std::string& requester) const {
    const auto from = caf::actor_cast<caf::strong_actor_ptr>(
      self->current_sender());
    if (from == nullptr)
      return std::nullopt;
    const auto client = core->client_of(from);
    return locker{client,
                  requester.empty() ? core->requester_of(client) : requester};
  }

  [[nodiscard]] caf::error not_held(const std::string& resource,
                                    std::string why) const {
    return to_caf(core->make_error(errc::not_held, std::move(why), resource));
  }

  [[nodiscard]] caf::error no_sender(const std::string& resource) const {
    return not_held(resource, "the message has no sender, who could hold a "
                              "lock");
  }

  [[nodiscard]] caf::result<std::uint64_t> lock(const std::string& resource,
                                                const std::string& requester,
                                                caf::timespan deadline) const {
    const auto who = sender(requester);
    if (!who)
      return no_sender(resource);
    const bool waits = deadline.count() > 0;
    const auto limit = waits ? core::clamped(deadline) + one_ms // rounds down
                             : registry_core::default_deadline;
    core->lock({resource, who->requester, who->client, limit, !waits},
               [core = core, resource,
                reply = reply_to{self}](cluster::verdict how, auto state) {
                 if (how == cluster::verdict::done)
                   reply.send(state->token);
                 else
                   reply(core->error_of(how, resource, errc::lock_taken));
               });
    return caf::delegated<std::uint64_t>{};
  }

  [[nodiscard]] caf::result<void> unlock(const std::string& resource,
                                         const std::string& requester) const {
    const auto who = sender(requester);
    if (!who)
      return no_sender(resource);
    return result_of(
      core->error_of(core->unlock(who->client, resource, who->requester),
                     resource));
  }

  [[nodiscard]] caf::result<void> cancel(const std::string& resource,
                                         const std::string& requester) const {
    const auto who = sender(requester);
    if (!who)
      return no_sender(resource);
    if (core->cancel(who->client, resource, who->requester))
      return {};
    return not_held(resource, "that requester waits for no lock");
  }

  // -- the cluster ------------------------------------------------------------

  [[nodiscard]] caf::result<void> sync(caf::timespan deadline) const {
    core->sync(core::clamped(deadline), reply_to{self});
    return caf::delegated<void>{};
  }
};

shell_actor::behavior_type shell(shell_actor::pointer self,
                                 std::shared_ptr<registry_core> core) {
  ignore_exits(self);
  const desk d{self, std::move(core)};
  using text = const std::string&;
  using actor_ptr = const caf::strong_actor_ptr&;
  return {
    [d](register_atom, text name, actor_ptr who, text resolver) {
      return d.put(name, who, false, resolver);
    },
    [d](replace_atom, text name, actor_ptr who, text resolver) {
      return d.put(name, who, true, resolver);
    },
    [d](unregister_atom, text name) { return d.remove(name); },
    [d](unregister_atom, text name, actor_ptr owner) {
      return d.remove_from(name, owner);
    },
    [d](whereis_atom, text name) { return d.whereis(name); },
    [d](lock_atom, text resource, text requester, caf::timespan deadline) {
      return d.lock(resource, requester, deadline);
    },
    [d](unlock_atom, text resource, text requester) {
      return d.unlock(resource, requester);
    },
    [d](cancel_atom, text resource, text requester) {
      return d.cancel(resource, requester);
    },
    [d](info_atom) { return d.core->info(); },
    [d](sync_atom, caf::timespan deadline) { return d.sync(deadline); },
    [d](add_peer_atom, text endpoint) {
      return result_of(d.core->add_peer(endpoint));
    },
    [d](disconnect_atom, text node) {
      return result_of(d.core->disconnect(node));
    },
    [d](go_atom, const local_answer& what) -> caf::result<void> {
      if (what)
        what.as<shell_function>()(d.self);
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
