#pragma once

#include "coopcache/actor/sockets.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace coopcache::actor {

/// What became of an attempt.
struct attempt {
  enum class end : std::uint8_t {
    connected,
    refused, ///< the host says that nobody listens there
    failed,  ///< no answer in time, no route, an unknown name
  };

  std::string endpoint;
  end how = end::failed;
  descriptor socket; ///< connected, non-blocking
  std::string why{}; ///< in words, unless connected
};

/// Connects to any number of endpoints at once, on a thread of its own, so that
/// one that does not answer keeps nobody waiting. Thread-safe.
class connector {
public:
  /// `report` gets each attempt, on the connector's thread; it must not wait.
  /// @throws std::system_error if there are too many descriptors.
  explicit connector(std::function<void(attempt)> report);

  /// Ends all attempts unreported.
  ~connector();

  connector(const connector&) = delete;
  connector& operator=(const connector&) = delete;

  /// Starts an attempt, which ends after `limit`. Of more than three at one
  /// endpoint the first one goes on, and the last two; others end unreported.
  void dial(std::string endpoint, std::chrono::milliseconds limit);

private:
  class loop;

  std::unique_ptr<loop> loop_;
};

} // namespace coopcache::actor
