#include "coopcache/cluster/membership.hpp"

#include <algorithm>

// Who is linked, who is lost, and who is held back for having been lost often.

namespace coopcache::cluster {

namespace {

/// Losses of one node that cost it nothing, and what pardons one of them, or
/// all.
constexpr std::int64_t free_losses = 3;
constexpr std::chrono::seconds loss_pardon{5}, loss_memory{20};
constexpr std::chrono::seconds longest_back_off{5};

} // namespace

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

} // namespace coopcache::cluster
