#pragma once

#include "coopcache/actor_types.hpp"
#include "coopcache/cache_base.hpp"
#include "coopcache/cluster/loads.hpp"
#include "coopcache/core/store.hpp"
#include "coopcache/table/flights.hpp"

#include <caf/actor.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace coopcache::actor {

class node_core;

/// The messages of a cache actor, those among ourselves included.
using core_actor = cache_actor::extend<caf::result<void>(drain_atom)>;

/// One named cache: what its callers and its actor share.
///
/// Callers read the table, join flights, and leave commands in a queue; the
/// first command wakes the actor with one message. The actor alone carries
/// commands out and writes the table. Queue and state live here and not in the
/// actor, so that another one can go on if it should end.
///
/// Invariants:
/// 1. A value is stored only if its load had the lease of its key to the end.
/// 2. A flight leaves the collection after its value is in the table, or when
///    it is certain that it will not be.
/// 3. Every flight lands: by its load, by the hard limit, or by `close`.
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
  status clear(std::string_view key) override;
  status clear_all() override;
  cache_stats stats() override;
  status settle() override;
  bool may_block() const noexcept override;
  void block_on(const std::function<void()>& wait) override;
  void callback_threw(const std::string& what) override;
  std::shared_ptr<const error> make_error(errc code, std::string reason,
                                          std::string_view key) const override;
  void finish(const table::flight_ptr& f, table::landing how) override;

  const std::type_info& type;

  /// The actor; null after `close`.
  [[nodiscard]] cache_actor handle();

  // -- the node --------------------------------------------------------------

  /// Spawns the actor, also in place of one that has ended.
  void spawn();

  /// Called by the ticker; says when it wants to be called at the latest.
  core::instant tick(core::instant now);

  /// Ends the actor, answers all waiters, empties the table. Fetches are
  /// answered with `shutting_down` from now on.
  void close();

  // -- the actor -------------------------------------------------------------

  /// Carries out what is queued. True if more has come meanwhile.
  bool drain();

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

  [[nodiscard]] bool post(command what);
  status call(const std::function<command(ack)>& make);
  [[nodiscard]] detail::answer fail(errc code, std::string reason,
                                    std::string_view key) const;
  [[nodiscard]] std::optional<detail::answer> refuse(const request& what) const;
  table::flights::seat join(request& what);
  [[nodiscard]] std::optional<detail::answer>
  begin_wait(const table::flights::seat& seat, std::string_view key,
             const table::flight_ptr& within);
  void run(const table::flight_ptr& f);
  void land(const table::flight_ptr& f, table::landing how, bool inline_ok);
  void answer(const table::flight_ptr& f, table::landing how, bool inline_ok);
  void answer_later(std::vector<table::waiter_ptr> who, table::landing how);
  void want_deadline(core::instant at);
  void expire_waiters(core::instant now);
  [[nodiscard]] cache_stats snapshot() const;
  void carry_out_queue(core::instant now);
  void publish() noexcept;

  void carry_out(start& what, core::instant now);
  void carry_out(ended& what, core::instant now);
  void carry_out(put_entry& what, core::instant now);
  void carry_out(clear_key& what, core::instant now);
  void carry_out(clear_everything& what, core::instant now);
  void carry_out(report& what, core::instant now);
  void carry_out(wake& what, core::instant now);
  void forget(std::string_view key);
  void forget_all();
  void ask_to_stop(const table::flight_ptr& f) const;
  void store_value(table::entry_ptr value, core::instant now);
  void expire(core::instant now);
  [[nodiscard]] bool may_fit(const table::entry& value) const noexcept;
  void warn_refused(const table::entry& value);

  const std::shared_ptr<node_core> node_;
  const detail::loader_factory declared_;
  table::flights flights_;
  std::atomic<bool> closed_{false};
  std::atomic<core::instant> next_wake_{core::never};
  std::atomic<core::instant> next_deadline_{core::never};

  std::mutex queue_mutex_;
  std::vector<command> queue_;
  bool woken_ = false;
  core_actor actor_;

  std::mutex writer_; ///< held by whoever carries out; free but at the end
  std::vector<command> batch_;
  core::store store_;
  cluster::loads loads_;
  std::unordered_map<cluster::load_id, table::flight_ptr> running_;
  bool warned_ = false;

  /// Written by the actor alone.
  struct counters {
    std::atomic<std::uint64_t> loads{0}, failures{0}, uncached{0},
      superseded{0}, refused{0}, evicted{0}, expired{0}, entries{0}, bytes{0};
    std::atomic<std::int64_t> load_ns{0};
  } counters_;
};

} // namespace coopcache::actor
