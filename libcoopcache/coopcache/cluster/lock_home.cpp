#include "coopcache/cluster/lock_home.hpp"

#include <vector>

namespace coopcache::cluster {

void lock_home::enter(const core::view& current) {
  locks_.clear();
  once_.clear();
  promises_.clear();
  tokens_.enter(current.id);
  tickets_.enter(current.id);
  expected_ = {current.members.begin(), current.members.end()};
  may_ = false;
}

void lock_home::on(const core::node_id& from, const lock_request& what,
                   wishes& out) {
  const core::lock_key who{from, what.seq};
  if (locks_.knows(who))
    return;
  const auto ticket = what.ticket != 0 ? what.ticket : tickets_.next();
  locks_.wait(who, what.resource, what.requester, ticket);
  if (what.once)
    once_.insert(who);
  if (open())
    serve(what.resource, out);
  if (what.ticket == 0 && !what.once && locks_.waits(who))
    out.send(from, lock_queued{what.seq, ticket});
}

void lock_home::on(const core::node_id& from, const lock_claim& what) {
  if (!expected_.contains(from))
    return; // it has said that it has told all
  locks_.hold({from, what.seq}, what.resource, what.requester, what.token);
}

void lock_home::on(const core::node_id& from, const lock_release& what,
                   wishes& out) {
  const core::lock_key who{from, what.seq};
  once_.erase(who);
  const auto resource = locks_.remove(who);
  if (!resource)
    return;
  const auto at = promises_.find(*resource);
  if (at != promises_.end() && at->second.holder == who)
    at->second.handed_on = what.handed_on == at->second.token;
  if (open())
    serve(*resource, out);
  else if (locks_.find(*resource) == nullptr)
    promises_.erase(*resource);
}

void lock_home::on(const core::node_id& from, const lock_taken& what,
                   wishes& out) {
  const auto at = promises_.find(what.resource);
  if (at == promises_.end() || at->second.token != what.token
      || at->second.next != core::lock_key{from, what.seq})
    return;
  at->second.taken = true;
  locks_.remove(at->second.holder);
  if (open())
    serve(what.resource, out);
}

void lock_home::on(const core::node_id& from, const lock_kept& what,
                   wishes& out) {
  const auto at = promises_.find(what.resource);
  if (at == promises_.end() || !at->second.withdrawn
      || at->second.holder != core::lock_key{from, what.seq}
      || at->second.token != what.token)
    return;
  promises_.erase(at);
  if (open())
    serve(what.resource, out);
}

void lock_home::claims_end(const core::node_id& from, wishes& out) {
  if (expected_.erase(from) == 0 || !expected_.empty())
    return;
  for (const auto& who : locks_.settle())
    out.send(who.node, lock_revoked{who.seq});
  if (open())
    serve_all(out);
}

void lock_home::grants(bool may, wishes& out) {
  if (may == may_)
    return;
  may_ = may;
  if (open())
    serve_all(out);
}

void lock_home::serve(const std::string& resource, wishes& out) {
  const auto next = [this] { return tokens_.used_up() ? 0 : tokens_.next(); };
  if (!keep_promise(resource, out))
    return;
  for (const auto& [who, token] : locks_.serve(resource, next)) {
    once_.erase(who);
    out.send(who.node, lock_granted{who.seq, token});
  }
  if (tokens_.used_up())
    return;
  refuse_once(resource, out);
  name_next(resource, out);
}

/// Whether more may be granted now.
bool lock_home::keep_promise(const std::string& resource, wishes& out) {
  const auto at = promises_.find(resource);
  if (at == promises_.end())
    return true;
  auto& p = at->second;
  if (locks_.waits(p.next)) {
    if (locks_.knows(p.holder)) {
      if (!p.withdrawn && locks_.next_to_hold(resource) != nullptr) {
        out.send(p.holder.node, lock_keep{p.holder.seq, p.token});
        p.withdrawn = true;
      }
      refuse_once(resource, out);
      return false;
    }
    // Who shares it with the next one gets it later, and a greater token.
    if (p.handed_on && !p.taken)
      return false;
    locks_.promote(resource, {p.next, p.token});
    if (!p.taken)
      out.send(p.next.node, lock_granted{p.next.seq, p.token});
  }
  promises_.erase(at);
  return true;
}

void lock_home::name_next(const std::string& resource, wishes& out) {
  const auto* const at = locks_.find(resource);
  if (at == nullptr || at->holders.size() != 1 || at->queue.empty()
      || promises_.contains(resource))
    return;
  const auto& holder = at->holders.front().who;
  const auto& next = at->queue.begin()->second.who;
  const auto token = tokens_.next();
  out.send(holder.node, lock_next{holder.seq, next.node, next.seq, token});
  promises_.emplace(resource, promise{holder, next, token});
}

void lock_home::serve_all(wishes& out) {
  for (const auto& resource : locks_.resources())
    serve(resource, out);
}

void lock_home::refuse_once(const std::string& resource, wishes& out) {
  if (once_.empty())
    return;
  const auto* const at = locks_.find(resource);
  if (at == nullptr)
    return;
  std::vector<core::lock_key> refused;
  for (const auto& [ticket, waiter] : at->queue)
    if (once_.contains(waiter.who) && !at->is_held_by(waiter.requester))
      refused.push_back(waiter.who);
  for (const auto& who : refused) {
    once_.erase(who);
    locks_.remove(who);
    out.send(who.node, lock_refused{who.seq});
  }
}

} // namespace coopcache::cluster
