#include "coopcache/actor/cache_core.hpp"

#include "coopcache/actor/cache_shell.hpp"
#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/node_core.hpp"
#include "coopcache/actor/threads.hpp"
#include "coopcache/core/units.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <future>
#include <utility>

namespace coopcache::actor {

namespace {

thread_local table::flight_ptr running_load;

/// Marks the calling thread as running a load.
class load_scope {
public:
  explicit load_scope(table::flight_ptr f) noexcept
    : before_(std::exchange(running_load, std::move(f))) {
  }

  ~load_scope() {
    running_load = std::move(before_);
  }

  load_scope(const load_scope&) = delete;
  load_scope& operator=(const load_scope&) = delete;

private:
  table::flight_ptr before_;
};

core::store_options store_options_of(const cache_options& from) {
  return {from.memory_limit, from.cache_duration, from.time_to_live,
          from.full == when_full::evict};
}

cluster::load_limits load_limits_of(const cache_options& from) {
  return {from.load_soft_limit, from.load_hard_limit, from.failure_backoff};
}

table::landing failed_landing(std::shared_ptr<const error> what) {
  return {{}, std::move(what), false, false};
}

std::string text_of(std::chrono::milliseconds life) {
  return core::milliseconds_text(static_cast<std::uint64_t>(life.count()));
}

std::string soft_limit_text(const cache_options& options) {
  return "the load has passed its soft limit of "
         + text_of(
           options.load_soft_limit.value_or(std::chrono::milliseconds{0}));
}

void bump(std::atomic<std::uint64_t>& counter) noexcept {
  counter.fetch_add(1, std::memory_order_relaxed);
}

} // namespace

const table::flight_ptr& current_load() noexcept {
  return running_load;
}

cache_core::cache_core(std::shared_ptr<node_core> node, std::string name_arg,
                       const cache_options& options_arg,
                       detail::loader_factory declared,
                       const std::type_info& type_arg)
  : cache_base(std::move(name_arg), options_arg, table::precise_now()),
    type(type_arg), node_(std::move(node)), declared_(std::move(declared)),
    store_(store_options_of(options_arg), table::precise_now()),
    loads_(load_limits_of(options_arg)) {
}

cache_core::~cache_core() = default;

// -- errors -------------------------------------------------------------------

std::shared_ptr<const error>
cache_core::make_error(errc code, std::string reason,
                       std::string_view key) const {
  constexpr std::size_t shown = 100;
  return std::make_shared<const error>(error{code, std::move(reason), name,
                                             std::string{key.substr(0, shown)},
                                             node_->cfg.node.name});
}

detail::answer cache_core::fail(errc code, std::string reason,
                                std::string_view key) const {
  return {{}, make_error(code, std::move(reason), key), source::loaded};
}

/// What can be said without looking for the key.
std::optional<detail::answer> cache_core::refuse(const request& what) const {
  if (what.key.size() > options.max_key_size)
    return fail(errc::key_too_large,
                "the key has " + std::to_string(what.key.size())
                  + " bytes, allowed are "
                  + std::to_string(options.max_key_size),
                what.key);
  if (closed_.load(std::memory_order_acquire))
    return fail(errc::shutting_down, "the node has shut down", what.key);
  return std::nullopt;
}

// -- fetching -----------------------------------------------------------------

/// Finds the flight or the value of a key, or publishes a new flight.
table::flights::seat cache_core::join(request& what) {
  if (what.work == nullptr && declared_)
    what.work = declared_();
  auto seat = flights_.join(what.key, what.refresh ? nullptr : &table,
                            [&]() -> table::flight_ptr {
                              if (what.work == nullptr)
                                return nullptr;
                              return std::make_shared<
                                table::flight>(node_->next_load(), what.key,
                                               shared_from_this(),
                                               std::move(what.work),
                                               what.refresh);
                            });
  if (seat.fresh) {
    table.count_miss();
  } else if (seat.joined != nullptr) {
    if (seat.joined->landed() && seat.joined->how().reusable) {
      // The value is on its way into the table.
      seat.hit = seat.joined->how().value;
      table.count_hit();
    } else {
      table.count_join();
    }
  }
  return seat;
}

/// The answer, where there is nothing to wait for. Else it is noted that the
/// load `within`, if any, waits for the flight; a new flight starts only then,
/// so that what its loader does in turn finds the note.
std::optional<detail::answer>
cache_core::begin_wait(const table::flights::seat& seat, std::string_view key,
                       const table::flight_ptr& within) {
  if (seat.hit)
    return detail::answer{seat.hit, nullptr, source::hit};
  if (seat.closed)
    return fail(errc::shutting_down, "the node has shut down", key);
  if (seat.joined == nullptr)
    return fail(errc::no_loader, "neither the fetch nor the cache has a loader",
                key);
  if (within != nullptr && !node_->begin_wait(within->id, seat.joined->id))
    return fail(errc::load_cycle,
                "the load of \"" + within->key
                  + "\" asks for a key that waits for it",
                key);
  if (seat.fresh)
    static_cast<void>(post(start{seat.joined}));
  return std::nullopt;
}

detail::answer cache_core::fetch(request what) {
  if (auto early = refuse(what))
    return *std::move(early);
  if (!may_block())
    return fail(errc::would_block,
                "a blocking fetch on a thread of CAF would have to wait; use "
                "fetch(self, ...) or fetch_async",
                what.key);
  const worker_pool::blocked_scope blocked;
  if (!blocked.allowed())
    return fail(errc::workers_exhausted,
                "too many loaders wait in nested fetches", what.key);
  const auto patience = what.options.deadline.value_or(options.deadline);
  const auto deadline = core::later(table::precise_now(), patience);
  const auto& within = what.options.within.flight() != nullptr
                         ? what.options.within.flight()
                         : running_load;
  const auto seat = join(what);
  if (auto now = begin_wait(seat, what.key, within))
    return *std::move(now);
  const auto waited = seat.joined->wait(deadline, options.max_waiters);
  if (within != nullptr)
    node_->end_wait(within->id, seat.joined->id);
  switch (waited) {
    case table::flight::waited::full:
      return fail(errc::queue_full, "too many callers wait for this load",
                  what.key);
    case table::flight::waited::deadline:
      return fail(errc::timeout, "no answer within " + text_of(patience),
                  what.key);
    case table::flight::waited::expelled:
      return fail(errc::timeout, soft_limit_text(options), what.key);
    case table::flight::waited::landed:
      break;
  }
  const auto& how = seat.joined->how();
  return {how.value, how.failure, seat.fresh ? source::loaded : source::joined};
}

void cache_core::fetch(request what,
                       std::unique_ptr<detail::async_waiter> who) {
  if (auto early = refuse(what))
    return who->deliver(*std::move(early));
  const auto patience = what.options.deadline.value_or(options.deadline);
  const auto within = what.options.within.flight() != nullptr
                        ? what.options.within.flight()
                        : running_load;
  const auto seat = join(what);
  if (auto now = begin_wait(seat, what.key, within))
    return who->deliver(*std::move(now));
  if (within != nullptr)
    who->settled = [node = node_, from = within->id, to = seat.joined->id] {
      node->end_wait(from, to);
    };
  who->whose = seat.fresh ? source::loaded : source::joined;
  who->deadline = core::later(table::precise_now(), patience);
  const auto deadline = who->deadline;
  table::waiter_ptr waiter = std::move(who);
  bool earliest = false;
  switch (seat.joined->attach(waiter, options.max_waiters, earliest)) {
    case table::flight::attached::landed:
      waiter->notify(seat.joined->how());
      break;
    case table::flight::attached::full:
      waiter->notify(failed_landing(
        make_error(errc::queue_full, "too many callers wait for this load",
                   what.key)));
      break;
    case table::flight::attached::yes:
      if (earliest)
        want_deadline(deadline);
      break;
  }
}

/// Sees to it that the ticker looks after waiters at `at`.
void cache_core::want_deadline(core::instant at) {
  auto seen = next_deadline_.load(std::memory_order_relaxed);
  while (at < seen)
    if (next_deadline_.compare_exchange_weak(seen, at))
      return node_->wake(at);
}

bool cache_core::may_block() const noexcept {
  return worker_pool::on_worker() || !on_caf_thread();
}

void cache_core::block_on(const std::function<void()>& wait) {
  const worker_pool::blocked_scope blocked;
  wait();
}

void cache_core::callback_threw(const std::string& what) {
  node_->log(log_level::error,
             "cache \"" + name + "\": a callback threw " + what);
}

table::entry_ptr cache_core::find_landed(std::string_view key) {
  const auto f = flights_.find(key);
  return f != nullptr && f->landed() && f->how().reusable ? f->how().value
                                                          : table::entry_ptr{};
}

// -- loading ------------------------------------------------------------------

/// On a worker.
void cache_core::run(const table::flight_ptr& f) {
  auto work = f->take_loader();
  if (work == nullptr || f->claimed())
    return;
  const load_scope scope{f};
  f->began.store(table::precise_now(), std::memory_order_relaxed);
  work->run(f);
}

void cache_core::finish(const table::flight_ptr& f, table::landing how) {
  land(f, std::move(how), true);
}

/// Only the first call for a flight has an effect. `inline_ok`: whether the
/// calling thread may run the callbacks of those who wait.
///
/// The actor is told before anybody is answered: whatever those do next comes
/// after the end of the load in its queue.
void cache_core::land(const table::flight_ptr& f, table::landing how,
                      bool inline_ok) {
  if (!f->claim())
    return;
  how.reusable = how.store && may_fit(*how.value);
  if (!how.reusable)
    flights_.remove(*f); // who comes from now on loads anew
  const bool stored_first = f->refresh && how.store;
  const bool told = post(ended{f, how, table::precise_now(), stored_first});
  if (!stored_first || !told)
    answer(f, std::move(how), inline_ok);
}

/// Requires: the claim of `f`.
void cache_core::answer(const table::flight_ptr& f, table::landing how,
                        bool inline_ok) {
  auto waiters = f->land(std::move(how));
  if (!inline_ok)
    return answer_later(std::move(waiters), f->how());
  for (const auto& each : waiters)
    each->notify(f->how());
}

void cache_core::answer_later(std::vector<table::waiter_ptr> who,
                              table::landing how) {
  if (who.empty())
    return;
  const auto all = std::make_shared<std::vector<table::waiter_ptr>>(
    std::move(who));
  const auto tell = [all, how = std::move(how)] {
    for (const auto& each : *all)
      each->notify(how);
  };
  if (node_->answers.submit(0, tell))
    tell(); // at shutdown, on the thread that shuts down
}

// -- the queue ----------------------------------------------------------------

/// False if the cache has been closed; the command is destroyed then.
bool cache_core::post(command what) {
  core_actor to;
  {
    const std::lock_guard guard{queue_mutex_};
    if (closed_.load(std::memory_order_relaxed))
      return false;
    queue_.push_back(std::move(what));
    if (std::exchange(woken_, true))
      return true;
    to = actor_;
  }
  if (to)
    actor::post(to, drain_atom_v);
  return true;
}

/// Waits until a command has been carried out.
status cache_core::call(const std::function<command(ack)>& make) {
  if (!may_block())
    return status{make_error(errc::would_block,
                             "a blocking call on a thread of CAF; send a "
                             "message to the actor of the cache",
                             {})};
  std::promise<std::shared_ptr<const error>> made;
  auto answer = made.get_future();
  const auto closed = [this] {
    return status{
      make_error(errc::shutting_down, "the node has shut down", {})};
  };
  // The command alone keeps the promise: if it is dropped, the wait ends.
  auto done = std::make_shared<decltype(made)>(std::move(made));
  if (!post(make([kept = std::move(done)](std::shared_ptr<const error> e) {
        kept->set_value(std::move(e));
      })))
    return closed();
  if (answer.wait_for(options.deadline) != std::future_status::ready)
    return status{
      make_error(errc::timeout,
                 "the cache did not answer within " + text_of(options.deadline),
                 {})};
  try {
    return status{answer.get()};
  } catch (const std::future_error&) {
    return closed(); // the queue was dropped
  }
}

status cache_core::put(table::entry_ptr value) {
  if (value->key().size() > options.max_key_size)
    return status{
      make_error(errc::key_too_large, "the key is too long", value->key())};
  return call([&](ack done) {
    return put_entry{std::move(value), std::move(done)};
  });
}

status cache_core::clear(std::string_view key) {
  return call([&](ack done) {
    return clear_key{std::string{key}, std::move(done)};
  });
}

status cache_core::clear_all() {
  return call([](ack done) { return clear_everything{std::move(done)}; });
}

status cache_core::settle() {
  return call([](ack done) { return report{std::move(done)}; });
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
  s.entries = c.entries;
  s.bytes = c.bytes;
  s.memory_limit = options.memory_limit;
  s.load_time = std::chrono::nanoseconds{c.load_ns};
  return s;
}

bool cache_core::drain() {
  const std::lock_guard writer{writer_};
  carry_out_queue(table::precise_now());
  const std::lock_guard guard{queue_mutex_};
  woken_ = !queue_.empty();
  return woken_;
}

void cache_core::clear_now(const std::string& key) {
  const std::lock_guard writer{writer_};
  carry_out_queue(table::precise_now());
  forget(key);
}

void cache_core::clear_all_now() {
  const std::lock_guard writer{writer_};
  carry_out_queue(table::precise_now());
  forget_all();
}

cache_stats cache_core::stats_now() {
  const std::lock_guard writer{writer_};
  carry_out_queue(table::precise_now());
  return snapshot();
}

/// Carries out what is queued now, not what comes meanwhile.
void cache_core::carry_out_queue(core::instant now) {
  {
    const std::lock_guard guard{queue_mutex_};
    batch_.swap(queue_);
  }
  for (auto& each : batch_)
    std::visit([&](auto& what) { carry_out(what, now); }, each);
  batch_.clear();
  store_.set_extra(table.striped_bytes());
  publish();
  const auto next = std::min(store_.next_wake(), loads_.next_wake());
  if (next < next_wake_.exchange(next))
    node_->wake(next);
}

/// Shows the state of the ledger to other threads.
void cache_core::publish() noexcept {
  counters_.entries.store(store_.entries(), std::memory_order_relaxed);
  counters_.bytes.store(store_.bytes(), std::memory_order_relaxed);
}

// -- commands -----------------------------------------------------------------

void cache_core::carry_out(start& what, core::instant now) {
  const auto& f = what.flight;
  if (f->claimed())
    return;
  if (!f->superseded()) {
    if (const auto until = loads_.request(f->id, f->key, now)) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until
                                                                     - now);
      return land(f,
                  failed_landing(
                    make_error(errc::backing_off,
                               "the last load failed; the next one may run in "
                                 + text_of(left),
                               f->key)),
                  false);
    }
  }
  running_.emplace(f->id, f);
  const auto refused = node_->loads.submit(f->id, [self = shared_from_this(),
                                                   f] { self->run(f); });
  if (refused)
    land(f,
         failed_landing(make_error(*refused, "no worker for the load", f->key)),
         false);
}

void cache_core::carry_out(ended& what, core::instant now) {
  const auto& f = *what.flight;
  running_.erase(f.id);
  const auto& how = what.how;
  using outcome = cluster::loads::outcome;
  using verdict = cluster::loads::verdict;
  const auto kind = how.failure != nullptr ? outcome::failed
                    : how.store            ? outcome::cached
                                           : outcome::uncached;
  const auto decided = loads_.finished(f.id, kind, now);
  const auto began = f.began.load(std::memory_order_relaxed);
  if (began != core::never) {
    bump(counters_.loads);
    counters_.load_ns += (what.at - began).count();
    if (kind == outcome::failed)
      bump(counters_.failures);
    if (kind == outcome::uncached)
      bump(counters_.uncached);
    if (decided == verdict::superseded)
      bump(counters_.superseded);
  }
  if (decided == verdict::store)
    store_value(how.value, now);
  flights_.remove(f);
  if (what.unanswered)
    answer(what.flight, std::move(what.how), false);
}

void cache_core::carry_out(put_entry& what, core::instant now) {
  forget(what.value->key());
  store_value(std::move(what.value), now);
  what.done(nullptr);
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

void cache_core::carry_out(wake&, core::instant now) {
  expire(now);
}

/// Makes sure that neither the value nor a load begun before is seen again.
void cache_core::forget(std::string_view key) {
  loads_.revoke(key);
  if (const auto f = flights_.supersede(key))
    ask_to_stop(f);
  if (auto* const old = table.lookup(key)) {
    store_.remove(*old);
    table.erase(*old);
  }
}

void cache_core::forget_all() {
  static_cast<void>(loads_.revoke_all());
  for (const auto& f : flights_.supersede_all())
    ask_to_stop(f);
  table.clear([this](table::entry& e) { store_.remove(e); });
}

/// A load whose result cannot be stored any more goes on for those who wait.
void cache_core::ask_to_stop(const table::flight_ptr& f) const {
  if (!f->awaited())
    f->request_stop();
}

void cache_core::store_value(table::entry_ptr value, core::instant now) {
  if (auto* const old = table.lookup(value->key()))
    store_.remove(*old); // its charge makes room; its slot is replaced below
  std::vector<core::record*> victims;
  const bool fits = may_fit(*value) && store_.admit(*value, now, victims);
  for (auto* const victim : victims) {
    table.erase(static_cast<table::entry&>(*victim));
    bump(counters_.evicted);
  }
  if (fits) {
    if (auto* const replaced = table.put(std::move(value)))
      table::hot_table::retire(*replaced);
    return;
  }
  bump(counters_.refused);
  if (auto* const old = table.lookup(value->key()))
    table.erase(*old);
  warn_refused(*value);
}

/// Whether there can be room for a value at all.
bool cache_core::may_fit(const table::entry& value) const noexcept {
  return value.charge <= options.max_value_size
         && value.charge <= options.memory_limit;
}

/// One warning a cache: a full one would fill the log, too.
void cache_core::warn_refused(const table::entry& value) {
  if (std::exchange(warned_, true))
    return;
  const auto bytes = core::bytes_text(value.charge);
  node_->log(log_level::warning,
             "cache \"" + name + "\": a value of " + bytes
               + (value.charge > options.max_value_size
                    ? " is above max_value_size of "
                        + core::bytes_text(options.max_value_size)
                    : " finds no room within memory_limit of "
                        + core::bytes_text(options.memory_limit))
               + "; values are answered but not stored (said once)");
}

void cache_core::expire(core::instant now) {
  std::vector<core::record*> gone;
  store_.expire(now, gone);
  for (auto* const each : gone) {
    table.erase(static_cast<table::entry&>(*each));
    bump(counters_.expired);
  }
  const auto overdue = loads_.expire(now);
  for (const auto id : overdue.soft) {
    const auto at = running_.find(id);
    if (at != running_.end())
      answer_later(at->second->expel(),
                   failed_landing(make_error(errc::timeout,
                                             soft_limit_text(options),
                                             at->second->key)));
  }
  for (const auto id : overdue.hard) {
    const auto at = running_.find(id);
    if (at == running_.end())
      continue;
    const auto f = at->second;
    f->request_stop();
    node_->loads.write_off(id);
    land(f,
         failed_landing(make_error(errc::timeout,
                                   "the load has passed its hard limit of "
                                     + text_of(options.load_hard_limit),
                                   f->key)),
         false);
  }
}

// -- time and life ------------------------------------------------------------

core::instant cache_core::tick(core::instant now) {
  table.set_time(core::to_tick(now));
  if (next_wake_.load(std::memory_order_relaxed) <= now
      && next_wake_.exchange(core::never) <= now)
    static_cast<void>(post(wake{}));
  if (next_deadline_.load(std::memory_order_relaxed) <= now)
    expire_waiters(now);
  return std::min(next_wake_.load(std::memory_order_relaxed),
                  next_deadline_.load(std::memory_order_relaxed));
}

/// On the ticker's thread, so that a host that blocks CAF's scheduler does not
/// keep anybody waiting.
void cache_core::expire_waiters(core::instant now) {
  next_deadline_.store(core::never);
  for (const auto& f : flights_.all()) {
    std::vector<table::waiter_ptr> late;
    f->expire(now, late);
    if (!late.empty())
      answer_later(std::move(late),
                   failed_landing(make_error(errc::timeout,
                                             "no answer by the deadline",
                                             f->key)));
    want_deadline(f->next_deadline());
  }
}

void cache_core::spawn() {
  const std::lock_guard guard{queue_mutex_};
  if (closed_.load(std::memory_order_relaxed))
    return;
  actor_ = spawn_shell(node_->sys, shared_from_this());
  actor::post(actor_, drain_atom_v);
}

cache_actor cache_core::handle() {
  const std::lock_guard guard{queue_mutex_};
  return actor_;
}

void cache_core::close() {
  core_actor last;
  std::vector<command> dropped;
  {
    const std::lock_guard guard{queue_mutex_};
    if (closed_.exchange(true))
      return;
    std::swap(last, actor_);
    dropped.swap(queue_);
  }
  caf::anon_send_exit(last, caf::exit_reason::kill);
  last = nullptr;
  for (auto& each : dropped)
    if (auto* const end = std::get_if<ended>(&each); end && end->unanswered)
      answer(end->flight, std::move(end->how), true);
  for (const auto& f : flights_.close()) {
    f->request_stop();
    land(f,
         failed_landing(make_error(errc::shutting_down,
                                   "the node shut down during the load",
                                   f->key)),
         true);
  }
  const std::lock_guard writer{writer_};
  running_.clear();
  table.clear([this](table::entry& e) { store_.remove(e); });
  publish();
}

} // namespace coopcache::actor

namespace coopcache::detail {

cache_actor handle_of(cache_base& cache) {
  return static_cast<actor::cache_core&>(cache).handle();
}

} // namespace coopcache::detail
