#include "coopcache/cluster/lock_client.hpp"

#include <utility>

// What is told to the homes of a new view, and whether others have had our
// locks since.

namespace coopcache::cluster {

namespace {

std::uint64_t extended(std::uint64_t lineage, const core::node_id& by) {
  for (const auto part : {core::stable_hash(by.name), by.incarnation})
    lineage = core::mixed(lineage ^ part);
  return lineage;
}

std::uint64_t extended(std::uint64_t lineage, const core::view_id& by) {
  return core::mixed(extended(lineage, by.proposer) ^ by.number);
}

} // namespace

void lock_client::enter(const core::view& current, const core::node_id& self,
                        wishes& out) {
  doubtful_.clear(); // whoever waits asks anew
  homes_ = core::homes{current};
  view_ = current.id;
  // A loser of the last view may not have heard of it.
  told_lineage_ = unchecked_.empty() ? lineage_ : extended(lineage_, self);
  unchecked_.clear();
  for (const auto& id : current.members)
    unchecked_.emplace(id, 0);
  lineage_ = extended(told_lineage_, view_);
  for (auto& [request, mine] : entries_) {
    mine.next.reset();
    if (mine.is == state::waiting)
      ask(mine, out);
    else if (mine.is == state::held)
      to_home(mine,
              lock_claim{request, mine.wish.resource, mine.wish.requester,
                         mine.token},
              out);
  }
}

// Who was in the same views knows of the same grants; others, and what they
// had, may have come after a grant of ours that they have not seen.
void lock_client::claims_end(const core::node_id& from, std::uint64_t lineage,
                             wishes& out) {
  const auto member = unchecked_.find(from);
  if (member == unchecked_.end())
    return;
  lock_check check;
  const auto send = [&] {
    ++member->second;
    out.send(from, std::exchange(check, {}));
  };
  if (lineage != 0 && lineage != told_lineage_)
    for (const auto& [whose, requests] : held_)
      for (const auto request : requests)
        if (const auto& mine = entries_.find(request)->second;
            mine.is == state::held) {
          check.holds.push_back(
            {request, mine.wish.resource, mine.wish.requester, mine.token});
          if (check.holds.size() == most_in_check)
            send();
        }
  if (!check.holds.empty())
    send();
  if (member->second == 0)
    checked_by(member);
}

void lock_client::checked_by(unchecked::iterator member) {
  unchecked_.erase(member);
  if (unchecked_.empty())
    lineage_ = extended(0, view_);
}

void lock_client::on(const core::node_id& from, const lock_check& what,
                     wishes& out) const {
  lock_checked answer;
  for (const auto& [seq, resource, requester, token] : what.holds)
    if (past_.overtaken(resource, requester, token))
      answer.overtaken.push_back(seq);
  out.send(from, std::move(answer));
}

void lock_client::on(const core::node_id& from, const lock_checked& what,
                     wishes& out) {
  for (const auto request : what.overtaken)
    if (const auto at = entries_.find(request);
        at != entries_.end() && at->second.is == state::held)
      give_back_as_lost(at, out);
  if (const auto member = unchecked_.find(from);
      member != unchecked_.end() && --member->second == 0)
    checked_by(member);
}

} // namespace coopcache::cluster
