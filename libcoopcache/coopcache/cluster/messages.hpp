#pragma once

#include "coopcache/core/names.hpp"
#include "coopcache/core/view.hpp"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

/// @file
/// What nodes send each other. PROTOCOL.md tells which flow uses which.

namespace coopcache::cluster {

// -- membership: between any two nodes that have a link -----------------------

/// The regular sign of life, sent at once when something in it has changed.
struct beat {
  std::uint64_t sent = 0; ///< the sender's clock, to be echoed
  /// `sent` of the last beat received; 0: no permission.
  std::uint64_t echo = 0;
  core::view installed;             ///< the view that the sender is in
  core::view_id promised;           ///< the greatest id that it has accepted
  std::vector<core::node_id> links; ///< whom it can talk to
  bool leaving = false;             ///< it will not join a view any more
  bool starting = false;            ///< it will not join a view yet
  bool forming = false;             ///< it joins, but still looks for its peers

  friend bool operator==(const beat&, const beat&) = default;
};

/// Asks for the consent of a member-to-be.
struct propose {
  core::view next;
  std::vector<core::node_id> dead;    ///< left out, and known not to run
  std::vector<core::node_id> leaving; ///< left out, and count on nobody

  friend bool operator==(const propose&, const propose&) = default;
};

/// Consents. The sender grants nothing until a view is installed.
struct accept {
  core::view_id id;
  std::uint64_t wait = 0; ///< ns for which somebody left out may grant

  friend bool operator==(const accept&, const accept&) = default;
};

/// Declines, because the sender has accepted a greater id.
struct refuse {
  core::view_id id;       ///< what is refused
  core::view_id promised; ///< what is in the way

  friend bool operator==(const refuse&, const refuse&) = default;
};

/// All have consented.
struct install {
  core::view next;

  friend bool operator==(const install&, const install&) = default;
};

// -- locks: between a requester's node and the home ---------------------------

/// Asks for a lock, or, after a view change, for the place in the queue that
/// the request had.
struct lock_request {
  std::uint64_t seq = 0; ///< unique on the sender
  std::string resource;
  std::string requester;
  std::uint64_t ticket = 0; ///< given by an earlier home; 0: none
  bool once = false;        ///< do not queue

  friend bool operator==(const lock_request&, const lock_request&) = default;
};

/// Tells a new home of a lock that is held.
struct lock_claim {
  std::uint64_t seq = 0;
  std::string resource;
  std::string requester;
  std::uint64_t token = 0;

  friend bool operator==(const lock_claim&, const lock_claim&) = default;
};

/// Gives a lock back, or takes a request back.
struct lock_release {
  std::uint64_t seq = 0;
  bool handed_on = false; ///< as `lock_next` said: this need not hurry

  friend bool operator==(const lock_release&, const lock_release&) = default;
};

struct lock_queued {
  std::uint64_t seq = 0;
  std::uint64_t ticket = 0;

  friend bool operator==(const lock_queued&, const lock_queued&) = default;
};

struct lock_granted {
  std::uint64_t seq = 0;
  std::uint64_t token = 0;
  bool handed_on = false; ///< by the holder before: the home is to be told

  friend bool operator==(const lock_granted&, const lock_granted&) = default;
};

/// Tells the only holder who is next. Its node grants the lock there when it is
/// given back, on behalf of the home: one trip instead of two.
struct lock_next {
  std::uint64_t seq = 0;  ///< of the holder
  core::node_id node;     ///< of who is next
  std::uint64_t next = 0; ///< its request
  std::uint64_t token = 0;

  friend bool operator==(const lock_next&, const lock_next&) = default;
};

/// The lock was handed on to the sender, which tells the home at once; that its
/// holder has gone need not hurry.
struct lock_taken {
  std::uint64_t seq = 0;
  std::string resource;
  std::uint64_t token = 0; ///< as in `lock_next`

  friend bool operator==(const lock_taken&, const lock_taken&) = default;
};

/// Takes `lock_next` back: somebody is to share the lock with its holder, or
/// nobody waits any more.
struct lock_keep {
  std::uint64_t seq = 0;
  std::uint64_t token = 0; ///< as in `lock_next`

  friend bool operator==(const lock_keep&, const lock_keep&) = default;
};

/// The holder will hand the lock on to nobody.
struct lock_kept {
  std::uint64_t seq = 0;
  std::string resource;
  std::uint64_t token = 0; ///< as in `lock_keep`

  friend bool operator==(const lock_kept&, const lock_kept&) = default;
};

/// It is taken, and the request was not to be queued.
struct lock_refused {
  std::uint64_t seq = 0;

  friend bool operator==(const lock_refused&, const lock_refused&) = default;
};

/// Somebody else holds it with a greater token: two sides have met.
struct lock_revoked {
  std::uint64_t seq = 0;

  friend bool operator==(const lock_revoked&, const lock_revoked&) = default;
};

/// To a member that was in other views than the sender: some of what the sender
/// holds.
struct lock_check {
  std::vector<lock_claim> holds;

  friend bool operator==(const lock_check&, const lock_check&) = default;
};

/// Which of these another requester of this node has had since.
struct lock_checked {
  std::vector<std::uint64_t> overtaken; ///< by `seq`

  friend bool operator==(const lock_checked&, const lock_checked&) = default;
};

// -- names: between an owner's node, the home and all members -----------------

/// What is to become of a name.
enum class name_action : std::uint8_t {
  put,     ///< register; refused if the name is taken
  replace, ///< register in any case
  remove,  ///< unregister, if it is still the registration that was seen
  confirm, ///< registered in an earlier view: answer when all members know
};

struct name_request {
  std::uint64_t seq = 0; ///< unique on the sender
  name_action action = name_action::put;
  std::string name;
  core::name_owner owner; ///< `remove`: of the registration that was seen
  std::uint64_t op = 0;   ///< `remove`: of the registration that was seen
  std::string resolver;   ///< unused by `remove`
  bool answer = true;     ///< whether the sender waits for one

  friend bool operator==(const name_request&, const name_request&) = default;
};

/// The sender waits no longer. A request that is already carried out is not
/// undone by it.
struct name_cancel {
  std::uint64_t seq = 0;
  std::string name;

  friend bool operator==(const name_cancel&, const name_cancel&) = default;
};

struct name_reply {
  std::uint64_t seq = 0;
  bool done = false;

  friend bool operator==(const name_reply&, const name_reply&) = default;
};

/// Why a replica is to change.
enum class name_cause : std::uint8_t {
  request,    ///< somebody asked for it
  clash,      ///< the owner has lost a clash, and lives on
  clash_exit, ///< the owner has lost a clash, and is to end
};

/// Sets or removes one name in every replica.
struct name_update {
  std::string name;
  core::name_record record; ///< without owner: the name is removed
  name_cause cause = name_cause::request;

  friend bool operator==(const name_update&, const name_update&) = default;
};

struct name_ack {
  std::string name;
  std::uint64_t version = 0;

  friend bool operator==(const name_ack&, const name_ack&) = default;
};

/// A hint of the owner's node, ahead of the home's update: the owner is dead.
struct name_gone {
  std::string name;
  std::uint64_t version = 0; ///< as the owner's node has it
  std::uint64_t op = 0;      ///< the registration

  friend bool operator==(const name_gone&, const name_gone&) = default;
};

// -- after a view change ------------------------------------------------------

/// Tells a home of a name whose owner lives on the sender's node.
struct name_claim {
  std::string name;
  core::name_record record;

  friend bool operator==(const name_claim&, const name_claim&) = default;
};

/// The sender has told this home of all its locks.
struct claims_end {
  /// Who says the same has been in the same views; 0: in none.
  std::uint64_t lineage = 0;

  friend bool operator==(const claims_end&, const claims_end&) = default;
};

/// The sender has told this home of its names, or expects it to know them. Both
/// digests are empty when it follows `names_wanted`.
struct names_end {
  core::names_digest has; ///< the home's names in the sender's replica
  core::names_digest own; ///< those of them that the sender may claim
  bool claimed = false;   ///< name by name, before this

  friend bool operator==(const names_end&, const names_end&) = default;
};

/// The sender, a home, does not know what the receiver expects it to.
struct names_wanted {
  friend bool operator==(const names_wanted&, const names_wanted&) = default;
};

/// One name of the home's, to be set in the replica.
struct name_state {
  std::string name;
  core::name_record record;
  bool disputed = false; ///< keep what you have: a resolver is being asked

  friend bool operator==(const name_state&, const name_state&) = default;
};

/// The home's names are complete; those not told are to be removed.
struct states_end {
  bool same = false; ///< the receiver has what the home has; nothing was told

  friend bool operator==(const states_end&, const states_end&) = default;
};

struct states_ack {
  friend bool operator==(const states_ack&, const states_ack&) = default;
};

/// What travels between members of one view, in order, once.
using body = std::variant<
  lock_request, lock_claim, lock_release, lock_queued, lock_granted, lock_next,
  lock_taken, lock_keep, lock_kept, lock_refused, lock_revoked, lock_check,
  lock_checked, name_request, name_cancel, name_reply, name_update, name_ack,
  name_gone, name_claim, claims_end, names_end, names_wanted, name_state,
  states_end, states_ack>;

/// Bodies in one packet; one that claims to have more is not believed.
inline constexpr std::size_t most_in_packet = 1000;

/// All that one turn has for one member.
struct packet {
  core::view_id view;         ///< bodies of other views have no effect
  std::uint64_t first = 0;    ///< position of the first body, from 0
  std::uint64_t received = 0; ///< bodies that the sender got from the receiver
  std::vector<body> bodies;   ///< empty: an acknowledgement only

  friend bool operator==(const packet&, const packet&) = default;
};

/// Everything that goes over a link.
using message = std::variant<beat, propose, accept, refuse, install, packet>;

} // namespace coopcache::cluster
