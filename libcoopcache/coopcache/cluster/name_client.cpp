#include "coopcache/cluster/name_client.hpp"

#include <algorithm>
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

// -- owners -------------------------------------------------------------------

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

// -- the replica --------------------------------------------------------------

void name_client::disown(const std::string& name, std::uint64_t actor) {
  const auto own = own_.find(actor);
  own->second.erase(name);
  if (own->second.empty())
    own_.erase(own);
}

void name_client::set(const std::string& name, const core::name_record& record,
                      name_cause cause, wishes& out) {
  const auto* const old = replica_.find(name);
  const auto before = old == nullptr ? core::name_owner{} : old->owner;
  if (const auto gone = gone_.find(name);
      gone != gone_.end()
      && gone->second.contains({record.owner.node, record.op})) {
    if (before.actor != 0 && before.node == self_
        && old->version < record.version)
      out.effects.emplace_back(owner_told{name, before, cause});
    unset(name, record.version, name_cause::request, out);
    return;
  }
  if (!replica_.put(name, record))
    return;
  note_applied(name, record, out);
  if (before != record.owner) {
    if (before.actor != 0 && before.node == self_) {
      disown(name, before.actor);
      out.effects.emplace_back(owner_told{name, before, cause});
    }
    if (record.owner.node == self_)
      own_[record.owner.actor].insert(name);
  }
  out.effects.emplace_back(name_changed{name, record});
}

void name_client::unset(const std::string& name, std::uint64_t up_to,
                        name_cause cause, wishes& out) {
  const auto* const old = replica_.find(name);
  if (old == nullptr)
    return;
  const auto before = old->owner;
  if (!replica_.remove(name, up_to))
    return;
  if (before.node == self_) {
    disown(name, before.actor);
    if (cause != name_cause::request)
      out.effects.emplace_back(owner_told{name, before, cause});
  }
  out.effects.emplace_back(name_changed{name, {}});
}

// Our own registration has arrived: it has happened, whatever becomes of the
// reply. If nobody wants it any more, it is taken back, unless another one was
// replaced, which cannot be had back.
void name_client::note_applied(const std::string& name,
                               const core::name_record& record, wishes& out) {
  if (record.owner.node != self_)
    return;
  const auto at = ops_.find(record.op);
  const bool ours = at != ops_.end() && at->second.owner == record.owner;
  if (ours)
    at->second.applied = true;
  const bool unwanted = ours && at->second.withdrawn
                        && at->second.action == name_action::put;
  if (unwanted || !alive_.contains(record.owner.actor))
    announce_gone(name, record, out);
}

void name_client::on(const core::node_id& home, const name_update& what,
                     wishes& out) {
  heard_[home] = what.record.version;
  if (what.record.owner.actor != 0) {
    if (const auto at = gone_.find(what.name); at != gone_.end())
      forget_overtaken(at, what.record);
    set(what.name, what.record, what.cause, out);
  } else {
    gone_.erase(what.name);
    unset(what.name, what.record.version, what.cause, out);
  }
  out.send(home, name_ack{what.name, what.record.version});
  ask_again(&what.name, out);
}

// Of those that have ended, what the home tells of next is not to come after a
// later one.
void name_client::forget_overtaken(ended::iterator of,
                                   const core::name_record& by) {
  std::erase_if(of->second, [&](const auto& one) {
    return one != std::pair{by.owner.node, by.op};
  });
  if (of->second.empty())
    gone_.erase(of);
}

// What the home has yet to say of that registration is skipped.
void name_client::on(const core::node_id& from, const name_gone& what,
                     wishes& out) {
  if (heard_[homes_.of(what.name)] < what.version)
    gone_[what.name].emplace(from, what.op);
  const auto* const record = replica_.find(what.name);
  if (record != nullptr && record->owner.node == from && record->op == what.op)
    unset(what.name, record->version, name_cause::request, out);
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

// -- views --------------------------------------------------------------------

void name_client::enter(const core::view& current, wishes& out) {
  if (synced())
    out.effects.emplace_back(names_synced{false});
  const auto before = std::exchange(view_, current);
  homes_ = core::homes{current};
  claims_here_.clear();
  told_.clear();
  gone_.clear();
  heard_.clear();
  doubtful_.clear(); // all are asked for again
  untold_ = {current.members.begin(), current.members.end()};
  const auto& members = view_.members;
  std::vector<names_end> ends(members.size());
  // Each member of the last view has a replica with these names, most likely.
  for (std::size_t i = 0; i < members.size(); ++i)
    ends[i].claimed = !before.has(members[i]);
  std::vector<std::string> lost;
  for (const auto& [name, record] : replica_.all()) {
    if (!view_.has(record.owner.node)) {
      lost.push_back(name);
      continue;
    }
    const auto home = homes_.index_of(name);
    if (members[home] == self_)
      claims_here_[record.owner.node].push_back({name, record});
    tell(members[home], name, record, ends[home], out);
  }
  for (const auto& name : lost)
    unset(name, ~std::uint64_t{0}, name_cause::request, out);
  for (std::size_t i = 0; i < members.size(); ++i)
    out.send(members[i], ends[i]);
}

void name_client::tell(const core::node_id& home, const std::string& name,
                       const core::name_record& record, names_end& with,
                       wishes& out) const {
  const auto digest = core::digest_of(name, record);
  with.has.add(digest);
  if (record.owner.node != self_)
    return;
  with.own.add(digest);
  if (with.claimed)
    out.send(home, name_claim{name, record});
}

void name_client::on(const core::node_id& home, const names_wanted&,
                     wishes& out) {
  names_end end;
  end.claimed = true;
  for (const auto& [name, record] : replica_.all())
    if (homes_.of(name) == home)
      tell(home, name, record, end, out);
  out.send(home, end);
}

std::vector<name_claim> name_client::take_claims(const core::node_id& member) {
  const auto at = claims_here_.find(member);
  return at == claims_here_.end() ? std::vector<name_claim>{}
                                  : std::exchange(at->second, {});
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

void name_client::on(const core::node_id& home, const name_state& what) {
  if (!what.disputed && what.record.owner.actor == 0)
    return;
  told_[home].push_back(what);
}

void name_client::on(const core::node_id& home, const states_end& what,
                     wishes& out) {
  if (!what.same) {
    std::set<std::string_view> kept;
    for (const auto& state : told_[home]) {
      kept.insert(state.name);
      heard_[home] = std::max(heard_[home], state.record.version);
      if (!state.disputed)
        set(state.name, state.record, name_cause::request, out);
    }
    std::vector<std::string> dropped;
    for (const auto& [name, record] : replica_.all())
      if (!kept.contains(name) && homes_.of(name) == home)
        dropped.push_back(name);
    for (const auto& name : dropped)
      unset(name, ~std::uint64_t{0}, name_cause::request, out);
  }
  told_.erase(home);
  out.send(home, states_ack{});
  if (untold_.erase(home) != 0 && untold_.empty())
    out.effects.emplace_back(names_synced{true});
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
