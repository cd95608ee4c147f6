#include "coopcache/cluster/name_home.hpp"

#include <algorithm>
#include <utility>

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
  asking_ = 0;
  may_ = false;
}

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
      if (cancels_out(name, next, out))
        return;
      reply(next, false, out);
      if (!what.answer && !taken) // the owner has ended: members wait for that
        change(name, {}, name_cause::request, out);
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
  if (cancels_out(name, next, out))
    return;
  if (taken && what.action == name_action::put) {
    reply(next, false, out);
    return;
  }
  core::name_record record;
  record.owner = what.owner;
  record.op = what.seq;
  record.since = wall_;
  record.replaced = taken ? at->second.version : 0;
  record.resolver = what.resolver;
  works_[name].current = std::move(next);
  change(name, std::move(record), name_cause::request, out);
}

// In an earlier view a registration was on its way, somebody saw it, and wants
// it removed: both are asked for anew, and cancel each other out.
bool name_home::cancels_out(const std::string& name, const item& mine,
                            wishes& out) {
  const bool removes = mine.what.action == name_action::remove;
  const auto is_about = [](const item& removal, const item& registration) {
    return removal.what.action == name_action::remove
           && registration.what.action != name_action::remove
           && registration.from == removal.what.owner.node
           && registration.what.seq == removal.what.op;
  };
  auto& waiting = works_[name].queue;
  const auto other = std::find_if(waiting.begin(), waiting.end(),
                                  [&](const item& one) {
                                    return removes ? is_about(mine, one)
                                                   : is_about(one, mine);
                                  });
  if (other == waiting.end())
    return false;
  // What is in the way of a replace has to go all the same.
  if ((removes ? *other : mine).what.action == name_action::replace
      && names_.contains(name)) {
    if (removes)
      waiting.insert(other + 1, mine);
    return removes;
  }
  reply(mine, true, out);
  reply(*other, true, out);
  waiting.erase(other);
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
