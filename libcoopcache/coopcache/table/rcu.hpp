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
/// until its end. Costs two plain stores.
class read_guard {
public:
  read_guard() noexcept {
    urcu_bp_read_lock();
  }

  ~read_guard() {
    publish();
    urcu_bp_read_unlock();
  }

  read_guard(const read_guard&) = delete;
  read_guard& operator=(const read_guard&) = delete;
};

} // namespace coopcache::table::rcu
