#pragma once

#include "coopcache/core/time.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace coopcache::actor {

/// The one thread of a node that watches the clock: calls a function once per
/// tick, and earlier where asked to. Costs fifteen short wake-ups a second.
///
/// Not CAF's clock: pending messages would keep actors alive, and a host that
/// blocks its scheduler would stop it.
class ticker {
public:
  /// `f` is told the time and says when it wants to be called at the latest.
  /// It must not throw, and must not block for long.
  explicit ticker(std::function<core::instant(core::instant now)> f);

  /// Waits until `f` has returned and will not be called again.
  ~ticker();

  ticker(const ticker&) = delete;
  ticker& operator=(const ticker&) = delete;

  /// Asks for a call at `at`, if none is due before. Thread-safe.
  void poke(core::instant at);

private:
  void run();

  std::function<core::instant(core::instant)> f_;
  std::mutex mutex_;
  std::condition_variable changed_;
  core::instant next_{};
  bool stop_ = false;
  std::thread thread_;
};

} // namespace coopcache::actor
