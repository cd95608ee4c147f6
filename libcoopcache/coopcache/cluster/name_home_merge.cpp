#include "coopcache/cluster/name_home.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

// What the home does with the claims of the members of a new view.

namespace coopcache::cluster {

void name_home::on(const core::node_id& from, const name_claim& what) {
  if (!expected_.contains(from) || what.record.owner.node != from
      || what.record.owner.actor == 0)
    return; // only a node itself knows of its actors
  claims_.push_back(what);
}

void name_home::on(const core::node_id& from, const names_end& what,
                   std::vector<name_claim> known, core::instant now,
                   wishes& out) {
  digests_.emplace(from, what.has); // the first: as the view began
  if (!what.claimed) {
    core::names_digest digest;
    for (const auto& one : known)
      digest.add(core::digest_of(one.name, one.record));
    if (digest != what.own) {
      out.send(from, names_wanted{});
      return;
    }
    std::move(known.begin(), known.end(), std::back_inserter(claims_));
  }
  if (expected_.erase(from) != 0 && expected_.empty())
    merge(now, out);
}

void name_home::merge(core::instant now, wishes& out) {
  auto claims = std::exchange(claims_, {});
  std::sort(claims.begin(), claims.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  std::vector<dispute> clashes;
  for (auto at = claims.begin(); at != claims.end();) {
    const auto next = std::find_if(at, claims.end(), [&](const auto& other) {
      return other.name != at->name;
    });
    if (next - at == 1) {
      names_.emplace_hint(names_.end(), std::move(at->name),
                          std::move(at->record));
    } else {
      std::vector<core::name_record> records;
      std::transform(at, next, std::back_inserter(records),
                     [](auto& one) { return std::move(one.record); });
      settle(at->name, std::move(records), clashes);
    }
    at = next;
  }
  tell_states(!clashes.empty(), out);
  for (auto& one : clashes)
    if (needs_function(one))
      disputes_.push_back(std::move(one));
    else
      change(one.name, std::move(one.first), one.cause, out);
  settle_next(now, out);
}

// Those that another one has replaced do not know it yet. What is left then has
// come from sides that did not know of each other.
void name_home::settle(const std::string& name,
                       std::vector<core::name_record> claims,
                       std::vector<dispute>& clashes) {
  std::erase_if(claims, [all = claims](const core::name_record& one) {
    return std::any_of(all.begin(), all.end(), [&](const auto& other) {
      return other.replaced == one.version && other.version > one.version;
    });
  });
  std::sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) {
    return std::tie(a.since, a.version, a.owner)
           < std::tie(b.since, b.version, b.owner);
  });
  if (claims.size() == 1) {
    names_.emplace(name, std::move(claims.front()));
    return;
  }
  dispute made;
  made.name = name;
  made.first = std::move(claims.front());
  made.others.assign(claims.begin() + 1, claims.end());
  works_[name].busy = true;
  clashes.push_back(std::move(made));
}

// Members that have something else are told everything. If they have names of
// their own, then with new versions, for they may know greater ones than the
// owners do.
void name_home::tell_states(bool clash, wishes& out) {
  core::names_digest digest;
  for (const auto& [name, record] : names_)
    digest.add(core::digest_of(name, record));
  const auto differs = [&](const auto& entry) {
    return entry.second.count != 0 && entry.second != digest;
  };
  const bool anew = clash
                    || std::any_of(digests_.begin(), digests_.end(), differs);
  if (anew)
    for (auto& [name, record] : names_)
      record.version = versions_.next();
  for (const auto& [id, has] : digests_) {
    const bool same = !anew && has == digest;
    if (!same) {
      for (const auto& [name, record] : names_)
        out.send(id, name_state{name, record, false});
      for (const auto& [name, waiting] : works_)
        if (waiting.busy)
          out.send(id, name_state{name, {}, true});
    }
    out.send(id, states_end{same});
  }
}

void name_home::on(const core::node_id& from, const states_ack&, wishes& out) {
  if (unacknowledged_.erase(from) != 0 && open())
    carry_out_all(out);
}

void name_home::grants(bool may, wishes& out) {
  if (may == may_)
    return;
  may_ = may;
  if (open())
    carry_out_all(out);
}

} // namespace coopcache::cluster
