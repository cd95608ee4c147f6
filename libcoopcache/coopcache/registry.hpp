#pragma once

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor_types.hpp"
#include "coopcache/core/error.hpp"
#include "coopcache/export.hpp"
#include "coopcache/lock.hpp"
#include "coopcache/registry_info.hpp"
#include "coopcache/result.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/blocking_actor.hpp>
#include <caf/spawn_options.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace coopcache {

namespace actor {
class registry_core;
} // namespace actor

/// What becomes of a name that two sides of a cluster have both registered,
/// when they meet. Which of two is earlier the wall clocks of the nodes say
/// that granted them. Any other word names a function; see
/// `registry::add_resolver`.
namespace resolver {

/// The earlier registration stays; the actor of the other one is ended.
inline constexpr std::string_view exit = "exit";
/// The earlier registration stays; the other actor gets a `name_lost`.
inline constexpr std::string_view notify = "notify";
/// The name is removed, both actors get a `name_lost`.
inline constexpr std::string_view notify_all = "notify_all";

} // namespace resolver

/// What a function says about such a clash.
enum class survivor : std::uint8_t { first, second, nobody };

/// How a name is registered.
struct name_options {
  std::string resolver{resolver::exit};
  /// What to wait at most; none: for ever. The node of an actor that lives
  /// elsewhere waits 30 s at most.
  std::optional<std::chrono::milliseconds> deadline{
    std::chrono::milliseconds{30'000}};
};

namespace detail {

/// What an actor asks for: nothing happens before `then`.
template <class Start>
class [[nodiscard]] pending_answer {
public:
  explicit pending_answer(Start start) : start_(std::move(start)) {
  }

  /// Asks, and calls `f` with the answer in the context of the actor; never if
  /// the actor ends before.
  template <class F>
  void then(F f) && {
    std::move(start_)(std::move(f));
  }

private:
  Start start_;
};

} // namespace detail

/// The names, locks and transactions of a cluster, as one of its nodes sees
/// them. What Erlang's `:global` does, with other means: see PROTOCOL.md.
///
/// Cheap to copy. All functions may be called by any thread at any time, also
/// after the node has shut down: then they answer `shutting_down`, where they
/// answer; `del_lock` answers that the lock is lost or not held.
///
/// Those that take `self` are for event-based actors and never block: what they
/// return has `then(f)`, which asks, and calls `f` in the context of the actor
/// with what the form without `self` returns.
/// `register_name`, `replace_name`, `unregister_name`, `spawn_named`, `lock`,
/// `set_lock`, `trans` and `sync` without it block until their deadline at
/// most, and answer `would_block` on threads of CAF that must not. The rest
/// never waits for another node.
class COOPCACHE_EXPORT registry {
public:
  explicit registry(std::shared_ptr<actor::registry_core> core) noexcept
    : core_(std::move(core)) {
  }

  // -- names ------------------------------------------------------------------

  /// Makes `who` known in the cluster. When this returns, every node of the
  /// view finds it, until it ends, its node is lost, or somebody else removes
  /// or replaces it. Errors: `name_taken` (by another actor, or the actor has
  /// a name already), `owner_dead`, `unknown_node` (the actor lives on a node
  /// that is not linked), `name_too_long` (above 4096 bytes),
  /// `unknown_resolver` (its node has none of that name), `timeout`,
  /// `no_majority`. After a `timeout` it may have happened if the actor lives
  /// on a node to which the link was lost: `whereis` tells. As with each actor
  /// that another node has a handle of, CAF keeps it alive until it ends, also
  /// after the name is gone; once this node has shut down other nodes do not
  /// reach it any more.
  template <class Handle>
  status register_name(std::string_view name, const Handle& who,
                       name_options options = {}) const {
    return put(name, caf::actor_cast<caf::strong_actor_ptr>(who), false,
               std::move(options));
  }

  /// The same in place of whoever has the name, who gets a `name_lost`; never
  /// `name_taken`, also if the actor has another name, which it keeps. In
  /// between no node is without an owner of the name. After a `timeout` it may
  /// have happened; if the view was changing, the name may have no owner.
  template <class Handle>
  status replace_name(std::string_view name, const Handle& who,
                      name_options options = {}) const {
    return put(name, caf::actor_cast<caf::strong_actor_ptr>(who), true,
               std::move(options));
  }

  /// Removes a name, whoever has it. Errors: `unknown_name`; `not_synced` if
  /// the name is not known here, but this node does not know all names yet;
  /// `unknown_node` if there is no link to the node of its owner now; and after
  /// 30 s `timeout` or `no_majority`.
  status unregister_name(std::string_view name) const;

  /// Removes a name if that actor has it.
  template <class Handle>
  status unregister_name(std::string_view name, const Handle& who) const {
    return remove_from(name, caf::actor_cast<caf::strong_actor_ptr>(who));
  }

  template <detail::event_actor Self, class Handle>
  auto register_name(Self* self, std::string name, const Handle& who,
                     name_options options = {}) const {
    return put_for(self, std::move(name),
                   caf::actor_cast<caf::strong_actor_ptr>(who), false,
                   std::move(options));
  }

  template <detail::event_actor Self, class Handle>
  auto replace_name(Self* self, std::string name, const Handle& who,
                    name_options options = {}) const {
    return put_for(self, std::move(name),
                   caf::actor_cast<caf::strong_actor_ptr>(who), true,
                   std::move(options));
  }

  template <detail::event_actor Self>
  auto unregister_name(Self* self, std::string name) const {
    auto start = [core = *this, self, name = std::move(name)](auto f) {
      core.start_remove(name, core.deliver<status>(self, std::move(f)));
    };
    return detail::pending_answer{std::move(start)};
  }

  template <detail::event_actor Self, class Handle>
  auto unregister_name(Self* self, std::string name, const Handle& who) const {
    auto start = [core = *this, self, name = std::move(name),
                  who = caf::actor_cast<caf::strong_actor_ptr>(who)](auto f) {
      core.start_remove_from(name, who,
                             core.deliver<status>(self, std::move(f)));
    };
    return detail::pending_answer{std::move(start)};
  }

  /// The actor of that name; an invalid handle if there is none, or no way to
  /// it now. Waits for nobody: reads local memory, but that the first one after
  /// a change of name or link makes the handle. What is not of the type
  /// `Handle` is undefined: say it right.
  template <class Handle = caf::actor>
  [[nodiscard]] Handle whereis(std::string_view name) const {
    return caf::actor_cast<Handle>(find(name));
  }

  /// The same, and why there is none. Errors: `unknown_name`, `not_synced`,
  /// `unknown_node` (there is no link to the node of its owner now).
  template <class Handle = caf::actor>
  [[nodiscard]] reply<Handle> lookup(std::string_view name) const {
    const bool was_synced = synced();
    if (auto found = find(name))
      return caf::actor_cast<Handle>(std::move(found));
    return unknown(name, was_synced);
  }

  /// Whether all names of the cluster are known here. Before that, `whereis`
  /// does not find what others have registered.
  [[nodiscard]] bool synced() const noexcept;

  /// Every name that is known here, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

  /// Sends a message without a sender to the actor of that name. Errors: those
  /// of `lookup`.
  template <class... Ts>
  status send(std::string_view name, Ts&&... xs) const {
    const auto to = lookup(name);
    if (!to)
      return status{std::make_shared<const error>(to.error())};
    actor::post(*to, std::forward<Ts>(xs)...);
    return {};
  }

  /// Spawns an actor from a function, as `caf::actor_system::spawn` does, and
  /// registers it before it runs. If the name is taken nothing of it has run.
  /// Not for blocking actors: CAF starts these at once. Waits 30 s at most;
  /// errors as with `register_name`.
  template <class F, class... Ts>
  reply<caf::infer_handle_from_fun_t<F>> spawn_named(std::string_view name, F f,
                                                     Ts&&... xs) const {
    auto* const sys = system();
    if (sys == nullptr)
      return gone(name);
    auto made = spawn_asleep(*sys, std::move(f), std::forward<Ts>(xs)...);
    if (auto done = register_name(name, made); !done)
      return done.error(); // nobody has a handle of it: it never runs
    actor::wake_up(caf::actor_cast<caf::actor>(made));
    return made;
  }

  /// The same for an actor. The new one runs also if `self` ends meanwhile.
  template <detail::event_actor Self, class F, class... Ts>
  auto spawn_named(Self* self, std::string name, F f, Ts&&... xs) const {
    using answer = reply<caf::infer_handle_from_fun_t<F>>;
    auto start = [core = *this, self, name = std::move(name), f = std::move(f),
                  args = std::tuple<std::decay_t<Ts>...>{
                    std::forward<Ts>(xs)...}](auto then) mutable {
      auto tell = core.deliver<answer>(self, std::move(then));
      auto* const sys = core.system();
      if (sys == nullptr)
        return tell(core.gone(name));
      auto made = std::apply(
        [&](auto&... each) {
          return spawn_asleep(*sys, std::move(f), std::move(each)...);
        },
        args);
      core.start_put(name, caf::actor_cast<caf::strong_actor_ptr>(made), false,
                     {}, [tell = std::move(tell), made](const status& done) {
                       if (!done)
                         return tell(done.error());
                       actor::wake_up(caf::actor_cast<caf::actor>(made));
                       tell(made);
                     });
    };
    return detail::pending_answer{std::move(start)};
  }

  /// A function that decides who keeps a name when two sides meet that both
  /// have it: `f(name, first, second)`, with the earlier registration first,
  /// returns a `survivor`. It has to be known on all nodes by the same name,
  /// other than "exit", "notify" and "notify_all"; that a name is the
  /// library's is logged, and has no effect otherwise. A handle is invalid if
  /// there is no way to its actor now.
  /// It runs on one node, once for each clash, or again if that node dies or
  /// the name moves to another one meanwhile. It has a second; if it throws or
  /// is late nobody keeps the name. Both actors are told by `name_lost` what
  /// they lost. One that never returns keeps its thread; once 16 have done so,
  /// nobody keeps a name that is a function's to decide.
  void add_resolver(std::string name,
                    std::function<survivor(const std::string& name,
                                           const caf::strong_actor_ptr& first,
                                           const caf::strong_actor_ptr& second)>
                      f) const;

  // -- locks ------------------------------------------------------------------

  /// Asks for a lock, and waits for it in the order of arrival; but who names
  /// the requester that holds it shares it at once. Errors:
  /// `timeout`, `lock_taken` (it was not to wait), `no_majority`, `cancelled`,
  /// `name_too_long` (above 4096 bytes, also of the requester).
  reply<held_lock> lock(std::string_view resource,
                        lock_options options = {}) const;

  /// The same for an actor, which loses the lock when it ends, and gets a
  /// `lock_lost` if it loses it before.
  template <detail::event_actor Self>
  auto lock(Self* self, std::string resource, lock_options options = {}) const {
    auto start = [core = *this, self, resource = std::move(resource),
                  options = std::move(options)](auto f) {
      // With the answer, which comes later, or the actor it goes away.
      const auto stop = std::make_shared<std::optional<on_stop>>();
      const auto cancel = core.start_lock(
        resource, options, caf::actor_cast<caf::strong_actor_ptr>(self->ctrl()),
        core.deliver<reply<held_lock>>(self, [stop, f = std::move(f)](
                                               reply<held_lock> got) mutable {
          f(std::move(got));
        }));
      stop->emplace(options.stop, cancel);
    };
    return detail::pending_answer{std::move(start)};
  }

  /// Asks for a lock that is held until `del_lock` says the same requester,
  /// from any thread of this node that is no actor. An empty requester is this
  /// node itself; the one in `options` has no meaning here.
  status set_lock(std::string_view resource, std::string_view requester,
                  lock_options options = {}) const;

  /// Gives back what `set_lock` got, or was kept, once; not what handles hold.
  /// Errors: `not_held`; `lock_lost` if it was lost meanwhile.
  status del_lock(std::string_view resource, std::string_view requester,
                  lock_scope scope = lock_scope::cluster) const;

  /// The same for what an actor has kept or got by message. It is told of a
  /// loss by `lock_lost`, and has nothing to give back then: `not_held`.
  template <detail::event_actor Self>
  status del_lock(Self* self, std::string_view resource,
                  std::string_view requester,
                  lock_scope scope = lock_scope::cluster) const {
    return give_back(caf::actor_cast<caf::strong_actor_ptr>(self->ctrl()),
                     resource, requester, scope);
  }

  /// Runs `body` under a lock: `body()` or `body(const held_lock&)`. Whatever
  /// it throws goes to the caller, and the lock is given back.
  template <class F>
  auto trans(std::string_view resource, F&& body,
             lock_options options = {}) const {
    return run(lock(resource, std::move(options)), body);
  }

  /// The same for an actor, in whose context `body` runs; what it throws ends
  /// the actor, as in its other handlers.
  template <detail::event_actor Self, class F>
  auto trans(Self* self, std::string resource, F body,
             lock_options options = {}) const {
    auto start = [core = *this, self, resource = std::move(resource),
                  body = std::move(body),
                  options = std::move(options)](auto f) mutable {
      core.lock(self, std::move(resource), std::move(options))
        .then([body = std::move(body),
               f = std::move(f)](reply<held_lock> got) mutable {
          f(run(std::move(got), body));
        });
    };
    return detail::pending_answer{std::move(start)};
  }

  // -- the cluster ------------------------------------------------------------

  /// Waits until this node and all that it is linked to are in one view, and
  /// all names are known here. Errors: `timeout`, `no_majority`.
  status sync(std::chrono::milliseconds deadline) const;

  template <detail::event_actor Self>
  auto sync(Self* self, std::chrono::milliseconds deadline) const {
    auto start = [core = *this, self, deadline](auto f) {
      core.start_sync(deadline, core.deliver<status>(self, std::move(f)));
    };
    return detail::pending_answer{std::move(start)};
  }

  /// What this node knows at the moment; after the shutdown only what it is
  /// itself.
  [[nodiscard]] registry_info info() const;

  /// As if "host:port" stood among the `nodes` of the configuration; known to
  /// this node only; its own endpoint has no effect. Who is a node of a strict
  /// cluster, and what is its majority, stays as configured. Error:
  /// `unknown_node` if it is no endpoint, or this node has no links at all.
  status add_peer(const std::string& endpoint) const;

  /// Ends the link to a node of that name. There is no other until `add_peer`
  /// says its endpoint here, or one of the two starts anew. As all nodes of a
  /// view are linked, one of the two leaves it: the younger one. Error:
  /// `unknown_node`.
  status disconnect(std::string_view node) const;

  /// The actor that takes the same as messages; null after the shutdown.
  [[nodiscard]] registry_actor actor() const;

  /// Where this node can be dialled; empty: nowhere.
  [[nodiscard]] std::string endpoint() const;

private:
  using lock_done = std::function<void(reply<held_lock>)>;
  using status_done = std::function<void(status)>;
  using on_stop = std::stop_callback<std::function<void()>>;

  [[nodiscard]] caf::actor_system* system() const noexcept;
  [[nodiscard]] error gone(std::string_view name) const;
  [[nodiscard]] caf::strong_actor_ptr find(std::string_view name) const;
  [[nodiscard]] error unknown(std::string_view name, bool was_synced) const;
  status put(std::string_view name, const caf::strong_actor_ptr& who,
             bool replace, name_options options) const;
  status remove_from(std::string_view name,
                     const caf::strong_actor_ptr& who) const;
  void start_put(const std::string& name, const caf::strong_actor_ptr& who,
                 bool replace, const name_options& options,
                 status_done done) const;
  void start_remove(const std::string& name, status_done done) const;
  void start_remove_from(const std::string& name,
                         const caf::strong_actor_ptr& who,
                         status_done done) const;
  void start_sync(std::chrono::milliseconds deadline, status_done done) const;
  /// Returns what takes the request back.
  std::function<void()> start_lock(const std::string& resource,
                                   lock_options options,
                                   const caf::strong_actor_ptr& client,
                                   lock_done done) const;

  [[nodiscard]] std::string requester_of(std::uint64_t client,
                                         std::string_view said) const;
  /// `client` null: a thread.
  status give_back(const caf::strong_actor_ptr& client,
                   std::string_view resource, std::string_view requester,
                   lock_scope scope) const;

  /// Runs nothing of it before it is woken.
  template <class F, class... Ts>
  static auto spawn_asleep(caf::actor_system& sys, F f, Ts&&... xs) {
    static_assert(!std::is_base_of_v<caf::blocking_actor,
                                     typename caf::infer_impl_from_fun_t<F>>,
                  "spawn_named: a blocking actor would run before it has the "
                  "name; use register_name");
    return sys.template spawn<caf::lazy_init>(std::move(f),
                                              std::forward<Ts>(xs)...);
  }

  template <detail::event_actor Self>
  auto put_for(Self* self, std::string name, caf::strong_actor_ptr who,
               bool replace, name_options options) const {
    auto start = [core = *this, self, name = std::move(name),
                  who = std::move(who), replace,
                  options = std::move(options)](auto f) {
      core.start_put(name, who, replace, options,
                     core.deliver<status>(self, std::move(f)));
    };
    return detail::pending_answer{std::move(start)};
  }

  /// Has `f` called with an X in the context of `self`.
  template <class X, class Self, class F>
  std::function<void(X)> deliver(Self* self, F f) const {
    const auto
      id = actor::expect_response(self, caf::behavior{
                                          [f = std::move(f)](
                                            const local_answer& got) mutable {
                                            f(std::move(got.as<X>()));
                                          }});
    auto to = caf::actor_cast<caf::strong_actor_ptr>(self->ctrl());
    return [to = std::move(to), id](X what) {
      actor::respond(to, id,
                     local_answer{std::make_shared<X>(std::move(what))});
    };
  }

  template <class F>
  static auto run(reply<held_lock> got, F& body) {
    constexpr bool told = std::is_invocable_v<F&, const held_lock&>;
    const auto call = [&]() -> decltype(auto) {
      if constexpr (told)
        return body(std::as_const(*got));
      else
        return body();
    };
    using result_type = std::decay_t<decltype(call())>;
    using all = trans_result<result_type>;
    if (!got)
      return all{aborted{got.error()}};
    if constexpr (std::is_void_v<result_type>) {
      call();
      return all{std::monostate{}, !got->unlock()};
    } else {
      auto value = call();
      return all{std::move(value), !got->unlock()};
    }
  }

  std::shared_ptr<actor::registry_core> core_;
};

} // namespace coopcache
