#pragma once

#include "coopcache/core/time.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace coopcache::cluster {

/// Decides which endpoints a node dials, and when.
///
/// Of two nodes the one with the smaller endpoint dials; the other one only
/// after half a second and some more without a link, when the first seems
/// unable to. As long as there is no link, a fresh attempt starts each 100 ms,
/// whatever became of the last one: behind a cut that ends, an old attempt
/// may wait for seconds until the system repeats it.
///
/// Who has lost a link checks by connections whether the other one still runs:
/// at once, and a few times more, because a process that ends may still take
/// connections for a moment.
///
/// A pure machine, not thread-safe. Invariants:
/// 1. The own endpoint is never dialled, nor one with a link.
/// 2. Memory is bounded by the known endpoints, of which at most `most` were
///    learnt; those that were configured are never forgotten.
class dialer {
public:
  static constexpr std::chrono::milliseconds interval{100};
  static constexpr std::chrono::milliseconds patience{500};
  static constexpr std::size_t most = 1000;

  /// `self`: the endpoint that others dial, or empty if nobody can.
  dialer(std::string self, const std::vector<std::string>& configured,
         core::instant now);

  /// A member has told of another one.
  void learn(const std::string& endpoint, core::instant now);

  /// The same for one that is never forgotten.
  void configure(const std::string& endpoint, core::instant now);

  /// A peer has gone for good. Configured ones stay, and linked ones. Returns
  /// whether it was forgotten.
  bool forget(const std::string& endpoint);

  /// The same for all that have had no link since `when`; returns them.
  std::vector<std::string> forget_before(core::instant when);

  [[nodiscard]] bool knows(const std::string& endpoint) const {
    return peers_.contains(endpoint);
  }

  void linked(const std::string& endpoint);
  void unlinked(const std::string& endpoint, core::instant now);

  /// An attempt has failed: refused, timed out, or not one of us.
  void failed(const std::string& endpoint);

  /// Whether it is rather on the other node to dial this one.
  [[nodiscard]] bool leaves_to(const std::string& endpoint) const;

  /// Both sides have dialled, or so it seems, and CAF has dropped what each of
  /// them had: the one that is to wait waits again, and leaves the other one
  /// the next attempt.
  void wait_for(const std::string& endpoint, core::instant now);

  /// There was a connection, but nobody answered over it. The next attempt is
  /// left to the same side.
  void unanswered(const std::string& endpoint, core::instant now);

  /// Something else lives there: not to be dialled before `until`.
  void pause(const std::string& endpoint, core::instant until);

  /// Whether it is on this node to dial it: there is no link, and the other
  /// side has had its time.
  [[nodiscard]] bool may_dial(const std::string& endpoint,
                              core::instant now) const;

  /// Whom to dial now.
  [[nodiscard]] std::vector<std::string> due(core::instant now);

  /// Where to connect now, only to see whether anybody listens.
  [[nodiscard]] std::vector<std::string> to_check(core::instant now);

  [[nodiscard]] core::instant next_wake() const noexcept;

  /// Whether each configured peer was linked, or could not be, at least once.
  [[nodiscard]] bool probed() const noexcept;

private:
  /// Time to the second check; doubles from check to check.
  static constexpr std::chrono::milliseconds first_pause{10};
  static constexpr std::chrono::milliseconds last_pause{320};

  struct peer {
    bool configured = false;
    bool linked = false;
    bool tried = false;  ///< linked or failed at least once
    core::instant since; ///< when it is on this node to dial
    core::instant known; ///< when it was learnt, or had a link last
    core::instant next;  ///< attempt
    core::instant check = core::never;
    std::chrono::milliseconds pause{}; ///< after that check
  };

  void add(const std::string& endpoint, core::instant now);
  [[nodiscard]] core::instant first_attempt(const std::string& endpoint,
                                            core::instant now) const;

  std::string self_;
  std::map<std::string, peer> peers_; ///< by endpoint
};

} // namespace coopcache::cluster
