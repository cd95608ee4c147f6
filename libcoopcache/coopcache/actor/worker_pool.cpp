#include "coopcache/actor/worker_pool.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor_types.hpp"

#include <caf/actor_system.hpp>
#include <caf/logger.hpp>
#include <caf/scoped_actor.hpp>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <pthread.h>
#include <system_error>
#include <thread>

namespace coopcache::actor {

using job = std::function<void()>;

namespace {

/// Keeps for ever what must not be destroyed because the actor system may be
/// gone. Reachable, so that leak checkers know that it is on purpose.
void leave_behind(std::unique_ptr<caf::scoped_actor> self) {
  static std::mutex mutex;
  static auto* const all = new std::vector<std::unique_ptr<caf::scoped_actor>>;
  const std::lock_guard guard{mutex};
  all->push_back(std::move(self));
}

} // namespace

struct worker_pool::worker {
  enum class phase { running, blocked, lost, idle, leaving, gone };

  phase now = phase::running;
  std::uint64_t id = 0; ///< of the job
  caf::actor mailbox;   ///< set before the first time idle
  std::thread thread;
};

/// Shared with the threads, which may outlive the pool.
class worker_pool::state : public std::enable_shared_from_this<state> {
public:
  using worker_ptr = std::shared_ptr<worker>;
  using phase = worker::phase;

  state(caf::actor_system& sys, const pool_options& options)
    : sys_(&sys), options_(options) {
  }

  std::optional<errc> submit(std::uint64_t id, job run) {
    const std::lock_guard guard{mutex_};
    if (closed_)
      return errc::shutting_down;
    if (waking_) {
      // Whoever is on his way looks into the queue.
    } else if (busy() < options_.workers) {
      if (give(id, run))
        return std::nullopt;
      if (count(phase::running) + count(phase::blocked) == 0)
        return errc::workers_exhausted; // no thread can be had
    } else if (count(phase::running) == 0 && count(phase::blocked) == 0) {
      return errc::workers_exhausted;
    }
    if (queue_.size() >= options_.queue_limit)
      return errc::queue_full;
    queue_.push_back({id, std::move(run)});
    return std::nullopt;
  }

  void write_off(std::uint64_t id) {
    const std::lock_guard guard{mutex_};
    for (const auto& w : workers_) {
      if (w->id == id && (w->now == phase::running || w->now == phase::blocked))
        w->now = phase::lost;
    }
    feed();
  }

  bool block(worker& w) {
    const std::lock_guard guard{mutex_};
    if (w.now != phase::running)
      return true; // written off already: it takes no place
    if (count(phase::blocked) >= options_.max_blocked)
      return false;
    w.now = phase::blocked;
    feed();
    return true;
  }

  void unblock(worker& w) {
    const std::lock_guard guard{mutex_};
    if (w.now == phase::blocked)
      w.now = phase::running;
  }

  std::vector<std::uint64_t> shutdown(std::chrono::milliseconds timeout) {
    std::deque<queued> dropped; // destroyed after the lock is released
    std::vector<std::uint64_t> left;
    std::vector<worker_ptr> all;
    std::unique_lock guard{mutex_};
    closed_ = true;
    dropped.swap(queue_);
    for (const auto& w : workers_)
      if (w->now == phase::idle)
        post(w->mailbox, stop_atom_v);
    gone_.wait_for(guard, timeout,
                   [this] { return count(phase::gone) == workers_.size(); });
    abandoned_ = true;
    all.swap(workers_);
    for (const auto& w : all)
      if (w->now != phase::gone)
        left.push_back(w->id);
    guard.unlock();
    for (const auto& w : all)
      end(*w);
    return left;
  }

private:
  struct queued {
    std::uint64_t id;
    job run;
  };

  std::size_t count(phase which) const noexcept {
    return static_cast<std::size_t>(
      std::count_if(workers_.begin(), workers_.end(),
                    [which](const auto& w) { return w->now == which; }));
  }

  /// Workers that take up one of the places for running jobs.
  std::size_t busy() const noexcept {
    const std::size_t lost = count(phase::lost);
    return count(phase::running)
           + (lost > options_.max_lost ? lost - options_.max_lost : 0);
  }

  /// Gives a job to an idle worker or to a new one. False if neither is to be
  /// had. Leaves `run` alone in that case.
  ///
  /// One is woken at a time, and wakes the next if there is more to do: waking
  /// costs more than a small job, and a worker that is awake takes many.
  bool give(std::uint64_t id, job& run) {
    for (const auto& w : workers_) {
      if (w->now != phase::idle)
        continue;
      w->now = phase::running;
      w->id = id;
      waking_ = true;
      post(w->mailbox,
           detail::work_order{std::make_shared<job>(std::move(run))});
      return true;
    }
    return start(id, run);
  }

  bool start(std::uint64_t id, job& run) {
    reap();
    const auto fresh = std::make_shared<worker>();
    fresh->id = id;
    try {
      workers_.push_back(fresh);
      const auto first = std::make_shared<job>(run);
      fresh->thread = std::thread{[self = shared_from_this(), fresh, first] {
        self->work(fresh, *first);
      }};
      waking_ = true;
      return true;
    } catch (const std::system_error&) {
      workers_.pop_back(); // the machine has no more threads
      return false;
    }
  }

  /// Hands a queued job to a place that has become free.
  void feed() {
    if (waking_ || closed_ || queue_.empty() || busy() >= options_.workers)
      return;
    if (give(queue_.front().id, queue_.front().run))
      queue_.pop_front();
  }

  /// A worker that was woken has come.
  void arrive() {
    const std::lock_guard guard{mutex_};
    waking_ = false;
    feed();
  }

  /// Forgets the threads that have ended.
  void reap() {
    std::erase_if(workers_, [](const auto& w) {
      if (w->now != phase::gone)
        return false;
      w->thread.join();
      return true;
    });
  }

  static void end(worker& w) {
    if (w.now == phase::gone)
      w.thread.join();
    else
      w.thread.detach();
  }

  /// Body of a worker's thread.
  void work(const worker_ptr& me, job first) {
    pthread_setname_np(pthread_self(), "coopcache.load");
    auto self = std::make_unique<caf::scoped_actor>(*sys_, true);
    // It counts as running although it is hidden; the end of the actor system
    // would wait for it.
    self->ptr()->unregister_from_system();
#if CAF_MAJOR_VERSION < 1
    // Else the end of the actor system waits for this thread.
    caf::logger::set_current_actor_system(nullptr);
#endif
    {
      const std::lock_guard guard{mutex_};
      me->mailbox = caf::actor_cast<caf::actor>(*self);
    }
    arrive();
    current_ = {this, me.get()};
    for (job run = std::move(first); run; run = next(*me, *self)) {
      run();
      run = nullptr; // what it holds goes before the thread is idle
    }
    current_ = {};
    const std::lock_guard guard{mutex_};
    me->mailbox = nullptr;
    if (abandoned_)
      leave_behind(std::move(self));
    else
      self.reset();
    me->now = phase::gone;
    gone_.notify_all();
  }

  /// The next job for `me`, from the queue or, after a while, from its mailbox;
  /// none if it shall end.
  job next(worker& me, caf::scoped_actor& self) {
    {
      std::unique_lock guard{mutex_};
      me.now = phase::leaving; // whatever it was: it is back
      me.id = 0;
      if (closed_ || busy() >= options_.workers)
        return nullptr;
      me.now = phase::idle;
      if (!queue_.empty()) {
        queued head = std::move(queue_.front());
        queue_.pop_front();
        me.now = phase::running;
        me.id = head.id;
        return std::move(head.run);
      }
    }
    job result;
    bool stop = false;
    while (!result && !stop)
      self->receive([&](const detail::work_order& x) { result = *x.run; },
                    [&](stop_atom) { stop = true; },
                    [](const caf::exit_msg&) {});
    if (result)
      arrive();
    return result;
  }

  friend class worker_pool::blocked_scope;
  friend class worker_pool;

  struct place {
    state* pool = nullptr;
    worker* me = nullptr;
  };

  static thread_local place current_;

  caf::actor_system* const sys_;
  const pool_options options_;
  std::mutex mutex_;
  std::condition_variable gone_;
  bool closed_ = false;
  bool abandoned_ = false;
  bool waking_ = false; ///< a worker has a job and has not come for it yet
  std::deque<queued> queue_;
  std::vector<worker_ptr> workers_;
};

thread_local worker_pool::state::place worker_pool::state::current_;

worker_pool::worker_pool(caf::actor_system& sys, const pool_options& options)
  : state_(std::make_shared<state>(sys, options)) {
}

worker_pool::~worker_pool() {
  state_->shutdown(std::chrono::milliseconds{0});
}

std::optional<errc> worker_pool::submit(std::uint64_t id, job run) {
  return state_->submit(id, std::move(run));
}

void worker_pool::write_off(std::uint64_t id) {
  state_->write_off(id);
}

std::vector<std::uint64_t>
worker_pool::shutdown(std::chrono::milliseconds timeout) {
  return state_->shutdown(timeout);
}

bool worker_pool::on_worker() noexcept {
  return state::current_.me != nullptr;
}

worker_pool::blocked_scope::blocked_scope()
  : allowed_(!on_worker() || state::current_.pool->block(*state::current_.me)) {
}

worker_pool::blocked_scope::~blocked_scope() {
  if (allowed_ && on_worker())
    state::current_.pool->unblock(*state::current_.me);
}

} // namespace coopcache::actor
