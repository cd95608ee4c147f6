#include "coopcache/cluster/membership.hpp"

#include <algorithm>
#include <map>
#include <utility>

// Which nodes should make a view, as far as it can be seen from here.

namespace coopcache::cluster {

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

const beat* membership::beat_of(const core::node_id& id) const {
  const auto at = peers_.find(id);
  return at == peers_.end() || !at->second.spoke ? nullptr : &at->second.last;
}

// Whether `one` is in `view`, with no other at hand, and linked to all members.
bool membership::keeps_up(const core::view& view,
                          const core::node_id& one) const {
  if (one == self_)
    return installed_.id == view.id && !changing() && reaches(view.members);
  const auto* const said = beat_of(one);
  return said != nullptr && said->installed.id == view.id
         && said->promised == view.id && !said->leaving
         && std::all_of(view.members.begin(), view.members.end(),
                        [&](const core::node_id& other) {
                          return other == one
                                 || core::contains(said->links, other);
                        });
}

bool membership::reaches(const std::vector<core::node_id>& all) const {
  return std::all_of(all.begin(), all.end(), [this](const auto& id) {
    return id == self_ || peers_.contains(id);
  });
}

// Whether all members of somebody's view keep it up, as far as can be seen from
// here.
bool membership::is_whole(const core::node_id& who) const {
  const auto* const said = beat_of(who);
  const auto& view = said == nullptr ? installed_ : said->installed;
  return std::all_of(view.members.begin(), view.members.end(),
                     [&](const core::node_id& one) {
                       return one == self_ || beat_of(one) != nullptr
                                ? keeps_up(view, one)
                                // known by hearsay only
                                : said != nullptr
                                    && core::contains(said->links, one);
                     });
}

// A whole view is left only for a better one: else, where some links are
// broken, views could follow each other for ever.
bool membership::stays(const core::node_id& who,
                       const std::vector<core::node_id>& next) const {
  const auto* const said = beat_of(who);
  const auto& own = said == nullptr ? installed_ : said->installed;
  return is_worse(next, own.members) && is_whole(who);
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

// Nodes that start together have news for each other all the time.
void membership::refresh(core::instant now) {
  if (is_stale_ && now - computed_at_ >= settings_.settle / 10)
    recompute(now);
}

void membership::recompute(core::instant now) {
  is_stale_ = false;
  computed_at_ = now;
  auto target = leaving_ || starting_ ? std::vector{self_} : best_target(now);
  if (target == target_)
    return;
  target_ = std::move(target);
  target_since_ = now;
}

} // namespace coopcache::cluster
