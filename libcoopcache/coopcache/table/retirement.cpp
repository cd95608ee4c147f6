#include "coopcache/table/hot_table.hpp"
#include "coopcache/table/rcu.hpp"
#include "coopcache/table/stripes.hpp"

#include <cstddef>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

// How the table lets go of an entry that no reader finds any more.
//
// 1. After a grace period no reader is left that found it. Threads with results
//    may still count beside `refs_`: they are told to stop.
// 2. Of all entries that have come so far, one fence for them together makes
//    sure that nobody does so any more; then their counts are added up.

namespace coopcache::table {

namespace {

/// What stands in place of the links of an entry that is in no queue any more.
struct remains {
  rcu_head head;
  remains* next;
  stripes* counted;
};

static_assert(sizeof(remains) <= offsetof(core::record, charge));
static_assert(offsetof(core::record, queue) == 0);
static_assert(std::is_trivially_destructible_v<remains>);

} // namespace

class retirement {
public:
  static void begin(entry& e) noexcept {
    core::record& hook = e;
    auto* const r = new (static_cast<void*>(&hook)) remains{};
    rcu::publish();
    urcu_bp_call_rcu(&r->head, [](rcu_head* head) {
      rcu::observe();
      unshare(*reinterpret_cast<remains*>(head));
    });
  }

private:
  static entry& entry_of(remains& r) noexcept {
    auto* const hook = static_cast<void*>(&r);
    return static_cast<entry&>(*static_cast<core::record*>(hook));
  }

  /// First step.
  static void unshare(remains& r) noexcept {
    entry& e = entry_of(r);
    if (e.owner_.load(std::memory_order_relaxed) == entry::no_owner)
      return e.deref();
    r.counted = e.stripes_.load(std::memory_order_relaxed);
    e.owner_.store(entry::no_owner, std::memory_order_relaxed);
    e.stripes_.store(nullptr, std::memory_order_relaxed);
    const std::lock_guard guard{mutex};
    r.next = unshared;
    unshared = &r;
    if (r.next == nullptr)
      urcu_bp_call_rcu(&r.head, settle_all);
  }

  /// Second step.
  static void settle_all(rcu_head*) noexcept {
    remains* all = nullptr;
    {
      const std::lock_guard guard{mutex};
      std::swap(all, unshared);
    }
    await_sections();
    while (all != nullptr) {
      remains& r = *std::exchange(all, all->next);
      entry_of(r).settle(r.counted);
    }
  }

  static constinit inline std::mutex mutex;
  static constinit inline remains* unshared = nullptr; ///< between the steps
};

void hot_table::retire(entry& e) noexcept {
  retirement::begin(e);
}

void hot_table::drain() {
  urcu_bp_barrier(); // the first step of the last may begin the second
  urcu_bp_barrier();
}

} // namespace coopcache::table
