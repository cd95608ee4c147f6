#pragma once

#include <mutex>
#include <thread>

namespace coopcache::table {

/// Tells the processor that the thread waits in a loop.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// A mutex for sections much shorter than a switch of threads: who finds it
/// taken looks again some times before he sleeps.
class brief_mutex {
public:
  void lock() {
    for (int i = 0; i < looks; ++i) {
      if (mutex_.try_lock())
        return;
      relax();
    }
    mutex_.lock();
  }

  bool try_lock() {
    return mutex_.try_lock();
  }

  void unlock() {
    mutex_.unlock();
  }

private:
  static constexpr int looks = 100;

  std::mutex mutex_;
};

} // namespace coopcache::table
