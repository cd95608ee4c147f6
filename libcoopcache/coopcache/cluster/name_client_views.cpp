#include "coopcache/cluster/name_client.hpp"

#include <algorithm>
#include <utility>

// What is told to the homes of a new view, and heard from them.

namespace coopcache::cluster {

void name_client::enter(const core::view& current, wishes& out) {
  if (synced())
    out.effects.emplace_back(names_synced{false});
  const auto before = std::exchange(view_, current);
  homes_ = core::homes{current};
  claims_here_.clear();
  told_.clear();
  gone_.clear();
  heard_.clear();
  doubtful_.clear(); // all are asked for again
  untold_ = {current.members.begin(), current.members.end()};
  const auto& members = view_.members;
  std::vector<names_end> ends(members.size());
  // Each member of the last view has a replica with these names, most likely.
  for (std::size_t i = 0; i < members.size(); ++i)
    ends[i].claimed = !before.has(members[i]);
  std::vector<std::string> lost;
  for (const auto& [name, record] : replica_.all()) {
    if (!view_.has(record.owner.node)) {
      lost.push_back(name);
      continue;
    }
    const auto home = homes_.index_of(name);
    if (members[home] == self_)
      claims_here_[record.owner.node].push_back({name, record});
    tell(members[home], name, record, ends[home], out);
  }
  for (const auto& name : lost)
    unset(name, ~std::uint64_t{0}, name_cause::request, out);
  for (std::size_t i = 0; i < members.size(); ++i)
    out.send(members[i], ends[i]);
}

void name_client::tell(const core::node_id& home, const std::string& name,
                       const core::name_record& record, names_end& with,
                       wishes& out) const {
  const auto digest = core::digest_of(name, record);
  with.has.add(digest);
  if (record.owner.node != self_)
    return;
  with.own.add(digest);
  if (with.claimed)
    out.send(home, name_claim{name, record});
}

void name_client::on(const core::node_id& home, const names_wanted&,
                     wishes& out) {
  for (const auto& [name, record] : replica_.all())
    if (record.owner.node == self_ && homes_.of(name) == home)
      out.send(home, name_claim{name, record});
  names_end end;
  end.claimed = true;
  out.send(home, end);
}

std::vector<name_claim> name_client::take_claims(const core::node_id& member) {
  const auto at = claims_here_.find(member);
  return at == claims_here_.end() ? std::vector<name_claim>{}
                                  : std::exchange(at->second, {});
}

void name_client::on(const core::node_id& home, const name_state& what) {
  if (!what.disputed && what.record.owner.actor == 0)
    return;
  told_[home].push_back(what);
}

void name_client::on(const core::node_id& home, const states_end& what,
                     wishes& out) {
  if (!what.same) {
    std::set<std::string_view> kept;
    for (const auto& state : told_[home]) {
      kept.insert(state.name);
      heard_[home] = std::max(heard_[home], state.record.version);
      if (!state.disputed)
        set(state.name, state.record, name_cause::request, out);
    }
    std::vector<std::string> dropped;
    for (const auto& [name, record] : replica_.all())
      if (!kept.contains(name) && homes_.of(name) == home)
        dropped.push_back(name);
    for (const auto& name : dropped)
      unset(name, ~std::uint64_t{0}, name_cause::request, out);
  }
  told_.erase(home);
  out.send(home, states_ack{});
  if (untold_.erase(home) != 0 && untold_.empty())
    out.effects.emplace_back(names_synced{true});
}

} // namespace coopcache::cluster
