#include "coopcache/actor/ticker.hpp"

#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <pthread.h>

namespace coopcache::actor {

ticker::ticker(std::function<core::instant(core::instant)> f)
  : f_(std::move(f)), thread_([this] { run(); }) {
}

ticker::~ticker() {
  {
    const std::lock_guard guard{mutex_};
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void ticker::poke(core::instant at) {
  {
    const std::lock_guard guard{mutex_};
    if (at >= next_)
      return;
    next_ = at;
  }
  changed_.notify_one();
}

void ticker::run() {
  pthread_setname_np(pthread_self(), "coopcache.tick");
  std::unique_lock guard{mutex_};
  while (!stop_) {
    const auto until = std::chrono::steady_clock::time_point{
      next_.time_since_epoch()};
    if (changed_.wait_until(guard, until, [this, seen = next_] {
          return stop_ || next_ != seen;
        }))
      continue;
    const core::instant now = table::precise_now();
    next_ = core::start_of(core::to_tick(now) + 1);
    guard.unlock();
    const core::instant wanted = f_(now);
    guard.lock();
    next_ = std::min(next_, wanted);
  }
}

} // namespace coopcache::actor
