#include "coopcache/table/hot_table.hpp"
#include "coopcache/table/rcu.hpp"
#include "coopcache/table/thread_record.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

// How the table lets go of an entry that no reader finds any more.
//
// 1. After a grace period no reader is left that found it. Threads may still
//    hold it, and let go of it without counting: they are told not to.
// 2. Of all entries that have come so far, one fence for them together makes
//    sure that nobody does; then the references of threads are counted.

namespace coopcache::table {

namespace {

/// What stands in place of the links of an entry that is in no queue any more.
struct remains {
  rcu_head head;
  remains* next;
};

static_assert(sizeof(remains) <= offsetof(core::record, charge));
static_assert(offsetof(core::record, queue) == 0);
static_assert(std::is_trivially_destructible_v<remains>);

/// What all threads hold, as seen at one moment.
class holdings {
public:
  holdings() noexcept : limit_(index_limit()) {
    for (std::uint32_t i = 0; i < limit_; ++i)
      seen_[i] = detail::records[i].held.load(std::memory_order_acquire);
  }

  /// Takes `e` away from all threads; how many held it. Requires: nobody can
  /// have begun to hold it since that moment.
  [[nodiscard]] std::int64_t take(const entry& e) const noexcept {
    std::int64_t result = 0;
    for (std::uint32_t i = 0; i < limit_; ++i) {
      if (seen_[i] != &e)
        continue;
      thread_record& holder = detail::records[i];
      const std::lock_guard guard{holder.moving};
      if (holder.held.load(std::memory_order_relaxed) != &e)
        continue;
      holder.held.store(nullptr, std::memory_order_release);
      ++result;
    }
    return result;
  }

private:
  const std::uint32_t limit_;
  std::array<const entry*, thread_indices> seen_;
};

} // namespace

class retirement {
public:
  static void begin(entry& e) noexcept {
    core::record& hook = e;
    auto* const r = new (static_cast<void*>(&hook)) remains{};
    rcu::publish();
    urcu_bp_call_rcu(&r->head, [](rcu_head* head) {
      rcu::observe();
      begin_counting(*reinterpret_cast<remains*>(head));
    });
  }

private:
  static entry& entry_of(remains& r) noexcept {
    auto* const hook = static_cast<void*>(&r);
    return static_cast<entry&>(*static_cast<core::record*>(hook));
  }

  /// First step.
  static void begin_counting(remains& r) noexcept {
    entry& e = entry_of(r);
    if (!e.may_hold_.load(std::memory_order_relaxed))
      return e.count(-1);
    e.may_hold_.store(false, std::memory_order_relaxed);
    const std::lock_guard guard{mutex};
    r.next = uncounted;
    uncounted = &r;
    if (r.next == nullptr)
      urcu_bp_call_rcu(&r.head, count_all);
  }

  /// Second step.
  static void count_all(rcu_head*) noexcept {
    remains* all = nullptr;
    {
      const std::lock_guard guard{mutex};
      std::swap(all, uncounted);
    }
    await_sections();
    const holdings held;
    while (all != nullptr) {
      entry& e = entry_of(*std::exchange(all, all->next));
      e.count(held.take(e) - entry::bias - 1);
    }
  }

  static constinit inline std::mutex mutex;
  static constinit inline remains* uncounted = nullptr; ///< between the steps
};

void hot_table::retire(entry& e) noexcept {
  retirement::begin(e);
}

void hot_table::drain() {
  urcu_bp_barrier(); // the first step of the last may begin the second
  urcu_bp_barrier();
}

} // namespace coopcache::table
