#pragma once

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/response_waiter.hpp"
#include "coopcache/actor_types.hpp"
#include "coopcache/cache_base.hpp"
#include "coopcache/loader.hpp"
#include "coopcache/result.hpp"
#include "coopcache/stats.hpp"

#include <concepts>
#include <latch>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace coopcache {

namespace detail {

/// Calls `f` at the end of the block, whatever ends it.
template <class F>
class at_exit {
public:
  explicit at_exit(F f) noexcept : f_(std::move(f)) {
  }

  ~at_exit() {
    f_();
  }

  at_exit(const at_exit&) = delete;
  at_exit& operator=(const at_exit&) = delete;

private:
  F f_;
};

/// Calls `f` with the result.
template <class T, class F>
class callback_waiter final : public async_waiter {
public:
  callback_waiter(F f, std::shared_ptr<cache_base> cache)
    : f_(std::move(f)), cache_(std::move(cache)) {
  }

  void deliver(detail::answer how) noexcept override {
    try {
      f_(result<T>{std::move(how)});
    } catch (...) {
      cache_->callback_threw(core::exception_text());
    }
  }

private:
  F f_;
  std::shared_ptr<cache_base> cache_;
};

} // namespace detail

/// A fetch or a put that an actor makes: nothing happens before `then`.
template <class T, class Start>
class [[nodiscard]] pending_fetch {
public:
  explicit pending_fetch(Start start) : start_(std::move(start)) {
  }

  /// Fetches, and calls `f(result<T>)` in the context of the actor: at once on
  /// a hit, else later; never if the actor ends before.
  template <class F>
  void then(F f) && {
    std::move(start_)(std::move(f));
  }

private:
  Start start_;
};

/// A named cache of values of type `T`, as the application uses it.
///
/// Cheap to copy. All functions may be called by any thread at any time, also
/// after the node has shut down: then they answer `shutting_down`.
///
/// **Loaders.** A loader is moved into the cache and may outlive the call: it
/// must own what it uses. It is called with one of: nothing; the key
/// (`std::string_view`); a `std::stop_token`; both; a `const load_context&`; or
/// a `promise<T>`, which it may fulfil later from any thread. It returns a
/// value, `cached(...)`, `uncached(...)`, `failed(...)`, an `outcome<T>` or
/// something like `caf::expected<T>`. Whatever it throws becomes the error
/// `fetch_failed`. It runs on a worker and may block, and may fetch other keys.
///
/// **Errors** of a fetch: `fetch_failed`, `timeout`, `no_loader`, `load_cycle`,
/// `would_block`, `queue_full`, `workers_exhausted`, `backing_off`,
/// `broken_promise`, `key_too_large`, `shutting_down`.
template <class T>
class cache {
public:
  using value_type = T;

  /// Made by `node::open`.
  explicit cache(std::shared_ptr<detail::cache_base> core) noexcept
    : core_(std::move(core)) {
  }

  /// The value of `key`, loaded by the declared loader if need be. Blocks until
  /// the deadline at most.
  result<T> fetch(std::string_view key, fetch_options options = {}) const {
    if (auto hit = core_->table.find(key))
      return {std::move(hit), source::hit};
    return result<T>{core_->fetch(
      request{.key = key, .work = nullptr, .options = std::move(options)})};
  }

  /// The value of `key`, loaded by `loader` if nobody else loads it. Blocks
  /// until the deadline at most; a hit costs nanoseconds.
  template <class F>
  requires(!std::is_convertible_v<F&&, fetch_options>) result<T> fetch(
    std::string_view key, F&& loader, fetch_options options = {})
  const {
    if (auto hit = core_->table.find(key))
      return {std::move(hit), source::hit};
    return result<T>{core_->fetch(
      load_request(key, std::forward<F>(loader), std::move(options), false))};
  }

  /// Like the above with a loader that refers to the caller's variables: does
  /// not return before that loader has ended, so that the deadline is soft.
  template <class F>
  result<T> fetch(std::string_view key, borrowed_function<F> loader,
                  fetch_options options = {}) const {
    if (auto hit = core_->table.find(key))
      return {std::move(hit), source::hit};
    std::binary_semaphore gone{0};
    detail::answer answer;
    auto refused = core_->block_on(key, [&] {
      auto work = std::make_unique<detail::borrowed_loader<T, F>>(loader
                                                                    .function,
                                                                  gone);
      const detail::at_exit wait{[&gone] { gone.acquire(); }};
      answer = core_->fetch(request{.key = key,
                                    .work = std::move(work),
                                    .options = std::move(options)});
    });
    if (refused != nullptr)
      answer.failure = std::move(refused);
    return result<T>{std::move(answer)};
  }

  /// Like `fetch` of a value or throws `bad_result`.
  template <class... Args>
  [[nodiscard]] T fetch_or_throw(std::string_view key, Args&&... args) const {
    return fetch(key, std::forward<Args>(args)...).value();
  }

  /// Never blocks: calls `done(result<T>)` exactly once. That may be before it
  /// returns: on a hit, on an error that is known at once, or if the load has
  /// just ended. Else it is on the thread that ends the load, or on one of the
  /// library's if the deadline passes. `done` must be short; what it throws is
  /// logged and counted. `loader` may be `nullptr`: the declared one.
  template <class F, class Done>
  void fetch_async(std::string_view key, F&& loader, Done done,
                   fetch_options options = {}) const {
    if (auto hit = core_->table.find(key))
      return waiter(std::move(done))
        ->deliver({std::move(hit), nullptr, source::hit});
    core_->fetch(load_request(key, std::forward<F>(loader), std::move(options),
                              false),
                 waiter(std::move(done)));
  }

  /// For event-based actors: `fetch(self, key, loader).then(f)` calls
  /// `f(result<T>)` in the context of `self`, which lives until then. Never
  /// blocks.
  template <detail::event_actor Self, class F>
  auto fetch(Self* self, std::string key, F loader,
             fetch_options options = {}) const {
    return pending(self, std::move(key), std::move(loader), std::move(options),
                   false);
  }

  /// The same with the declared loader.
  template <detail::event_actor Self>
  auto fetch(Self* self, std::string key, fetch_options options = {}) const {
    return fetch(self, std::move(key), nullptr, std::move(options));
  }

  /// Fetches all keys side by side; `loader` is called with a key. The results
  /// are in the order of the keys. Blocks like `fetch`.
  template <class F>
  std::vector<result<T>> fetch_many(std::span<const std::string> keys, F loader,
                                    fetch_options options = {}) const;

  /// The value of `key` if there is one now; loads nothing and never blocks.
  [[nodiscard]] std::optional<result<T>>
  get_if_present(std::string_view key) const {
    auto hit = core_->table.find(key);
    if (!hit)
      hit = core_->find_landed(key);
    if (!hit)
      return std::nullopt;
    return result<T>{std::move(hit), source::hit};
  }

  /// Calls `f(const T&)` with the value of `key` if there is one now, without
  /// sharing it. `f` must be short, must not block or throw, and must not keep
  /// the reference. Returns whether it was called.
  template <class F>
  bool visit(std::string_view key, F&& f) const {
    if (core_->table.visit(
          key,
          [](void* context, const table::entry& e) {
            (*static_cast<std::remove_reference_t<F>*>(context))(
              e.template value<T>());
          },
          const_cast<void*>(static_cast<const void*>(std::addressof(f)))))
      return true;
    const auto landed = core_->find_landed(key);
    if (landed)
      f(landed->template value<T>());
    return static_cast<bool>(landed);
  }

  /// Loads anew though there is a value, which is served to others until the
  /// new one is there. If the load fails, the old value stays. Blocks like
  /// `fetch`. `loader` may be `nullptr`: the declared one.
  template <class F>
  result<T> refresh(std::string_view key, F&& loader,
                    fetch_options options = {}) const {
    return result<T>{core_->fetch(
      load_request(key, std::forward<F>(loader), std::move(options), true))};
  }

  /// The same for event-based actors, like `fetch(self, ...)`.
  template <detail::event_actor Self, class F>
  auto refresh(Self* self, std::string key, F loader,
               fetch_options options = {}) const {
    return pending(self, std::move(key), std::move(loader), std::move(options),
                   true);
  }

  /// Stores a value. A load of the key that has begun before is not stored.
  /// Blocks, for the `deadline` of the cache at most. Errors: `no_room` (full,
  /// or above a limit: the key then has no value), `key_too_large`, `timeout`
  /// (it happens later), `would_block`, `shutting_down`; `fetch_failed` if
  /// `until` is no time.
  status put(std::string_view key, T value, const expiry& until = {}) const {
    const auto when = core_->time_of(until);
    if (!when.fault.empty())
      return status{core_->make_error(errc::fetch_failed, when.fault, key)};
    return core_->put(detail::make_entry<T>(key, std::move(value), when));
  }

  /// The same without blocking: calls `done(result<T>)` exactly once, with the
  /// value as it was stored or with the error, on a thread of the library's.
  template <class Done>
  void put_async(std::string_view key, T value, Done done,
                 const expiry& until = {}) const {
    put_for(key, std::move(value), until, waiter(std::move(done)));
  }

  /// The same for event-based actors, like `fetch(self, ...)`.
  template <detail::event_actor Self>
  auto put(Self* self, std::string key, T value, expiry until = {}) const {
    auto start = [c = *this, self, key = std::move(key),
                  value = std::move(value), until](auto f) mutable {
      c.put_for(key, std::move(value), until, responder(self, std::move(f)));
    };
    return pending_fetch<T, decltype(start)>{std::move(start)};
  }

  /// When it returns, no fetch that starts later sees the old value. A load
  /// that has begun before answers those who wait for it and is not stored.
  /// Blocks, for the `deadline` of the cache at most. Errors: `timeout` (it
  /// happens later), `would_block`, `shutting_down`.
  status clear(std::string_view key) const {
    return core_->clear(key);
  }

  /// The same for all keys.
  status clear_all() const {
    return core_->clear_all();
  }

  /// The keys that have a value, in no order. Takes time and memory in
  /// proportion to their number.
  [[nodiscard]] std::vector<std::string> keys() const;

  /// What the cache has done so far, all that has ended before included; on a
  /// thread of CAF, which must not wait, perhaps not the last of it.
  [[nodiscard]] cache_stats stats() const {
    return core_->stats();
  }

  [[nodiscard]] const std::string& name() const noexcept {
    return core_->name;
  }

  /// The actor of the cache; empty after the shutdown of the node.
  [[nodiscard]] cache_actor actor() const {
    return detail::handle_of(*core_);
  }

private:
  using request = detail::cache_base::request;

  template <class F>
  static std::unique_ptr<table::loader> load_by(F&& loader) {
    if constexpr (std::is_null_pointer_v<std::remove_cvref_t<F>>)
      return nullptr;
    else
      return std::make_unique<detail::typed_loader<T, std::decay_t<F>>>(
        std::forward<F>(loader));
  }

  template <class F>
  static request load_request(std::string_view key, F&& loader,
                              fetch_options options, bool refresh) {
    return {.key = key,
            .work = load_by(std::forward<F>(loader)),
            .options = std::move(options),
            .refresh = refresh};
  }

  template <class Self, class F>
  auto pending(Self* self, std::string key, F loader, fetch_options options,
               bool refresh) const {
    auto start = [c = *this, self, key = std::move(key),
                  loader = std::move(loader), options = std::move(options),
                  refresh](auto f) mutable {
      if (!refresh)
        if (auto hit = c.core_->table.find(key))
          return f(result<T>{std::move(hit), source::hit});
      c.core_->fetch(load_request(key, std::move(loader), std::move(options),
                                  refresh),
                     responder(self, std::move(f)));
    };
    return pending_fetch<T, decltype(start)>{std::move(start)};
  }

  void put_for(std::string_view key, T value, const expiry& until,
               std::unique_ptr<detail::async_waiter> who) const {
    const auto when = core_->time_of(until);
    if (!when.fault.empty())
      return who->deliver(
        {{}, core_->make_error(errc::fetch_failed, when.fault, key)});
    core_->put(detail::make_entry<T>(key, std::move(value), when),
               std::move(who));
  }

  /// Calls `f(result<T>)` in the context of `self`.
  template <class Self, class F>
  static auto responder(Self* self, F f) {
    const auto id = actor::expect_response(self, [f = std::move(f)](
                                                   const fetched& x) mutable {
      f(x.template as<T>());
    });
    return std::make_unique<
      actor::response_waiter>(caf::actor_cast<caf::strong_actor_ptr>(
                                self->address()),
                              id);
  }

  template <class Done>
  auto waiter(Done done) const {
    return std::make_unique<detail::callback_waiter<T, Done>>(std::move(done),
                                                              core_);
  }

  std::shared_ptr<detail::cache_base> core_;
};

template <class T>
template <class F>
std::vector<result<T>> cache<T>::fetch_many(std::span<const std::string> keys,
                                            F loader,
                                            fetch_options options) const {
  std::vector<result<T>> all;
  all.reserve(keys.size());
  const auto load_one = [&loader](const std::string& key) {
    return [loader, key] { return loader(key); };
  };
  if (!core_->may_block()) {
    for (const auto& key : keys)
      all.push_back(fetch(key, load_one(key), options));
    return all;
  }
  std::vector<std::optional<result<T>>> found(keys.size());
  std::latch missing{static_cast<std::ptrdiff_t>(keys.size())};
  const auto refused = core_->block_on({}, [&] {
    std::size_t begun = 0;
    const detail::at_exit wait{[&] {
      missing.count_down(static_cast<std::ptrdiff_t>(keys.size() - begun));
      missing.wait();
    }};
    for (; begun < keys.size(); ++begun)
      fetch_async(
        keys[begun], load_one(keys[begun]),
        [&found, &missing, i = begun](result<T> r) {
          found[i].emplace(std::move(r));
          missing.count_down();
        },
        options);
  });
  for (auto& each : found)
    all.push_back(refused != nullptr ? result<T>{detail::answer{{}, refused}}
                                     : *std::move(each));
  return all;
}

template <class T>
std::vector<std::string> cache<T>::keys() const {
  static_cast<void>(core_->settle());
  std::vector<table::entry_ptr> entries;
  core_->table.collect(entries);
  std::vector<std::string> all;
  all.reserve(entries.size());
  for (const auto& each : entries)
    all.emplace_back(each->key());
  return all;
}

} // namespace coopcache
