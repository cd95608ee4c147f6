#pragma once

#include "coopcache/core/error.hpp"
#include "coopcache/export.hpp"
#include "coopcache/result.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace coopcache {

namespace actor {
class registry_core;
struct lock_state;
} // namespace actor

/// Among whom a lock excludes. One of each scope are two locks, also if the
/// resource is the same.
enum class lock_scope : std::uint8_t {
  cluster, ///< all who ask with this scope, on any node
  local,   ///< those of this node that ask with it; no message is sent
};

/// How a lock is asked for.
struct lock_options {
  /// Those who name the same requester hold the lock together, and one who
  /// holds it gets it again at once; each time has to be given back. Empty: a
  /// requester of its own for each call.
  std::string requester{};

  /// What to wait at most; none: for ever; nothing or less: as if `wait` were
  /// false, with 30 s for the way there and back.
  std::optional<std::chrono::milliseconds> deadline{
    std::chrono::milliseconds{30'000}};

  /// Whether to queue for a lock that is taken. If not, the home says at once
  /// whether it is free; the deadline is for the way there and back.
  bool wait = true;

  lock_scope scope = lock_scope::cluster;

  /// Ends the waiting with `cancelled` as soon as it is asked to stop; a lock
  /// that was got stays.
  std::stop_token stop{};

  /// Waits as long as `:global` would at most with so many retries; 0 does not
  /// wait.
  [[nodiscard]] static lock_options retries(unsigned count) {
    lock_options result;
    result.wait = count > 0;
    if (count == 0)
      return result; // the home says at once whether it is free
    std::chrono::milliseconds sum{0}, step{250};
    for (unsigned i = 0; i < std::min(count, 1'000'000u); ++i) {
      sum += step;
      step = std::min(2 * step, std::chrono::milliseconds{8'000});
    }
    result.deadline = sum;
    return result;
  }
};

/// A lock, held until this goes away. Movable. For one thread at a time; the
/// functions may be called after the node is gone.
class COOPCACHE_EXPORT held_lock {
public:
  held_lock(std::weak_ptr<actor::registry_core> from, std::string resource,
            std::string requester,
            std::shared_ptr<const actor::lock_state> state) noexcept;

  held_lock(held_lock&&) noexcept = default;
  held_lock& operator=(held_lock&& other) noexcept;

  /// Gives it back.
  ~held_lock();

  /// Grows with every grant of the resource among nodes that are connected:
  /// while a cluster that is not strict is split, both sides grant. Whoever
  /// stores something under the lock can refuse a smaller one than it saw. 0
  /// once the lock was given back, or moved from.
  [[nodiscard]] std::uint64_t token() const noexcept;

  /// Whether somebody else may have it meanwhile: the node was cut off from a
  /// strict cluster's majority, or has met another side where somebody holds
  /// it, or has had it since. Also when it was given back, and after the
  /// shutdown of the node.
  [[nodiscard]] bool lost() const noexcept;

  [[nodiscard]] const std::string& resource() const noexcept {
    return resource_;
  }

  [[nodiscard]] const std::string& requester() const noexcept {
    return requester_;
  }

  /// Gives it back now. False if it was lost before, was given back, or is
  /// kept.
  bool unlock() noexcept;

  /// It is not given back when this goes away, but by `del_lock`: by the form
  /// that takes `self` if an actor asked for it.
  void keep() noexcept;

private:
  std::weak_ptr<actor::registry_core> from_;
  std::string resource_;
  std::string requester_;
  std::shared_ptr<const actor::lock_state> state_; ///< null: given back
  bool is_kept_ = false;
};

/// A transaction was not run: there was no lock.
struct aborted {
  error why;
};

/// What a transaction returned, or that it was aborted.
template <class T>
class [[nodiscard]] trans_result {
public:
  using value_type = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  trans_result(value_type value, bool lost)
    : what_(std::in_place_index<0>, std::move(value)), lost_(lost) {
  }

  trans_result(aborted why) : what_(std::in_place_index<1>, std::move(why)) {
  }

  /// Whether it ran.
  explicit operator bool() const noexcept {
    return what_.index() == 0;
  }

  /// What it returned. @throws bad_result if it was aborted.
  [[nodiscard]] const value_type& value() const& {
    if (!*this)
      throw bad_result{why().why};
    return *std::get_if<0>(&what_);
  }

  /// @throws bad_result if it was aborted.
  [[nodiscard]] value_type value() && {
    if (!*this)
      throw bad_result{why().why};
    return std::move(*std::get_if<0>(&what_));
  }

  /// Requires: it did not run.
  [[nodiscard]] const aborted& why() const noexcept {
    return *std::get_if<1>(&what_);
  }

  /// Why it did not run. Requires: it did not.
  [[nodiscard]] const coopcache::error& error() const noexcept {
    return why().why;
  }

  /// Whether the lock was lost while it ran: somebody else may have run one
  /// at the same time.
  [[nodiscard]] bool lost() const noexcept {
    return lost_;
  }

private:
  std::variant<value_type, aborted> what_;
  bool lost_ = false;
};

} // namespace coopcache
