#pragma once

#include "coopcache/cluster/component.hpp"
#include "coopcache/cluster/messages.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace coopcache::cluster {

/// The two clocks of a node, read when an event comes in.
struct clocks {
  core::instant now;
  std::uint64_t wall = 0; ///< Unix time in ms; may jump
};

/// Numbers of views stay below it; those of peers that do not are not believed.
inline constexpr std::uint64_t largest_view_number = std::uint64_t{1} << 42;

/// What views are numbered from: a wall clock that shows a year after 2091
/// counts as 1, for numbers must be able to grow from there.
[[nodiscard]] constexpr std::uint64_t usable(std::uint64_t wall) noexcept {
  return wall > 0 && wall < largest_view_number / 8 * 7 ? wall : 1;
}

struct membership_settings {
  /// After so long a silence a link counts as broken.
  std::chrono::nanoseconds detection{std::chrono::milliseconds{1500}};
  /// Signs of life are so far apart.
  std::chrono::nanoseconds beat{std::chrono::milliseconds{150}};
  /// Nodes that join within it join together.
  std::chrono::nanoseconds settle{std::chrono::milliseconds{50}};
  /// A node waits so long for its configured peers before it goes on alone.
  std::chrono::nanoseconds join_timeout{std::chrono::milliseconds{1500}};
  /// Whether a node that starts keeps the promises that it may have given in an
  /// earlier life: it joins nobody before they have run out.
  bool remembers = false;
};

/// To be sent over the link to `to`.
struct send_message {
  core::node_id to;
  message what;
};

/// The link to `peer` is of no use any more: close it, and try anew.
struct drop_link {
  core::node_id peer;
};

using membership_effect = std::variant<send_message, drop_link>;

/// Which nodes are members, as the members agree on it: one node's part.
///
/// A pure machine: no I/O, no clock, no chance. Not thread-safe. Each node
/// sends beats over all its links and says in them whom it can talk to. From
/// that every node computes the same component; who ranks first in it proposes
/// it as the next view, the others accept, then it is installed. PROTOCOL.md
/// has the flows.
///
/// Invariants:
/// 1. Accepted ids and installed ids of a node only grow.
/// 2. A view is installed somewhere only after each of its members has
///    accepted it.
/// 3. Between accepting an id and installing a view, nothing is granted.
/// 4. A view without a member of the last one is installed only when that
///    member's `serve_until` has passed, or the member does not run any more.
/// 5. Memory is bounded by the number of linked nodes.
class membership {
public:
  using effects = std::vector<membership_effect>;

  membership(core::node_id self, const membership_settings& settings,
             const clocks& at);

  /// A link to `peer` was opened, and answered.
  void linked(const core::node_id& peer, const clocks& at, effects& out);

  /// The link to `peer` has closed. `dead`: its process does not run any more;
  /// else there may soon be another link.
  void unlinked(const core::node_id& peer, bool dead, const clocks& at,
                effects& out);

  void receive(const core::node_id& from, const message& what, const clocks& at,
               effects& out);

  /// Something else than a message has come from it.
  void heard(const core::node_id& from, core::instant when);

  /// To be called at `next_wake`, or at any other time.
  void tick(const clocks& at, effects& out);

  /// Every configured peer is linked, or could not be reached.
  void probed(const clocks& at, effects& out);

  /// Leaves the cluster; the others go on without this node. Cannot be undone.
  void leave(const clocks& at, effects& out);

  /// Asks for a new view of the same members; for a home whose numbers are
  /// used up.
  void renew(const clocks& at, effects& out);

  [[nodiscard]] const core::node_id& self() const noexcept {
    return self_;
  }

  [[nodiscard]] const core::view& current() const noexcept {
    return installed_;
  }

  /// Until when no other node can be in a later view than this one. Direct
  /// hits, and grants, end then.
  [[nodiscard]] core::instant serve_until() const noexcept;

  /// Until when so many nodes of the view, this one included, will not go on
  /// without it; `core::never` for one.
  [[nodiscard]] core::instant kept_until(std::size_t nodes) const;

  /// Until when a home on this node may grant if nothing happens; the past if
  /// it may not now.
  [[nodiscard]] core::instant grants_until() const noexcept {
    return changing() || forming_ || leaving_ ? core::instant{} : serve_until();
  }

  /// Whether an id was accepted whose view is not installed.
  [[nodiscard]] bool changing() const noexcept {
    return promised_.id != installed_.id;
  }

  /// Whether the node still waits for its configured peers.
  [[nodiscard]] bool forming() const noexcept {
    return forming_;
  }

  [[nodiscard]] bool leaving() const noexcept {
    return leaving_;
  }

  /// Whether a linked node has said that it leaves.
  [[nodiscard]] bool leaves(const core::node_id& peer) const;

  /// Whether all other members have gone on without this node, which leaves.
  [[nodiscard]] bool has_left() const noexcept;

  /// Nodes that can be talked to, without this one.
  [[nodiscard]] std::vector<core::node_id> links() const;

  /// Whether there is a link to it now.
  [[nodiscard]] bool is_linked(const core::node_id& who) const {
    const auto at = peers_.find(who);
    return at != peers_.end() && at->second.linked;
  }

  [[nodiscard]] core::instant next_wake() const noexcept;

private:
  struct peer {
    core::instant heard;       ///< last sign of life
    core::instant permitted{}; ///< own clock: the last beat that was echoed
    std::uint64_t to_echo = 0; ///< its clock
    core::instant echoed{};    ///< when it last got an echo
    bool spoke = false;        ///< a beat has come
    bool linked = true;        ///< else its link was lost, and may come back
    beat last;
  };

  struct proposal {
    core::view next;
    std::set<core::node_id> missing; ///< have not accepted yet
    core::instant ready;             ///< not to be installed before
    core::instant resend;
    core::instant since;
  };

  /// How often a node was lost of late; for back-off.
  struct losses {
    std::int64_t count = 0;
    core::instant last{};
  };

  using peers = std::map<core::node_id, peer>;

  void on(const core::node_id& from, const beat& what, const clocks& at,
          effects& out);
  void on(const core::node_id& from, const propose& what, const clocks& at,
          effects& out);
  void on(const core::node_id& from, const accept& what, const clocks& at,
          effects& out);
  void on(const core::node_id& from, const refuse& what, const clocks& at,
          effects& out);
  void on(const core::node_id& from, const install& what, const clocks& at,
          effects& out);

  void note_time(core::instant now);
  void note_number(std::uint64_t number) noexcept;
  void lose(peers::iterator who, bool dead, core::instant now);
  void note_loss() noexcept;
  void note_dead(const core::node_id& id);
  void lose_the_silent(core::instant now, effects& out);
  void forget_old_losses(core::instant now);
  void end_start(core::instant now);
  void refresh(core::instant now);
  void recompute(core::instant now);
  void act(const clocks& at, effects& out);
  [[nodiscard]] bool reaches(const std::vector<core::node_id>& all) const;
  [[nodiscard]] const beat* beat_of(const core::node_id& id) const;
  [[nodiscard]] bool keeps_up(const core::view& view,
                              const core::node_id& one) const;
  [[nodiscard]] bool is_whole(const core::node_id& who) const;
  [[nodiscard]] bool stays(const core::node_id& who,
                           const std::vector<core::node_id>& next) const;
  void note_offer(const core::view& next, core::instant now);
  [[nodiscard]] bool awaits(const core::node_id& from,
                            const std::vector<core::node_id>& next,
                            core::instant now) const;
  [[nodiscard]] std::vector<core::node_id> best_target(core::instant now) const;
  [[nodiscard]] bool is_settled(core::instant now) const;
  [[nodiscard]] bool all_form() const;
  [[nodiscard]] bool loses_the_silent() const;
  [[nodiscard]] std::chrono::nanoseconds patience() const;
  [[nodiscard]] bool needs_change(core::instant now) const;
  [[nodiscard]] std::uint64_t fresh_number(std::uint64_t wall) const;
  void start_proposal(const clocks& at, effects& out);
  void drive_proposal(const clocks& at, effects& out);
  void enter(core::view next, core::instant now, effects& out);
  void send_beats(core::instant now, effects& out);
  void send_beat(const core::node_id& to, peer& info, core::instant now,
                 effects& out);
  [[nodiscard]] bool grants_permission_to(const core::node_id& node) const;
  [[nodiscard]] core::instant permission_end(const propose& what) const;
  [[nodiscard]] std::vector<candidate> known(core::instant now) const;
  [[nodiscard]] bool is_held_back(const core::node_id& id,
                                  core::instant now) const;
  void forget_dead();
  [[nodiscard]] propose proposed() const;
  [[nodiscard]] std::chrono::nanoseconds permission_length() const noexcept;

  core::node_id self_;
  membership_settings settings_;
  peers peers_;
  std::set<core::node_id> dead_; ///< of the installed view, or reported
  std::map<std::string, losses> losses_;
  core::view installed_;
  core::view promised_; ///< the last one accepted
  std::uint64_t highest_ = 0;
  std::vector<core::node_id> target_; ///< the component as it should be
  core::instant target_since_;
  core::instant computed_at_; ///< when the target was
  bool is_stale_ = false;     ///< something is known that it does not consider
  core::instant entered_at_;
  core::instant yields_until_; ///< to the proposer of it
  core::instant offered_at_;   ///< when its members were accepted first
  core::instant unsettled_since_ = core::never;
  std::optional<proposal> proposal_;
  core::instant next_beat_;
  core::instant last_event_;
  core::instant started_;
  bool beat_due_ = false;
  bool starting_;
  bool forming_ = true;
  bool probed_ = false;
  bool leaving_ = false;
  bool renewing_ = false;
};

} // namespace coopcache::cluster
