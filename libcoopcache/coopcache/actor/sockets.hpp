#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

/// @file
/// TCP connections, without CAF and without waiting.

namespace coopcache::actor {

/// A file descriptor that is closed with its owner.
class descriptor {
public:
  descriptor() noexcept = default;

  explicit descriptor(int fd) noexcept : fd_(fd) {
  }

  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {
  }

  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  ~descriptor();

  explicit operator bool() const noexcept {
    return fd_ >= 0;
  }

  [[nodiscard]] int get() const noexcept {
    return fd_;
  }

  [[nodiscard]] int release() noexcept {
    return std::exchange(fd_, -1);
  }

  /// A second descriptor of the same thing; empty if there are too many.
  [[nodiscard]] descriptor duplicate() const noexcept;

  /// Ends the connection for all who have a descriptor of it.
  void shut_down() const noexcept;

private:
  int fd_ = -1;
};

/// "host:port" in two; brackets are taken off.
[[nodiscard]] std::pair<std::string, std::uint16_t>
split_endpoint(std::string_view endpoint);

/// "host:port"; an IPv6 address gets brackets.
[[nodiscard]] std::string join_endpoint(std::string_view host,
                                        std::uint16_t port);

/// The system's words for why nobody can listen there.
[[nodiscard]] std::string why_not_to_listen(const std::string& host,
                                            std::uint16_t port);

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
