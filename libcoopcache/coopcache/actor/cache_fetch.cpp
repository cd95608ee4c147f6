#include "coopcache/actor/cache_core.hpp"
#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/node_core.hpp"
#include "coopcache/actor/threads.hpp"
#include "coopcache/core/units.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <utility>

// What fetches do on the threads of their callers, and loads on their workers.

namespace coopcache::actor {

namespace {

thread_local table::flight_ptr running_load;

/// How many answers the calling thread is giving, one inside the other.
thread_local int landings = 0;

/// Marks the calling thread as running a load, or none.
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

class load_job final : public job {
public:
  load_job(std::shared_ptr<cache_core> cache, table::flight_ptr f) noexcept
    : cache_(std::move(cache)), flight_(std::move(f)) {
  }

  void run() noexcept override {
    cache_->run(flight_);
  }

  [[nodiscard]] std::string name() const override {
    return "the load of \"" + flight_->key.substr(0, 100) + "\" in cache \""
           + cache_->name + '"';
  }

private:
  std::shared_ptr<cache_core> cache_;
  table::flight_ptr flight_;
};

std::chrono::milliseconds patience_of(const fetch_options& asked,
                                      const cache_options& options) {
  return std::max(asked.deadline.value_or(options.deadline),
                  std::chrono::milliseconds{0});
}

core::instant after(std::chrono::milliseconds patience) {
  return core::later(table::precise_now(), core::clamped(patience));
}

std::string out_of_time(std::chrono::milliseconds patience) {
  return "no answer within " + text_of(patience);
}

} // namespace

job_ptr make_load_job(std::shared_ptr<cache_core> cache, table::flight_ptr f) {
  return std::make_unique<load_job>(std::move(cache), std::move(f));
}

/// Marks a thread that may be between a claim and the last answer.
class cache_core::landing_scope {
public:
  explicit landing_scope(cache_core& c) noexcept : cache_(c) {
    ++cache_.landing_;
    ++landings;
  }

  ~landing_scope() {
    --landings;
    --cache_.landing_;
    if (!cache_.closed_.load())
      return;
    const std::lock_guard guard{cache_.landing_mutex_};
    cache_.all_landed_.notify_all();
  }

  landing_scope(const landing_scope&) = delete;
  landing_scope& operator=(const landing_scope&) = delete;

private:
  cache_core& cache_;
};

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
    return detail::answer{{}, too_large(what.key), source::loaded};
  if (closed_.load(std::memory_order_acquire))
    return detail::answer{{}, has_shut_down(what.key), source::loaded};
  return std::nullopt;
}

std::shared_ptr<const error>
cache_core::has_shut_down(std::string_view key) const {
  return make_error(errc::shutting_down, "the node has shut down", key);
}

std::shared_ptr<const error> cache_core::too_large(std::string_view key) const {
  return make_error(errc::key_too_large,
                    "the key has " + std::to_string(key.size())
                      + " bytes, allowed are "
                      + std::to_string(options.max_key_size),
                    key);
}

std::shared_ptr<const error>
cache_core::too_many_blocked(std::string_view key) const {
  return make_error(errc::workers_exhausted,
                    "too many loaders wait in nested fetches", key);
}

std::string cache_core::soft_limit_text() const {
  using std::chrono::milliseconds;
  return "the load has passed its soft limit of "
         + text_of(options.load_soft_limit.value_or(milliseconds{0}));
}

// -- fetching -----------------------------------------------------------------

/// Finds the flight or the value of a key, or publishes a new flight.
table::flights::seat cache_core::join(request& what) {
  if (what.work == nullptr && declared_)
    what.work = declared_();
  const auto make = [&]() -> table::flight_ptr {
    if (what.work == nullptr)
      return nullptr;
    return std::make_shared<table::flight>(node_core::next_load(), what.key,
                                           shared_from_this(),
                                           std::move(what.work), what.refresh);
  };
  auto seat = flights_.join(what.key, what.refresh ? nullptr : &table,
                            std::ref(make));
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
    return detail::answer{{}, has_shut_down(key), source::loaded};
  if (seat.joined == nullptr)
    return fail(errc::no_loader, "neither the fetch nor the cache has a loader",
                key);
  try {
    if (within != nullptr
        && !node_core::begin_wait(within->id, seat.joined->id))
      return fail(errc::load_cycle,
                  "the load of \"" + within->key
                    + "\" asks for a key that waits for it",
                  key);
    if (seat.fresh)
      static_cast<void>(post(start{seat.joined}));
  } catch (...) {
    if (seat.fresh) // others may have joined what will never start
      land(seat.joined, {{}, no_memory_}, false);
    throw;
  }
  return std::nullopt;
}

detail::answer cache_core::fetch(request what) {
  if (auto early = refuse(what))
    return *std::move(early);
  if (!may_block()) {
    if (auto landed = find_landed(what.key))
      return {std::move(landed), nullptr, source::hit};
    return fail(errc::would_block,
                "a blocking fetch on a thread of CAF would have to wait; use "
                "fetch(self, ...) or fetch_async",
                what.key);
  }
  const worker_pool::blocked_scope blocked;
  if (!blocked.allowed())
    return {{}, too_many_blocked(what.key), source::loaded};
  const auto patience = patience_of(what.options, options);
  const auto deadline = after(patience);
  const auto& within = what.options.within.flight() != nullptr
                         ? what.options.within.flight()
                         : running_load;
  const auto seat = join(what);
  if (auto now = begin_wait(seat, what.key, within))
    return *std::move(now);
  const auto waited = seat.joined->wait(deadline, options.max_waiters);
  if (within != nullptr)
    node_core::end_wait(within->id, seat.joined->id);
  switch (waited) {
    case table::flight::waited::full:
      return fail(errc::queue_full, "too many callers wait for this load",
                  what.key);
    case table::flight::waited::deadline:
      return fail(errc::timeout, out_of_time(patience), what.key);
    case table::flight::waited::expelled:
      return fail(errc::timeout, soft_limit_text(), what.key);
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
  const auto within = what.options.within.flight() != nullptr
                        ? what.options.within.flight()
                        : running_load;
  who->patience = patience_of(what.options, options);
  const auto deadline = after(who->patience);
  const auto seat = join(what);
  if (auto now = begin_wait(seat, what.key, within))
    return who->deliver(*std::move(now));
  if (within != nullptr)
    who->settled = [from = within->id, to = seat.joined->id] {
      node_core::end_wait(from, to);
    };
  who->whose = seat.fresh ? source::loaded : source::joined;
  who->deadline = deadline;
  table::waiter_ptr waiter = std::move(who);
  bool earliest = false;
  switch (seat.joined->attach(waiter, options.max_waiters, earliest)) {
    case table::flight::attached::landed:
      waiter->notify(seat.joined->how());
      break;
    case table::flight::attached::full:
      waiter->notify(
        {{},
         make_error(errc::queue_full, "too many callers wait for this load",
                    what.key)});
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

std::shared_ptr<const error>
cache_core::block_on(std::string_view key, const std::function<void()>& wait) {
  const worker_pool::blocked_scope blocked;
  if (!blocked.allowed())
    return too_many_blocked(key);
  wait();
  return nullptr;
}

void cache_core::callback_threw(const std::string& what) {
  ++counters_.throws;
  node_->log(log_level::error,
             "cache \"" + name + "\": a callback threw " + what);
}

table::entry_ptr cache_core::find_landed(std::string_view key) {
  const auto f = flights_.find(key);
  if (f == nullptr || !f->landed() || !f->usable(table::precise_now()))
    return {};
  table.count_hit();
  return f->how().value;
}

// -- loading ------------------------------------------------------------------

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

bool cache_core::may_fit(const table::entry& value) const noexcept {
  return value.charge <= options.max_value_size
         && value.charge <= options.memory_limit;
}

/// Only the first call for a flight has an effect. `inline_ok`: whether the
/// calling thread may run the callbacks of those who wait.
///
/// The writer is told before anybody is answered: whatever those do next comes
/// after the end of the load in its queue.
void cache_core::land(const table::flight_ptr& f, table::landing how,
                      bool inline_ok) {
  const landing_scope here{*this};
  if (!f->claim())
    return;
  how.reusable = how.store && may_fit(*how.value);
  if (how.reusable) {
    how.good_until = how.value->expires_at;
    if (options.time_to_live)
      how.good_until = std::min(how.good_until, after(*options.time_to_live));
  }
  const bool stored_first = f->refresh && how.store;
  bool told = false;
  try {
    told = post(ended{f, how, table::precise_now(), stored_first});
  } catch (const std::bad_alloc&) {
    how.reusable = false; // nobody will store it
  }
  if (!how.reusable)
    flights_.remove(*f); // who comes from now on loads anew
  if (!stored_first || !told)
    answer(f, std::move(how), inline_ok);
}

/// Requires: the claim of `f`.
void cache_core::answer(const table::flight_ptr& f, table::landing how,
                        bool inline_ok) {
  auto waiters = f->land(std::move(how));
  auto unused = f->take_loader(); // one that has not begun never will
  if (!inline_ok)
    return answer_later(std::move(waiters), f->how(), std::move(unused));
  const load_scope none{nullptr}; // what callbacks fetch is not for this load
  notify(waiters, f->how());
}

void cache_core::answer_later(std::vector<table::waiter_ptr> who,
                              table::landing how,
                              std::unique_ptr<table::loader> unused) {
  const auto slow = std::partition(who.begin(), who.end(),
                                   [](const auto& w) { return w->quick(); });
  std::vector<table::waiter_ptr> rest{std::make_move_iterator(slow),
                                      std::make_move_iterator(who.end())};
  who.erase(slow, who.end());
  notify(who, how);
  if (rest.empty() && unused == nullptr)
    return;
  // What is unused is destroyed with the job.
  auto tell = make_job("a callback of cache \"" + name + '"',
                       [who = std::move(rest), how = std::move(how),
                        unused = std::move(unused)] { notify(who, how); });
  if (node_->answers.submit(0, tell))
    tell->run(); // at shutdown, on the thread that shuts down
}

/// On the ticker's thread, so that a host that blocks CAF's scheduler does not
/// keep anybody waiting.
void cache_core::expire_waiters(core::instant now) {
  next_deadline_.store(core::never);
  for (const auto& f : flights_.all()) {
    std::vector<table::waiter_ptr> late;
    f->expire(now, late);
    for (auto& each : late) {
      const auto patience = static_cast<const detail::async_waiter&>(*each)
                              .patience;
      std::vector<table::waiter_ptr> one;
      one.push_back(std::move(each));
      answer_later(std::move(one),
                   {{},
                    make_error(errc::timeout, out_of_time(patience), f->key)});
    }
    want_deadline(f->next_deadline());
  }
}

// -- the end ------------------------------------------------------------------

void cache_core::close() {
  core_actor last;
  commands dropped;
  {
    const std::lock_guard guard{queue_mutex_};
    if (closed_.exchange(true))
      return;
    std::swap(last, actor_);
    dropped.swap(queue_);
  }
  for (auto& each : dropped)
    drop(each);
  dropped.clear(); // ends the waits of puts and clears
  for (const auto& f : flights_.close()) {
    f->request_stop();
    land(f,
         {{},
          make_error(errc::shutting_down, "the node shut down during the load",
                     f->key)},
         true);
  }
  {
    // Threads that have claimed a flight answer it themselves.
    std::unique_lock guard{landing_mutex_};
    all_landed_.wait_for(guard, node_->cfg.node.shutdown_timeout,
                         [this] { return landing_ <= landings; });
  }
  {
    const std::lock_guard writer{writer_};
    table.clear([this](table::entry& e) { store_.remove(e); });
    publish();
  }
  actor::post(last, stop_atom_v);
}

} // namespace coopcache::actor
