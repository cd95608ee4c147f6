#include "coopcache/actor/cache_core.hpp"

#include "coopcache/actor/cache_shell.hpp"
#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/node_core.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <utility>

namespace coopcache::actor {

namespace {

core::store_options store_options_of(const cache_options& from) {
  return {from.memory_limit, from.cache_duration, from.time_to_live,
          from.full == when_full::evict};
}

cluster::load_limits load_limits_of(const cache_options& from) {
  return {from.load_soft_limit, from.load_hard_limit, from.failure_backoff};
}

} // namespace

cache_core::cache_core(std::shared_ptr<node_core> node, std::string name_arg,
                       const cache_options& options_arg,
                       detail::loader_factory declared,
                       const std::type_info& type_arg)
  : cache_base(std::move(name_arg), options_arg, table::precise_now()),
    type(type_arg), node_(std::move(node)), declared_(std::move(declared)),
    no_memory_(make_error(errc::fetch_failed, "out of memory", {})),
    store_(store_options_of(options_arg), table::precise_now()),
    loads_(load_limits_of(options_arg)) {
}

cache_core::~cache_core() = default;

core::instant cache_core::tick(core::instant now) {
  table.set_time(core::to_tick(now));
  // Not an exchange: the writer may have put a later time there meanwhile.
  auto seen = next_wake_.load(std::memory_order_relaxed);
  while (seen <= now) {
    if (next_wake_.compare_exchange_weak(seen, core::never)) {
      static_cast<void>(post(wake{}, role::ticker));
      break;
    }
  }
  if (next_deadline_.load(std::memory_order_relaxed) <= now)
    expire_waiters(now);
  return std::min(next_wake_.load(std::memory_order_relaxed),
                  next_deadline_.load(std::memory_order_relaxed));
}

void cache_core::spawn() {
  const std::lock_guard guard{queue_mutex_};
  if (closed_.load(std::memory_order_relaxed))
    return;
  actor_ = spawn_shell(node_->sys, shared_from_this());
  attended_ = true;
  wake_actor();
}

cache_actor cache_core::handle() {
  const std::lock_guard guard{queue_mutex_};
  return actor_;
}

} // namespace coopcache::actor

namespace coopcache::detail {

cache_actor handle_of(cache_base& cache) {
  return static_cast<actor::cache_core&>(cache).handle();
}

} // namespace coopcache::detail
