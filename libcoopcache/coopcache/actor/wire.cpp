#include "coopcache/actor/wire.hpp"

#include "coopcache/actor/compat.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>

// The serializers find these through the namespaces of their arguments.

namespace coopcache::core {

template <class Inspector>
bool inspect(Inspector& f, node_id& x) {
  return f.apply(x.name) && f.apply(x.incarnation);
}

template <class Inspector>
bool inspect(Inspector& f, view_id& x) {
  return f.apply(x.number) && f.apply(x.proposer);
}

template <class Inspector>
bool inspect(Inspector& f, view& x) {
  return f.apply(x.id) && f.apply(x.members);
}

template <class Inspector>
bool inspect(Inspector& f, name_owner& x) {
  return f.apply(x.node) && f.apply(x.actor);
}

template <class Inspector>
bool inspect(Inspector& f, name_record& x) {
  return f.apply(x.owner) && f.apply(x.version) && f.apply(x.op)
         && f.apply(x.replaced) && f.apply(x.since) && f.apply(x.resolver);
}

template <class Inspector>
bool inspect(Inspector& f, names_digest& x) {
  return f.apply(x.count) && f.apply(x.sum);
}

} // namespace coopcache::core

namespace coopcache::cluster {

namespace {

/// An enumeration whose last value is `last`.
template <class Inspector, class Enum>
bool inspect_enum(Inspector& f, Enum& x, Enum last) {
  auto number = static_cast<std::uint8_t>(x);
  if (!f.apply(number) || number > static_cast<std::uint8_t>(last))
    return false;
  x = static_cast<Enum>(number);
  return true;
}

/// A variant: the index of its alternative, then that.
template <std::size_t I = 0, class Inspector, class Variant>
bool inspect_alternative(Inspector& f, Variant& x, std::size_t index) {
  if constexpr (I < std::variant_size_v<Variant>) {
    if (index != I)
      return inspect_alternative<I + 1>(f, x, index);
    if (x.index() != I)
      x.template emplace<I>();
    return inspect(f, std::get<I>(x));
  } else {
    return false;
  }
}

template <class Inspector, class Variant>
bool inspect_variant(Inspector& f, Variant& x) {
  auto index = static_cast<std::uint8_t>(x.index());
  return f.apply(index) && inspect_alternative(f, x, index);
}

} // namespace

template <class Inspector>
bool inspect(Inspector& f, beat& x) {
  return f.apply(x.sent) && f.apply(x.echo) && f.apply(x.installed)
         && f.apply(x.promised) && f.apply(x.links) && f.apply(x.leaving)
         && f.apply(x.starting) && f.apply(x.forming);
}

template <class Inspector>
bool inspect(Inspector& f, propose& x) {
  return f.apply(x.next) && f.apply(x.dead) && f.apply(x.leaving);
}

template <class Inspector>
bool inspect(Inspector& f, accept& x) {
  return f.apply(x.id) && f.apply(x.wait);
}

template <class Inspector>
bool inspect(Inspector& f, refuse& x) {
  return f.apply(x.id) && f.apply(x.promised);
}

template <class Inspector>
bool inspect(Inspector& f, install& x) {
  return f.apply(x.next);
}

template <class Inspector>
bool inspect(Inspector& f, lock_request& x) {
  return f.apply(x.seq) && f.apply(x.resource) && f.apply(x.requester)
         && f.apply(x.ticket) && f.apply(x.once);
}

template <class Inspector>
bool inspect(Inspector& f, lock_claim& x) {
  return f.apply(x.seq) && f.apply(x.resource) && f.apply(x.requester)
         && f.apply(x.token);
}

template <class Inspector>
bool inspect(Inspector& f, lock_release& x) {
  return f.apply(x.seq) && f.apply(x.handed_on);
}

template <class Inspector>
bool inspect(Inspector& f, lock_queued& x) {
  return f.apply(x.seq) && f.apply(x.ticket);
}

template <class Inspector>
bool inspect(Inspector& f, lock_granted& x) {
  return f.apply(x.seq) && f.apply(x.token) && f.apply(x.handed_on);
}

template <class Inspector>
bool inspect(Inspector& f, lock_next& x) {
  return f.apply(x.seq) && f.apply(x.node) && f.apply(x.next)
         && f.apply(x.token);
}

template <class Inspector>
bool inspect(Inspector& f, lock_taken& x) {
  return f.apply(x.seq) && f.apply(x.resource) && f.apply(x.token);
}

template <class Inspector>
bool inspect(Inspector& f, lock_keep& x) {
  return f.apply(x.seq) && f.apply(x.token);
}

template <class Inspector>
bool inspect(Inspector& f, lock_kept& x) {
  return f.apply(x.seq) && f.apply(x.resource) && f.apply(x.token);
}

template <class Inspector>
bool inspect(Inspector& f, lock_refused& x) {
  return f.apply(x.seq);
}

template <class Inspector>
bool inspect(Inspector& f, lock_revoked& x) {
  return f.apply(x.seq);
}

template <class Inspector>
bool inspect(Inspector& f, lock_check& x) {
  return f.apply(x.holds);
}

template <class Inspector>
bool inspect(Inspector& f, lock_checked& x) {
  return f.apply(x.overtaken);
}

template <class Inspector>
bool inspect(Inspector& f, name_request& x) {
  return f.apply(x.seq) && inspect_enum(f, x.action, name_action::confirm)
         && f.apply(x.name) && f.apply(x.owner) && f.apply(x.op)
         && f.apply(x.resolver) && f.apply(x.answer);
}

template <class Inspector>
bool inspect(Inspector& f, name_cancel& x) {
  return f.apply(x.seq) && f.apply(x.name);
}

template <class Inspector>
bool inspect(Inspector& f, name_reply& x) {
  return f.apply(x.seq) && f.apply(x.done);
}

template <class Inspector>
bool inspect(Inspector& f, name_update& x) {
  return f.apply(x.name) && f.apply(x.record)
         && inspect_enum(f, x.cause, name_cause::clash_exit);
}

template <class Inspector>
bool inspect(Inspector& f, name_ack& x) {
  return f.apply(x.name) && f.apply(x.version);
}

template <class Inspector>
bool inspect(Inspector& f, name_gone& x) {
  return f.apply(x.name) && f.apply(x.version) && f.apply(x.op);
}

template <class Inspector>
bool inspect(Inspector& f, name_claim& x) {
  return f.apply(x.name) && f.apply(x.record);
}

template <class Inspector>
bool inspect(Inspector& f, claims_end& x) {
  return f.apply(x.lineage);
}

template <class Inspector>
bool inspect(Inspector& f, names_end& x) {
  return f.apply(x.has) && f.apply(x.own) && f.apply(x.claimed);
}

template <class Inspector>
bool inspect(Inspector&, names_wanted&) {
  return true;
}

template <class Inspector>
bool inspect(Inspector& f, name_state& x) {
  return f.apply(x.name) && f.apply(x.record) && f.apply(x.disputed);
}

template <class Inspector>
bool inspect(Inspector& f, states_end& x) {
  return f.apply(x.same);
}

template <class Inspector>
bool inspect(Inspector&, states_ack&) {
  return true;
}

// Element by element: CAF does not find how to inspect a variant of ours.
template <class Inspector>
bool inspect(Inspector& f, packet& x) {
  auto count = static_cast<std::uint32_t>(x.bodies.size());
  if (!f.apply(x.view) || !f.apply(x.first) || !f.apply(x.received)
      || !f.apply(count) || count > most_in_packet)
    return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (i == x.bodies.size()) // one by one: nobody has vouched for the count
      x.bodies.emplace_back();
    if (!inspect_variant(f, x.bodies[i]))
      return false;
  }
  return true;
}

template <class Inspector>
bool inspect(Inspector& f, message& x) {
  return inspect_variant(f, x);
}

// Of another version nothing is known but where its number stands.
template <class Inspector>
bool inspect(Inspector& f, greeting& x) {
  if (!f.apply(x.protocol))
    return false;
  if (x.protocol != protocol_version)
    return true;
  return inspect_enum(f, x.is, greeting::step::refuse) && f.apply(x.self)
         && f.apply(x.endpoint) && f.apply(x.cluster) && f.apply(x.detection_ms)
         && f.apply(x.strict) && f.apply(x.first_type_id) && f.apply(x.refusal)
         && f.apply(x.peers);
}

template <class Inspector>
bool inspect(Inspector& f, acquaintance& x) {
  return f.apply(x.endpoint);
}

} // namespace coopcache::cluster

namespace coopcache::actor {

namespace {

bool is_foreign(const cluster::link_message& what) {
  const auto* const greets = std::get_if<cluster::greeting>(&what);
  return greets != nullptr && greets->protocol != cluster::protocol_version;
}

} // namespace

std::string encode(const cluster::link_message& what) {
  caf::byte_buffer bytes;
  auto sink = sink_to(bytes);
  // Saving does not change what is saved.
  static_cast<void>(
    cluster::inspect_variant(sink, const_cast<cluster::link_message&>(what)));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<cluster::link_message> decode(std::string_view bytes) {
  auto source = source_of(bytes);
  cluster::link_message result;
  if (!cluster::inspect_variant(source, result)
      || (source.remaining() != 0 && !is_foreign(result)))
    return std::nullopt;
  return result;
}

} // namespace coopcache::actor
