#include "coopcache/cluster/name_client.hpp"

#include <utility>

// All names of the cluster, and which of them are this node's.

namespace coopcache::cluster {

void name_client::disown(const std::string& name, std::uint64_t actor) {
  const auto own = own_.find(actor);
  own->second.erase(name);
  if (own->second.empty())
    own_.erase(own);
}

void name_client::set(const std::string& name, const core::name_record& record,
                      name_cause cause, wishes& out) {
  const auto* const old = replica_.find(name);
  const auto before = old == nullptr ? core::name_owner{} : old->owner;
  if (const auto gone = gone_.find(name);
      gone != gone_.end()
      && gone->second.contains({record.owner.node, record.op})) {
    if (before.actor != 0 && before.node == self_
        && old->version < record.version)
      out.effects.emplace_back(owner_told{name, before, cause});
    unset(name, record.version, name_cause::request, out);
    return;
  }
  if (!replica_.put(name, record))
    return;
  note_applied(name, record, out);
  if (before != record.owner) {
    if (before.actor != 0 && before.node == self_) {
      disown(name, before.actor);
      out.effects.emplace_back(owner_told{name, before, cause});
    }
    if (record.owner.node == self_)
      own_[record.owner.actor].insert(name);
  }
  out.effects.emplace_back(name_changed{name, record});
}

void name_client::unset(const std::string& name, std::uint64_t up_to,
                        name_cause cause, wishes& out) {
  const auto* const old = replica_.find(name);
  if (old == nullptr)
    return;
  const auto before = old->owner;
  if (!replica_.remove(name, up_to))
    return;
  if (before.node == self_) {
    disown(name, before.actor);
    if (cause != name_cause::request)
      out.effects.emplace_back(owner_told{name, before, cause});
  }
  out.effects.emplace_back(name_changed{name, {}});
}

// Our own registration has arrived: it has happened, whatever becomes of the
// reply. If nobody wants it any more, it is taken back, unless another one was
// replaced, which cannot be had back.
void name_client::note_applied(const std::string& name,
                               const core::name_record& record, wishes& out) {
  if (record.owner.node != self_)
    return;
  const auto at = ops_.find(record.op);
  const bool ours = at != ops_.end() && at->second.owner == record.owner;
  if (ours)
    at->second.applied = true;
  const bool unwanted = ours && at->second.withdrawn
                        && at->second.action == name_action::put;
  if (unwanted || !alive_.contains(record.owner.actor))
    announce_gone(name, record, out);
}

void name_client::on(const core::node_id& home, const name_update& what,
                     wishes& out) {
  heard_[home] = what.record.version;
  if (what.record.owner.actor != 0) {
    if (const auto at = gone_.find(what.name); at != gone_.end())
      forget_overtaken(at, what.record);
    set(what.name, what.record, what.cause, out);
  } else {
    gone_.erase(what.name);
    unset(what.name, what.record.version, what.cause, out);
  }
  out.send(home, name_ack{what.name, what.record.version});
  ask_again(&what.name, out);
}

// Of those that have ended, what the home tells of next is not to come after a
// later one.
void name_client::forget_overtaken(ended::iterator of,
                                   const core::name_record& by) {
  std::erase_if(of->second, [&](const auto& one) {
    return one != std::pair{by.owner.node, by.op};
  });
  if (of->second.empty())
    gone_.erase(of);
}

// What the home has yet to say of that registration is skipped.
void name_client::on(const core::node_id& from, const name_gone& what,
                     wishes& out) {
  if (heard_[homes_.of(what.name)] < what.version)
    gone_[what.name].emplace(from, what.op);
  const auto* const record = replica_.find(what.name);
  if (record != nullptr && record->owner.node == from && record->op == what.op)
    unset(what.name, record->version, name_cause::request, out);
}

} // namespace coopcache::cluster
