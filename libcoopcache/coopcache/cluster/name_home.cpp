#include "coopcache/cluster/name_home.hpp"

#include <algorithm>
#include <tuple>

namespace coopcache::cluster {

void name_home::enter(const core::view& current) {
  view_ = current;
  versions_.enter(current.id);
  expected_ = {current.members.begin(), current.members.end()};
  unacknowledged_ = expected_;
  digests_.clear();
  claims_.clear();
  names_.clear();
  works_.clear();
  disputes_.clear();
  may_ = false;
}

// -- after a view change ------------------------------------------------------

void name_home::on(const core::node_id& from, const name_claim& what) {
  if (!expected_.contains(from) || what.record.owner.node != from
      || what.record.owner.actor == 0)
    return; // only a node itself knows of its actors
  claims_[what.name].push_back(what.record);
}

void name_home::claims_end(const core::node_id& from,
                           const core::names_digest& has, core::instant now,
                           wishes& out) {
  digests_[from] = has;
  if (expected_.erase(from) != 0 && expected_.empty())
    merge(now, out);
}

void name_home::merge(core::instant now, wishes& out) {
  auto claims = std::move(claims_);
  claims_.clear();
  std::vector<dispute> clashes;
  for (auto& [name, records] : claims)
    settle(name, std::move(records), clashes);
  tell_states(!clashes.empty(), out);
  for (auto& one : clashes)
    ask_next(++last_question_, std::move(one), now, out);
}

// Those that another one has replaced do not know it yet. What is left then has
// come from sides that did not know of each other.
void name_home::settle(const std::string& name,
                       std::vector<core::name_record> claims,
                       std::vector<dispute>& clashes) {
  std::erase_if(claims, [all = claims](const core::name_record& one) {
    return std::any_of(all.begin(), all.end(), [&](const auto& other) {
      return other.replaced == one.version && other.version > one.version;
    });
  });
  std::sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) {
    return std::tie(a.version, a.owner) < std::tie(b.version, b.owner);
  });
  if (claims.size() == 1) {
    names_.emplace(name, std::move(claims.front()));
    return;
  }
  dispute made;
  made.name = name;
  made.first = std::move(claims.front());
  made.others.assign(claims.begin() + 1, claims.end());
  works_[name].busy = true;
  clashes.push_back(std::move(made));
}

// Members that have something else are told everything. If they have names of
// their own, then with new versions, for they may know greater ones than the
// owners do.
void name_home::tell_states(bool clash, wishes& out) {
  core::names_digest digest;
  for (const auto& [name, record] : names_)
    digest.add(name, record.version);
  const auto differs = [&](const auto& entry) {
    return entry.second.count != 0 && entry.second != digest;
  };
  const bool anew = clash
                    || std::any_of(digests_.begin(), digests_.end(), differs);
  if (anew)
    for (auto& [name, record] : names_)
      record.version = versions_.next();
  for (const auto& [id, has] : digests_) {
    const bool same = !anew && has == digest;
    if (!same) {
      for (const auto& [name, record] : names_)
        out.send(id, name_state{name, record, false});
      for (const auto& [name, waiting] : works_)
        if (waiting.busy)
          out.send(id, name_state{name, {}, true});
    }
    out.send(id, states_end{same});
  }
}

void name_home::on(const core::node_id& from, const states_ack&, wishes& out) {
  if (unacknowledged_.erase(from) != 0 && open())
    carry_out_all(out);
}

void name_home::grants(bool may, wishes& out) {
  if (may == may_)
    return;
  may_ = may;
  if (open())
    carry_out_all(out);
}

// -- disputes -----------------------------------------------------------------

void name_home::ask_next(std::uint64_t question, dispute asked,
                         core::instant now, wishes& out) {
  while (!asked.others.empty()) {
    const auto& resolver = asked.first.resolver;
    if (resolver.empty() || resolver == "exit") {
      asked.cause = name_cause::conflict_exit;
      asked.others.pop_front();
    } else if (resolver == "notify") {
      asked.cause = name_cause::conflict;
      asked.others.pop_front();
    } else if (resolver == "notify_all") {
      asked.cause = name_cause::conflict;
      asked.nobody_wins();
    } else {
      out.effects.emplace_back(ask_resolver{question, resolver, asked.name,
                                            asked.first.owner,
                                            asked.others.front().owner});
      asked.ends = now + resolver_time;
      disputes_.insert_or_assign(question, std::move(asked));
      return;
    }
  }
  change(asked.name, std::move(asked.first), asked.cause, out);
}

void name_home::resolved(std::uint64_t question, winner who, core::instant now,
                         wishes& out) {
  const auto at = disputes_.find(question);
  if (at == disputes_.end())
    return;
  auto asked = std::move(at->second);
  disputes_.erase(at);
  asked.cause = name_cause::conflict;
  if (who == winner::nobody) {
    asked.nobody_wins();
  } else {
    if (who == winner::second)
      asked.first = asked.others.front();
    asked.others.pop_front();
  }
  ask_next(question, std::move(asked), now, out);
}

void name_home::tick(core::instant now, wishes& out) {
  std::vector<std::uint64_t> over;
  for (const auto& [question, asked] : disputes_)
    if (asked.ends <= now)
      over.push_back(question);
  for (const auto question : over)
    resolved(question, winner::nobody, now, out);
}

core::instant name_home::next_wake() const noexcept {
  auto result = core::never;
  for (const auto& [question, asked] : disputes_)
    result = std::min(result, asked.ends);
  return result;
}

// -- requests -----------------------------------------------------------------

void name_home::reply(const item& to, bool done, wishes& out) {
  if (to.what.answer)
    out.send(to.from, name_reply{to.what.seq, done});
}

void name_home::on(const core::node_id& from, const name_request& what,
                   wishes& out) {
  works_[what.name].queue.push_back({from, what});
  if (open())
    carry_out(what.name, out);
}

void name_home::on(const core::node_id& from, const name_cancel& what,
                   wishes& out) {
  const auto at = works_.find(what.name);
  if (at == works_.end())
    return;
  auto& waiting = at->second.queue;
  const auto mine = std::find_if(waiting.begin(), waiting.end(),
                                 [&](const item& one) {
                                   return one.from == from
                                          && one.what.seq == what.seq
                                          && one.what.answer;
                                 });
  if (mine == waiting.end())
    return; // it is being carried out, and will be answered
  reply(*mine, false, out);
  waiting.erase(mine);
  if (waiting.empty() && !at->second.busy)
    works_.erase(at);
}

void name_home::carry_out_all(wishes& out) {
  std::vector<std::string> names;
  for (const auto& [name, waiting] : works_)
    names.push_back(name);
  for (const auto& name : names)
    carry_out(name, out);
}

void name_home::carry_out(const std::string& name, wishes& out) {
  const auto at = works_.find(name);
  if (at == works_.end())
    return;
  auto& waiting = at->second;
  while (!waiting.busy && !waiting.queue.empty() && !used_up()) {
    auto next = std::move(waiting.queue.front());
    waiting.queue.pop_front();
    start(name, std::move(next), out);
  }
  if (!waiting.busy && waiting.queue.empty())
    works_.erase(at);
}

// Answers at once, or begins a change, which is answered when all have it.
void name_home::start(const std::string& name, item next, wishes& out) {
  const auto& what = next.what;
  const auto at = names_.find(name);
  const bool taken = at != names_.end();
  if (what.action == name_action::remove) {
    const bool seen = taken && at->second.owner == what.owner
                      && at->second.op == what.op;
    if (!seen) { // it is gone already, or out of reach, or there was nothing
      if (postpone(name, next))
        return;
      reply(next, false, out);
      return;
    }
    works_[name].current = next;
    change(name, {}, name_cause::request, out);
    return;
  }
  if (what.action == name_action::confirm) {
    reply(next, true, out);
    return;
  }
  if (taken && what.action == name_action::put) {
    reply(next, false, out);
    return;
  }
  core::name_record record;
  record.owner = what.owner;
  record.op = what.seq;
  record.replaced = taken ? at->second.version : 0;
  record.resolver = what.resolver;
  works_[name].current = std::move(next);
  change(name, std::move(record), name_cause::request, out);
}

// In the last view its registration was on its way, somebody saw it, and wants
// it removed: that is asked for anew, and may come before the registration.
bool name_home::postpone(const std::string& name, const item& removal) {
  auto& waiting = works_[name].queue;
  const auto target = std::find_if(waiting.begin(), waiting.end(),
                                   [&](const item& one) {
                                     return one.from == removal.what.owner.node
                                            && one.what.seq == removal.what.op
                                            && one.what.action
                                                 != name_action::remove;
                                   });
  if (target == waiting.end())
    return false;
  waiting.insert(target + 1, removal);
  return true;
}

void name_home::change(const std::string& name, core::name_record record,
                       name_cause cause, wishes& out) {
  record.version = versions_.next();
  if (record.owner.actor != 0)
    names_.insert_or_assign(name, record);
  else
    names_.erase(name);
  auto& own = works_[name];
  own.busy = true;
  own.version = record.version;
  own.missing = {view_.members.begin(), view_.members.end()};
  for (const auto& id : view_.members)
    out.send(id, name_update{name, record, cause});
}

void name_home::on(const core::node_id& from, const name_ack& what,
                   wishes& out) {
  const auto at = works_.find(what.name);
  if (at == works_.end() || at->second.version != what.version
      || at->second.missing.erase(from) == 0 || !at->second.missing.empty())
    return;
  auto& over = at->second;
  over.busy = false;
  if (over.current)
    reply(*over.current, true, out);
  over.current.reset();
  if (over.queue.empty())
    works_.erase(at);
  else if (open())
    carry_out(what.name, out);
}

} // namespace coopcache::cluster
