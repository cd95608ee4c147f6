#include "coopcache/cluster/lock_client.hpp"

#include <utility>
#include <vector>

namespace coopcache::cluster {

lock_client::identity lock_client::identity_of(const lock_wish& wish) {
  return {wish.client, wish.resource, wish.requester};
}

void lock_client::to_home(const entry& of, body what, wishes& out) const {
  if (!homes_.empty())
    out.send(homes_.of(of.wish.resource), std::move(what));
}

void lock_client::ask(const entry& of, wishes& out) const {
  const auto& w = of.wish;
  to_home(of,
          lock_request{w.request, w.resource, w.requester, of.ticket, w.once},
          out);
}

void lock_client::lock(lock_wish wish, wishes& out) {
  if (const auto held = held_.find(identity_of(wish)); held != held_.end())
    for (const auto request : held->second)
      if (auto& mine = entries_.find(request)->second; mine.is == state::held) {
        ++mine.holds;
        mine.handles += wish.by_handle ? 1 : 0;
        out.effects.emplace_back(
          lock_answer{wish.request, verdict::done, mine.token, request});
        return;
      }
  const auto request = wish.request;
  by_client_[wish.client].insert(request);
  if (wish.deadline != core::never)
    deadlines_.emplace(wish.deadline, request);
  entry made;
  made.wish = std::move(wish);
  made.since = now_;
  const auto at = entries_.emplace(request, std::move(made)).first;
  ask(at->second, out);
}

unlocked lock_client::unlock(std::uint64_t client, const std::string& resource,
                             const std::string& requester, wishes& out) {
  const auto held = held_.find({client, resource, requester});
  if (held != held_.end())
    for (const auto request : held->second) // a lost one was there before
      if (const auto at = entries_.find(request);
          at->second.holds > at->second.handles)
        return give_back(at, out);
  return unlocked::not_held;
}

unlocked lock_client::unlock(std::uint64_t request, wishes& out) {
  const auto at = entries_.find(request);
  if (at == entries_.end() || at->second.handles == 0)
    return unlocked::not_held;
  --at->second.handles;
  return give_back(at, out);
}

void lock_client::keep(std::uint64_t request, wishes& out) {
  const auto at = entries_.find(request);
  if (at == entries_.end() || at->second.handles == 0)
    return;
  auto& mine = at->second;
  --mine.handles;
  if (mine.is == state::lost && mine.wish.is_told && --mine.holds == 0)
    free(at, out); // nothing to give back by name
}

unlocked lock_client::give_back(entries::iterator at, wishes& out) {
  auto& mine = at->second;
  if (--mine.holds > 0)
    return mine.is == state::lost ? unlocked::lost : unlocked::counted;
  if (mine.is == state::lost) {
    free(at, out);
    return unlocked::lost;
  }
  hand_on(mine, out);
  free(at, out);
  return unlocked::released;
}

void lock_client::hand_on(const entry& held, wishes& out) const {
  lock_release release{held.wish.request};
  if (held.next && may_hand_on_) {
    release.handed_on = true;
    out.send(held.next->node,
             lock_granted{held.next->next, held.next->token, true});
  }
  to_home(held, release, out);
}

// What is on its way to the home is not told again: a home that never gets it
// is no home any more, and the next one is not told of the lock.
void lock_client::free(entries::iterator at, wishes& out) {
  out.effects.emplace_back(lock_freed{at->first});
  erase(at);
}

lock_client::entries::iterator lock_client::erase(entries::iterator at) {
  const auto& [request, mine] = *at;
  doubtful_.erase(request);
  deadlines_.erase({mine.wish.deadline, request});
  if (const auto held = held_.find(identity_of(mine.wish));
      held != held_.end()) {
    held->second.erase(request);
    if (held->second.empty())
      held_.erase(held);
  }
  if (const auto own = by_client_.find(mine.wish.client);
      own != by_client_.end()) {
    own->second.erase(request);
    if (own->second.empty())
      by_client_.erase(own);
  }
  return entries_.erase(at);
}

void lock_client::answer(entries::iterator at, verdict how, wishes& out) {
  out.effects.emplace_back(lock_answer{at->first, how, 0});
  to_home(at->second, lock_release{at->first}, out);
  erase(at);
}

bool lock_client::cancel(std::uint64_t request, wishes& out) {
  const auto at = entries_.find(request);
  if (at == entries_.end() || at->second.is != state::waiting)
    return false;
  answer(at, verdict::cancelled, out);
  return true;
}

void lock_client::end_waiting(bool only_hasty, verdict why, wishes& out) {
  std::vector<std::uint64_t> ended;
  for (const auto& [request, mine] : entries_)
    if (mine.is == state::waiting && (!only_hasty || mine.wish.once))
      ended.push_back(request);
  for (const auto request : ended)
    answer(entries_.find(request), why, out);
}

void lock_client::end_hasty(verdict why, wishes& out) {
  end_waiting(true, why, out);
}

void lock_client::client_gone(std::uint64_t client, wishes& out) {
  const auto own = by_client_.find(client);
  if (own == by_client_.end())
    return;
  requests_dropped dropped{{own->second.begin(), own->second.end()}};
  for (const auto request : dropped.requests) {
    const auto at = entries_.find(request);
    if (at->second.is == state::held)
      hand_on(at->second, out);
    else if (at->second.is == state::waiting)
      to_home(at->second, lock_release{request}, out);
    erase(at);
  }
  out.effects.emplace_back(std::move(dropped));
}

void lock_client::may_hold(bool may, wishes& out) {
  may_hold_ = may;
  if (!may || doubtful_.empty())
    return;
  // In the order in which they were made; homes may have made equal ones.
  std::multimap<std::uint64_t, lock_granted> by_token;
  for (const auto& [request, what] : std::exchange(doubtful_, {}))
    by_token.emplace(what.token, what);
  for (const auto& [token, what] : by_token)
    on(what, out);
}

void lock_client::lose(entries::iterator held, wishes& out) {
  auto& mine = held->second;
  mine.is = state::lost;
  out.effects.emplace_back(
    lock_lost{held->first, mine.wish.client, mine.token});
  if (!mine.wish.is_told)
    return;
  mine.holds = mine.handles;
  if (mine.holds == 0)
    free(held, out);
}

void lock_client::give_back_as_lost(entries::iterator held, wishes& out) {
  to_home(held->second, lock_release{held->first}, out);
  lose(held, out);
}

void lock_client::lose_all(wishes& out) {
  std::vector<entries::iterator> all;
  for (const auto& [whose, requests] : held_)
    for (const auto request : requests)
      if (const auto at = entries_.find(request); at->second.is == state::held)
        all.push_back(at);
  for (const auto at : all)
    give_back_as_lost(at, out);
}

void lock_client::give_up(wishes& out) {
  lose_all(out);
  end_waiting(false, verdict::leaving, out);
}

void lock_client::on(const lock_granted& what, wishes& out) {
  const auto at = entries_.find(what.seq);
  if (at == entries_.end() || at->second.is != state::waiting)
    return;
  auto& mine = at->second;
  if (!may_hold_) {
    doubtful_.emplace(what.seq, what);
    return;
  }
  deadlines_.erase({mine.wish.deadline, what.seq});
  mine.is = state::held;
  mine.token = what.token;
  mine.holds = 1;
  mine.handles = mine.wish.by_handle ? 1 : 0;
  mine.since = now_;
  held_[identity_of(mine.wish)].insert(what.seq);
  past_.note(mine.wish.resource, mine.wish.requester, what.token);
  out.effects.emplace_back(
    lock_answer{what.seq, verdict::done, what.token, what.seq});
  if (what.handed_on)
    to_home(mine, lock_taken{what.seq, mine.wish.resource, what.token}, out);
}

void lock_client::on(const lock_refused& what, wishes& out) {
  const auto at = entries_.find(what.seq);
  if (at == entries_.end() || at->second.is != state::waiting)
    return;
  out.effects.emplace_back(lock_answer{what.seq, verdict::refused, 0});
  erase(at);
}

void lock_client::on(const lock_queued& what) {
  const auto at = entries_.find(what.seq);
  if (at != entries_.end())
    at->second.ticket = what.ticket;
}

// That the request has gone may not have been sent yet, as it need not hurry.
void lock_client::on(const core::node_id& home, const lock_next& what,
                     wishes& out) {
  const auto at = entries_.find(what.seq);
  if (at != entries_.end() && at->second.is != state::lost)
    at->second.next = what;
  else
    out.send(home, lock_release{what.seq});
}

void lock_client::on(const core::node_id& home, const lock_keep& what,
                     wishes& out) {
  const auto at = entries_.find(what.seq);
  if (at == entries_.end() || at->second.is == state::lost) {
    out.send(home, lock_release{what.seq});
    return;
  }
  auto& mine = at->second;
  if (mine.next && mine.next->token == what.token)
    mine.next.reset();
  to_home(mine, lock_kept{what.seq, mine.wish.resource, what.token}, out);
}

void lock_client::on(const lock_revoked& what, wishes& out) {
  const auto at = entries_.find(what.seq);
  if (at != entries_.end() && at->second.is == state::held)
    lose(at, out);
}

void lock_client::tick(core::instant now, verdict late, wishes& out) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now)
    answer(entries_.find(deadlines_.begin()->second), late, out);
}

core::instant lock_client::next_wake() const noexcept {
  return deadlines_.empty() ? core::never : deadlines_.begin()->first;
}

} // namespace coopcache::cluster
