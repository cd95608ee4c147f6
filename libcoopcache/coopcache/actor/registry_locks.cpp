#include "coopcache/actor/registry_core.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>

namespace coopcache::actor {

std::uint64_t registry_core::lock(lock_call what, lock_done done) {
  const auto request = ++last_number_;
  const auto client = what.client;
  {
    const std::lock_guard guard{tables_mutex_};
    locks_.emplace(request,
                   pending_lock{{what.client, what.resource, what.requester},
                                std::move(done)});
  }
  turn([&](auto& machine, const auto& at) {
    cluster::lock_wish wish;
    wish.request = request;
    wish.client = what.client;
    wish.resource = std::move(what.resource);
    wish.requester = std::move(what.requester);
    wish.deadline = deadline_of(at, what.deadline);
    wish.once = what.once;
    wish.by_handle = what.by_handle;
    wish.is_told = what.client != this_process;
    return machine.lock(std::move(wish), at);
  });
  if (client != this_process && !is_client(client))
    gone(client, false); // it ended before, and was told too early
  return request;
}

bool lock_state::is_lost() const noexcept {
  return lost || table::boot_now() >= until->load();
}

bool registry_core::cancel(std::uint64_t request) {
  return answer_of<bool>(
    [&](auto& machine, const auto& at) { return machine.cancel(request, at); });
}

void registry_core::keep(std::uint64_t request) {
  turn([request](auto& machine, const auto& at) {
    return machine.keep(request, at);
  });
}

bool registry_core::cancel(std::uint64_t client, const std::string& resource,
                           const std::string& requester) {
  std::uint64_t last = 0;
  {
    const std::lock_guard guard{tables_mutex_};
    for (const auto& [request, one] : locks_)
      if (one.who.client == client && one.who.resource == resource
          && one.who.requester == requester)
        last = std::max(last, request);
  }
  return last != 0 && cancel(last);
}

cluster::unlocked registry_core::unlock(std::uint64_t client,
                                        const std::string& resource,
                                        const std::string& requester) {
  return answer_of<cluster::unlocked>([&](auto& machine, const auto& at) {
    return machine.unlock(client, resource, requester, at);
  });
}

cluster::unlocked registry_core::unlock(std::uint64_t request) {
  return answer_of<cluster::unlocked>(
    [&](auto& machine, const auto& at) { return machine.unlock(request, at); });
}

void registry_core::perform(const cluster::lock_answer& what) {
  lock_done done;
  std::shared_ptr<lock_state> state;
  {
    const std::lock_guard guard{tables_mutex_};
    const auto at = locks_.find(what.request);
    if (at == locks_.end())
      return;
    if (what.how == cluster::verdict::done) {
      auto& mine = held_[what.held];
      if (mine.state == nullptr)
        mine = {at->second.who,
                std::make_shared<lock_state>(what.held, what.token,
                                             holds_until_)};
      state = mine.state;
    }
    done = std::move(at->second.done);
    locks_.erase(at);
  }
  done(what.how, std::move(state));
}

void registry_core::perform(const cluster::lock_lost& what) {
  lock_user who;
  {
    const std::lock_guard guard{tables_mutex_};
    const auto at = held_.find(what.request);
    if (at == held_.end())
      return;
    at->second.state->lost = true;
    who = at->second.who;
  }
  if (!stopped()) { // whoever stops the node knows
    std::string line = "the lock ";
    line += core::quoted(who.resource);
    line += " of ";
    line += core::quoted(who.requester);
    line += " was lost: another side of the cluster may hold it";
    warn_of_many(std::move(line));
  }
  if (const auto holder = client_handle(who.client))
    post(caf::actor_cast<caf::actor>(holder),
         lock_lost{who.resource, who.requester, what.token});
}

void registry_core::perform(const cluster::lock_freed& what) {
  const std::lock_guard guard{tables_mutex_};
  held_.erase(what.request);
}

// What the client has handed on is worth nothing.
void registry_core::perform(const cluster::requests_dropped& what) {
  std::vector<lock_done> unanswered; // let go after the lock
  const std::lock_guard guard{tables_mutex_};
  for (const auto request : what.requests) {
    if (const auto at = locks_.find(request); at != locks_.end()) {
      unanswered.push_back(std::move(at->second.done));
      locks_.erase(at);
    }
    if (const auto at = held_.find(request); at != held_.end()) {
      at->second.state->lost = true;
      held_.erase(at);
    }
  }
}

std::string registry_core::fresh_requester() {
  std::string result = core::to_string(self_);
  result += '/';
  result += std::to_string(++last_number_);
  return result;
}

std::string registry_core::requester_of(std::uint64_t client) const {
  std::string result = core::to_string(self_);
  result += "/client ";
  result += std::to_string(client);
  return result;
}

std::shared_ptr<registry_core> registry_core::local() {
  const std::lock_guard guard{tables_mutex_};
  if (stopping_)
    return shared_from_this(); // it refuses as well
  if (local_ == nullptr) {
    config alone;
    alone.node.name = cfg_.node.name;
    local_ = std::make_shared<registry_core>(
      sys, alone, [](auto, auto) {}, aside_);
    local_->start_alone();
  }
  return local_;
}

std::shared_ptr<registry_core> registry_core::local_if_any() const {
  const std::lock_guard guard{tables_mutex_};
  return local_;
}

} // namespace coopcache::actor
