#include "interrupt.hpp"

#include <cstdlib>
#include <pthread.h>

namespace demo {

interrupt::interrupt() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  watcher_ = std::jthread{[this](const std::stop_token& end) { watch(end); }};
}

void interrupt::watch(const std::stop_token& end) {
  constexpr timespec patience{0, 100'000'000};
  while (!end.stop_requested())
    if (sigtimedwait(&signals_, nullptr, &patience) > 0
        && !stop_.request_stop())
      std::_Exit(interrupted_status);
}

} // namespace demo
