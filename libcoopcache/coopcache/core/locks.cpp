#include "coopcache/core/locks.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::core {

void locks::wait(const lock_key& who, std::string_view resource,
                 std::string_view requester, std::uint64_t ticket) {
  if (places_.contains(who))
    return;
  std::string name{resource};
  auto& at = locks_[name];
  while (ticket == 0 || at.queue.contains(ticket))
    ++ticket;
  const auto made = at.queue.emplace(ticket,
                                     waiter{who, std::string{requester}, now_});
  at.by_requester.emplace(made.first->second.requester, ticket);
  places_.emplace(who, place{std::move(name), ticket});
}

void locks::hold(const lock_key& who, std::string_view resource,
                 std::string_view requester, std::uint64_t token) {
  std::string name{resource};
  if (places_.emplace(who, place{name, 0}).second)
    locks_[name].holders.push_back({who, std::string{requester}, token, now_});
}

std::optional<std::string> locks::remove(const lock_key& who) {
  const auto at_place = places_.find(who);
  if (at_place == places_.end())
    return std::nullopt;
  auto [resource, ticket] = std::move(at_place->second);
  places_.erase(at_place);
  const auto at = locks_.find(resource);
  auto& [holders, waiters, by_requester] = at->second;
  if (ticket != 0) {
    const auto waiting = waiters.find(ticket);
    by_requester.erase({waiting->second.requester, ticket});
    waiters.erase(waiting);
  } else {
    std::erase_if(holders, [&](const holder& h) { return h.who == who; });
  }
  if (holders.empty() && waiters.empty())
    locks_.erase(at);
  return std::move(resource);
}

const lock_key* locks::next_to_hold(const std::string& resource) const {
  const auto* const at = find(resource);
  if (at == nullptr)
    return nullptr;
  const auto& [holders, waiters, by_requester] = *at;
  if (holders.empty())
    return &waiters.begin()->second.who;
  const std::string_view requester = holders.front().requester;
  const auto fit = by_requester.lower_bound({requester, 0});
  return fit == by_requester.end() || fit->first != requester
           ? nullptr
           : &waiters.find(fit->second)->second.who;
}

void locks::promote(const grant& to) {
  auto& [resource, ticket] = places_.find(to.who)->second;
  auto& [holders, waiters, by_requester] = locks_.find(resource)->second;
  const auto at = waiters.find(std::exchange(ticket, 0));
  by_requester.erase({at->second.requester, at->first});
  holders.push_back({to.who, std::move(at->second.requester), to.token, now_});
  waiters.erase(at);
}

std::vector<lock_key> locks::settle() {
  std::vector<lock_key> losers;
  for (const auto& [resource, entry] : locks_) {
    const auto& holders = entry.holders;
    const auto best = std::max_element(
      holders.begin(), holders.end(), [](const holder& a, const holder& b) {
        return std::pair{a.token, a.who} < std::pair{b.token, b.who};
      });
    for (const auto& h : holders)
      if (h.requester != best->requester)
        losers.push_back(h.who);
  }
  for (const auto& who : losers)
    remove(who);
  return losers;
}

std::vector<std::string> locks::resources() const {
  std::vector<std::string> result;
  result.reserve(locks_.size());
  for (const auto& [resource, entry] : locks_)
    result.push_back(resource);
  return result;
}

bool locks::waits(const lock_key& who) const {
  const auto at = places_.find(who);
  return at != places_.end() && at->second.ticket != 0;
}

bool locks::waits_to_share(const lock_key& who) const {
  const auto at = places_.find(who);
  if (at == places_.end() || at->second.ticket == 0)
    return false;
  const auto& there = *find(at->second.resource);
  return there.is_held_by(there.queue.at(at->second.ticket).requester);
}

const locks::lock* locks::find(std::string_view resource) const {
  const auto at = locks_.find(resource);
  return at == locks_.end() ? nullptr : &at->second;
}

} // namespace coopcache::core
