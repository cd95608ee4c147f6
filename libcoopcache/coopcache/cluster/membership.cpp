#include "coopcache/cluster/membership.hpp"

#include <algorithm>
#include <functional>

namespace coopcache::cluster {

namespace {

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
    settings_(settings), installed_{{usable(at.wall), self_}, {self_}},
    promised_(installed_), highest_(installed_.id.number), target_{self_},
    target_since_(at.now), entered_at_(at.now), next_beat_(at.now),
    last_event_(at.now), started_(at.now), starting_(settings.remembers) {
}

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
         && (!changing() || promised_.has(node));
}

// Who is left out may serve until then: it may count on the last echo that it
// got, for that long after the beat that was echoed.
core::instant membership::permission_end(const propose& what) const {
  core::instant end{};
  for (const auto& [id, info] : peers_) {
    if (!installed_.has(id) || what.next.has(id)
        || core::contains(what.dead, id) || core::contains(what.leaving, id)
        || info.last.leaving)
      continue;
    end = std::max(end, info.echoed + permission_length());
  }
  return end;
}

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
  what.promised = promised_.id;
  // Whom it holds back it would not accept: nobody is to propose that.
  for (const auto& [id, other] : peers_)
    if (!is_held_back(id, now))
      what.links.push_back(id);
  what.leaving = leaving_;
  what.starting = starting_;
  what.forming = forming_;
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
  if (what.sent < info.to_echo)
    return; // a later one has overtaken it
  is_stale_ = is_stale_ || info.last.promised != what.promised;
  const bool news = !info.spoke || info.last.installed != what.installed
                    || info.last.links != what.links
                    || info.last.leaving != what.leaving
                    || info.last.starting != what.starting
                    || info.last.forming != what.forming;
  info.to_echo = what.sent;
  if (what.echo != 0 && what.installed.id == installed_.id
      && what.echo <= to_number(at.now))
    info.permitted = std::max(info.permitted, to_instant(what.echo));
  info.last = what;
  info.spoke = true;
  note_number(what.installed.id.number);
  note_number(what.promised.number);
  is_stale_ = is_stale_ || news;
  if (installed_.has(from) && what.promised == installed_.id
      && what.installed.id < installed_.id)
    out.emplace_back(send_message{from, install{installed_}});
  // It entered our view, or left another: it needs our echo, or our view.
  if (news)
    send_beat(from, info, at.now, out);
}

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

void membership::heard(const core::node_id& from, core::instant when) {
  if (const auto at = peers_.find(from); at != peers_.end())
    at->second.heard = std::max(at->second.heard, when);
}

void membership::tick(const clocks& at, effects& out) {
  note_time(at.now);
  lose_the_silent(at.now, out);
  forget_old_losses(at.now);
  forget_dead();
  end_start(at.now);
  // Somebody may be held back no longer.
  is_stale_ = is_stale_ || !losses_.empty();
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

bool membership::leaves(const core::node_id& who) const {
  const auto at = peers_.find(who);
  return at != peers_.end() && at->second.last.leaving;
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
  const bool busy = forming_ || proposal_ || changing() || renewing_
                    || target_ != installed_.members;
  auto wake = busy ? std::min(next_beat_, last_event_ + settings_.settle / 10)
                   : next_beat_;
  for (const auto& [id, info] : peers_)
    wake = std::min(wake, info.heard + settings_.detection);
  if (is_stale_)
    wake = std::min(wake, computed_at_ + settings_.settle / 10);
  return wake;
}

} // namespace coopcache::cluster
