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

// A ticket counts as long as the sender has not told all: later ones would go
// before those that the others have got here.
void lock_home::on(const core::node_id& from, const lock_request& what,
                   wishes& out) {
  const core::lock_key who{from, what.seq};
  const bool has_ticket = what.ticket != 0 && expected_.contains(from);
  if (locks_.knows(who) || (!has_ticket && tickets_.used_up()))
    return; // all who wait are told again in the next view
  const auto ticket = has_ticket ? what.ticket : tickets_.next();
  locks_.wait(who, what.resource, what.requester, ticket);
  if (what.once)
    once_[what.resource].insert(who);
  if (open())
    serve(what.resource, out);
  if (!has_ticket && !what.once && locks_.waits(who))
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
  const auto resource = locks_.remove(who);
  if (!resource)
    return;
  forget_once(*resource, who);
  if (open())
    serve(*resource, out);
  else if (locks_.find(*resource) == nullptr)
    promises_.erase(*resource);
}

void lock_home::on(const core::node_id& from, const lock_taken& what,
                   wishes& out) {
  const auto at = promises_.find(what.resource);
  if (at == promises_.end() || at->second.token != what.token
      || at->second.next != core::lock_key{from, what.seq}
      || !locks_.waits(at->second.next))
    return;
  locks_.remove(at->second.holder);
  locks_.promote({at->second.next, at->second.token});
  promises_.erase(at);
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
  const auto broken = void_promise(resource);
  if (!keep_promise(resource, out))
    return;
  for (const auto& [who, token] : locks_.serve(resource, next)) {
    forget_once(resource, who);
    out.send(who.node, lock_granted{who.seq, token});
  }
  if (tokens_.used_up())
    return;
  refuse_once(resource, out);
  name_next(resource, out);
  if (broken.empty() || promises_.contains(resource))
    return;
  // Else its release would not hurry, and the lock would seem to be taken.
  const auto& [holder, gone, token, withdrawn] = broken.mapped();
  if (locks_.knows(holder) && !withdrawn)
    out.send(holder.node, lock_keep{holder.seq, token});
}

/// A promise to somebody who does not wait any more.
lock_home::promises::node_type
lock_home::void_promise(const std::string& resource) {
  const auto at = promises_.find(resource);
  if (at == promises_.end() || locks_.waits(at->second.next))
    return {};
  return promises_.extract(at);
}

/// Whether more may be granted now. That the holder has gone may come before
/// who is next says that it was handed the lock: then it gets it twice.
bool lock_home::keep_promise(const std::string& resource, wishes& out) {
  const auto at = promises_.find(resource);
  if (at == promises_.end())
    return true;
  auto& [holder, next, token, withdrawn] = at->second;
  if (!locks_.knows(holder)) {
    locks_.promote({next, token});
    out.send(next.node, lock_granted{next.seq, token});
    promises_.erase(at);
    return true;
  }
  if (!withdrawn && locks_.next_to_hold(resource) != nullptr) {
    out.send(holder.node, lock_keep{holder.seq, token});
    withdrawn = true;
  }
  refuse_once(resource, out);
  return false;
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
  const auto at = once_.find(resource);
  if (at == once_.end())
    return;
  std::vector<core::lock_key> refused;
  for (const auto& who : at->second)
    if (!locks_.waits_to_share(who))
      refused.push_back(who);
  for (const auto& who : refused) {
    forget_once(resource, who);
    locks_.remove(who);
    out.send(who.node, lock_refused{who.seq});
  }
}

void lock_home::forget_once(const std::string& resource,
                            const core::lock_key& who) {
  const auto at = once_.find(resource);
  if (at != once_.end() && at->second.erase(who) != 0 && at->second.empty())
    once_.erase(at);
}

} // namespace coopcache::cluster
