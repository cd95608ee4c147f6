#include "coopcache/actor/registry_core.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/core/text.hpp"

#include <caf/actor_registry.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <utility>

namespace coopcache::actor {

using namespace std::chrono_literals;

void registry_core::put(name_call what, name_done done) {
  const auto request = ++last_number_;
  const auto actor = what.owner->id();
  client_of(what.owner);
  if (!is_client(actor)) {
    done(cluster::verdict::owner_dead);
    return;
  }
  {
    const std::lock_guard guard{tables_mutex_};
    const bool published = publish(what.owner);
    puts_.emplace(request, pending_name{actor, std::move(done), what.replace,
                                        published});
    hold(actor, what.owner);
  }
  turn([&](auto& machine, const auto& at) {
    cluster::name_wish wish;
    wish.request = request;
    wish.name = std::move(what.name);
    wish.actor = actor;
    wish.resolver = std::move(what.resolver);
    wish.replace = what.replace;
    wish.deadline = deadline_of(at, what.deadline);
    return machine.put(std::move(wish), at);
  });
  if (!is_client(actor)) // it ended meanwhile, and maybe was told too early
    turn([&](auto& machine, const auto& at) {
      return machine.owner_gone(actor, at);
    });
}

void registry_core::remove(const std::string& name,
                           std::optional<std::chrono::milliseconds> deadline,
                           name_done done) {
  start_remove(name, std::nullopt, deadline, std::move(done));
}

void registry_core::remove_from(
  const std::string& name, const caf::strong_actor_ptr& owner,
  std::optional<std::chrono::milliseconds> deadline, name_done done) {
  core::name_owner who; // nobody
  if (owner != nullptr && owner->node() == here_)
    who = {self_, owner->id()};
  else if (owner != nullptr)
    if (const auto at = link_to(owner->node()))
      who = {at->peer, owner->id()};
  start_remove(name, who, deadline, std::move(done));
}

void registry_core::start_remove(
  const std::string& name, const std::optional<core::name_owner>& owner,
  std::optional<std::chrono::milliseconds> deadline, name_done done) {
  const auto request = ++last_number_;
  {
    const std::lock_guard guard{tables_mutex_};
    puts_.emplace(request, pending_name{0, std::move(done)});
  }
  turn([&](auto& machine, const auto& at) {
    return machine.remove(request, name, owner, deadline_of(at, deadline), at);
  });
}

std::optional<link> registry_core::link_to(const caf::node_id& process) const {
  const std::lock_guard guard{tables_mutex_};
  for (const auto& [peer, one] : links_)
    if (one.where == process)
      return one;
  return std::nullopt;
}

void registry_core::put_anywhere(
  name_call what, std::function<void(std::optional<error>)> done) {
  if (what.owner == nullptr) {
    done(make_error(errc::owner_dead, "an invalid handle", what.name));
  } else if (what.owner->node() != here_) {
    put_there(std::move(what), std::move(done));
  } else if (what.resolver.size() <= cluster::most_name
             && !knows_resolver(what.resolver)) {
    done(make_error(errc::unknown_resolver,
                    "no resolver " + core::quoted(what.resolver)
                      + " was added on this node",
                    what.name));
  } else {
    const auto name = what.name;
    put(std::move(what), [core = shared_from_this(), name,
                          done = std::move(done)](cluster::verdict how) {
      done(core->error_of(how, name, errc::name_taken));
    });
  }
}

namespace {

/// An answer that is given once: as an error if it goes away before.
class single_answer {
public:
  using function = std::function<void(std::optional<error>)>;

  single_answer(function done, error lost)
    : done_(std::move(done)), lost_(std::move(lost)) {
  }

  ~single_answer() {
    give(lost_);
  }

  single_answer(const single_answer&) = delete;
  single_answer& operator=(const single_answer&) = delete;

  /// False if it was given before.
  bool give(std::optional<error> what) {
    const auto done = std::exchange(done_, nullptr);
    if (done)
      done(std::move(what));
    return done != nullptr;
  }

private:
  function done_;
  error lost_;
};

} // namespace

error registry_core::too_late_for(std::string_view name) const {
  const auto how = [this] {
    const std::lock_guard guard{mutex_};
    return late();
  }();
  return *error_of(how, name, errc::name_taken);
}

// The node where an actor lives asks for its name. An answer that comes after
// the deadline is not lost, so that what nobody wants any more is taken back.
void registry_core::put_there(name_call what,
                              std::function<void(std::optional<error>)> done) {
  const auto over = link_to(what.owner->node());
  const auto own = shell();
  if (own == nullptr) {
    done(make_error(errc::shutting_down, "the node leaves", what.name));
    return;
  }
  if (!over) {
    done(make_error(errc::unknown_node,
                    "the actor lives on a node that is not linked", what.name));
    return;
  }
  const auto limit = std::clamp(what.deadline.value_or(default_deadline), 0ms,
                                std::chrono::milliseconds{24h * 365});
  const auto answer = std::make_shared<
    single_answer>(std::move(done),
                   make_error(errc::shutting_down,
                              "the registry's actor has ended", what.name));
  const auto give_up = [weak = weak_from_this(), name = what.name,
                        waits = std::weak_ptr{answer}] {
    const auto core = weak.lock();
    const auto still = waits.lock();
    if (core != nullptr && still != nullptr)
      still->give(core->too_late_for(name));
  };
  const auto too_late = [weak = weak_from_this(), what] {
    const auto core = weak.lock();
    if (core != nullptr && !what.replace)
      core->remove_from(what.name, what.owner, default_deadline, [](auto) {});
  };
  post(own, go_atom_v,
       local_answer{std::make_shared<shell_function>(
         [there = over->to, limit, what, answer, give_up,
          too_late](shell_actor::pointer self) {
           const auto to = caf::actor_cast<registry_actor>(there);
           auto timer = self->run_delayed(limit, give_up);
           const auto ask = [&](auto how) {
             request(self, to, limit + default_deadline, how, what.name,
                     what.owner, what.resolver)
               .then(
                 [answer, too_late, timer]() mutable {
                   timer.dispose();
                   if (!answer->give(std::nullopt))
                     too_late();
                 },
                 [answer, timer](const caf::error& why) mutable {
                   timer.dispose();
                   answer->give(to_error(why));
                 });
           };
           if (what.replace)
             ask(replace_atom_v);
           else
             ask(register_atom_v);
         })});
}

void registry_core::perform(const cluster::name_answer& what) {
  name_done done;
  caf::strong_actor_ptr unused;
  {
    const std::lock_guard guard{tables_mutex_};
    const auto at = puts_.find(what.request);
    if (at == puts_.end())
      return;
    done = std::move(at->second.done);
    unused = release(at->second.owner);
    const bool is_over = what.how != cluster::verdict::done
                         && !at->second.stays;
    if (unused != nullptr && is_over && at->second.published)
      unpublish(unused);
    puts_.erase(at);
  }
  unused = nullptr;
  done(what.how);
}

void registry_core::perform(const cluster::name_changed& what) {
  const auto& owner = what.record.owner;
  core::name_owner before;
  if (owner.actor == 0) {
    before = names_.erase(what.name);
  } else {
    caf::strong_actor_ptr handle;
    if (owner.node == self_) {
      handle = client_handle(owner.actor); // it may come after the deadline
      const std::lock_guard guard{tables_mutex_};
      hold(owner.actor, handle);
    }
    before = names_.set(what.name, owner, std::move(handle));
  }
  if (before.actor == 0 || before.node != self_)
    return;
  caf::strong_actor_ptr unused; // let go after the lock
  const std::lock_guard guard{tables_mutex_};
  unused = release(before.actor);
}

void registry_core::perform(const cluster::owner_told& what) {
  const auto owner = handle_of(what.owner);
  if (owner == nullptr)
    return;
  const auto to = caf::actor_cast<caf::actor>(owner);
  if (what.cause == cluster::name_cause::clash_exit) {
    std::string line = "the name ";
    line += core::quoted(what.name);
    line += " is another actor's on the other side: its owner here ends";
    warn_of_many(std::move(line));
    end_actor(to);
    return;
  }
  post(to, name_lost{what.name, what.cause == cluster::name_cause::clash});
}

error registry_core::unknown(std::string_view name, bool was_synced) const {
  if (stopped())
    return make_error(errc::shutting_down, "the node has shut down", name);
  if (is_cut_off(name))
    return make_error(errc::unknown_node, no_way_to_owner, name);
  if (!was_synced)
    return make_error(errc::not_synced, not_all_names, name);
  return make_error(errc::unknown_name, "nobody has the name", name);
}

void registry_core::perform(const cluster::names_synced& what) {
  synced_ = what.now;
}

// CAF's handles of a process do not outlive the connection to it.
void registry_core::perform(const link_changed& what) {
  names_.forget_handles(what.peer);
}

// A name of another node's that nobody has looked up since there is a link.
caf::strong_actor_ptr registry_core::find_first(std::string_view name) const {
  const std::shared_lock guard{finding_};
  const auto epoch = names_.epoch();
  auto [owner, handle] = names_.look_up(name); // it may have come meanwhile
  if (handle != nullptr || owner.actor == 0 || owner.node == self_)
    return handle;
  handle = handle_of(owner);
  if (handle != nullptr)
    names_.offer(name, owner, epoch, handle);
  return handle;
}

bool registry_core::is_cut_off(std::string_view name) const {
  const auto owner = names_.look_up(name).owner;
  return owner.actor != 0 && owner.node != self_
         && way_to(owner.node).second == nullptr;
}

caf::strong_actor_ptr
registry_core::handle_of(const core::name_owner& owner) const {
  if (owner.node != self_) {
    const auto [over, net] = way_to(owner.node);
    return net == nullptr ? nullptr : net->find(over.where, owner.actor);
  }
  return client_handle(owner.actor);
}

// With `tables_mutex_`.
void registry_core::hold(caf::actor_id actor,
                         const caf::strong_actor_ptr& handle) {
  auto& mine = owned_[actor];
  if (handle != nullptr)
    mine.handle = handle;
  ++mine.uses;
}

// With `tables_mutex_`. The handle is to be let go without it: that may end the
// actor, which calls `gone`.
caf::strong_actor_ptr registry_core::release(caf::actor_id actor) {
  const auto at = owned_.find(actor);
  if (at == owned_.end() || --at->second.uses > 0)
    return nullptr;
  auto result = std::move(at->second.handle);
  owned_.erase(at);
  return result;
}

// Other processes find it in CAF's registry, which keeps it alive: others may
// have handles of it. So it stays there until it ends or the node leaves,
// unless it never got a name, nor can get one. Both with `tables_mutex_`.
bool registry_core::publish(const caf::strong_actor_ptr& who) {
  if (stopping_ || sys.registry().get(who->id()) != nullptr)
    return false;
  sys.registry().put(who->id(), who);
  return published_.insert(who->id()).second;
}

void registry_core::unpublish(const caf::strong_actor_ptr& who) {
  if (published_.erase(who->id()) > 0)
    sys.registry().erase(who->id()); // which is not the last handle
}

} // namespace coopcache::actor
