#pragma once

#include "coopcache/actor/worker_pool.hpp"
#include "coopcache/actor_types.hpp"
#include "coopcache/cache_base.hpp"
#include "coopcache/cluster/loads.hpp"
#include "coopcache/core/store.hpp"
#include "coopcache/table/brief_mutex.hpp"
#include "coopcache/table/flights.hpp"

#include <caf/actor.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace coopcache::actor {

class node_core;

/// The messages of a cache actor, those among ourselves included.
using core_actor = cache_actor::extend<caf::result<void>(drain_atom),
                                       caf::result<void>(stop_atom)>;

/// A mutex that knows who holds it.
class turn_mutex {
public:
  void lock() {
    mutex_.lock();
    holder_ = std::this_thread::get_id();
  }

  /// Not to be called by the holder.
  bool try_lock() {
    if (!mutex_.try_lock())
      return false;
    holder_ = std::this_thread::get_id();
    return true;
  }

  /// Whether the calling thread holds it.
  [[nodiscard]] bool mine() const noexcept {
    return holder_ == std::this_thread::get_id();
  }

  void unlock() {
    holder_ = std::thread::id{};
    mutex_.unlock();
  }

private:
  std::mutex mutex_;
  std::atomic<std::thread::id> holder_{};
};

/// One named cache: what its callers and its actor share.
///
/// Callers read the table, join flights, and leave commands in a queue. One
/// thread at a time carries commands out and writes the table: the one that
/// found the queue idle, or the actor if there is more to do than a caller
/// should be held up for. Queue and state live here and not in the actor, so
/// that another one can go on if it should end.
///
/// Invariants:
/// 1. A value is stored only if its load had the lease of its key to the end.
/// 2. A flight leaves the collection after its value is in the table, or when
///    it is certain that it will not be.
/// 3. Every flight lands: by its load, by the hard limit, or by `close`.
/// 4. While the queue is not empty, somebody is going to look into it.
/// 5. No code of the application runs while a lock is held.
class cache_core final : public detail::cache_base,
                         public std::enable_shared_from_this<cache_core> {
public:
  cache_core(std::shared_ptr<node_core> node, std::string name,
             const cache_options& options, detail::loader_factory declared,
             const std::type_info& type);
  ~cache_core() override;

  // -- any thread: see cache_base and flight_owner ---------------------------

  detail::answer fetch(request what) override;
  void fetch(request what, std::unique_ptr<detail::async_waiter> who) override;
  table::entry_ptr find_landed(std::string_view key) override;
  status put(table::entry_ptr value) override;
  void put(table::entry_ptr value,
           std::unique_ptr<detail::async_waiter> who) override;
  status clear(std::string_view key) override;
  status clear_all() override;
  cache_stats stats() override;
  status settle() override;
  bool may_block() const noexcept override;
  std::shared_ptr<const error>
  block_on(std::string_view key, const std::function<void()>& wait) override;
  void callback_threw(const std::string& what) override;
  std::shared_ptr<const error> make_error(errc code, std::string reason,
                                          std::string_view key) const override;
  void finish(const table::flight_ptr& f, table::landing how) override;

  const std::type_info& type;

  /// The actor; null after `close`.
  [[nodiscard]] cache_actor handle();

  /// Runs the loader of `f`. On a worker.
  void run(const table::flight_ptr& f);

  // -- the node --------------------------------------------------------------

  /// Spawns the actor, also in place of one that has ended.
  void spawn();

  /// Called by the ticker; says when it wants to be called at the latest.
  core::instant tick(core::instant now);

  /// Answers all waiters, empties the table, ends the actor. Fetches are
  /// answered with `shutting_down` from now on.
  void close();

  // -- the actor -------------------------------------------------------------

  /// Carries out what is queued.
  void drain();

  /// What the messages ask for, after what is queued.
  void clear_now(const std::string& key);
  void clear_all_now();
  [[nodiscard]] cache_stats stats_now();

private:
  struct start {
    table::flight_ptr flight;
  };
  struct ended {
    table::flight_ptr flight;
    table::landing how;
    core::instant at;
    bool unanswered; ///< who waits is answered after it is stored
  };
  /// Called when a command has been carried out, or could not be.
  using ack = std::function<void(std::shared_ptr<const error>)>;
  struct put_entry {
    table::entry_ptr value;
    ack done;
  };
  struct clear_key {
    std::string key;
    ack done;
  };
  struct clear_everything {
    ack done;
  };
  struct report {
    ack done;
  };
  struct wake {};
  using command = std::variant<start, ended, put_entry, clear_key,
                               clear_everything, report, wake>;
  using commands = std::vector<command>;

  /// So many times does a caller look into the queue again; then it is the
  /// actor's turn.
  static constexpr std::size_t max_turns = 64;

  // cache_fetch.cpp
  class landing_scope;
  [[nodiscard]] detail::answer fail(errc code, std::string reason,
                                    std::string_view key) const;
  [[nodiscard]] std::optional<detail::answer> refuse(const request& what) const;
  [[nodiscard]] std::shared_ptr<const error>
  has_shut_down(std::string_view key) const;
  [[nodiscard]] std::shared_ptr<const error>
  too_large(std::string_view key) const;
  [[nodiscard]] std::shared_ptr<const error>
  too_many_blocked(std::string_view key) const;
  [[nodiscard]] std::string soft_limit_text() const;
  table::flights::seat join(request& what);
  [[nodiscard]] std::optional<detail::answer>
  begin_wait(const table::flights::seat& seat, std::string_view key,
             const table::flight_ptr& within);
  void land(const table::flight_ptr& f, table::landing how, bool inline_ok);
  void answer(const table::flight_ptr& f, table::landing how, bool inline_ok);
  void answer_later(std::vector<table::waiter_ptr> who, table::landing how,
                    std::unique_ptr<table::loader> unused = nullptr);
  void want_deadline(core::instant at);
  void expire_waiters(core::instant now);
  [[nodiscard]] bool may_fit(const table::entry& value) const noexcept;

  // cache_writer.cpp
  class owed_answer;
  enum class role { caller, actor, ticker };
  [[nodiscard]] bool post(command what, role as = role::caller);
  status call(std::string_view key, const std::function<command(ack)>& make);
  void take_turns(role as, command* first);
  void let_go(commands done);
  template <class F>
  void after_queue(F f);
  void carry_out_queue(commands& done, core::instant now);
  void carry_out_all(std::span<command> all, core::instant now);
  bool queue_is_done();
  void wake_actor();
  void wake_actor_or_wait() noexcept;
  void leave_to_actor(command* first);
  void drop(command& what);
  void catch_up() noexcept;
  [[nodiscard]] cache_stats snapshot() const;
  void publish() noexcept;
  void carry_out(start& what, core::instant now);
  void carry_out(ended& what, core::instant now);
  void carry_out(put_entry& what, core::instant now);
  void carry_out(clear_key& what, core::instant now);
  void carry_out(clear_everything& what, core::instant now);
  void carry_out(report& what, core::instant now);
  void carry_out(wake& what, core::instant now);
  void give_up(command& what) noexcept;
  void forget(std::string_view key);
  void forget_all();
  void lost(const table::flight_ptr& f);
  bool store_value(table::entry_ptr& value, core::instant now);
  void expire(core::instant now);
  void warn_refused(const table::entry& value);

  const std::shared_ptr<node_core> node_;
  const detail::loader_factory declared_;
  const std::shared_ptr<const error> no_memory_; ///< made while there is some
  table::flights flights_;
  std::atomic<bool> closed_{false};
  std::atomic<core::instant> next_wake_{core::never};
  std::atomic<core::instant> next_deadline_{core::never};

  std::mutex landing_mutex_;
  std::condition_variable all_landed_;
  std::atomic<int> landing_{0}; ///< threads between a claim and the last answer

  table::brief_mutex queue_mutex_;
  commands queue_;
  bool attended_ = false; ///< somebody is going to look into the queue
  core_actor actor_;

  turn_mutex writer_;                      ///< held by whoever carries out
  std::vector<table::flight_ptr> to_stop_; ///< when `writer_` is free again
  std::string to_say_;                     ///< the same, a warning
  std::atomic<bool> owes_{false};          ///< whether there is either
  core::store store_;
  cluster::loads loads_;
  core::instant due_ = core::never; ///< when one of them has something to do
  bool warned_ = false;

  /// Written by the writer, `throws` by anybody.
  struct counters {
    std::atomic<std::uint64_t> loads{0}, failures{0}, uncached{0},
      superseded{0}, refused{0}, evicted{0}, expired{0}, throws{0}, entries{0},
      bytes{0};
    std::atomic<std::int64_t> load_ns{0};
  } counters_;
};

/// What a worker is given to run the loader of `f`.
[[nodiscard]] job_ptr make_load_job(std::shared_ptr<cache_core> cache,
                                    table::flight_ptr f);

} // namespace coopcache::actor
