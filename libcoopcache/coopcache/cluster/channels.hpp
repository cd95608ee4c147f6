#pragma once

#include "coopcache/cluster/messages.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

namespace coopcache::cluster {

/// Carries bodies between the members of one view: in order, once, whatever
/// the links lose, repeat or reorder. All that one turn has for a member goes
/// into one packet. What does not hurry waits for the next one, or for the next
/// acknowledgement.
///
/// A pure machine. Invariants:
/// 1. What is received from a member is a prefix of what it sent in this view.
/// 2. What was sent is kept until it is acknowledged or the view ends.
/// 3. Bodies of other views have no effect.
class channels {
public:
  struct outgoing {
    core::node_id to;
    packet what;
  };

  /// Drops everything and begins anew among the members of `current`.
  void enter(const core::view& current, const core::node_id& self);

  /// Queues a body for the next `flush`. No effect if `to` is no member.
  void send(const core::node_id& to, body what);

  /// The bodies that can be handed on now.
  [[nodiscard]] std::vector<body> receive(const core::node_id& from,
                                          packet&& what, core::instant now);

  /// The link to a member is a new one: repeats what is not acknowledged.
  void relinked(const core::node_id& peer);

  /// All packets that are due: new bodies, repeats, acknowledgements.
  [[nodiscard]] std::vector<outgoing> flush(core::instant now);

  [[nodiscard]] core::instant next_wake() const noexcept;

  /// Bodies that are kept because they are not acknowledged.
  [[nodiscard]] std::size_t kept() const noexcept;

private:
  /// Without traffic the other way, what came in is acknowledged after it.
  static constexpr std::chrono::milliseconds acknowledge_after{20};
  /// Without an acknowledgement, what went out is repeated after it.
  static constexpr std::chrono::milliseconds repeat_after{100};
  /// So far ahead of its turn a body is kept.
  static constexpr std::uint64_t most_early = 4 * most_in_packet;

  struct channel {
    std::deque<body> kept;   ///< not acknowledged
    std::uint64_t first = 0; ///< position of the first of `kept`
    std::uint64_t next = 0;  ///< position of the first that was not sent
    std::uint64_t hurry = 0; ///< position after the last that is not to wait
    std::uint64_t received = 0;
    std::map<std::uint64_t, body> early; ///< by position
    core::instant repeat = core::never;
    core::instant acknowledge = core::never;
  };

  static void flush_one(const core::view_id& view, const core::node_id& to,
                        channel& c, core::instant now,
                        std::vector<outgoing>& out);

  core::view_id view_;
  std::map<core::node_id, channel> channels_;
};

} // namespace coopcache::cluster
