#include "coopcache/cluster/name_client.hpp"

#include <utility>

namespace coopcache::cluster {

void name_client::put(name_wish wish, wishes& out) {
  op what;
  what.action = wish.replace ? name_action::replace : name_action::put;
  what.name = std::move(wish.name);
  what.owner = {self_, wish.actor};
  what.resolver = std::move(wish.resolver);
  what.deadline = wish.deadline;
  if (!wish.replace && has_name(wish.actor)) {
    out.effects.emplace_back(name_answer{wish.request, verdict::refused});
    return;
  }
  alive_.insert(wish.actor);
  asking_[wish.actor].insert(wish.request);
  start(wish.request, std::move(what), out);
}

void name_client::remove(std::uint64_t request, const std::string& name,
                         const std::optional<core::name_owner>& owner,
                         core::instant deadline, wishes& out) {
  const auto* const record = replica_.find(name);
  if (record == nullptr && !synced()) {
    out.effects.emplace_back(name_answer{request, verdict::not_synced});
    return;
  }
  const bool other = owner && (record == nullptr || record->owner != *owner);
  if (other) {
    out.effects.emplace_back(name_answer{request, verdict::refused});
    return;
  }
  op what;
  what.action = name_action::remove;
  what.name = name;
  if (record != nullptr) {
    what.owner = record->owner;
    what.op = record->op;
  }
  what.deadline = deadline;
  start(request, std::move(what), out);
}

void name_client::start(std::uint64_t request, op what, wishes& out) {
  if (what.deadline != core::never)
    deadlines_.emplace(what.deadline, request);
  const auto at = ops_.emplace(request, std::move(what)).first;
  ask(request, at->second, out);
}

void name_client::ask(std::uint64_t request, const op& of, wishes& out) const {
  if (homes_.empty())
    return;
  out.send(homes_.of(of.name),
           name_request{request, of.applied ? name_action::confirm : of.action,
                        of.name, of.owner, of.op, of.resolver, true});
}

void name_client::answer(std::uint64_t request, op& of, verdict how,
                         wishes& out) {
  if (!of.withdrawn) {
    out.effects.emplace_back(name_answer{request, how});
    const auto own = asking_.find(of.owner.actor);
    if (of.action != name_action::remove && own->second.erase(request) != 0
        && own->second.empty())
      asking_.erase(own);
  }
  deadlines_.erase({of.deadline, request});
  doubtful_.erase(request);
}

/// Those that were refused for the sake of nobody; without a name, all.
void name_client::ask_again(const std::string* name, wishes& out) {
  for (const auto request : std::exchange(doubtful_, {})) {
    const auto& what = ops_.find(request)->second;
    if (name == nullptr || what.name == *name)
      ask(request, what, out);
    else
      doubtful_.insert(request);
  }
}

void name_client::linked(wishes& out) {
  ask_again(nullptr, out);
}

void name_client::announce_gone(const std::string& name,
                                const core::name_record& record, wishes& out) {
  // Each member drops it as soon as it hears of it. The home says it once more
  // to all, in order with what else it says about the name.
  if (homes_.empty())
    return;
  for (const auto& id : view_.members)
    out.send(id, name_gone{name, record.version, record.op});
  name_request what;
  what.action = name_action::remove;
  what.name = name;
  what.owner = record.owner;
  what.op = record.op;
  what.answer = false;
  out.send(homes_.of(name), std::move(what));
}

void name_client::owner_gone(std::uint64_t actor, wishes& out) {
  alive_.erase(actor);
  const auto asking = asking_.find(actor);
  const auto requests = asking == asking_.end() ? std::set<std::uint64_t>{}
                                                : asking->second;
  for (const auto request : requests) {
    auto& what = ops_.find(request)->second;
    if (doubtful_.contains(request)) { // and it was refused
      answer(request, what, verdict::owner_dead, out);
      ops_.erase(request);
      continue;
    }
    what.owner_dead = true;
    // A home that has not begun need not begin; it answers in any case.
    if (!what.applied && !homes_.empty())
      out.send(homes_.of(what.name), name_cancel{request, what.name});
  }
  const auto own = own_.find(actor);
  if (own == own_.end())
    return;
  const auto names = own->second;
  for (const auto& name : names) {
    const auto record = *replica_.find(name);
    unset(name, record.version, name_cause::request, out);
    announce_gone(name, record, out);
  }
}

// Who is refused for the sake of an owner that is gone, as far as this node
// knows, is ahead of the home: which will say so, or the view will end, or the
// link comes back.
void name_client::on(const name_reply& what,
                     const std::function<bool(const core::node_id&)>& is_linked,
                     wishes& out) {
  const auto at = ops_.find(what.seq);
  if (at == ops_.end())
    return;
  const auto* const owner = replica_.find(at->second.name);
  const bool is_there = owner != nullptr
                        && (owner->owner.node == self_
                            || is_linked(owner->owner.node));
  if (!what.done && !is_there && at->second.action == name_action::put
      && !at->second.withdrawn && !at->second.owner_dead) {
    doubtful_.insert(what.seq);
    return;
  }
  // A registration that is not there any more, although its owner's node is, is
  // gone for good, whoever removed it.
  const bool gone = at->second.action == name_action::remove
                    && view_.has(at->second.owner.node);
  const auto how = what.done || gone ? verdict::done : verdict::refused;
  answer(what.seq, at->second,
         at->second.owner_dead ? verdict::owner_dead : how, out);
  ops_.erase(at);
}

// What a request has put into the replica, if it is still there.
const core::name_record* name_client::registered(std::uint64_t request,
                                                 const op& by) const {
  const auto* const now = replica_.find(by.name);
  const bool mine = now != nullptr && now->op == request
                    && now->owner == by.owner;
  return mine ? now : nullptr;
}

void name_client::repeat(wishes& out) {
  for (auto at = ops_.begin(); at != ops_.end();) {
    auto& [request, what] = *at;
    const bool mine = registered(request, what) != nullptr;
    if (what.owner_dead && !what.applied) { // no home knows of it any more
      answer(request, what, verdict::owner_dead, out);
      at = ops_.erase(at);
    } else if (what.applied && !mine) { // it came, and went
      answer(request, what,
             what.owner_dead ? verdict::owner_dead : verdict::done, out);
      at = ops_.erase(at);
    } else if (what.withdrawn && !mine) { // no home knows of it any more
      at = ops_.erase(at);
    } else {
      ask(request, what, out);
      ++at;
    }
  }
}

void name_client::give_up(wishes& out) {
  for (auto& [request, what] : ops_)
    answer(request, what, verdict::leaving, out);
  ops_.clear();
}

void name_client::tick(core::instant now, verdict late, wishes& out) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto request = deadlines_.begin()->second;
    auto& late_one = ops_.find(request)->second;
    const bool refused = doubtful_.contains(request);
    answer(request, late_one, late, out);
    late_one.withdrawn = true;
    if (homes_.empty() || refused) {
      ops_.erase(request);
      continue;
    }
    out.send(homes_.of(late_one.name), name_cancel{request, late_one.name});
    const auto* const mine = registered(request, late_one);
    if (late_one.applied && mine != nullptr
        && late_one.action == name_action::put)
      announce_gone(late_one.name, *mine, out);
  }
}

core::instant name_client::next_wake() const noexcept {
  return deadlines_.empty() ? core::never : deadlines_.begin()->first;
}

} // namespace coopcache::cluster
