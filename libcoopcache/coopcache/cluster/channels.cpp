#include "coopcache/cluster/channels.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::cluster {

namespace {

/// Whoever got the lock tells the home.
bool may_wait(const body& what) {
  const auto* const release = std::get_if<lock_release>(&what);
  return release != nullptr && release->handed_on;
}

} // namespace

void channels::enter(const core::view& current, const core::node_id& self) {
  view_ = current.id;
  channels_.clear();
  for (const auto& id : current.members)
    if (id != self)
      channels_.try_emplace(id);
}

void channels::send(const core::node_id& to, body what) {
  const auto at = channels_.find(to);
  if (at == channels_.end())
    return;
  auto& c = at->second;
  const bool waits = may_wait(what);
  c.kept.push_back(std::move(what));
  if (!waits)
    c.hurry = c.first + c.kept.size();
}

std::vector<body> channels::receive(const core::node_id& from, packet&& what,
                                    core::instant now) {
  std::vector<body> result;
  const auto at = channels_.find(from);
  if (what.view != view_ || at == channels_.end())
    return result;
  auto& c = at->second;
  const bool progress = c.first < what.received;
  for (; c.first < std::min(what.received, c.next); ++c.first)
    c.kept.pop_front();
  if (c.kept.empty())
    c.repeat = core::never;
  else if (progress)
    c.repeat = now + repeat_after;
  auto position = what.first;
  for (auto& one : what.bodies) {
    // Wraps around for what was received before.
    if (position - c.received < most_early)
      c.early.try_emplace(position, std::move(one));
    ++position;
  }
  if (!what.bodies.empty())
    c.acknowledge = std::min(c.acknowledge, now + acknowledge_after);
  while (!c.early.empty() && c.early.begin()->first == c.received) {
    result.push_back(std::move(c.early.begin()->second));
    c.early.erase(c.early.begin());
    ++c.received;
  }
  return result;
}

void channels::relinked(const core::node_id& peer) {
  if (const auto at = channels_.find(peer); at != channels_.end())
    at->second.next = at->second.first;
}

void channels::flush_one(const core::view_id& view, const core::node_id& to,
                         channel& c, core::instant now,
                         std::vector<outgoing>& out) {
  const bool repeats = now >= c.repeat;
  if (repeats)
    c.next = c.first;
  const auto end = c.first + c.kept.size();
  if (c.next < end)
    c.acknowledge = std::min(c.acknowledge, now + acknowledge_after);
  if (!repeats && c.next >= c.hurry && now < c.acknowledge)
    return;
  do {
    packet what{view, c.next, c.received, {}};
    for (; c.next < end && what.bodies.size() < most_in_packet; ++c.next)
      what.bodies.push_back(c.kept[static_cast<std::size_t>(c.next - c.first)]);
    out.push_back({to, std::move(what)});
  } while (c.next < end);
  c.acknowledge = core::never;
  if (!c.kept.empty() && (repeats || c.repeat == core::never))
    c.repeat = now + repeat_after;
}

std::vector<channels::outgoing> channels::flush(core::instant now) {
  std::vector<outgoing> result;
  for (auto& [to, c] : channels_)
    flush_one(view_, to, c, now, result);
  return result;
}

core::instant channels::next_wake() const noexcept {
  auto result = core::never;
  for (const auto& [to, c] : channels_)
    result = std::min({result, c.repeat, c.acknowledge});
  return result;
}

std::size_t channels::kept() const noexcept {
  std::size_t result = 0;
  for (const auto& [to, c] : channels_)
    result += c.kept.size();
  return result;
}

} // namespace coopcache::cluster
