#include "coopcache/core/locks.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::core {

namespace {

/// The first of the queue that may hold next to `holders`.
template <class Queue>
auto first_fit(Queue& waiters, const std::vector<locks::holder>& holders) {
  if (holders.empty())
    return waiters.begin();
  const auto& requester = holders.front().requester;
  return std::find_if(waiters.begin(), waiters.end(), [&](const auto& entry) {
    return entry.second.requester == requester;
  });
}

} // namespace

void locks::wait(const lock_key& who, std::string_view resource,
                 std::string_view requester, std::uint64_t ticket) {
  if (places_.contains(who))
    return;
  std::string name{resource};
  auto& waiters = locks_[name].queue;
  while (ticket == 0 || waiters.contains(ticket))
    ++ticket;
  waiters.emplace(ticket, waiter{who, std::string{requester}, now_});
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
  auto& [holders, waiters] = at->second;
  if (ticket != 0)
    waiters.erase(ticket);
  else
    std::erase_if(holders, [&](const holder& h) { return h.who == who; });
  if (holders.empty() && waiters.empty())
    locks_.erase(at);
  return std::move(resource);
}

const lock_key* locks::next_to_hold(const std::string& resource) const {
  const auto* const at = find(resource);
  if (at == nullptr)
    return nullptr;
  const auto fit = first_fit(at->queue, at->holders);
  return fit == at->queue.end() ? nullptr : &fit->second.who;
}

void locks::promote(const grant& to) {
  auto& [resource, ticket] = places_.find(to.who)->second;
  auto& [holders, waiters] = locks_.find(resource)->second;
  const auto at = waiters.find(std::exchange(ticket, 0));
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

const locks::lock* locks::find(std::string_view resource) const {
  const auto at = locks_.find(resource);
  return at == locks_.end() ? nullptr : &at->second;
}

} // namespace coopcache::core
