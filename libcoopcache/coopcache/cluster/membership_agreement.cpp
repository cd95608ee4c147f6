#include "coopcache/cluster/membership.hpp"

#include <algorithm>
#include <utility>

// How the members agree on a view; membership_target.cpp says on which.

namespace coopcache::cluster {

namespace {

/// Nanoseconds beyond every sensible setting: 73 years.
constexpr std::uint64_t far = std::uint64_t{1} << 61;

} // namespace

void membership::on(const core::node_id& from, const propose& what,
                    const clocks& at, effects& out) {
  note_number(what.next.id.number);
  // Numbers of views that some member is in after each other differ: tokens are
  // made of them.
  const bool again = what.next == promised_;
  if (!again && what.next.id.number <= promised_.id.number) {
    out.emplace_back(send_message{from, refuse{what.next.id, promised_.id}});
    return;
  }
  const auto& all = what.next.members;
  if (leaving_ || starting_ || !what.next.has(self_) || !reaches(all)
      || std::any_of(all.begin(), all.end(), [&](const auto& id) {
           return is_held_back(id, at.now);
         })) {
    // The proposer will see the reason in our next beat.
    beat_due_ = true;
    return;
  }
  for (const auto& id : what.dead)
    if (const auto at_peer = peers_.find(id); at_peer != peers_.end())
      lose(at_peer, true, at.now);
  const bool gone = std::any_of(what.leaving.begin(), what.leaving.end(),
                                [this](const auto& id) {
                                  return installed_.has(id);
                                });
  if (!again && !gone && (stays(self_, all) || awaits(from, all, at.now)))
    return;
  if (promised_.id != what.next.id) {
    note_offer(what.next, at.now);
    promised_ = what.next;
    is_stale_ = true;
    unsettled_since_ = std::min(unsettled_since_, at.now);
    proposal_.reset();
  }
  if (installed_.id == promised_.id)
    return;
  const auto wait = permission_end(what) - at.now;
  yields_until_ = at.now + std::max(wait, wait.zero()) + 2 * settings_.beat;
  out.emplace_back(
    send_message{from,
                 accept{what.next.id, static_cast<std::uint64_t>(
                                        std::max(wait, wait.zero()).count())}});
}

// How long the present offer stands. Neither a repeat renews it, nor a new
// number for the same, nor another proposer.
void membership::note_offer(const core::view& next, core::instant now) {
  if (!changing() || promised_.members != next.members)
    offered_at_ = now;
}

// Who has accepted a view waits for it, and accepts no worse one of somebody
// else meanwhile: two groups would take the nodes that they share from each
// other without end while each waits for a permission to run out.
bool membership::awaits(const core::node_id& from,
                        const std::vector<core::node_id>& next,
                        core::instant now) const {
  const auto& by = promised_.id.proposer;
  return changing() && by != from && is_worse(next, promised_.members)
         && now - offered_at_ < settings_.detection
         && (by == self_ ? proposal_.has_value() : peers_.contains(by))
         && reaches(promised_.members);
}

void membership::on(const core::node_id& from, const accept& what,
                    const clocks& at, effects&) {
  if (!proposal_ || proposal_->next.id != what.id)
    return;
  auto& mine = *proposal_;
  mine.missing.erase(from);
  const std::chrono::nanoseconds wait{
    static_cast<std::int64_t>(std::min(what.wait, far))};
  mine.ready = std::max(mine.ready,
                        core::later(at.now,
                                    std::min(wait, permission_length())));
}

void membership::on(const core::node_id&, const refuse& what, const clocks&,
                    effects&) {
  note_number(what.promised.number);
  if (proposal_ && proposal_->next.id == what.id)
    proposal_.reset();
}

void membership::on(const core::node_id&, const install& what, const clocks& at,
                    effects& out) {
  note_number(what.next.id.number);
  if (what.next.id == promised_.id && changing())
    enter(what.next, at.now, out);
}

void membership::enter(core::view next, core::instant now, effects& out) {
  installed_ = std::move(next);
  promised_ = installed_;
  proposal_.reset();
  renewing_ = false;
  entered_at_ = now;
  unsettled_since_ = core::never;
  forming_ = forming_ && all_form();
  forget_dead();
  recompute(now);
  send_beats(now, out);
}

// Who joins one that serves need not look for its peers; those that start
// together wait for each other.
bool membership::all_form() const {
  return std::all_of(installed_.members.begin(), installed_.members.end(),
                     [this](const auto& m) {
                       const auto* const last = beat_of(m);
                       return m == self_ || (last != nullptr && last->forming);
                     });
}

bool membership::loses_the_silent() const {
  return std::any_of(installed_.members.begin(), installed_.members.end(),
                     [this](const auto& m) {
                       const auto at = peers_.find(m);
                       const bool left = at != peers_.end()
                                         && at->second.last.leaving;
                       return m != self_ && !core::contains(target_, m)
                              && !dead_.contains(m) && !left;
                     });
}

bool membership::needs_change(core::instant now) const {
  if (changing() || renewing_ || target_ != installed_.members)
    return true;
  // A member that has long been elsewhere will not come back by itself.
  return std::any_of(peers_.begin(), peers_.end(), [&](const auto& entry) {
    const auto& [id, info] = entry;
    return info.spoke && info.last.installed.id != installed_.id
           && info.last.promised != installed_.id && installed_.has(id)
           && now - std::max(target_since_, entered_at_) >= 2 * settings_.beat;
  });
}

// How long the target has to stand before it is proposed.
std::chrono::nanoseconds membership::patience() const {
  if (loses_the_silent())
    return settings_.beat + settings_.settle;
  const bool loses = !core::contains_all(target_, installed_.members);
  const bool gains = !core::contains_all(installed_.members, target_);
  return gains && !loses ? settings_.settle : std::chrono::nanoseconds{0};
}

bool membership::is_settled(core::instant now) const {
  // Somebody else is about to install a view.
  if (changing() && peers_.contains(promised_.id.proposer)
      && now < yields_until_)
    return false;
  auto wait = patience();
  // The others propose only if the first in rank does not.
  if (target_.front() != self_ && !renewing_) {
    const auto rank = std::find(target_.begin(), target_.end(), self_)
                      - target_.begin();
    wait += settings_.detection + rank * settings_.beat;
  }
  // Somebody who comes and goes without end keeps nobody waiting for ever.
  return now - std::max(target_since_, unsettled_since_) >= wait
         || now - unsettled_since_ >= wait + settings_.beat;
}

void membership::act(const clocks& at, effects& out) {
  refresh(at.now);
  if (!needs_change(at.now)) {
    proposal_.reset();
    unsettled_since_ = core::never;
  } else {
    unsettled_since_ = std::min(unsettled_since_, at.now);
    if (proposal_)
      drive_proposal(at, out);
    else if (is_settled(at.now))
      start_proposal(at, out);
  }
  if (forming_
      && (at.now - started_ >= settings_.join_timeout
          || (probed_ && !changing() && target_ == installed_.members
              && installed_.members.size() == peers_.size() + 1))) {
    forming_ = false;
    beat_due_ = true;
  }
  if (beat_due_)
    send_beats(at.now, out);
}

// Members of one view never choose the same number: when it falls apart the
// sides grant different tokens, though they propose at the same moment.
std::uint64_t membership::fresh_number(std::uint64_t wall) const {
  const auto least = std::max(highest_ + 1, usable(wall));
  const auto& all = installed_.members;
  const auto mine = static_cast<std::uint64_t>(
    std::find(all.begin(), all.end(), self_) - all.begin());
  return least + (mine + all.size() - least % all.size()) % all.size();
}

void membership::start_proposal(const clocks& at, effects& out) {
  proposal mine;
  mine.next = {{fresh_number(at.wall), self_}, target_};
  mine.missing = {target_.begin(), target_.end()};
  mine.missing.erase(self_);
  mine.resend = mine.since = at.now;
  note_offer(mine.next, at.now);
  promised_ = mine.next;
  note_number(promised_.id.number);
  proposal_ = std::move(mine);
  proposal_->ready = permission_end(proposed());
  drive_proposal(at, out);
}

propose membership::proposed() const {
  propose result{proposal_->next, {dead_.begin(), dead_.end()}, {}};
  for (const auto& [id, info] : peers_)
    if (info.last.leaving)
      result.leaving.push_back(id);
  return result;
}

void membership::drive_proposal(const clocks& at, effects& out) {
  auto& mine = *proposal_;
  if (mine.next.members != target_
      || at.now - mine.since >= settings_.detection) {
    proposal_.reset();
    if (is_settled(at.now))
      start_proposal(at, out);
    return;
  }
  if (mine.missing.empty() && at.now >= mine.ready) {
    const auto next = mine.next; // entering ends the proposal
    for (const auto& id : next.members)
      if (id != self_)
        out.emplace_back(send_message{id, install{next}});
    enter(next, at.now, out);
    return;
  }
  if (at.now < mine.resend)
    return;
  mine.resend = at.now + settings_.beat;
  for (const auto& id : mine.missing)
    out.emplace_back(send_message{id, proposed()});
}

} // namespace coopcache::cluster
