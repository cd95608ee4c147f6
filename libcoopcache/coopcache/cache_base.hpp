#pragma once

#include "coopcache/config.hpp"
#include "coopcache/export.hpp"
#include "coopcache/load_context.hpp"
#include "coopcache/result.hpp"
#include "coopcache/stats.hpp"
#include "coopcache/table/flight.hpp"
#include "coopcache/table/hot_table.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace coopcache::detail {

/// Makes the loader for one run; what a cache with a declared loader keeps.
using loader_factory = std::function<std::unique_ptr<table::loader>()>;

/// Somebody who waits for an answer without blocking.
class async_waiter : public table::waiter {
public:
  /// Called exactly once, on the worker that finished or on the caller.
  virtual void deliver(answer how) noexcept = 0;

  void settle() noexcept final {
    if (settled)
      std::exchange(settled, nullptr)();
  }

  void notify(const table::landing& how) noexcept final {
    settle();
    deliver({how.value, how.failure, whose});
  }

  /// Set by the cache: whose load it is, how long the caller is ready to wait,
  /// and what to do first.
  source whose = source::loaded;
  std::chrono::milliseconds patience{0};
  std::function<void()> settled;
};

/// What `cache<T>` needs of a cache, whatever the type of its values.
/// Thread-safe.
class COOPCACHE_EXPORT cache_base : public table::flight_owner {
public:
  /// One fetch. The key is looked at before the call returns.
  struct request {
    std::string_view key;
    std::unique_ptr<table::loader> work; ///< null: the declared loader
    fetch_options options;
    bool refresh = false; ///< load even if there is a value
  };

  cache_base(std::string name_arg, const cache_options& options_arg,
             core::instant now)
    : name(std::move(name_arg)), options(options_arg),
      table(options_arg.cache_duration.has_value(), core::to_tick(now)) {
  }

  const std::string name;
  const cache_options options;
  table::hot_table table;

  /// A fetch that was no hit: waits. On a thread of CAF the error
  /// `would_block` instead.
  [[nodiscard]] virtual answer fetch(request what) = 0;

  /// The same without waiting.
  virtual void fetch(request what, std::unique_ptr<async_waiter> who) = 0;

  /// The value of a load that has ended but is not in the table yet.
  [[nodiscard]] virtual table::entry_ptr find_landed(std::string_view key) = 0;

  /// Answers with the value when it has been stored, without waiting.
  virtual void put(table::entry_ptr value,
                   std::unique_ptr<async_waiter> who) = 0;

  /// End when the change has been carried out.
  virtual status put(table::entry_ptr value) = 0;
  virtual status clear(std::string_view key) = 0;
  virtual status clear_all() = 0;

  /// Waits until all that has ended before is in the table and counted.
  virtual status settle() = 0;
  [[nodiscard]] virtual cache_stats stats() = 0;

  /// Whether the calling thread may wait: it is not one of CAF's.
  [[nodiscard]] virtual bool may_block() const noexcept = 0;

  /// Calls `wait`, which blocks, so that a worker's place is free meanwhile.
  /// Empty, or the error `workers_exhausted` if too many wait already.
  [[nodiscard]] virtual std::shared_ptr<const error>
  block_on(std::string_view key, const std::function<void()>& wait) = 0;

  /// Logs that a callback has thrown.
  virtual void callback_threw(const std::string& what) = 0;

  /// Names cache and node in an error.
  [[nodiscard]] virtual std::shared_ptr<const error>
  make_error(errc code, std::string reason, std::string_view key) const = 0;

  /// When a new value expires.
  struct timing {
    core::instant expires_at = core::never;
    std::int64_t wall_ms = 0; ///< 0: never
    bool expired = false;     ///< it has already
    std::string fault;        ///< the loader gave an impossible time
  };

  /// Turns what a loader said into an instant, by the clocks of now.
  [[nodiscard]] static timing time_of(const expiry& until);
};

} // namespace coopcache::detail
