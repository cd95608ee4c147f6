#pragma once

#include "coopcache/cluster/effects.hpp"
#include "coopcache/core/names.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace coopcache::cluster {

/// Somebody wants to register an actor of this node.
struct name_wish {
  std::uint64_t request = 0; ///< unique on this node
  std::string name;
  std::uint64_t actor = 0; ///< unique on this node, not 0
  std::string resolver;    ///< who decides when two sides clash
  bool replace = false;    ///< in place of whoever has the name
  core::instant deadline = core::never;
};

/// One node's replica of all names, and the names that it wants to change.
///
/// A pure machine. Each node is the authority on its own actors: after a view
/// change homes go by what it claims, or says that they know. Invariants:
/// 1. Each wish gets exactly one answer, at its deadline at the latest. One
///    that was answered with an error leaves no registration; but a `replace`
///    that was late may have happened, as what it has replaced is gone.
/// 2. The replica has no name of an owner outside the view, and between views
///    it changes only by what homes say, or because an owner is gone.
/// 3. An owner that loses its name to another is told once.
/// 4. No registration is refused because of an owner of which this node knows
///    that it is gone, or to whose node it has no link.
class name_client {
public:
  explicit name_client(core::node_id self) : self_(std::move(self)) {
  }

  void put(name_wish wish, wishes& out);

  /// Removes a name; with `owner`, only if it is the one of that actor of this
  /// node.
  void remove(std::uint64_t request, const std::string& name,
              const std::optional<core::name_owner>& owner,
              core::instant deadline, wishes& out);

  /// An actor of this node has ended: its names go.
  void owner_gone(std::uint64_t actor, wishes& out);

  /// Drops the names of who is no member, and tells homes that may not know it
  /// of those of this node.
  void enter(const core::view& current, wishes& out);

  /// Repeats to the new homes what is not answered. To be called when all
  /// claims have been sent.
  void repeat(wishes& out);

  /// Ends all wishes: the node leaves.
  void give_up(wishes& out);

  void on(const core::node_id& home, const name_update& what, wishes& out);
  void on(const core::node_id& from, const name_gone& what, wishes& out);
  /// `is_linked`: whether this node has a link to another.
  void on(const name_reply& what,
          const std::function<bool(const core::node_id&)>& is_linked,
          wishes& out);

  /// There is a link to another node: its actors may have their names still.
  void linked(wishes& out);

  /// A home does not know what this node has left out.
  void on(const core::node_id& home, const names_wanted& what, wishes& out);

  void on(const core::node_id& home, const name_state& what);
  void on(const core::node_id& home, const states_end& what, wishes& out);

  /// Ends the wishes whose deadline has passed; `late` is their answer.
  void tick(core::instant now, verdict late, wishes& out);

  [[nodiscard]] core::instant next_wake() const noexcept;

  /// What a member would claim at this home, as far as this node knew when it
  /// entered the view; once.
  [[nodiscard]] std::vector<name_claim>
  take_claims(const core::node_id& member);

  /// Whether all homes of this view have told their names.
  [[nodiscard]] bool synced() const noexcept {
    return untold_.empty() && !homes_.empty();
  }

  [[nodiscard]] const core::names& replica() const noexcept {
    return replica_;
  }

  [[nodiscard]] std::size_t pending() const noexcept {
    return ops_.size() + gone_.size();
  }

private:
  struct op {
    name_action action = name_action::put;
    std::string name;
    core::name_owner owner;
    std::uint64_t op = 0; ///< `remove`: of the registration that was seen
    std::string resolver;
    core::instant deadline = core::never;
    bool applied = false; ///< the registration has been in the replica here
    bool owner_dead = false;
    bool withdrawn = false; ///< answered; the home may carry it out yet
  };

  using ops = std::map<std::uint64_t, op>;

  /// By name: owners' nodes, and registrations.
  using ended = std::map<std::string,
                         std::set<std::pair<core::node_id, std::uint64_t>>>;

  void start(std::uint64_t request, op what, wishes& out);
  void ask(std::uint64_t request, const op& of, wishes& out) const;
  void answer(std::uint64_t request, op& of, verdict how, wishes& out);
  void announce_gone(const std::string& name, const core::name_record& record,
                     wishes& out);
  void set(const std::string& name, const core::name_record& record,
           name_cause cause, wishes& out);
  void unset(const std::string& name, std::uint64_t up_to, name_cause cause,
             wishes& out);
  void ask_again(const std::string* name, wishes& out);
  void tell(const core::node_id& home, const std::string& name,
            const core::name_record& record, names_end& with,
            wishes& out) const;
  void note_applied(const std::string& name, const core::name_record& record,
                    wishes& out);
  void forget_overtaken(ended::iterator of, const core::name_record& by);
  void disown(const std::string& name, std::uint64_t actor);
  [[nodiscard]] const core::name_record* registered(std::uint64_t request,
                                                    const op& by) const;
  [[nodiscard]] bool has_name(std::uint64_t actor) const {
    return own_.contains(actor) || asking_.contains(actor);
  }

  core::node_id self_;
  core::view view_;
  core::homes homes_;
  core::names replica_;
  ops ops_; ///< by request
  std::set<std::pair<core::instant, std::uint64_t>> deadlines_;
  std::map<std::uint64_t, std::set<std::string>> own_; ///< names by actor
  /// Registrations that are not answered, by actor.
  std::map<std::uint64_t, std::set<std::uint64_t>> asking_;
  std::set<std::uint64_t> alive_;    ///< actors here that wanted names
  std::set<std::uint64_t> doubtful_; ///< refused for the sake of nobody
  /// Those whose home is this node, by owner's node, as the view began.
  std::map<core::node_id, std::vector<name_claim>> claims_here_;
  std::map<core::node_id, std::vector<name_state>> told_; ///< by home
  std::map<core::node_id, std::uint64_t> heard_;          ///< versions, by home
  ended gone_; ///< before the home told of them in this view
  std::set<core::node_id> untold_; ///< homes that have not told all
};

} // namespace coopcache::cluster
