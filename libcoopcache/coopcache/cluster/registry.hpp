#pragma once

#include "coopcache/cluster/channels.hpp"
#include "coopcache/cluster/effects.hpp"
#include "coopcache/cluster/lock_client.hpp"
#include "coopcache/cluster/lock_home.hpp"
#include "coopcache/cluster/membership.hpp"
#include "coopcache/cluster/messages.hpp"
#include "coopcache/cluster/name_client.hpp"
#include "coopcache/cluster/name_home.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace coopcache::cluster {

struct registry_settings {
  membership_settings membership;
  /// Only a majority of so many configured nodes grants; 0: any view does.
  std::size_t strict_nodes = 0;
  /// Numbers that a home uses up in one view; for tests.
  std::uint64_t numbers_per_view = (std::uint64_t{1} << numbers::counter_bits)
                                   - 1;
};

/// One node's part in the cluster: membership, names and locks together.
///
/// A pure machine: an event and the time go in, effects come out, in the order
/// in which they are to be done. No I/O, no clock, no chance. Not thread-safe.
///
/// After a view was installed: (1) each member tells every home what it holds
/// and waits for, closed by `claims_end`, and what it owns, as far as the home
/// does not know that, closed by `names_end`; (2) a home that has heard all
/// settles what clashes, begins to grant locks, and tells its names to those
/// that have others; (3) when all have acknowledged, it carries out requests
/// about names.
class registry {
public:
  registry(const core::node_id& self, const registry_settings& settings,
           const clocks& at);

  using effects = std::vector<effect>;

  // -- the network ------------------------------------------------------------

  [[nodiscard]] effects linked(const core::node_id& peer, const clocks& at);
  [[nodiscard]] effects unlinked(const core::node_id& peer, bool dead,
                                 const clocks& at);
  [[nodiscard]] effects receive(const core::node_id& from, message what,
                                const clocks& at);
  [[nodiscard]] effects tick(const clocks& at);
  /// Something has come from a linked node, no message: it is not silent.
  void heard(const core::node_id& from, core::instant when) {
    membership_.heard(from, when);
  }
  [[nodiscard]] effects probed(const clocks& at);
  /// Leaves the cluster, for good: locks are lost, wishes end.
  [[nodiscard]] effects leave(const clocks& at);

  // -- locks ------------------------------------------------------------------

  [[nodiscard]] effects lock(lock_wish wish, const clocks& at);
  [[nodiscard]] std::pair<unlocked, effects>
  unlock(std::uint64_t client, const std::string& resource,
         const std::string& requester, const clocks& at);
  /// The same for what is held by handle under that request.
  [[nodiscard]] std::pair<unlocked, effects> unlock(std::uint64_t request,
                                                    const clocks& at);
  /// See `lock_client::keep`.
  [[nodiscard]] effects keep(std::uint64_t request, const clocks& at);
  /// False if nobody waits with that request.
  [[nodiscard]] std::pair<bool, effects> cancel(std::uint64_t request,
                                                const clocks& at);
  [[nodiscard]] effects client_gone(std::uint64_t client, const clocks& at);

  // -- names ------------------------------------------------------------------

  [[nodiscard]] effects put(name_wish wish, const clocks& at);
  [[nodiscard]] effects remove(std::uint64_t request, const std::string& name,
                               const std::optional<core::name_owner>& owner,
                               core::instant deadline, const clocks& at);
  [[nodiscard]] effects owner_gone(std::uint64_t actor, const clocks& at);
  [[nodiscard]] effects resolved(std::uint64_t question, survivor who,
                                 const clocks& at);

  // -- what is ----------------------------------------------------------------

  /// When `tick` is to be called next, at the latest.
  [[nodiscard]] core::instant next_wake() const;

  /// Whether the view has enough of the configured nodes to grant anything.
  [[nodiscard]] bool has_majority() const noexcept;

  /// From then on other nodes may grant what this one holds, if it hears of
  /// nobody.
  [[nodiscard]] core::instant holds_until() const noexcept {
    return holds_until_;
  }

  [[nodiscard]] const membership& members() const noexcept {
    return membership_;
  }

  [[nodiscard]] const lock_client& own_locks() const noexcept {
    return lock_client_;
  }

  [[nodiscard]] const lock_home& home_locks() const noexcept {
    return lock_home_;
  }

  [[nodiscard]] const name_client& names() const noexcept {
    return name_client_;
  }

  [[nodiscard]] const name_home& home_names() const noexcept {
    return name_home_;
  }

  [[nodiscard]] const channels& traffic() const noexcept {
    return channels_;
  }

  /// Whether homes on this node may grant at `now`.
  [[nodiscard]] bool grants(core::instant now) const noexcept;

private:
  struct early {
    core::node_id from;
    packet what;
  };

  /// Packets kept whose view is not installed yet.
  static constexpr std::size_t most_early = 256;

  void begin(const clocks& at);
  [[nodiscard]] effects finish(const clocks& at);
  template <class... Parameters, class... Arguments>
  void tell_membership(const clocks& at,
                       void (membership::*event)(Parameters...),
                       const Arguments&... what);
  void note_limits();
  void enter_view(const clocks& at);
  void deliver(const core::node_id& from, packet what, const clocks& at);
  void dispatch(const core::node_id& from, const body& what, const clocks& at);
  void work_off(const clocks& at);
  void tell_grants(bool may);
  void update_grants(const clocks& at);
  /// What is against a wish about these.
  [[nodiscard]] std::optional<verdict>
  why_not(std::initializer_list<std::string_view> names) const;

  registry_settings settings_;
  membership membership_;
  /// As of the last event of `membership_`: most turns are none, and are quick.
  core::instant grants_until_;
  core::instant holds_until_;
  channels channels_;
  lock_client lock_client_;
  lock_home lock_home_;
  name_client name_client_;
  name_home name_home_;
  core::view_id entered_; ///< the view that all parts are in
  std::vector<early> early_;
  wishes wishes_;
  core::instant last_turn_{};
};

} // namespace coopcache::cluster
