#pragma once

#include "coopcache/actor/sockets.hpp"
#include "coopcache/core/time.hpp"

#include <caf/byte_buffer.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/scribe.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

namespace coopcache::actor {

/// A second descriptor of a connection that CAF's broker has. With it the
/// connection can be ended whatever the broker knows about it: CAF does not
/// replace one that it takes for a living one. And a thread can write a message
/// itself: else it would wake the broker's thread to do it, which is a third of
/// what it takes to get a message to a thread of another process. Thread-safe.
class line {
public:
  explicit line(descriptor second) : socket_(std::move(second)) {
  }

  line(const line&) = delete;
  line& operator=(const line&) = delete;

  /// Ends the connection for all who have a descriptor of it.
  void shut_down() const noexcept {
    socket_.shut_down();
  }

  /// Writes what CAF's protocol takes for a message. False if nothing was
  /// written: the broker has something to write, or the socket takes nothing.
  bool write(const caf::byte_buffer& message);

  /// When something has come over the connection last, a part of a message
  /// included. By the clock of `table::boot_now`.
  [[nodiscard]] core::instant heard() const noexcept {
    return heard_.load(std::memory_order_relaxed);
  }

  /// The broker will be given something to write: what follows waits for it.
  void leave_to_broker() {
    const std::lock_guard guard{mutex_};
    is_busy_ = true;
  }

private:
  friend class line_scribe;

  std::mutex mutex_;
  bool is_busy_ = false; ///< the broker has something to write
  descriptor socket_;
  std::atomic<core::instant> heard_ = core::instant{};
};

/// A connected socket as the broker wants it. It tells `beside` when the broker
/// is writing. The connection ends when nothing has come over it for `silence`,
/// of 3 s at least, or when the other side has taken nothing for as long.
[[nodiscard]] caf::io::scribe_ptr
make_scribe(caf::io::network::default_multiplexer& backend, descriptor socket,
            std::shared_ptr<line> beside, std::chrono::seconds silence);

/// The way around the broker to another node, once it is known. Thread-safe.
class shortcut {
public:
  /// Null: there is none.
  void set(std::shared_ptr<line> to) {
    const std::lock_guard guard{mutex_};
    to_ = std::move(to);
  }

  [[nodiscard]] std::shared_ptr<line> get() const {
    const std::lock_guard guard{mutex_};
    return to_;
  }

private:
  mutable std::mutex mutex_;
  std::shared_ptr<line> to_;
};

} // namespace coopcache::actor
