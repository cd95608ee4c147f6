#include "coopcache/cluster/membership.hpp"

#include <algorithm>
#include <utility>

// How the members agree on a view; the rest of the machine is in
// membership.cpp.

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
  const auto reachable = [this](const core::node_id& id) {
    return id == self_ || peers_.contains(id);
  };
  const auto& all = what.next.members;
  if (leaving_ || starting_ || !what.next.has(self_)
      || !std::all_of(all.begin(), all.end(), reachable)
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
  if (!again && !gone && stays(self_, all))
    return;
  if (promised_.id != what.next.id) {
    promised_ = what.next;
    promised_at_ = at.now;
    unsettled_since_ = std::min(unsettled_since_, at.now);
    proposal_.reset();
  }
  if (installed_.id == promised_.id)
    return;
  const auto wait = permission_end(what) - at.now;
  out.emplace_back(
    send_message{from,
                 accept{what.next.id, static_cast<std::uint64_t>(
                                        std::max(wait, wait.zero()).count())}});
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
  forming_ = forming_ && installed_.members.size() == 1;
  forget_dead();
  recompute(now);
  send_beats(now, out);
}

std::vector<candidate> membership::known(core::instant now) const {
  std::map<core::node_id, candidate> all;
  std::map<core::view_id, std::size_t> sizes; // as far as they can be seen
  std::map<core::node_id, core::view_id> views;
  const auto add = [&](const core::node_id& id, const core::view_id& in) {
    if (views.emplace(id, in).second)
      ++sizes[in];
    auto& entry = all[id];
    entry.id = id;
    return &entry;
  };
  const auto takes_part = [&](const core::node_id& id, const peer& info) {
    return info.spoke && !info.last.leaving && !info.last.starting
           && !is_held_back(id, now);
  };
  auto* const own = add(self_, installed_.id);
  for (const auto& [id, info] : peers_)
    if (takes_part(id, info)) {
      own->links.push_back(id);
      add(id, info.last.installed.id)->links = info.last.links;
    }
  // Who is known by hearsay only: its links are those that others report, and
  // its view is the latest that is said to have it.
  std::map<core::node_id, core::view_id> said;
  for (const auto& [id, info] : peers_) {
    if (!takes_part(id, info))
      continue;
    const auto& in = info.last.installed;
    for (const auto& other : info.last.links)
      if (other != self_ && !peers_.contains(other) && !dead_.contains(other)
          && !is_held_back(other, now)) {
        auto& latest = said[other];
        latest = std::max(latest, in.has(other) ? in.id : core::view_id{});
        all[other].links.push_back(id);
      }
  }
  for (const auto& [other, in] : said)
    add(other, in);
  // Of two such nobody here can say anything: they count as linked.
  for (auto& [id, entry] : all)
    for (auto& [other, unused] : all)
      if (id != other && id != self_ && other != self_ && !peers_.contains(id)
          && !peers_.contains(other))
        entry.links.push_back(other);
  std::vector<candidate> result;
  result.reserve(all.size());
  for (auto& [id, entry] : all) {
    const auto& in = views[id];
    entry.view_size = in == core::view_id{} ? 1 : sizes[in];
    result.push_back(std::move(entry));
  }
  return result;
}

// Whether all members of somebody's view are in it and linked to each other, as
// far as can be seen from here.
bool membership::is_whole(const core::node_id& who) const {
  const auto beat_of = [this](const core::node_id& id) -> const beat* {
    const auto at = peers_.find(id);
    return at == peers_.end() || !at->second.spoke ? nullptr : &at->second.last;
  };
  const auto* const said = beat_of(who);
  const auto& view = said == nullptr ? installed_ : said->installed;
  const auto all_others = [&](const core::node_id& one, const auto& linked) {
    return std::all_of(view.members.begin(), view.members.end(),
                       [&](const core::node_id& other) {
                         return other == one || linked(other);
                       });
  };
  const auto fits = [&](const core::node_id& one) {
    if (one == self_)
      return installed_.id == view.id && !changing()
             && all_others(one, [&](const core::node_id& other) {
                  return peers_.contains(other);
                });
    const auto* const its = beat_of(one);
    if (its == nullptr) // known by hearsay only
      return said != nullptr && core::contains(said->links, one);
    return its->installed.id == view.id && its->promised == view.id
           && !its->leaving && all_others(one, [&](const core::node_id& other) {
                return core::contains(its->links, other);
              });
  };
  return std::all_of(view.members.begin(), view.members.end(), fits);
}

// A whole view is left only for a greater one, or for one with all its members:
// else, where some links are broken, views could follow each other for ever.
bool membership::stays(const core::node_id& who,
                       const std::vector<core::node_id>& next) const {
  const auto at = peers_.find(who);
  const auto& own = at == peers_.end() ? installed_.members
                                       : at->second.last.installed.members;
  return next.size() <= own.size()
         && !std::all_of(own.begin(), own.end(),
                         [&](const auto& id) {
                           return core::contains(next, id);
                         })
         && is_whole(who);
}

// The component without those who would not join it.
std::vector<core::node_id> membership::best_target(core::instant now) const {
  auto all = known(now);
  for (;;) {
    auto target = component_of(self_, all);
    if (stays(self_, target))
      return installed_.members;
    const auto refuses = std::find_if(target.begin(), target.end(),
                                      [&](const core::node_id& id) {
                                        return id != self_ && stays(id, target);
                                      });
    if (refuses == target.end())
      return target;
    std::erase_if(all,
                  [&](const candidate& one) { return one.id == *refuses; });
  }
}

void membership::recompute(core::instant now) {
  auto target = leaving_ || starting_ ? std::vector{self_} : best_target(now);
  if (target == target_)
    return;
  target_ = std::move(target);
  target_since_ = now;
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
    return installed_.has(id) && info.spoke
           && info.last.installed.id != installed_.id
           && info.last.promised != installed_.id
           && now - std::max(target_since_, entered_at_) >= 2 * settings_.beat;
  });
}

// How long the target has to stand before it is proposed.
std::chrono::nanoseconds membership::patience() const {
  if (loses_the_silent())
    return settings_.beat + settings_.settle;
  const auto stays = [this](const auto& id) {
    return core::contains(target_, id);
  };
  const bool loses = !std::all_of(installed_.members.begin(),
                                  installed_.members.end(), stays);
  const auto is_member = [this](const auto& id) { return installed_.has(id); };
  const bool gains = !std::all_of(target_.begin(), target_.end(), is_member);
  return gains && !loses ? settings_.settle : std::chrono::nanoseconds{0};
}

bool membership::is_settled(core::instant now) const {
  // Somebody else is about to install a view.
  if (changing() && peers_.contains(promised_.id.proposer)
      && now - promised_at_ < 2 * settings_.beat)
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
              && installed_.members.size() == peers_.size() + 1)))
    forming_ = false;
  if (beat_due_)
    send_beats(at.now, out);
}

// Members of one view never choose the same number: when it falls apart the
// sides grant different tokens, though they propose at the same moment.
std::uint64_t membership::fresh_number(std::uint64_t wall) const {
  const auto least = std::max(highest_ + 1, wall);
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
