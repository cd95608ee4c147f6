#include "coopcache/cluster/loads.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::cluster {

std::optional<core::instant> loads::request(load_id id, std::string_view key,
                                            core::instant now) {
  forget_failures(now);
  if (const auto at = backing_off_.find(key); at != backing_off_.end())
    return at->second.until;
  revoke(key);
  load& fresh = start(id, key, now);
  leases_.emplace(fresh.key, &fresh);
  fresh.leased = true;
  return std::nullopt;
}

void loads::run_without_lease(load_id id, std::string_view key,
                              core::instant now) {
  start(id, key, now);
}

loads::load& loads::start(load_id id, std::string_view key, core::instant now) {
  forget_ended();
  by_time_.push_back(id);
  return running_.emplace(id, load{std::string{key}, id, now}).first->second;
}

/// Most end about in the order in which they began; when one is in the way of
/// many that have ended, these are swept out.
void loads::forget_ended() {
  constexpr std::size_t slack = 1000;
  while (!by_time_.empty() && !running_.contains(by_time_.front()))
    by_time_.pop_front();
  if (by_time_.size() > 2 * running_.size() + slack)
    std::erase_if(by_time_, [this](load_id id) { return !knows(id); });
}

loads::verdict loads::finished(load_id id, outcome how, core::instant now) {
  const auto at = running_.find(id);
  if (at == running_.end())
    return verdict::superseded;
  const bool leased = at->second.leased;
  if (leased) {
    leases_.erase(at->second.key);
    if (how == outcome::failed)
      note_failure(at->second.key, id, now);
  }
  running_.erase(at);
  forget_ended();
  if (!leased)
    return verdict::superseded;
  return how == outcome::cached ? verdict::store : verdict::drop;
}

std::optional<load_id> loads::revoke(std::string_view key) {
  if (const auto at = backing_off_.find(key); at != backing_off_.end())
    backing_off_.erase(at);
  const auto lease = leases_.find(key);
  if (lease == leases_.end())
    return std::nullopt;
  load& loser = *lease->second;
  leases_.erase(lease);
  loser.leased = false;
  return loser.id;
}

std::vector<load_id> loads::revoke_all() {
  std::vector<load_id> result;
  for (const auto& [key, each] : leases_) {
    each->leased = false;
    result.push_back(each->id);
  }
  leases_.clear();
  backing_off_.clear();
  failures_.clear();
  return result;
}

loads::overdue loads::expire(core::instant now) {
  forget_failures(now);
  overdue result;
  for (const auto id : by_time_) {
    const auto at = running_.find(id);
    if (at == running_.end())
      continue;
    load& each = at->second;
    if (core::later(each.started, first_limit()) > now)
      break; // and so are all that started later
    if (limits_.soft && core::later(each.started, *limits_.soft) <= now
        && !std::exchange(each.soft_told, true))
      result.soft.push_back(id);
    if (core::later(each.started, limits_.hard) <= now
        && !std::exchange(each.hard_told, true)) {
      result.hard.push_back(id);
      if (std::exchange(each.leased, false)) {
        leases_.erase(each.key);
        note_failure(each.key, id, now);
      }
    }
  }
  return result;
}

core::instant loads::next_wake() const noexcept {
  core::instant result = core::never;
  for (const auto id : by_time_) {
    const auto at = running_.find(id);
    if (at == running_.end())
      continue;
    const load& each = at->second;
    if (!each.hard_told)
      result = std::min(result, core::later(each.started, limits_.hard));
    if (limits_.soft && !each.soft_told)
      result = std::min(result, core::later(each.started, *limits_.soft));
    if (!each.hard_told && !(limits_.soft && each.soft_told))
      break; // all that started later come later
  }
  return result;
}

std::chrono::nanoseconds loads::first_limit() const noexcept {
  return limits_.soft ? std::min(*limits_.soft, limits_.hard) : limits_.hard;
}

void loads::note_failure(const std::string& key, load_id id,
                         core::instant now) {
  if (!limits_.backoff)
    return;
  if (failures_.size() == max_failures)
    forget_oldest_failure();
  const core::instant until = core::later(now, *limits_.backoff);
  backing_off_.insert_or_assign(key, pause{until, id});
  failures_.push_back({until, id, key});
}

void loads::forget_failures(core::instant now) {
  while (!failures_.empty() && failures_.front().until <= now)
    forget_oldest_failure();
}

/// Ends the pause of its key, unless a newer failure has begun another one.
void loads::forget_oldest_failure() {
  const failure& oldest = failures_.front();
  const auto at = backing_off_.find(oldest.key);
  if (at != backing_off_.end() && at->second.after == oldest.id)
    backing_off_.erase(at);
  failures_.pop_front();
}

} // namespace coopcache::cluster
