#pragma once

#include "coopcache/core/error.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/export.hpp"
#include "coopcache/table/entry.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace coopcache::table {

class flight;

/// How a flight ended: with a value or with an error.
struct landing {
  entry_ptr value;
  std::shared_ptr<const error> failure;
  /// Whether the value is to be stored.
  bool store = false;
  /// Whether callers that come later may take the value from the flight, until
  /// it is in the table.
  bool reusable = false;
  /// When the value ceases to be good.
  core::instant good_until = core::never;
};

/// Somebody who does not block while he waits for a load.
class waiter {
public:
  waiter() noexcept = default;
  virtual ~waiter() = default;
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;

  /// Called before any waiter of the same load is notified.
  virtual void settle() noexcept {
  }

  /// Called exactly once, never under a lock.
  virtual void notify(const landing& how) noexcept = 0;

  /// Whether `notify` runs no code of the application, and so may be called by
  /// any thread.
  [[nodiscard]] virtual bool quick() const noexcept {
    return false;
  }

  /// When it is answered at the latest. Not to be changed once attached.
  core::instant deadline = core::never;
};

using waiter_ptr = std::unique_ptr<waiter>;

/// Answers all.
void notify(const std::vector<waiter_ptr>& all, const landing& how) noexcept;

/// The user's function with all that one run of it needs.
class loader {
public:
  loader() = default;
  virtual ~loader() = default;
  loader(const loader&) = delete;
  loader& operator=(const loader&) = delete;

  /// Runs once, on a worker, and sees to it that `f` lands in the end. Never
  /// throws.
  virtual void run(const std::shared_ptr<flight>& f) noexcept = 0;
};

/// Whose flight it is: told when a load has an outcome.
class flight_owner {
public:
  virtual ~flight_owner() = default;

  /// Ends the flight; only the first call for a flight has an effect.
  /// Thread-safe.
  virtual void finish(const std::shared_ptr<flight>& f, landing how) = 0;
};

/// A load with those who wait for it. Thread-safe.
///
/// The first caller of a cold key publishes it, the others attach to it, and
/// landing closes it for ever: who comes after finds how it ended.
///
/// Invariants:
/// 1. It lands exactly once, and every waiter is answered exactly once: by the
///    landing, or by its deadline.
/// 2. No waiter is added after the landing.
class COOPCACHE_EXPORT flight {
public:
  flight(std::uint64_t id, std::string_view key,
         std::shared_ptr<flight_owner> owner, std::unique_ptr<loader> work,
         bool refresh = false);

  flight(const flight&) = delete;
  flight& operator=(const flight&) = delete;

  /// Names the load; also its node in the graph of who waits for whom.
  const std::uint64_t id;
  const std::string key;
  const std::shared_ptr<flight_owner> owner;

  /// There may be an older value: who waits is answered when it is replaced.
  const bool refresh;

  enum class attached {
    yes,    ///< will be answered
    landed, ///< too late: `how()` tells the end, the waiter is untouched
    full,   ///< refused: `max_waiters` wait already
  };

  /// Adds a waiter. `earliest` is set if its deadline is the first of all.
  attached attach(waiter_ptr& who, std::uint64_t max_waiters, bool& earliest);

  enum class waited {
    landed,   ///< `how()` tells the end
    deadline, ///< it has passed
    expelled, ///< by `expel`
    full,     ///< refused: `max_waiters` wait already
  };

  /// Blocks until the landing, the deadline or the next `expel`.
  [[nodiscard]] waited wait(core::instant deadline, std::uint64_t max_waiters);

  /// Decides who lands the flight: true for the first caller alone.
  [[nodiscard]] bool claim() noexcept {
    return !claimed_.exchange(true, std::memory_order_acq_rel);
  }

  [[nodiscard]] bool claimed() const noexcept {
    return claimed_.load(std::memory_order_acquire);
  }

  /// Closes the flight and gives its waiters to the caller, who has to answer
  /// them with `how()`; wakes who blocks. Requires: the caller has the claim.
  [[nodiscard]] std::vector<waiter_ptr> land(landing how);

  /// Appends the waiters whose deadline has come; the caller has to answer
  /// them.
  void expire(core::instant now, std::vector<waiter_ptr>& out);

  /// Sends away all who wait now: wakes who blocks, and returns the others for
  /// the caller to answer them.
  [[nodiscard]] std::vector<waiter_ptr> expel();

  /// The earliest deadline of a waiter that does not block.
  [[nodiscard]] core::instant next_deadline() const;

  [[nodiscard]] bool landed() const noexcept {
    return landed_.load(std::memory_order_acquire);
  }

  /// Requires: landed.
  [[nodiscard]] const landing& how() const noexcept {
    return how_;
  }

  /// Whether the value may be handed out to callers that come at `now`.
  /// Requires: landed.
  [[nodiscard]] bool usable(core::instant now) const noexcept {
    return how_.reusable && now < how_.good_until;
  }

  /// Whether anybody waits, or is about to.
  [[nodiscard]] bool awaited() const;

  /// Somebody who has found the flight and may be about to wait for it.
  class interest {
  public:
    interest() noexcept = default;

    explicit interest(flight& f) noexcept : flight_(&f) {
      ++f.interested_;
    }

    interest(interest&& other) noexcept
      : flight_(std::exchange(other.flight_, nullptr)) {
    }

    interest& operator=(interest&& other) noexcept {
      std::swap(flight_, other.flight_);
      return *this;
    }

    ~interest() {
      if (flight_ != nullptr)
        --flight_->interested_;
    }

  private:
    flight* flight_ = nullptr;
  };

  /// New callers do not find it any more; its value is not to be stored.
  void supersede() noexcept {
    superseded_.store(true, std::memory_order_release);
  }

  [[nodiscard]] bool superseded() const noexcept {
    return superseded_.load(std::memory_order_acquire);
  }

  /// When its loader began to run; `core::never` before.
  std::atomic<core::instant> began{core::never};

  /// Asks the loader to stop. Runs its stop callbacks.
  void request_stop() noexcept;

  [[nodiscard]] std::stop_token stop_token();

  /// The loader, for its one run; null if it has been taken before.
  [[nodiscard]] std::unique_ptr<loader> take_loader();

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> landed_{false}; ///< set with `mutex_` locked
  std::uint64_t blocked_ = 0;
  std::uint64_t expulsions_ = 0;
  std::vector<waiter_ptr> waiters_; ///< a heap, the earliest deadline first
  std::unique_ptr<loader> loader_;
  std::stop_source stop_{std::nostopstate}; ///< made when asked for
  bool stopped_ = false;
  std::atomic<bool> superseded_{false};
  std::atomic<bool> claimed_{false};
  std::atomic<std::uint32_t> interested_{0};
  landing how_;
};

using flight_ptr = std::shared_ptr<flight>;

} // namespace coopcache::table
