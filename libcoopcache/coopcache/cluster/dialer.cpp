#include "coopcache/cluster/dialer.hpp"

#include "coopcache/core/view.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::cluster {

dialer::dialer(std::string self, const std::vector<std::string>& configured,
               core::instant now)
  : self_(std::move(self)) {
  for (const auto& endpoint : configured)
    configure(endpoint, now);
}

// A node that nobody can dial has to dial everybody.
bool dialer::leaves_to(const std::string& endpoint) const {
  return !self_.empty() && endpoint < self_;
}

core::instant dialer::first_attempt(const std::string& endpoint,
                                    core::instant now) const {
  if (!leaves_to(endpoint))
    return now;
  const auto jitter = core::stable_hash(self_ + ' ' + endpoint)
                      % static_cast<std::uint64_t>(interval.count());
  return now + patience + std::chrono::milliseconds{jitter};
}

void dialer::learn(const std::string& endpoint, core::instant now) {
  if (peers_.size() < most)
    add(endpoint, now);
}

void dialer::add(const std::string& endpoint, core::instant now) {
  if (endpoint.empty() || endpoint == self_ || peers_.contains(endpoint))
    return;
  auto& made = peers_[endpoint];
  made.next = made.since = first_attempt(endpoint, now);
  made.known = now;
}

void dialer::configure(const std::string& endpoint, core::instant now) {
  add(endpoint, now);
  if (const auto at = peers_.find(endpoint); at != peers_.end())
    at->second.configured = true;
}

bool dialer::forget(const std::string& endpoint) {
  const auto at = peers_.find(endpoint);
  if (at == peers_.end() || at->second.configured || at->second.linked)
    return false;
  peers_.erase(at);
  return true;
}

std::vector<std::string> dialer::forget_before(core::instant when) {
  std::vector<std::string> result;
  for (const auto& [endpoint, info] : peers_)
    if (!info.configured && !info.linked && info.known < when)
      result.push_back(endpoint);
  for (const auto& endpoint : result)
    peers_.erase(endpoint);
  return result;
}

void dialer::linked(const std::string& endpoint) {
  const auto at = peers_.find(endpoint);
  if (at == peers_.end())
    return;
  at->second.linked = true;
  at->second.tried = true;
  at->second.check = core::never;
}

void dialer::unlinked(const std::string& endpoint, core::instant now) {
  const auto at = peers_.find(endpoint);
  if (at == peers_.end() || !at->second.linked)
    return;
  at->second.linked = false;
  at->second.known = now;
  at->second.check = now;
  at->second.pause = first_pause;
  at->second.next = at->second.since = first_attempt(endpoint, now);
}

void dialer::failed(const std::string& endpoint) {
  const auto at = peers_.find(endpoint);
  if (at == peers_.end())
    return;
  at->second.tried = true;
  at->second.check = core::never;
}

void dialer::unanswered(const std::string& endpoint, core::instant now) {
  const auto at = peers_.find(endpoint);
  if (at == peers_.end())
    return;
  at->second.tried = true;
  wait_for(endpoint, now);
}

void dialer::wait_for(const std::string& endpoint, core::instant now) {
  const auto at = peers_.find(endpoint);
  if (at == peers_.end())
    return;
  at->second.since = first_attempt(endpoint, now);
  at->second.next = std::max(at->second.next, at->second.since);
}

void dialer::pause(const std::string& endpoint, core::instant until) {
  if (const auto at = peers_.find(endpoint); at != peers_.end())
    at->second.next = at->second.since = until;
}

bool dialer::may_dial(const std::string& endpoint, core::instant now) const {
  const auto at = peers_.find(endpoint);
  return at != peers_.end() && !at->second.linked && now >= at->second.since;
}

std::vector<std::string> dialer::due(core::instant now) {
  std::vector<std::string> result;
  for (auto& [endpoint, info] : peers_) {
    if (info.linked || info.next > now)
      continue;
    info.next = now + interval;
    result.push_back(endpoint);
  }
  return result;
}

std::vector<std::string> dialer::to_check(core::instant now) {
  std::vector<std::string> result;
  for (auto& [endpoint, info] : peers_) {
    if (info.check > now)
      continue;
    info.check = info.pause > last_pause ? core::never : now + info.pause;
    info.pause *= 2;
    result.push_back(endpoint);
  }
  return result;
}

core::instant dialer::next_wake() const noexcept {
  auto result = core::never;
  for (const auto& [endpoint, info] : peers_)
    if (!info.linked)
      result = std::min({result, info.next, info.check});
  return result;
}

bool dialer::probed() const noexcept {
  return std::all_of(peers_.begin(), peers_.end(), [](const auto& entry) {
    return !entry.second.configured || entry.second.tried;
  });
}

} // namespace coopcache::cluster
