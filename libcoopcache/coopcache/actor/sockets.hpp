#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

/// @file
/// Descriptors and endpoints of TCP.

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

} // namespace coopcache::actor
