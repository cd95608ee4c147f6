#pragma once

#include <csignal>
#include <stop_token>
#include <thread>

namespace demo {

/// Turns the first Ctrl-C, or SIGTERM, into a request to stop; the second ends
/// the process. To be made before any other thread is started.
class interrupt {
public:
  interrupt();

  [[nodiscard]] std::stop_token token() const noexcept {
    return stop_.get_token();
  }

  [[nodiscard]] bool happened() const noexcept {
    return stop_.stop_requested();
  }

private:
  void watch(const std::stop_token& end);

  sigset_t signals_{};
  std::stop_source stop_;
  std::jthread watcher_; ///< last: it uses the others
};

/// The exit status of a program that was interrupted.
inline constexpr int interrupted_status = 130;

} // namespace demo
