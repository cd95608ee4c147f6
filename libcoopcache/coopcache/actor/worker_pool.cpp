#include "coopcache/actor/worker_pool.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor_types.hpp"
#include "coopcache/table/brief_mutex.hpp"

#include <caf/actor_system.hpp>
#include <caf/logger.hpp>
#include <caf/scoped_actor.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <utility>

namespace coopcache::actor {

namespace {

using table::brief_mutex;

/// So long does a worker look for work before it sleeps: to wake it costs more.
constexpr std::chrono::microseconds looks_for{50};

/// So often does the worker that watches look into the queue.
constexpr std::chrono::milliseconds watch_period{1};

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
  enum class phase {
    running,
    blocked,
    lost,     ///< written off
    watching, ///< sleeps until it is time to look into the queue
    idle,     ///< sleeps until it is given a job
    leaving,
    gone,
  };

  phase now = phase::running;
  std::uint64_t id = 0; ///< of the job
  job_ptr work;         ///< the thread's own but while it is idle or watching
  std::chrono::steady_clock::time_point since{}; ///< when the job began
  caf::actor mailbox;                            ///< set before the first job
  std::thread thread;
};

/// A worker to be woken when the lock is free again: that takes some us.
struct worker_pool::wakeup {
  wakeup() = default;
  wakeup(const wakeup&) = delete;
  wakeup& operator=(const wakeup&) = delete;

  ~wakeup() {
    if (who)
      post(who, go_atom_v);
  }

  caf::actor who;
};

/// Shared with the threads, which may outlive the pool.
class worker_pool::state : public std::enable_shared_from_this<state> {
public:
  using worker_ptr = std::shared_ptr<worker>;
  using phase = worker::phase;

  state(caf::actor_system& sys, const pool_options& options)
    : sys_(&sys), options_(options) {
  }

  std::optional<errc> submit(std::uint64_t id, job_ptr& what) {
    wakeup later;
    const std::lock_guard guard{mutex_};
    if (closed_)
      return errc::shutting_down;
    const bool full = queue_.size() >= options_.queue_limit;
    if ((waking_ || watched()) && !full) {
      // Whoever is on his way looks into the queue, or the one who watches.
    } else if (busy() < options_.workers) {
      if (give(id, what, later))
        return std::nullopt;
      if (nobody_comes_back())
        return errc::workers_exhausted; // no thread can be had
    } else if (nobody_comes_back()) {
      return errc::workers_exhausted;
    }
    if (full)
      return errc::queue_full;
    queue_.push_back({id, std::move(what)});
    queued_.store(true, std::memory_order_relaxed);
    return std::nullopt;
  }

  void look_after() {
    if (options_.patience.count() == 0)
      return;
    wakeup later;
    const std::lock_guard guard{mutex_};
    const auto limit = std::chrono::steady_clock::now() - options_.patience;
    for (const auto& w : workers_)
      if (w->now == phase::running && w->since < limit)
        w->now = phase::lost;
    feed(later);
  }

  void write_off(std::uint64_t id) {
    wakeup later;
    const std::lock_guard guard{mutex_};
    for (const auto& w : workers_) {
      if (w->id == id && (w->now == phase::running || w->now == phase::blocked))
        w->now = phase::lost;
    }
    feed(later);
  }

  enum class blocking { entered, already, refused };

  blocking block(worker& w) {
    wakeup later;
    const std::lock_guard guard{mutex_};
    if (w.now != phase::running)
      return blocking::already; // or written off: it takes no place
    if (count(phase::blocked) >= options_.max_blocked)
      return blocking::refused;
    w.now = phase::blocked;
    feed(later);
    return blocking::entered;
  }

  void unblock(worker& w) {
    const std::lock_guard guard{mutex_};
    if (w.now == phase::blocked)
      w.now = phase::running;
  }

  remainder shutdown(std::chrono::milliseconds timeout) {
    remainder result;
    std::vector<worker_ptr> all;
    std::unique_lock guard{mutex_};
    closed_ = true;
    for (auto& each : queue_)
      result.dropped.push_back(std::move(each.what));
    queue_.clear();
    queued_.store(false, std::memory_order_relaxed);
    for (const auto& w : workers_)
      if (w->now == phase::idle || w->now == phase::watching)
        post(w->mailbox, stop_atom_v);
    gone_.wait_for(guard, timeout,
                   [this] { return count(phase::gone) == workers_.size(); });
    abandoned_ = true;
    all.swap(workers_);
    for (const auto& w : all) {
      if (w->now == phase::gone) {
        ended_.push_back(w);
        continue;
      }
      result.running.push_back(w->work != nullptr ? w->work->name()
                                                  : "what a job has left");
      w->thread.detach();
    }
    std::vector<worker_ptr> ended;
    ended.swap(ended_);
    guard.unlock();
    for (const auto& w : ended)
      w->thread.join();
    return result;
  }

private:
  struct queued {
    std::uint64_t id;
    job_ptr what;
  };

  std::size_t count(phase which) const noexcept {
    return static_cast<std::size_t>(
      std::count_if(workers_.begin(), workers_.end(),
                    [which](const auto& w) { return w->now == which; }));
  }

  /// Whether a job in the queue would wait for lost workers. With `patience`
  /// that is how it is meant: `look_after` tries again.
  bool nobody_comes_back() const noexcept {
    return options_.patience.count() == 0 && count(phase::running) == 0
           && count(phase::blocked) == 0;
  }

  /// Whether what is queued need not be handed to anybody yet.
  bool watched() const noexcept {
    return count(phase::watching) != 0 && count(phase::running) != 0;
  }

  /// Workers that take up one of the places for running jobs.
  std::size_t busy() const noexcept {
    const std::size_t lost = count(phase::lost);
    return count(phase::running)
           + (lost > options_.max_lost ? lost - options_.max_lost : 0);
  }

  /// Gives a job to an idle worker or to a new one. False if neither is to be
  /// had. Leaves `what` alone in that case.
  ///
  /// One is woken at a time, and wakes the next if there is more to do: waking
  /// costs more than a small job, and a worker that is awake takes many. One
  /// that was woken for nothing watches for a while: a worker may be at a long
  /// job, but most often those who are awake are enough.
  bool give(std::uint64_t id, job_ptr& what, wakeup& later) {
    for (const auto& w : workers_) {
      if (w->now != phase::idle && w->now != phase::watching)
        continue;
      take(*w, id, what);
      waking_ = true;
      later.who = w->mailbox;
      return true;
    }
    return start(id, what);
  }

  void take(worker& w, std::uint64_t id, job_ptr& what) {
    ++taken_;
    w.now = phase::running;
    w.id = id;
    w.work = std::move(what);
    w.since = std::chrono::steady_clock::now();
  }

  bool start(std::uint64_t id, job_ptr& what) {
    reap();
    const auto fresh = std::make_shared<worker>();
    workers_.push_back(fresh);
    try {
      fresh->thread = std::thread{
        [self = shared_from_this(), fresh] { self->work(fresh); }};
    } catch (...) {
      workers_.pop_back(); // no more threads, or no memory
      return false;
    }
    take(*fresh, id, what);
    waking_ = true;
    return true;
  }

  /// Hands a queued job to a place that has become free, unless `casually`
  /// somebody watches.
  void feed(wakeup& later, bool casually = false) {
    if (waking_ || closed_ || queue_.empty() || busy() >= options_.workers
        || (casually && watched()))
      return;
    if (give(queue_.front().id, queue_.front().what, later))
      pop();
  }

  void pop() {
    queue_.pop_front();
    queued_.store(!queue_.empty(), std::memory_order_relaxed);
  }

  /// A worker that was woken has come.
  void arrive() {
    wakeup later;
    const std::lock_guard guard{mutex_};
    waking_ = false;
    feed(later, true);
  }

  /// Puts the threads that have ended aside. They are joined by a worker: their
  /// `thread_local` variables may run code of the application.
  void reap() {
    const auto at = std::partition(workers_.begin(), workers_.end(),
                                   [](const auto& w) {
                                     return w->now != phase::gone;
                                   });
    ended_.insert(ended_.end(), at, workers_.end());
    workers_.erase(at, workers_.end());
  }

  /// Body of a worker's thread.
  void work(const worker_ptr& me) {
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
    do {
      me->work->run();
    } while (next(*me, *self));
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

  /// Waits a moment for a job without sleeping: to wake a thread costs more
  /// than many a job. One worker at a time; what is submitted meanwhile waits
  /// for it.
  void look_around(std::unique_lock<brief_mutex>& guard, worker& me) {
    me.now = phase::running;
    waking_ = true;
    guard.unlock();
    const auto until = std::chrono::steady_clock::now() + looks_for;
    while (!queued_.load(std::memory_order_relaxed)
           && std::chrono::steady_clock::now() < until)
      table::relax();
    guard.lock();
    waking_ = false;
    me.now = phase::leaving;
  }

  /// Gets the next job for `me`, from the queue or, after a while, from whoever
  /// gives it one. False if it shall end.
  bool next(worker& me, caf::scoped_actor& self) {
    // Destroyed without the lock and before the next job is taken: that is code
    // of the application, and nobody shall wait behind it.
    job_ptr over;
    std::vector<worker_ptr> ended;
    {
      const std::lock_guard guard{mutex_};
      me.now = phase::running; // whatever it was: it is back
      me.id = 0;
      over.swap(me.work);
      ended.swap(ended_);
    }
    over.reset();
    for (const auto& w : ended)
      w->thread.join();
    bool watching = false;
    {
      wakeup later;
      std::unique_lock guard{mutex_};
      me.now = phase::leaving;
      if (closed_ || busy() >= options_.workers)
        return false;
      if (queue_.empty() && !waking_)
        look_around(guard, me);
      if (take_queued(me, later))
        return true;
      if (closed_)
        return false;
      watching = count(phase::running) != 0 && count(phase::watching) == 0;
      me.now = watching ? phase::watching : phase::idle;
    }
    return await_job(me, self, watching);
  }

  bool take_queued(worker& me, wakeup& later) {
    if (queue_.empty())
      return false;
    take(me, queue_.front().id, queue_.front().what);
    pop();
    feed(later, true);
    return true;
  }

  /// Sleeps until there is a job for `me`. False if it shall end.
  bool await_job(worker& me, caf::scoped_actor& self, bool watching) {
    std::optional<bool> go;
    std::uint64_t seen = 0; // jobs taken when it last looked
    const auto on_go = [&](go_atom) {
      arrive();
      go = true;
    };
    const auto on_stop = [&](stop_atom) { go = false; };
    const auto on_exit = [](const caf::exit_msg&) {};
    while (!go && watching)
      self->receive(
        on_go, on_stop, on_exit, caf::after(watch_period) >> [&] {
          switch (look(me, seen)) {
            case sight::job:
              go = true;
              break;
            case sight::quiet:
              watching = false;
              break;
            case sight::nothing:
              break;
          }
        });
    while (!go)
      self->receive(on_go, on_stop, on_exit);
    return *go;
  }

  enum class sight {
    job,     ///< `me` has taken one that nobody had come for
    nothing, ///< to be done; it watches on
    quiet,   ///< no job was taken since the last look: it is idle now
  };

  /// What the one who watches does from time to time.
  sight look(worker& me, std::uint64_t& seen) {
    wakeup later;
    const std::lock_guard guard{mutex_};
    if (me.now != phase::watching || closed_)
      return sight::nothing; // a message is on its way
    if (busy() < options_.workers && take_queued(me, later))
      return sight::job;
    if (std::exchange(seen, taken_) != taken_)
      return sight::nothing;
    me.now = phase::idle;
    return sight::quiet;
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
  brief_mutex mutex_;
  std::condition_variable_any gone_;
  bool closed_ = false;
  bool abandoned_ = false;
  std::uint64_t taken_ = 0; ///< jobs
  bool waking_ = false;     ///< a worker has a job and has not come for it yet
  std::deque<queued> queue_;
  std::atomic<bool> queued_{false}; ///< whether the queue is not empty
  std::vector<worker_ptr> workers_;
  std::vector<worker_ptr> ended_; ///< to be joined
};

thread_local worker_pool::state::place worker_pool::state::current_;

worker_pool::worker_pool(caf::actor_system& sys, const pool_options& options)
  : state_(std::make_shared<state>(sys, options)) {
}

worker_pool::~worker_pool() {
  static_cast<void>(state_->shutdown(std::chrono::milliseconds{0}));
}

std::optional<errc> worker_pool::submit(std::uint64_t id, job_ptr& what) {
  return state_->submit(id, what);
}

void worker_pool::write_off(std::uint64_t id) {
  state_->write_off(id);
}

void worker_pool::look_after() {
  state_->look_after();
}

worker_pool::remainder
worker_pool::shutdown(std::chrono::milliseconds timeout) {
  return state_->shutdown(timeout);
}

bool worker_pool::on_worker() noexcept {
  return state::current_.me != nullptr;
}

worker_pool::blocked_scope::blocked_scope() {
  if (!on_worker())
    return;
  const auto how = state::current_.pool->block(*state::current_.me);
  allowed_ = how != state::blocking::refused;
  entered_ = how == state::blocking::entered;
}

worker_pool::blocked_scope::~blocked_scope() {
  if (entered_)
    state::current_.pool->unblock(*state::current_.me);
}

} // namespace coopcache::actor
