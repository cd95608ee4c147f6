#include "coopcache/cluster/membership.hpp"

#include <algorithm>
#include <functional>
#include <iterator>

namespace coopcache::cluster {

using namespace std::chrono_literals;

namespace {

/// Losses of one node that cost it nothing, and for how long each counts.
constexpr unsigned free_losses = 3;
constexpr std::chrono::seconds loss_memory{20};
constexpr std::chrono::seconds longest_back_off{5};

/// Nanoseconds beyond every sensible setting: 73 years.
constexpr std::uint64_t far = std::uint64_t{1} << 61;

bool is_sensible(const core::view_id& id) {
  return id.number < largest_view_number;
}

/// Whether the numbers in a message can be meant.
bool is_sensible(const message& what) {
  const auto* const b = std::get_if<beat>(&what);
  const auto* const p = std::get_if<propose>(&what);
  const auto* const r = std::get_if<refuse>(&what);
  const auto* const i = std::get_if<install>(&what);
  return (b == nullptr
          || (is_sensible(b->installed.id) && is_sensible(b->promised)))
         && (p == nullptr || is_sensible(p->next.id))
         && (r == nullptr || is_sensible(r->promised))
         && (i == nullptr || is_sensible(i->next.id));
}

bool contains(const std::vector<core::node_id>& all, const core::node_id& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

std::uint64_t to_number(core::instant at) {
  return static_cast<std::uint64_t>(at.time_since_epoch().count());
}

core::instant to_instant(std::uint64_t number) {
  return core::instant{
    std::chrono::nanoseconds{static_cast<std::int64_t>(number)}};
}

} // namespace

membership::membership(core::node_id self, const membership_settings& settings,
                       const clocks& at)
  : self_(std::move(self)),
    settings_(settings), installed_{{at.wall, self_}, {self_}},
    promised_(installed_.id), pending_(installed_),
    highest_(at.wall), target_{self_}, target_since_(at.now),
    entered_at_(at.now), promised_at_(at.now), next_beat_(at.now),
    last_event_(at.now), started_(at.now), starting_(settings.remembers) {
}

// -- links
// ---------------------------------------------------------------------

void membership::linked(const core::node_id& who, const clocks& at,
                        effects& out) {
  note_time(at.now);
  if (who == self_)
    return;
  dead_.erase(who);
  auto& info = peers_[who];
  info.linked = true;
  info.heard = at.now;
  recompute(at.now);
  send_beats(at.now, out);
  act(at, out);
}

void membership::unlinked(const core::node_id& who, bool dead, const clocks& at,
                          effects& out) {
  note_time(at.now);
  const auto at_peer = peers_.find(who);
  if (at_peer == peers_.end())
    return;
  if (dead)
    lose(at_peer, true, at.now);
  else
    at_peer->second.linked = false;
  act(at, out);
}

std::vector<core::node_id> membership::links() const {
  std::vector<core::node_id> result;
  for (const auto& [id, info] : peers_)
    result.push_back(id);
  return result;
}

void membership::lose(peers::iterator who, bool dead, core::instant now) {
  const auto id = who->first;
  if (installed_.has(id)) {
    auto& lost = losses_[id.name];
    ++lost.count;
    lost.last = now;
  }
  if (dead)
    dead_.insert(id);
  peers_.erase(who);
  recompute(now);
  beat_due_ = true;
}

void membership::lose_the_silent(core::instant now, effects& out) {
  for (auto at = peers_.begin(); at != peers_.end();) {
    const auto current = at++;
    if (now - current->second.heard < settings_.detection)
      continue;
    out.emplace_back(drop_link{current->first});
    lose(current, false, now);
  }
}

// An incarnation never comes back; it matters as long as somebody counts on it.
void membership::forget_dead() {
  std::erase_if(dead_, [this](const core::node_id& id) {
    return !installed_.has(id)
           && std::none_of(peers_.begin(), peers_.end(),
                           [&](const auto& other) {
                             return contains(other.second.last.links, id)
                                    || other.second.last.installed.has(id);
                           });
  });
}

// Who was lost several times of late has to stay away for a while.
bool membership::is_held_back(const core::node_id& id,
                              core::instant now) const {
  const auto lost = losses_.find(id.name);
  if (installed_.has(id) || lost == losses_.end()
      || lost->second.count <= free_losses)
    return false;
  const auto excess = std::min(lost->second.count - free_losses, 10u);
  return now - lost->second.last
         < std::min<std::chrono::nanoseconds>(settings_.settle * (1 << excess),
                                              longest_back_off);
}

void membership::forget_old_losses(core::instant now) {
  std::erase_if(losses_, [now](const auto& entry) {
    return now - entry.second.last >= loss_memory;
  });
}

// A node that was stopped itself cannot tell who fell silent meanwhile.
void membership::note_time(core::instant now) {
  if (now - last_event_ >= settings_.detection / 2)
    for (auto& [id, info] : peers_)
      info.heard = now;
  last_event_ = std::max(last_event_, now);
}

void membership::end_start(core::instant now) {
  if (!starting_ || now - started_ < permission_length())
    return;
  starting_ = false;
  beat_due_ = true;
  recompute(now);
}

void membership::note_number(std::uint64_t number) noexcept {
  highest_ = std::max(highest_, number);
}

// -- permission
// ----------------------------------------------------------------

std::chrono::nanoseconds membership::permission_length() const noexcept {
  return settings_.detection * 7 / 8;
}

core::instant membership::serve_until() const noexcept {
  if (leaving_)
    return {};
  auto until = core::never;
  for (const auto& id : installed_.members) {
    if (id == self_)
      continue;
    const auto at = peers_.find(id);
    if (at == peers_.end())
      return {};
    until = std::min(until, at->second.permitted);
  }
  return core::later(until, permission_length());
}

core::instant membership::kept_until(std::size_t nodes) const {
  if (nodes <= 1)
    return core::never;
  std::vector<core::instant> ends;
  for (const auto& [id, info] : peers_)
    if (installed_.has(id) && info.permitted != core::instant{})
      ends.push_back(info.permitted + permission_length());
  if (ends.size() + 1 < nodes)
    return {};
  std::sort(ends.begin(), ends.end(), std::greater<>{});
  return ends[nodes - 2];
}

bool membership::grants_permission_to(const core::node_id& node) const {
  return installed_.has(node) && !leaving_
         && (!changing() || pending_.has(node));
}

// Who is left out may serve until then: it may count on the last echo that it
// got, for that long after the beat that was echoed.
core::instant
membership::permission_end(const core::view& next,
                           const std::vector<core::node_id>& dead) const {
  core::instant end{};
  for (const auto& [id, info] : peers_) {
    if (!installed_.has(id) || next.has(id) || contains(dead, id)
        || info.last.leaving)
      continue;
    end = std::max(end, info.echoed + permission_length());
  }
  return end;
}

// -- beats
// ---------------------------------------------------------------------

void membership::send_beat(const core::node_id& to, peer& info,
                           core::instant now, effects& out) {
  beat what;
  what.sent = to_number(now);
  if (grants_permission_to(to)) {
    what.echo = info.to_echo;
    if (what.echo != 0)
      info.echoed = now;
  }
  what.installed = installed_;
  what.promised = promised_;
  what.links = links();
  what.leaving = leaving_;
  what.starting = starting_;
  out.emplace_back(send_message{to, std::move(what)});
}

void membership::send_beats(core::instant now, effects& out) {
  for (auto& [id, info] : peers_)
    send_beat(id, info, now, out);
  beat_due_ = false;
  next_beat_ = now + settings_.beat;
}

void membership::on(const core::node_id& from, const beat& what,
                    const clocks& at, effects& out) {
  auto& info = peers_[from];
  const bool news = !info.spoke || info.last.installed != what.installed
                    || info.last.links != what.links
                    || info.last.leaving != what.leaving
                    || info.last.starting != what.starting;
  info.to_echo = what.sent;
  if (what.echo != 0 && what.installed.id == installed_.id
      && what.echo <= to_number(at.now))
    info.permitted = std::max(info.permitted, to_instant(what.echo));
  info.last = what;
  info.spoke = true;
  note_number(what.installed.id.number);
  note_number(what.promised.number);
  if (installed_.has(from) && what.promised == installed_.id
      && what.installed.id < installed_.id)
    out.emplace_back(send_message{from, install{installed_}});
  if (news) {
    recompute(at.now);
    // It entered our view, or left another: it needs our echo, or our view.
    send_beat(from, info, at.now, out);
  }
}

// -- agreeing on a view
// --------------------------------------------------------

void membership::on(const core::node_id& from, const propose& what,
                    const clocks& at, effects& out) {
  note_number(what.next.id.number);
  // Numbers of views that some member is in after each other differ: tokens are
  // made of them.
  const bool again = what.next.id == promised_ && pending_ == what.next;
  if (!again && what.next.id.number <= promised_.number) {
    out.emplace_back(send_message{from, refuse{what.next.id, promised_}});
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
  if (promised_ != what.next.id) {
    promised_ = what.next.id;
    promised_at_ = at.now;
    pending_ = what.next;
    unsettled_since_ = std::min(unsettled_since_, at.now);
    proposals_.clear();
  }
  if (installed_.id == promised_)
    return;
  const auto wait = permission_end(what.next, what.dead) - at.now;
  out.emplace_back(
    send_message{from, accept{what.next.id, static_cast<std::uint64_t>(
                                              std::max(wait, 0ns).count())}});
}

void membership::on(const core::node_id& from, const accept& what,
                    const clocks& at, effects&) {
  const auto found = proposals_.find(what.id);
  if (found == proposals_.end())
    return;
  auto& mine = found->second;
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
  proposals_.erase(what.id);
}

void membership::on(const core::node_id&, const install& what, const clocks& at,
                    effects& out) {
  note_number(what.next.id.number);
  if (what.next.id == promised_ && changing())
    enter(what.next, at.now, out);
}

void membership::enter(core::view next, core::instant now, effects& out) {
  installed_ = std::move(next);
  pending_ = installed_;
  proposals_.clear();
  renewing_ = false;
  entered_at_ = now;
  forming_ = forming_ && installed_.members.size() == 1;
  forget_dead();
  out.emplace_back(view_installed{});
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
  // Who is known by hearsay only: its links are those that others report.
  for (const auto& [id, info] : peers_) {
    if (!takes_part(id, info))
      continue;
    const auto& in = info.last.installed;
    for (const auto& other : info.last.links)
      if (other != self_ && !peers_.contains(other) && !dead_.contains(other)
          && !is_held_back(other, now))
        add(other, in.has(other) ? in.id : core::view_id{})
          ->links.push_back(id);
  }
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

void membership::recompute(core::instant now) {
  auto target = leaving_ || starting_ ? std::vector{self_}
                                      : component_of(self_, known(now));
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
                       return m != self_ && !contains(target_, m)
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
  const auto stays = [this](const auto& id) { return contains(target_, id); };
  const bool loses = !std::all_of(installed_.members.begin(),
                                  installed_.members.end(), stays);
  const auto is_member = [this](const auto& id) { return installed_.has(id); };
  const bool gains = !std::all_of(target_.begin(), target_.end(), is_member);
  return gains && !loses ? settings_.settle : std::chrono::nanoseconds{0};
}

bool membership::is_settled(core::instant now) const {
  // Somebody else is about to install a view.
  if (changing() && peers_.contains(promised_.proposer)
      && now - promised_at_ < 2 * settings_.beat)
    return false;
  auto wait = patience();
  // The others propose only if the first in rank does not.
  if (target_.front() != self_ && !renewing_) {
    const auto rank = std::find(target_.begin(), target_.end(), self_)
                      - target_.begin();
    wait += settings_.detection + rank * settings_.beat;
  }
  return now - std::max(target_since_, unsettled_since_) >= wait;
}

void membership::act(const clocks& at, effects& out) {
  if (!needs_change(at.now)) {
    proposals_.clear();
    unsettled_since_ = core::never;
  } else {
    unsettled_since_ = std::min(unsettled_since_, at.now);
    if (!proposals_.empty())
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

void membership::start_proposal(const clocks& at, effects& out) {
  note_number(promised_.number);
  proposal mine;
  mine.next = {{std::max(highest_ + 1, at.wall), self_}, target_};
  mine.missing = {target_.begin(), target_.end()};
  mine.missing.erase(self_);
  mine.resend = mine.since = at.now;
  mine.ready = permission_end(mine.next, dead());
  promised_ = mine.next.id;
  pending_ = mine.next;
  note_number(promised_.number);
  proposals_.clear();
  proposals_.emplace(promised_, std::move(mine));
  drive_proposal(at, out);
}

std::vector<core::node_id> membership::dead() const {
  return {dead_.begin(), dead_.end()};
}

void membership::drive_proposal(const clocks& at, effects& out) {
  auto& mine = proposals_.begin()->second;
  if (mine.next.members != target_
      || at.now - mine.since >= settings_.detection) {
    proposals_.clear();
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
    out.emplace_back(send_message{id, propose{mine.next, dead()}});
}

// -- events
// --------------------------------------------------------------------

void membership::receive(const core::node_id& from, const message& what,
                         const clocks& at, effects& out) {
  note_time(at.now);
  const auto info = peers_.find(from);
  if (info == peers_.end() || !is_sensible(what))
    return;
  info->second.heard = at.now;
  std::visit(
    [&](const auto& m) {
      if constexpr (!std::is_same_v<std::decay_t<decltype(m)>, packet>)
        on(from, m, at, out);
    },
    what);
  act(at, out);
}

void membership::tick(const clocks& at, effects& out) {
  note_time(at.now);
  lose_the_silent(at.now, out);
  forget_old_losses(at.now);
  forget_dead();
  end_start(at.now);
  recompute(at.now); // somebody may be held back no longer
  if (at.now >= next_beat_)
    send_beats(at.now, out);
  act(at, out);
}

void membership::probed(const clocks& at, effects& out) {
  probed_ = true;
  act(at, out);
}

void membership::leave(const clocks& at, effects& out) {
  leaving_ = true;
  recompute(at.now);
  send_beats(at.now, out);
  act(at, out);
}

void membership::renew(const clocks& at, effects& out) {
  renewing_ = true;
  act(at, out);
}

bool membership::has_left() const noexcept {
  return leaving_
         && std::none_of(peers_.begin(), peers_.end(),
                         [this](const auto& other) {
                           return other.second.last.installed.has(self_);
                         });
}

core::instant membership::next_wake() const noexcept {
  // With a change at hand, its own times are nearer than the next beat's.
  const bool busy = forming_ || !proposals_.empty() || changing() || renewing_
                    || target_ != installed_.members;
  return busy ? std::min(next_beat_, last_event_ + settings_.settle / 10)
              : next_beat_;
}

} // namespace coopcache::cluster
