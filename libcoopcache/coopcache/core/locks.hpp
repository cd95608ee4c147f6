#pragma once

#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace coopcache::core {

/// One request for a lock: unique as long as the node lives.
struct lock_key {
  node_id node;          ///< who asks
  std::uint64_t seq = 0; ///< the node's number of the request

  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 that it compares with
  friend auto operator<=>(const lock_key&, const lock_key&) = default;
};

/// The locks that one home arbitrates. A plain table, not thread-safe.
///
/// A resource is held by requests of one requester at a time, of which there
/// may be several; others wait in the order of their tickets. Numbers, from
/// which tickets and tokens are made, come in and grow.
///
/// Invariants:
/// 1. All holders of a resource have the same requester.
/// 2. Tokens of a resource grow from grant to grant.
/// 3. A waiter is at the head of its queue only while another requester holds
///    the resource, or while nothing is granted.
/// 4. A resource without holders and waiters takes no memory.
class locks {
public:
  struct grant {
    lock_key who;
    std::uint64_t token = 0;
  };

  /// The time from now on, for `since`.
  void note_time(instant now) noexcept {
    now_ = now;
  }

  void clear() noexcept {
    locks_.clear();
    places_.clear();
  }

  /// Adds a waiter. A ticket that is taken already counts as the next free one.
  void wait(const lock_key& who, std::string_view resource,
            std::string_view requester, std::uint64_t ticket);

  /// Adds a holder that another home has made.
  void hold(const lock_key& who, std::string_view resource,
            std::string_view requester, std::uint64_t token);

  /// Forgets a holder or waiter, and returns its resource; none if unknown.
  std::optional<std::string> remove(const lock_key& who);

  /// Grants what can be granted of `resource`: to waiters of the requester
  /// that holds it, or, if it is free, to the one that waits longest and to
  /// its like. `next` makes tokens; with 0 it ends the granting.
  template <class Next>
  [[nodiscard]] std::vector<grant> serve(const std::string& resource,
                                         Next next) {
    std::vector<grant> result;
    while (const auto* who = next_to_hold(resource)) {
      const std::uint64_t token = next();
      if (token == 0)
        break;
      result.push_back({*who, token});
      promote(result.back());
    }
    return result;
  }

  /// Who would be granted next; null if nobody can be.
  [[nodiscard]] const lock_key* next_to_hold(const std::string& resource) const;

  /// Makes a waiter a holder. REQUIRES: nobody holds its resource, but for
  /// requests of its requester.
  void promote(const grant& to);

  /// Leaves one requester of each resource the holder: the one with the
  /// greatest token. Returns the others, which are forgotten.
  [[nodiscard]] std::vector<lock_key> settle();

  /// Every resource that somebody holds or waits for.
  [[nodiscard]] std::vector<std::string> resources() const;

  /// Whether it is known and does not hold.
  [[nodiscard]] bool waits(const lock_key& who) const;

  /// Whether it waits beside a holder of its own requester.
  [[nodiscard]] bool waits_to_share(const lock_key& who) const;

  [[nodiscard]] bool knows(const lock_key& who) const {
    return places_.contains(who);
  }

  struct holder {
    lock_key who;
    std::string requester;
    std::uint64_t token = 0;
    instant since{}; ///< when it became a holder here
  };

  struct waiter {
    lock_key who;
    std::string requester;
    instant since{}; ///< when it became known here
  };

  struct lock {
    lock() = default;
    lock(const lock&) = delete;
    lock& operator=(const lock&) = delete;

    std::vector<holder> holders;
    std::map<std::uint64_t, waiter> queue; ///< by ticket
    /// The queue once more; the requesters are those in it.
    std::set<std::pair<std::string_view, std::uint64_t>> by_requester{};

    [[nodiscard]] bool is_held_by(std::string_view requester) const {
      return !holders.empty() && holders.front().requester == requester;
    }
  };

  /// Null if nobody holds it or waits for it.
  [[nodiscard]] const lock* find(std::string_view resource) const;

private:
  std::map<std::string, lock, std::less<>> locks_;

  struct place {
    std::string resource;
    std::uint64_t ticket = 0; ///< 0: it holds
  };

  std::map<lock_key, place> places_;
  instant now_{};
};

} // namespace coopcache::core
