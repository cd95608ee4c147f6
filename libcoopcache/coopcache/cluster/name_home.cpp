#include "coopcache/cluster/name_home.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
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

// -- after a view change ------------------------------------------------------

void name_home::on(const core::node_id& from, const name_claim& what) {
  if (!expected_.contains(from) || what.record.owner.node != from
      || what.record.owner.actor == 0)
    return; // only a node itself knows of its actors
  claims_.push_back(what);
}

void name_home::on(const core::node_id& from, const names_end& what,
                   std::vector<name_claim> known, core::instant now,
                   wishes& out) {
  digests_.emplace(from, what.has); // the first: as the view began
  if (!what.claimed) {
    core::names_digest digest;
    for (const auto& one : known)
      digest.add(core::digest_of(one.name, one.record));
    if (digest != what.own) {
      out.send(from, names_wanted{});
      return;
    }
    std::move(known.begin(), known.end(), std::back_inserter(claims_));
  }
  if (expected_.erase(from) != 0 && expected_.empty())
    merge(now, out);
}

void name_home::merge(core::instant now, wishes& out) {
  auto claims = std::exchange(claims_, {});
  std::sort(claims.begin(), claims.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  std::vector<dispute> clashes;
  for (auto at = claims.begin(); at != claims.end();) {
    const auto next = std::find_if(at, claims.end(), [&](const auto& other) {
      return other.name != at->name;
    });
    if (next - at == 1) {
      names_.emplace_hint(names_.end(), std::move(at->name),
                          std::move(at->record));
    } else {
      std::vector<core::name_record> records;
      std::transform(at, next, std::back_inserter(records),
                     [](auto& one) { return std::move(one.record); });
      settle(at->name, std::move(records), clashes);
    }
    at = next;
  }
  tell_states(!clashes.empty(), out);
  for (auto& one : clashes)
    if (needs_function(one))
      disputes_.push_back(std::move(one));
    else
      change(one.name, std::move(one.first), one.cause, out);
  settle_next(now, out);
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
    return std::tie(a.since, a.version, a.owner)
           < std::tie(b.since, b.version, b.owner);
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
    digest.add(core::digest_of(name, record));
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

// Who has ended, or was removed, wins nothing: that is carried out when the
// name is settled.
void name_home::drop_gone(dispute& about) const {
  const auto at = works_.find(about.name);
  if (at == works_.end())
    return;
  const auto is_gone = [&](const core::name_record& one) {
    return std::any_of(at->second.queue.begin(), at->second.queue.end(),
                       [&](const item& waiting) {
                         return waiting.what.action == name_action::remove
                                && waiting.what.owner == one.owner
                                && waiting.what.op == one.op;
                       });
  };
  std::erase_if(about.others, is_gone);
  if (about.first.owner.actor == 0 || !is_gone(about.first))
    return;
  if (about.others.empty()) {
    about.nobody_wins();
    return;
  }
  about.first = std::move(about.others.front());
  about.others.pop_front();
}

// Settles what the library's own resolvers decide; false if nothing is left.
bool name_home::needs_function(dispute& about) const {
  drop_gone(about);
  while (!about.others.empty()) {
    const auto& resolver = about.first.resolver;
    if (resolver.empty() || resolver == "exit") {
      about.cause = about.was_asked ? name_cause::clash
                                    : name_cause::clash_exit;
      about.others.pop_front();
    } else if (resolver == "notify") {
      about.cause = name_cause::clash;
      about.others.pop_front();
    } else if (resolver == "notify_all") {
      about.cause = name_cause::clash;
      about.nobody_wins();
    } else {
      return true;
    }
  }
  return false;
}

void name_home::apply(dispute& about, survivor who) {
  about.cause = name_cause::clash;
  about.was_asked = true;
  if (who == survivor::nobody) {
    about.nobody_wins();
    return;
  }
  if (who == survivor::second)
    about.first = about.others.front();
  about.others.pop_front();
}

// A resolver is called once for a clash, also if the view changes meanwhile.
name_home::inquiries::iterator name_home::ask(const dispute& about,
                                              core::instant now, wishes& out) {
  const auto& second = about.others.front();
  const auto asked = std::find_if(inquiries_.begin(), inquiries_.end(),
                                  [&](const auto& one) {
                                    return one.second.name == about.name
                                           && one.second.first == about.first
                                           && one.second.second == second;
                                  });
  if (asked != inquiries_.end())
    return asked;
  const auto made = ++last_question_;
  out.effects.emplace_back(ask_resolver{made, about.first.resolver, about.name,
                                        about.first.owner, second.owner});
  return inquiries_
    .emplace(made,
             inquiry{about.name, about.first, second, now + resolver_time})
    .first;
}

void name_home::settle_next(core::instant now, wishes& out) {
  asking_ = 0;
  while (!disputes_.empty()) {
    auto& about = disputes_.front();
    if (needs_function(about)) {
      const auto asked = ask(about, now, out);
      auto& [number, what] = *asked;
      if (!what.answer && now < what.ends) {
        asking_ = number;
        return;
      }
      if (!what.answer) {
        what.answer = survivor::nobody;
        out.effects.emplace_back(
          resolver_late{about.first.resolver, about.name});
      }
      apply(about, *what.answer);
      continue;
    }
    change(about.name, std::move(about.first), about.cause, out);
    disputes_.pop_front();
  }
}

void name_home::resolved(std::uint64_t question, survivor who,
                         core::instant now, wishes& out) {
  const auto asked = inquiries_.find(question);
  if (asked == inquiries_.end() || asked->second.answer
      || asked->second.ends < now)
    return;
  asked->second.answer = who;
  if (question == asking_)
    settle_next(now, out);
}

void name_home::tick(core::instant now, wishes& out) {
  std::erase_if(inquiries_, [&](const auto& one) {
    return one.first != asking_ && one.second.ends + inquiry_life <= now;
  });
  if (next_wake() <= now)
    settle_next(now, out);
}

core::instant name_home::next_wake() const noexcept {
  return asking_ == 0 ? core::never : inquiries_.at(asking_).ends;
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
