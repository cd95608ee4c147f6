#pragma once

#include "coopcache/cluster/effects.hpp"
#include "coopcache/core/locks.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace coopcache::cluster {

/// The home of locks: queues and grants those that fall to this node.
///
/// A pure machine. What it knows is soft: with each view it begins empty, the
/// members tell it what they hold and wait for, and it grants nothing before
/// all have told.
///
/// Invariants:
/// 1. Nothing is granted but while `grants(true)` holds and all members of the
///    view have told their claims.
/// 2. Who waits is granted in the order of tickets, but for those of the
///    requester that already holds.
/// 3. Tokens grow, also across homes and views.
/// 4. While the node of a holder may hand a lock on, nobody else is granted it.
class lock_home {
public:
  explicit lock_home(const numbers& tokens)
    : tokens_(tokens), tickets_(tokens) {
  }

  /// The time from now on: how long somebody waits is told with the table.
  void note_time(core::instant now) noexcept {
    locks_.note_time(now);
  }

  /// Forgets everything, and waits for the claims of all members.
  void enter(const core::view& current);

  void on(const core::node_id& from, const lock_request& what, wishes& out);
  void on(const core::node_id& from, const lock_claim& what);
  void on(const core::node_id& from, const lock_release& what, wishes& out);
  void on(const core::node_id& from, const lock_taken& what, wishes& out);
  void on(const core::node_id& from, const lock_kept& what, wishes& out);

  /// All claims of `from` have come.
  void claims_end(const core::node_id& from, wishes& out);

  /// Whether the node may grant now.
  void grants(bool may, wishes& out);

  /// Whether a new view is needed to go on granting.
  [[nodiscard]] bool used_up() const noexcept {
    return tokens_.used_up() || tickets_.used_up();
  }

  [[nodiscard]] const core::locks& table() const noexcept {
    return locks_;
  }

  /// What is kept beside the table; for tests.
  [[nodiscard]] std::size_t notes() const noexcept {
    return once_.size() + promises_.size();
  }

private:
  [[nodiscard]] bool open() const noexcept {
    return may_ && expected_.empty();
  }

  /// The holder's node was told to grant the lock to the one who is next.
  struct promise {
    core::lock_key holder;
    core::lock_key next;
    std::uint64_t token = 0;
    bool withdrawn = false; ///< the holder's node was asked not to
  };
  using promises = std::map<std::string, promise, std::less<>>;

  void serve(const std::string& resource, wishes& out);
  [[nodiscard]] promises::node_type void_promise(const std::string& resource);
  [[nodiscard]] bool keep_promise(const std::string& resource, wishes& out);
  void name_next(const std::string& resource, wishes& out);
  void serve_all(wishes& out);
  void refuse_once(const std::string& resource, wishes& out);
  void forget_once(const std::string& resource, const core::lock_key& who);

  core::locks locks_;
  numbers tokens_;
  numbers tickets_;
  std::set<core::node_id> expected_; ///< have not told all
  /// Not to be queued; by resource.
  std::map<std::string, std::set<core::lock_key>, std::less<>> once_;
  promises promises_; ///< by resource
  bool may_ = false;
};

} // namespace coopcache::cluster
