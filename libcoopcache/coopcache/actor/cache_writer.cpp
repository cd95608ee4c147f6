#include "coopcache/actor/cache_core.hpp"
#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/node_core.hpp"
#include "coopcache/core/units.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <cstddef>
#include <future>
#include <iterator>
#include <span>
#include <unordered_map>
#include <utility>

// The queue of commands, and what the one writer of the table does with them.

namespace coopcache::actor {

namespace {

void bump(std::atomic<std::uint64_t>& counter) noexcept {
  counter.fetch_add(1, std::memory_order_relaxed);
}

void ask_to_stop(const std::vector<table::flight_ptr>& all) noexcept {
  for (const auto& f : all)
    f->request_stop();
}

} // namespace

// -- the queue ----------------------------------------------------------------

/// False if the cache has been closed; the command is destroyed then.
bool cache_core::post(command what, role as) {
  command* first = &what;
  {
    const std::lock_guard guard{queue_mutex_};
    if (closed_.load(std::memory_order_relaxed))
      return false;
    if (attended_ || writer_.mine() || !queue_.empty()) {
      queue_.push_back(std::move(what));
      first = nullptr;
    }
    if (std::exchange(attended_, true))
      return true;
    if (writer_.mine()) {
      wake_actor(); // this thread is at it, but may not look again
      return true;
    }
  }
  try {
    take_turns(as, first);
  } catch (const std::bad_alloc&) {
    const std::lock_guard guard{queue_mutex_};
    wake_actor_or_wait();
  }
  return true;
} // what is done goes here, with values and loaders of the application

/// Requires: `queue_mutex_`, so that the actor system is still there: `close`
/// takes it, too.
void cache_core::wake_actor() {
  if (actor_)
    actor::post(actor_, drain_atom_v);
}

/// The same where memory may be short: else whoever comes next looks into the
/// queue.
void cache_core::wake_actor_or_wait() noexcept {
  try {
    wake_actor();
  } catch (const std::bad_alloc&) {
    attended_ = false;
  }
}

/// Carries out `first`, unless it is null, and what is in the queue and what
/// comes meanwhile, for a while; then the rest is left to the actor. Requires:
/// the caller has set `attended_`, or is the actor.
void cache_core::take_turns(role as, command* first) {
  commands done;
  bool finished = false;
  for (std::size_t turn = 0; turn < max_turns && !finished; ++turn) {
    std::unique_lock writer{writer_, std::defer_lock};
    if (as == role::actor)
      writer.lock();
    else if (!writer.try_lock())
      break;
    const core::instant now = table::precise_now();
    if (first == nullptr)
      carry_out_queue(done, now);
    else if (closed_)
      break;
    else
      carry_out_all({std::exchange(first, nullptr), 1}, now);
    writer.unlock();
    finished = queue_is_done();
  }
  if (!finished)
    leave_to_actor(first);
  catch_up();
  if (as == role::ticker)
    let_go(std::move(done));
} // what is done goes here, with values and loaders of the application

/// `first`, unless it is null, is to be carried out before what is queued.
void cache_core::leave_to_actor(command* first) {
  bool full = false;
  {
    const std::lock_guard guard{queue_mutex_};
    if (first != nullptr && !closed_) {
      try {
        queue_.insert(queue_.begin(), std::move(*first));
        first = nullptr;
      } catch (const std::bad_alloc&) {
        full = true;
      }
    }
    wake_actor_or_wait();
  }
  if (first != nullptr)
    full ? give_up(*first) : drop(*first);
}

/// After the end. Whoever waits for a put or a clear learns it when the command
/// is destroyed.
void cache_core::drop(command& what) {
  if (auto* const end = std::get_if<ended>(&what); end && end->unanswered)
    answer(end->flight, std::move(end->how), true);
}

/// The ticker must not be held up by destructors of the application.
void cache_core::let_go(commands done) {
  if (std::all_of(done.begin(), done.end(), [](const command& each) {
        return std::holds_alternative<wake>(each);
      }))
    return;
  auto trash = make_job("a destructor of a value or loader of cache \"" + name
                          + '"',
                        [done = std::move(done)] {});
  static_cast<void>(node_->answers.submit(0, trash));
}

/// Whether there is nothing left to look after.
bool cache_core::queue_is_done() {
  const std::lock_guard guard{queue_mutex_};
  attended_ = !queue_.empty();
  return !attended_;
}

/// Calls `f` as the writer, after what is queued.
template <class F>
void cache_core::after_queue(F f) {
  commands done;
  bool mine = false;
  {
    const std::lock_guard guard{queue_mutex_};
    mine = !std::exchange(attended_, true);
  }
  {
    const std::lock_guard writer{writer_};
    carry_out_queue(done, table::precise_now());
    f();
    publish();
  }
  if (mine && !queue_is_done())
    leave_to_actor(nullptr);
  catch_up();
}

void cache_core::drain() {
  take_turns(role::actor, nullptr);
}

void cache_core::clear_now(const std::string& key) {
  after_queue([&] { forget(key); });
}

void cache_core::clear_all_now() {
  after_queue([&] { forget_all(); });
}

cache_stats cache_core::stats_now() {
  cache_stats result;
  after_queue([&] {
    publish();
    result = snapshot();
  });
  return result;
}

/// Carries out what is queued now, not what comes meanwhile, and appends it to
/// `done`. Requires: `writer_`.
void cache_core::carry_out_queue(commands& done, core::instant now) {
  const auto before = done.size();
  {
    const std::lock_guard guard{queue_mutex_};
    if (done.empty()) {
      done.swap(queue_);
    } else {
      done.insert(done.end(), std::make_move_iterator(queue_.begin()),
                  std::make_move_iterator(queue_.end()));
      queue_.clear();
    }
  }
  carry_out_all(std::span{done}.subspan(before), now);
}

/// Requires: `writer_`.
void cache_core::carry_out_all(std::span<command> all, core::instant now) {
  try {
    if (due_ <= now)
      expire(now); // what has had its time makes no demands
  } catch (const std::bad_alloc&) {
    // What is left over goes with the next command.
  }
  for (auto& each : all) {
    try {
      std::visit([&](auto& what) { carry_out(what, now); }, each);
    } catch (...) {
      give_up(each);
    }
  }
  publish();
  due_ = std::min(store_.next_wake(), loads_.next_wake());
  if (due_ < next_wake_.exchange(due_))
    node_->wake(due_);
}

/// There is no memory to carry a command out: nobody shall wait for it.
void cache_core::give_up(command& what) noexcept {
  try {
    if (auto* const begun = std::get_if<start>(&what)) {
      land(begun->flight, {{}, no_memory_}, false);
    } else if (auto* const end = std::get_if<ended>(&what)) {
      flights_.remove(*end->flight);
      if (end->unanswered)
        answer(end->flight, std::move(end->how), false);
    } else if (auto* const put = std::get_if<put_entry>(&what)) {
      put->done(no_memory_);
    }
  } catch (...) {
    return; // they are answered by their deadlines
  }
}

/// Shows the state of the ledger to other threads.
void cache_core::publish() noexcept {
  counters_.entries.store(store_.entries(), std::memory_order_relaxed);
  counters_.bytes.store(store_.bytes(), std::memory_order_relaxed);
}

// -- calls --------------------------------------------------------------------

/// Waits until a command has been carried out.
status cache_core::call(std::string_view key,
                        const std::function<command(ack)>& make) {
  if (!may_block())
    return status{make_error(errc::would_block,
                             "a blocking call on a thread of CAF; use "
                             "put(self, ...), put_async, or a message to the "
                             "actor of the cache",
                             key)};
  std::promise<std::shared_ptr<const error>> made;
  auto answer = made.get_future();
  // The command alone keeps the promise: if it is dropped, the wait ends.
  auto done = std::make_shared<decltype(made)>(std::move(made));
  if (!post(make([kept = std::move(done)](std::shared_ptr<const error> e) {
        kept->set_value(std::move(e));
      })))
    return status{has_shut_down(key)};
  if (answer.wait_for(options.deadline) != std::future_status::ready)
    return status{
      make_error(errc::timeout,
                 "the cache did not answer within " + text_of(options.deadline),
                 key)};
  try {
    return status{answer.get()};
  } catch (const std::future_error&) {
    return status{has_shut_down(key)}; // the queue was dropped
  }
}

status cache_core::put(table::entry_ptr value) {
  if (value->key().size() > options.max_key_size)
    return status{too_large(value->key())};
  const table::entry_ptr named = value;
  return call(named->key(), [&](ack done) {
    return put_entry{std::move(value), std::move(done)};
  });
}

/// The answer to a put that nobody blocks for; given when the command is
/// destroyed, at the latest.
class cache_core::owed_answer {
public:
  owed_answer(std::shared_ptr<cache_core> cache, table::entry_ptr value,
              std::unique_ptr<detail::async_waiter> who) noexcept
    : cache_(std::move(cache)), value_(std::move(value)), who_(std::move(who)) {
  }

  owed_answer(const owed_answer&) = delete;
  owed_answer& operator=(const owed_answer&) = delete;

  ~owed_answer() {
    if (who_ == nullptr)
      return;
    try {
      give(cache_->has_shut_down(value_->key()));
    } catch (const std::bad_alloc&) {
      if (who_ != nullptr)
        who_->notify({{}, cache_->no_memory_});
    }
  }

  void give(std::shared_ptr<const error> failure) {
    std::vector<table::waiter_ptr> one;
    one.reserve(1);
    one.push_back(std::move(who_));
    const bool stored = failure == nullptr;
    cache_->answer_later(std::move(one), {stored ? value_ : table::entry_ptr{},
                                          std::move(failure)});
  }

private:
  std::shared_ptr<cache_core> cache_;
  table::entry_ptr value_;
  std::unique_ptr<detail::async_waiter> who_;
};

void cache_core::put(table::entry_ptr value,
                     std::unique_ptr<detail::async_waiter> who) {
  if (value->key().size() > options.max_key_size)
    return who->deliver({{}, too_large(value->key()), source::loaded});
  auto owed = std::make_shared<owed_answer>(shared_from_this(), value,
                                            std::move(who));
  ack done = [kept = std::move(owed)](std::shared_ptr<const error> failure) {
    kept->give(std::move(failure));
  };
  static_cast<void>(post(put_entry{std::move(value), std::move(done)}));
}

status cache_core::clear(std::string_view key) {
  return call(key, [&](ack done) {
    return clear_key{std::string{key}, std::move(done)};
  });
}

status cache_core::clear_all() {
  return call({}, [](ack done) { return clear_everything{std::move(done)}; });
}

status cache_core::settle() {
  return call({}, [](ack done) { return report{std::move(done)}; });
}

cache_stats cache_core::stats() {
  static_cast<void>(settle());
  return snapshot();
}

cache_stats cache_core::snapshot() const {
  const auto read = table.counts();
  const auto& c = counters_;
  cache_stats s;
  s.hits = read.hits;
  s.misses = read.misses;
  s.joined = read.joined;
  s.loads = c.loads;
  s.failures = c.failures;
  s.uncached = c.uncached;
  s.superseded = c.superseded;
  s.refused = c.refused;
  s.evicted = c.evicted;
  s.expired = c.expired;
  s.throws = c.throws;
  s.entries = c.entries;
  s.bytes = c.bytes;
  s.memory_limit = options.memory_limit;
  s.load_time = std::chrono::nanoseconds{c.load_ns};
  return s;
}

// -- commands -----------------------------------------------------------------

void cache_core::carry_out(start& what, core::instant now) {
  const auto& f = what.flight;
  if (f->claimed())
    return;
  if (f->superseded()) {
    loads_.run_without_lease(f->id, f->key, now);
  } else if (const auto until = loads_.request(f->id, f->key, now)) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until
                                                                   - now);
    return land(f,
                {{},
                 make_error(errc::backing_off,
                            "the last load failed; the next one may run in "
                              + text_of(left),
                            f->key)},
                false);
  }
  auto work = make_load_job(shared_from_this(), f);
  if (const auto refused = node_->loads.submit(f->id, work))
    land(f, {{}, make_error(*refused, "no worker for the load", f->key)},
         false);
}

void cache_core::carry_out(ended& what, core::instant now) {
  const auto& f = *what.flight;
  const auto& how = what.how;
  using outcome = cluster::loads::outcome;
  using verdict = cluster::loads::verdict;
  const auto began = f.began.load(std::memory_order_relaxed);
  const auto kind = began == core::never     ? outcome::not_run
                    : how.failure != nullptr ? outcome::failed
                    : how.store              ? outcome::cached
                                             : outcome::uncached;
  const auto decided = loads_.finished(f.id, kind, now);
  if (kind != outcome::not_run) {
    bump(counters_.loads);
    counters_.load_ns += (what.at - began).count();
    if (kind == outcome::failed)
      bump(counters_.failures);
    if (kind == outcome::uncached)
      bump(counters_.uncached);
    if (decided == verdict::superseded)
      bump(counters_.superseded);
  }
  if (decided == verdict::store) {
    auto value = how.value;
    store_value(value, now);
  }
  flights_.remove(f);
  if (what.unanswered)
    answer(what.flight, how, false);
}

void cache_core::carry_out(put_entry& what, core::instant now) {
  forget(what.value->key());
  auto value = what.value;
  what.done(store_value(value, now)
              ? nullptr
              : make_error(errc::no_room, "the value finds no room",
                           what.value->key()));
}

void cache_core::carry_out(clear_key& what, core::instant) {
  forget(what.key);
  what.done(nullptr);
}

void cache_core::carry_out(clear_everything& what, core::instant) {
  forget_all();
  what.done(nullptr);
}

void cache_core::carry_out(report& what, core::instant) {
  publish();
  what.done(nullptr);
}

/// It has been looked at what is due.
void cache_core::carry_out(wake&, core::instant) {
}

/// Makes sure that neither the value nor a load begun before is seen again.
void cache_core::forget(std::string_view key) {
  loads_.revoke(key);
  if (const auto f = flights_.supersede(key))
    lost(f);
  if (auto* const old = table.lookup(key)) {
    store_.remove(*old);
    table.erase(*old);
  }
}

void cache_core::forget_all() {
  static_cast<void>(loads_.revoke_all());
  for (const auto& f : flights_.supersede_all())
    lost(f);
  table.clear([this](table::entry& e) { store_.remove(e); });
}

/// A load whose result cannot be stored any more goes on for those who wait.
void cache_core::lost(const table::flight_ptr& f) {
  if (f->awaited())
    return;
  to_stop_.push_back(f);
  owes_ = true;
}

/// Does what must not be done by the writer. Stop callbacks are code of the
/// application: they run on a worker.
void cache_core::catch_up() noexcept {
  if (!owes_.load(std::memory_order_relaxed))
    return;
  std::vector<table::flight_ptr> stops;
  std::string warning;
  {
    const std::lock_guard writer{writer_};
    stops.swap(to_stop_);
    warning.swap(to_say_);
    owes_ = false;
  }
  if (!warning.empty())
    node_->log(log_level::warning, warning);
  if (stops.empty())
    return;
  try {
    auto stop = make_job("a stop callback of cache \"" + name + '"',
                         [stops] { ask_to_stop(stops); });
    if (!node_->answers.submit(0, stop))
      return;
  } catch (const std::bad_alloc&) {
    // on this thread, then
  }
  ask_to_stop(stops);
}

// -- storing ------------------------------------------------------------------

/// Whether there was room. Leaves `value` to the caller if not: to destroy it
/// runs code of the application.
bool cache_core::store_value(table::entry_ptr& value, core::instant now) {
  table.reserve();
  auto* const old = table.lookup(value->key());
  if (old != nullptr) {
    if (old->expires_at <= now)
      bump(counters_.expired);
    store_.remove(*old); // its charge makes room; its slot is replaced below
  }
  std::vector<core::record*> victims;
  const bool fits = may_fit(*value) && store_.admit(*value, now, victims);
  for (auto* const victim : victims) {
    table.erase(static_cast<table::entry&>(*victim));
    bump(counters_.evicted);
  }
  if (fits) {
    if (auto* const replaced = table.put(std::move(value)))
      table::hot_table::retire(*replaced);
    return true;
  }
  bump(counters_.refused);
  if (old != nullptr)
    table.erase(*old);
  warn_refused(*value);
  return false;
}

/// One warning a cache: a full one would fill the log, too.
void cache_core::warn_refused(const table::entry& value) {
  if (options.memory_limit == 0 || std::exchange(warned_, true))
    return;
  const auto bytes = core::bytes_text(value.charge);
  to_say_ = "cache \"" + name + "\": a value of " + bytes
            + (value.charge > options.max_value_size
                 ? " is above max_value_size of "
                     + core::bytes_text(options.max_value_size)
                 : " finds no room within memory_limit of "
                     + core::bytes_text(options.memory_limit))
            + "; values are answered but not stored (said once)";
  owes_ = true;
}

void cache_core::expire(core::instant now) {
  std::vector<core::record*> gone;
  store_.expire(now, gone);
  for (auto* const each : gone) {
    table.erase(static_cast<table::entry&>(*each));
    bump(counters_.expired);
  }
  if (loads_.next_wake() > now)
    return;
  std::unordered_map<cluster::load_id, table::flight_ptr> running;
  for (const auto& f : flights_.all())
    running.emplace(f->id, f);
  const auto overdue = loads_.expire(now);
  for (const auto id : overdue.soft) {
    const auto at = running.find(id);
    if (at != running.end())
      answer_later(at->second->expel(),
                   {{},
                    make_error(errc::timeout, soft_limit_text(),
                               at->second->key)});
  }
  for (const auto id : overdue.hard) {
    const auto at = running.find(id);
    if (at == running.end())
      continue;
    const auto f = at->second;
    to_stop_.push_back(f);
    owes_ = true;
    node_->loads.write_off(id);
    land(f,
         {{},
          make_error(errc::timeout,
                     "the load has passed its hard limit of "
                       + text_of(options.load_hard_limit),
                     f->key)},
         false);
  }
}

} // namespace coopcache::actor
