#include "coopcache/cluster/membership.hpp"

#include <algorithm>
#include <functional>

namespace coopcache::cluster {

namespace {

/// Losses of one node that cost it nothing, and what pardons one of them, or
/// all.
constexpr std::int64_t free_losses = 3;
constexpr std::chrono::seconds loss_pardon{5}, loss_memory{20};
constexpr std::chrono::seconds longest_back_off{5};

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

// -- links --------------------------------------------------------------------

void membership::linked(const core::node_id& who, const clocks& at,
                        effects& out) {
  note_time(at.now);
  if (who == self_)
    return;
  dead_.erase(who);
  auto& info = peers_[who];
  info.heard = at.now;
  info.linked = true;
  is_stale_ = true;
  send_beats(at.now, out);
  act(at, out);
}

void membership::unlinked(const core::node_id& who, bool dead, const clocks& at,
                          effects& out) {
  note_time(at.now);
  const auto at_peer = peers_.find(who);
  if (dead && at_peer != peers_.end())
    lose(at_peer, true, at.now);
  else if (dead && installed_.has(who))
    note_dead(who);
  else if (at_peer != peers_.end())
    at_peer->second.linked = false; // silence will tell
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
    lost.count -= std::min<std::int64_t>(lost.count,
                                         (now - lost.last) / loss_pardon);
    ++lost.count;
    lost.last = now;
  }
  if (dead)
    note_dead(id);
  peers_.erase(who);
  note_loss();
  beat_due_ = true;
}

// Other news may wait for more of their kind.
void membership::note_loss() noexcept {
  is_stale_ = true;
  computed_at_ = {};
}

// A view that waits until its permission has run out need not wait any more.
void membership::note_dead(const core::node_id& id) {
  dead_.insert(id);
  note_loss();
  if (proposal_ && installed_.has(id) && !proposal_->next.has(id))
    proposal_.reset();
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
                             return core::contains(other.second.last.links, id)
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
  const auto excess = std::min<std::int64_t>(lost->second.count - free_losses,
                                             10);
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

// -- permission ---------------------------------------------------------------

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

// -- beats --------------------------------------------------------------------

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

// -- events -------------------------------------------------------------------

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
