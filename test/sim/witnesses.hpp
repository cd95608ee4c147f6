#pragma once

#include "sim/world.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace coopcache::sim {

/// Asserts the invariants of membership:
/// * ids of views that a node accepts, and that it installs, grow, and one id
///   means one view;
/// * each member of an installed view has accepted it before;
/// * a view without some member of the last one is installed only when that
///   member may not serve any more (permission);
/// * at rest, all nodes that can talk are in one view.
class membership_witness {
public:
  void acted(const world& w, std::size_t node, const cluster::effect& what);
  void crashed(std::size_t node);
  /// All nodes that run are connected, and everything has settled.
  void at_rest(const world& w) const;

private:
  std::map<core::view_id, std::vector<core::node_id>> views_;
  std::set<std::pair<core::view_id, core::node_id>> accepted_;
  std::map<core::node_id, core::view_id> promised_; ///< the greatest accepted
  std::map<std::size_t, core::view_id> last_;       ///< by node
};

/// Asserts the invariants of locks:
/// * exclusion: when a home grants, no member of its view believes in another
///   requester's hold that was not revoked; in a strict cluster nobody at all
///   does who could know;
/// * tokens grow, for all that a member of the granting view has seen;
/// * each wish is answered once, and by its deadline;
/// * FIFO: nobody is granted while another requester waits with a smaller
///   ticket, unless it shares the lock with its holder;
/// * an answer to an unlock fits what the client was granted and told, however
///   often it has locked;
/// * in a strict cluster no majority is in a view while a node that is not in
///   it may still believe in its locks;
/// * long after a heal nobody holds what another requester was granted with a
///   greater token, on a node that still runs;
/// * at rest nobody waits, homes have no residue, and one requester holds.
class lock_witness {
public:
  /// Of a strict cluster of so many nodes; 0: of another one.
  explicit lock_witness(std::size_t strict) : strict_(strict) {
  }

  void wished(const world& w, std::size_t node, const cluster::lock_wish& wish);
  void client_gone(const world& w, std::uint64_t client);
  void planned(const world& w, std::size_t node,
               const cluster::registry::effects& all);
  void acted(const world& w, std::size_t node, const cluster::effect& what);
  void crashed(std::size_t node);
  void on_time(const world& w);
  /// All nodes have been connected for long.
  void one_holder(const world& w) const;
  /// A resource that some wait for and nobody holds; empty: none. A view change
  /// or a hand-over may be going on.
  [[nodiscard]] static std::string unheld(const world& w);
  void at_rest(const world& w) const;

  struct hold {
    std::uint64_t request;
    std::size_t node;
    cluster::lock_wish wish;
    std::uint64_t token;
    std::uint64_t count = 1;   ///< times that it was locked
    std::uint64_t handles = 0; ///< of these by handle
  };

  /// What the client has to give back next, or null: the oldest.
  [[nodiscard]] const hold* held_by(std::uint64_t client) const;

  /// It is given back once: says what the answer has to be.
  cluster::unlocked give_back(const world& w, std::uint64_t request);

  /// No message is lost from now on: who waits has what is given back, or held
  /// by a client that has ended, in two trips, if the view is not new, and
  /// stays. Each one before him that gives up since, or in the two trips
  /// before, takes two more.
  void expect_hand_overs(nanos trip) {
    trip_ = trip;
  }

  /// How many it has seen.
  [[nodiscard]] std::size_t hand_overs() const noexcept {
    return hand_overs_;
  }

private:
  struct open_wish {
    std::size_t node;
    cluster::lock_wish wish;
    std::vector<core::view_id> views{}; ///< of its node, since it was asked
    /// Who had a place when it was asked, and how many views that one had seen
    /// before the one of that moment.
    std::map<std::uint64_t, std::size_t> behind{};
  };

  /// A resource that was given back.
  struct freed {
    instant when;
    core::view_id in;
    std::set<std::uint64_t> waiters; ///< that had a place then, in that view
  };

  void granting(const world& w, std::size_t by, std::uint64_t request,
                std::uint64_t token);
  void note_turn(const core::view_id& in, std::uint64_t request,
                 std::uint64_t token, bool was_claimed = false);
  [[nodiscard]] bool may_share(const core::view_id& in,
                               const cluster::lock_wish& wish,
                               std::uint64_t token) const;
  void check_order(const world& w, const core::view& in,
                   const open_wish& mine) const;
  void check_turn(const core::view_id& in, const open_wish& mine) const;
  [[nodiscard]] std::vector<std::uint64_t>
  waiters(const world& w, const std::string& resource,
          const core::view_id& in) const;
  void check_hand_over(const world& w, const std::string& resource);
  void granted(const world& w, std::size_t node,
               const cluster::lock_answer& what);

  void note_freed(const world& w, std::size_t node,
                  const std::string& resource);
  void lost(std::uint64_t request);
  void check_majority(const world& w, const core::view& now) const;
  /// Forgets what is for a client, or on a node.
  template <class F>
  void forget_if(F f);

  std::size_t strict_;
  std::map<std::uint64_t, open_wish> open_;
  std::map<std::uint64_t, open_wish> all_; ///< all wishes that were made
  std::map<std::uint64_t, hold> holds_;    ///< those that are believed in
  std::map<std::uint64_t, hold> lost_;     ///< those still to be given back
  std::set<std::uint64_t> revoked_;        ///< the home has said so
  std::set<std::uint64_t> ended_;
  std::optional<nanos> trip_; ///< at most
  instant viewed_{};          ///< the last change of a view
  std::size_t hand_overs_ = 0;
  std::map<std::string, freed> freed_;
  std::map<std::string, std::vector<instant>> gave_up_; ///< by resource
  std::set<std::uint64_t> got_it_; ///< those that were ever believed in
  /// Who has held a resource in a view, or was to.
  struct turn {
    std::uint64_t request = 0;
    bool was_claimed = false; ///< it was got in an earlier view
  };

  std::map<std::pair<core::view_id, std::string>,
           std::map<std::uint64_t, turn>> // by token
    turns_;
  /// By view, resources and requesters whose clients have ended waiting.
  std::set<std::tuple<core::view_id, std::string, std::string>> ended_waiting_;
  std::set<std::pair<core::view_id, std::uint64_t>> checked_;
  /// The greatest token that a node has got.
  std::map<std::pair<core::node_id, std::string>, std::uint64_t> got_;
  /// The greatest token that a requester of a node has got, by resource.
  std::map<std::string,
           std::map<std::pair<std::size_t, std::string>, std::uint64_t>>
    had_;
  /// The greatest token that a node has given or got, and whose it is.
  std::map<std::pair<core::node_id, std::string>,
           std::pair<std::uint64_t, std::string>>
    seen_;
};

/// Asserts the invariants of names:
/// * read own write: at `done`, all members of the view find the owner, or
///   something later;
/// * unique: at `done`, no other living owner of a member has been told so;
/// * no loss: a name goes with its owner, its owner's node, at somebody's wish,
///   or in a clash that nobody wins;
/// * versions of a name never go back on a node, nor does one come again in the
///   view in which it went, unless it went with its owner's node;
/// * no node that enters a view has a name of who is no member of it;
/// * no resurrection of what was removed;
/// * an owner is told at most once that it lost a name;
/// * a node asks a resolver once about a clash;
/// * each wish is answered once, and by its deadline;
/// * at rest all replicas are equal, and hold just the owners that live and
///   have not lost their names.
class name_witness {
public:
  void wished(const world& w, std::size_t node, const cluster::name_wish& wish);
  void removing(const world& w, std::size_t node, std::uint64_t request,
                const std::string& name,
                const std::optional<core::name_owner>& owner = {});
  void owner_gone(std::uint64_t actor);
  void planned(const cluster::registry::effects& all);
  void acted(const world& w, std::size_t node, const cluster::effect& what);
  void crashed(std::size_t node);
  void on_time(const world& w) const;
  void at_rest(const world& w) const;

private:
  struct registration {
    std::size_t node;
    cluster::name_wish wish;
    bool was_there = false;     ///< in the replica of its node
    bool told = false;          ///< done
    bool lost = false;          ///< the owner was told so
    bool dead = false;          ///< the owner has ended
    bool maybe_removed = false; ///< somebody has tried to
    /// ... and was told in this view that it is done; older views may still
    /// have it.
    std::optional<core::view_id> removed;
    bool answered = false;
  };

  struct removal {
    std::size_t node;
    std::uint64_t target; ///< the registration that was seen; 0: none
    instant deadline;
    bool refused = false; ///< it is about another owner
    bool answered = false;
  };

  /// What a node has, or had, of a name.
  struct last_version {
    std::uint64_t version;
    core::node_id owner;
    std::optional<core::view_id> gone{}; ///< in this view it went
  };

  void check_version(const world& w, std::size_t node,
                     const cluster::name_changed& what);
  [[nodiscard]] bool
  passed_on(const std::pair<core::view_id, std::string>& name,
            std::uint64_t from) const;
  void check_done(const world& w, const registration& mine,
                  std::uint64_t request) const;
  void check_loss(const world& w, std::size_t node,
                  const std::string& name) const;

  std::map<std::uint64_t, registration> all_; ///< by request
  std::map<std::uint64_t, removal> removals_;
  /// Names that nobody has won, by view.
  std::set<std::pair<core::view_id, std::string>> unwon_;
  /// The registration that a home has told of last, by view and name.
  std::map<std::pair<core::view_id, std::string>, std::uint64_t> told_last_;
  /// By node and name.
  std::map<std::pair<std::size_t, std::string>, last_version> versions_;
  /// By node and name: the registration that was there last.
  std::map<std::pair<std::size_t, std::string>, std::uint64_t> has_;
  /// The greatest that a node has ever had.
  std::map<std::pair<std::size_t, std::string>, std::uint64_t> greatest_;
  /// By node: name, and the actors that were to be told apart.
  std::map<std::size_t,
           std::set<std::tuple<std::string, std::uint64_t, std::uint64_t>>>
    asked_;
};

} // namespace coopcache::sim
