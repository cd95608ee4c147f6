#pragma once

#include "coopcache/cluster/effects.hpp"
#include "coopcache/core/past_grants.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>

namespace coopcache::cluster {

/// Somebody of this node wants a lock.
struct lock_wish {
  std::uint64_t request = 0; ///< unique on this node
  std::uint64_t client = 0;  ///< the actor or thread that asks
  std::string resource;
  std::string requester; ///< whoever says the same may hold it together
  core::instant deadline = core::never;
  bool once = false;      ///< answer at once, do not queue
  bool by_handle = false; ///< only `unlock(request)` is to give it back
  bool is_told = false;   ///< of a loss: then it need not give back by name
};

/// What `lock_client::unlock` has done.
enum class unlocked : std::uint8_t {
  counted,  ///< it was locked several times, and still is
  released, ///< the home, or who is next, is told
  lost,     ///< it had been lost before
  not_held, ///< this client does not hold it
};

/// The locks that clients of one node hold or wait for. What the home knows of
/// them can be told again from here.
///
/// A pure machine. Invariants:
/// 1. Each wish gets exactly one answer, at its deadline at the latest.
/// 2. A lock is held from the home's grant until it is given back, revoked or
///    its client is gone; a release is told to the home, or the home changes
///    and is not told of the lock.
/// 3. A lock that was kept in another view, and that another requester of a
///    member has had since, is lost as soon as the two are in one view.
/// 4. Memory is bounded by the wishes that are not answered, the locks that are
///    not given back, and 4096 that were.
class lock_client {
public:
  /// The time from now on.
  void note_time(core::instant now) noexcept {
    now_ = now;
  }

  /// A client that already holds it gets it at once, and has to give it back
  /// once more, in the way that each wish says.
  void lock(lock_wish wish, wishes& out);

  [[nodiscard]] unlocked unlock(std::uint64_t client,
                                const std::string& resource,
                                const std::string& requester, wishes& out);

  /// The same for what is held by handle under that request.
  [[nodiscard]] unlocked unlock(std::uint64_t request, wishes& out);

  /// What was held by handle is no longer.
  void keep(std::uint64_t request, wishes& out);

  /// Ends a wish that is not answered; false if there is none.
  bool cancel(std::uint64_t request, wishes& out);

  /// Ends those that were not to wait: nobody grants here.
  void end_hasty(verdict why, wishes& out);

  /// Gives back all that a client holds, and ends its wishes unanswered.
  void client_gone(std::uint64_t client, wishes& out);

  /// Tells the homes of a new view what is held and who waits.
  void enter(const core::view& current, const core::node_id& self, wishes& out);

  /// Tells which views this node was in, before this one, since all members
  /// of one knew what it holds; 0: in none. If they did not come to know that
  /// in the last one, nobody else has the same.
  [[nodiscard]] std::uint64_t lineage() const noexcept {
    return told_lineage_;
  }

  /// A member has entered the view, too.
  void claims_end(const core::node_id& from, std::uint64_t lineage,
                  wishes& out);

  /// Whether this node may grant now, on behalf of homes.
  void may_hand_on(bool may) noexcept {
    may_hand_on_ = may;
  }

  /// Whether this node may hold locks now: else another side may grant them,
  /// and what is granted here counts when it may again, in the same view.
  void may_hold(bool may, wishes& out);

  /// Takes all locks away: another side may grant them.
  void lose_all(wishes& out);

  /// Ends all wishes, too: the node leaves.
  void give_up(wishes& out);

  void on(const lock_granted& what, wishes& out);
  void on(const lock_refused& what, wishes& out);
  void on(const lock_queued& what);
  void on(const core::node_id& home, const lock_next& what, wishes& out);
  void on(const core::node_id& home, const lock_keep& what, wishes& out);
  void on(const lock_revoked& what, wishes& out);
  void on(const core::node_id& from, const lock_check& what, wishes& out) const;
  void on(const core::node_id& from, const lock_checked& what, wishes& out);

  /// Ends the wishes whose deadline has passed; `late` is their answer.
  void tick(core::instant now, verdict late, wishes& out);

  [[nodiscard]] core::instant next_wake() const noexcept;

  enum class state : std::uint8_t { waiting, held, lost };

  struct entry {
    lock_wish wish;
    state is = state::waiting;
    std::uint64_t ticket = 0;
    std::uint64_t token = 0;
    std::uint64_t holds = 0;   ///< times that it was locked
    std::uint64_t handles = 0; ///< of these by handle
    core::instant since{};     ///< when it was asked for; held: when it was got
    std::optional<lock_next> next; ///< whom to hand it on to
  };

  /// By request.
  [[nodiscard]] const std::map<std::uint64_t, entry>& all() const noexcept {
    return entries_;
  }

private:
  using identity = std::tuple<std::uint64_t, std::string, std::string>;
  using entries = std::map<std::uint64_t, entry>;
  using unchecked = std::map<core::node_id, std::size_t>;

  static identity identity_of(const lock_wish& wish);
  void to_home(const entry& of, body what, wishes& out) const;
  void ask(const entry& of, wishes& out) const;
  void hand_on(const entry& held, wishes& out) const;
  unlocked give_back(entries::iterator at, wishes& out);
  void end_waiting(bool only_hasty, verdict why, wishes& out);
  void free(entries::iterator at, wishes& out);
  entries::iterator erase(entries::iterator at);
  void answer(entries::iterator at, verdict how, wishes& out);
  void lose(entries::iterator held, wishes& out);
  void give_back_as_lost(entries::iterator held, wishes& out);
  void checked_by(unchecked::iterator member);

  core::homes homes_;
  bool may_hand_on_ = false;
  bool may_hold_ = true;
  std::map<std::uint64_t, lock_granted> doubtful_; ///< by request
  core::instant now_{};
  entries entries_;
  std::map<identity, std::set<std::uint64_t>> held_; ///< held or lost
  std::map<std::uint64_t, std::set<std::uint64_t>> by_client_;
  std::set<std::pair<core::instant, std::uint64_t>> deadlines_;
  /// Holds in one `lock_check`.
  static constexpr std::size_t most_in_check = 100;

  core::past_grants past_{4096};
  std::uint64_t lineage_ = 0;
  std::uint64_t told_lineage_ = 0; ///< see `lineage`
  core::view_id view_;
  /// May have what overtakes a hold: how many answers are to come.
  unchecked unchecked_;
};

} // namespace coopcache::cluster
