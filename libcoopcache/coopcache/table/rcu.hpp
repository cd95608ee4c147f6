#pragma once

/// @file
/// The one place that includes liburcu, flavour "bulletproof": threads
/// register at their first read and unregister at their exit. Private to
/// `table`.

#if defined(__SANITIZE_ADDRESS__) || defined(__clang_analyzer__)
#  define COOPCACHE_CALL_RCU 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define COOPCACHE_CALL_RCU 1
#  endif
#endif
#if !defined(_LGPL_SOURCE) && !defined(COOPCACHE_CALL_RCU)
/// The functions inlined by it have fewer than ten lines each, which their
/// licence allows in any program. The sanitizers object to an alignment in
/// them, so they are called there.
#  define _LGPL_SOURCE
#endif
// A `thread_local` of another translation unit may need a constructor, so C++
// calls a wrapper at every access; a `__thread` needs none. The variables of
// liburcu are C.
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef __clang__
#  pragma clang diagnostic push
#  pragma clang diagnostic ignored "-Wkeyword-macro"
#endif
#define thread_local __thread
#include <urcu/urcu-bp.h>
#undef thread_local
#ifdef __clang__
#  pragma clang diagnostic pop
#endif

#if defined(__SANITIZE_THREAD__)
#  define COOPCACHE_TSAN 1
#elif defined(__has_feature)
#  if __has_feature(thread_sanitizer)
#    define COOPCACHE_TSAN 1
#  endif
#endif

#ifdef COOPCACHE_TSAN
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

#include <atomic>

namespace coopcache::table::rcu {

#ifdef COOPCACHE_TSAN
/// The thread sanitizer does not see the fences of liburcu: what was read
/// before an unlock happens before every later call-back.
inline char order;
inline void publish() noexcept {
  __tsan_release(&order);
}
inline void observe() noexcept {
  __tsan_acquire(&order);
}
#else
inline void publish() noexcept {
}
inline void observe() noexcept {
}
#endif

/// A read-side critical section: what a reader finds in it stays in memory
/// until its end. Costs two plain stores. Sections nest.
class read_guard {
public:
#ifdef COOPCACHE_CALL_RCU
  read_guard() noexcept {
    urcu_bp_read_lock();
  }

  ~read_guard() {
    publish();
    urcu_bp_read_unlock();
  }
#else
  // What `urcu_bp_read_lock` and its twin do, but the thread's record is looked
  // up once instead of four times: a sixth of a hit.
  read_guard() noexcept : reader_(record_of_thread()) {
    cmm_barrier();
    before_ = reader_->ctr;
    if ((before_ & URCU_BP_GP_CTR_NEST_MASK) == 0) [[likely]] {
      set(CMM_LOAD_SHARED(urcu_bp_gp.ctr));
      urcu_bp_smp_mb_slave();
    } else {
      set(before_ + URCU_BP_GP_COUNT);
    }
  }

  ~read_guard() {
    publish();
    urcu_bp_smp_mb_slave();
    set(before_);
    cmm_barrier();
  }
#endif

  read_guard(const read_guard&) = delete;
  read_guard& operator=(const read_guard&) = delete;

#ifndef COOPCACHE_CALL_RCU
private:
  static struct urcu_bp_reader* record_of_thread() noexcept {
    auto* const known = URCU_TLS(urcu_bp_reader);
    if (known != nullptr) [[likely]]
      return known;
    urcu_bp_register();
    return URCU_TLS(urcu_bp_reader);
  }

  // The macro of liburcu reads back what it has written, in C++.
  void set(unsigned long ctr) noexcept {
    std::atomic_ref{reader_->ctr}.store(ctr, std::memory_order_relaxed);
  }

  struct urcu_bp_reader* const reader_;
  unsigned long before_;
#endif
};

/// The same in fewer instructions, where that can be done.
class quick_guard {
public:
  /// Whether sections need no fence; the same for the whole life of a process.
  [[nodiscard]] static bool supported() noexcept {
#ifdef COOPCACHE_CALL_RCU
    return true;
#else
    return urcu_bp_has_sys_membarrier != 0;
#endif
  }

  /// Whether liburcu knows the calling thread, which is in no section yet.
  [[nodiscard]] static bool possible() noexcept {
#ifdef COOPCACHE_CALL_RCU
    return true;
#else
    const auto* const reader = URCU_TLS(urcu_bp_reader);
    return reader != nullptr && (reader->ctr & URCU_BP_GP_CTR_NEST_MASK) == 0;
#endif
  }

#ifdef COOPCACHE_CALL_RCU
private:
  read_guard guard_;
#else
  /// Requires: `supported()` and `possible()`.
  quick_guard() noexcept {
    set(CMM_LOAD_SHARED(urcu_bp_gp.ctr));
  }

  ~quick_guard() {
    publish();
    set(0);
  }

  quick_guard(const quick_guard&) = delete;
  quick_guard& operator=(const quick_guard&) = delete;

private:
  static void set(unsigned long ctr) noexcept {
    cmm_barrier();
    std::atomic_ref{URCU_TLS(urcu_bp_reader)->ctr}
      .store(ctr, std::memory_order_relaxed);
    cmm_barrier();
  }
#endif
};

} // namespace coopcache::table::rcu
