#pragma once

#include "coopcache/core/error.hpp"
#include "coopcache/export.hpp"

#include <caf/fwd.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace coopcache::actor {

/// Bounds of a pool.
struct pool_options {
  std::size_t workers = 8;        ///< jobs that run at once
  std::size_t max_blocked = 64;   ///< workers that wait in nested fetches
  std::size_t max_lost = 16;      ///< workers that never came back
  std::size_t queue_limit = 1024; ///< jobs that wait for a worker
  /// A job that runs longer is written off by itself; zero: never.
  std::chrono::milliseconds patience{0};
};

/// What a worker does.
class job {
public:
  job() noexcept = default;
  virtual ~job() = default;
  job(const job&) = delete;
  job& operator=(const job&) = delete;

  /// Runs once.
  virtual void run() noexcept = 0;

  /// Names it, for people. Called by any thread while it runs.
  [[nodiscard]] virtual std::string name() const = 0;
};

using job_ptr = std::unique_ptr<job>;

/// A job that calls `f`, which must not throw, and is called `name`.
template <class F>
[[nodiscard]] job_ptr make_job(std::string name, F f) {
  class named final : public job {
  public:
    named(std::string what, F call)
      : name_(std::move(what)), f_(std::move(call)) {
    }

    void run() noexcept override {
      f_();
    }

    [[nodiscard]] std::string name() const override {
      return name_;
    }

  private:
    std::string name_;
    F f_;
  };
  return std::make_unique<named>(std::move(name), std::move(f));
}

/// Worker actors, each on a thread of its own, that run user code and are
/// reused. Thread-safe.
///
/// The threads are ours, not CAF's: a loader that never returns then cannot
/// hold up the end of the actor system, and is left behind knowingly.
///
/// Invariants:
/// 1. Not more than `workers` jobs run at once, less those that are blocked or
///    lost; threads never exceed `workers + max_blocked + max_lost`.
/// 2. A job that was accepted runs, unless the pool shuts down first.
class worker_pool {
public:
  /// Threads start when they are needed.
  worker_pool(caf::actor_system& sys, const pool_options& options);

  /// Shuts down without waiting if nobody did before.
  ~worker_pool();

  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;

  /// Runs `what` on a worker. `id` names it for `write_off`. Returns why not,
  /// and leaves `what` alone then: `queue_full`, `workers_exhausted` or
  /// `shutting_down`.
  [[nodiscard]] std::optional<errc> submit(std::uint64_t id, job_ptr& what);

  /// The job `id` is not expected to come back: another worker takes the place
  /// of the one that runs it, `max_lost` times.
  void write_off(std::uint64_t id);

  /// Writes off what runs for longer than `patience`. To be called now and
  /// then.
  void look_after();

  /// What a shutdown leaves to its caller.
  struct remainder {
    std::vector<job_ptr> dropped;     ///< have not begun
    std::vector<std::string> running; ///< names; their threads are left behind
  };

  /// Takes no more jobs, and waits for the running ones at most until `timeout`
  /// has passed.
  [[nodiscard]] remainder shutdown(std::chrono::milliseconds timeout);

  /// Whether the calling thread is a worker, of whatever pool.
  [[nodiscard]] static bool on_worker() noexcept;

  /// Marks the calling worker as blocked for its life, so that another one runs
  /// jobs meanwhile; no effect on other threads. Scopes nest.
  class blocked_scope {
  public:
    blocked_scope();
    ~blocked_scope();
    blocked_scope(const blocked_scope&) = delete;
    blocked_scope& operator=(const blocked_scope&) = delete;

    /// False if too many workers are blocked already.
    [[nodiscard]] bool allowed() const noexcept {
      return allowed_;
    }

  private:
    bool allowed_ = true;
    bool entered_ = false;
  };

private:
  class state;
  struct worker;
  struct wakeup;

  std::shared_ptr<state> state_;
};

} // namespace coopcache::actor
