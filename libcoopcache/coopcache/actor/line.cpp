#include "coopcache/actor/line.hpp"

#include "coopcache/table/clock.hpp"

#include <caf/io/connection_handle.hpp>
#include <caf/io/network/native_socket.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <caf/make_counted.hpp>
#include <caf/policy/tcp.hpp>

#include <atomic>
#include <cstdint>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>

namespace coopcache::actor {

namespace net = caf::io::network;

// A socket that can be written to has a third of its buffer free, which is more
// than a small message. A part of one could not be taken back, and the rest of
// it would have to come before what the broker writes: then rather no
// connection.
bool line::write(const caf::byte_buffer& message) {
  const std::lock_guard guard{mutex_};
  pollfd room{socket_.get(), POLLOUT, 0};
  if (is_busy_ || !socket_ || ::poll(&room, 1, 0) != 1
      || room.revents != POLLOUT)
    return false;
  const auto written = ::send(socket_.get(), message.data(), message.size(),
                              MSG_DONTWAIT | MSG_NOSIGNAL);
  if (written < 0)
    return false;
  if (static_cast<std::size_t>(written) < message.size())
    shut_down();
  return true;
}

namespace {

/// A name for a connection that no other one has had. CAF takes the socket's
/// number, which the system gives to the next connection as soon as it is
/// closed; but the broker clears up later, behind what had come before:
///
/// 1. the connection to A is closed, and its number is free
/// 2. a connection to B gets the number, and the route to B is noted
/// 3. the broker clears up the number: it forgets who is there
/// 4. the connection to B is closed: nobody is there, so the route to B stays
///
/// From then on nothing reaches B, and each new connection to it is closed as
/// one too many.
caf::io::connection_handle fresh_handle() {
  static std::atomic<std::int64_t> last{std::int64_t{1} << 32}; // no socket's
  return caf::io::connection_handle::from_int(++last);
}

} // namespace

/// CAF's own way to read and write, but that a line knows when it writes. The
/// broker's buffer has whole messages whenever it is empty. Used in the context
/// of the broker.
class line_scribe final : public caf::io::scribe {
public:
  line_scribe(net::default_multiplexer& backend, net::native_socket fd,
              std::shared_ptr<line> beside)
    : scribe(fresh_handle()), line_(std::move(beside)),
      stream_(backend, fd, *this) {
  }

  void configure_read(caf::io::receive_policy::config config) override {
    stream_.configure_read(config);
    if (!std::exchange(is_launched_, true))
      stream_.start(this);
  }

  void ack_writes(bool enable) override {
    stream_.ack_writes(enable);
  }

  caf::byte_buffer& wr_buf() override {
    return stream_.wr_buf();
  }

  caf::byte_buffer& rd_buf() override {
    return stream_.rd_buf();
  }

  void graceful_shutdown() override {
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }

  void flush() override {
    {
      const std::lock_guard guard{line_->mutex_};
      line_->is_busy_ = line_->is_busy_ || !stream_.wr_buf().empty();
    }
    stream_.flush(this);
  }

  [[nodiscard]] std::string addr() const override {
    auto at = net::remote_addr_of_fd(stream_.fd());
    return at ? *at : std::string{};
  }

  [[nodiscard]] std::uint16_t port() const override {
    auto at = net::remote_port_of_fd(stream_.fd());
    return at ? *at : std::uint16_t{0};
  }

  void add_to_loop() override {
    stream_.activate(this);
  }

  void remove_from_loop() override {
    stream_.passivate();
  }

private:
  struct writer : caf::policy::tcp {
    explicit writer(line_scribe& whose) : whose_(whose) {
    }

    net::rw_state write_some(std::size_t& result, net::native_socket fd,
                             const void* bytes, std::size_t size) {
      return whose_.write_some(result, fd, bytes, size);
    }

    net::rw_state read_some(std::size_t& result, net::native_socket fd,
                            void* bytes, std::size_t size) {
      const auto how = caf::policy::tcp::read_some(result, fd, bytes, size);
      if (how == net::rw_state::success && result > 0)
        whose_.line_->heard_.store(table::boot_now(),
                                   std::memory_order_relaxed);
      return how;
    }

    line_scribe& whose_;
  };

  net::rw_state write_some(std::size_t& result, net::native_socket fd,
                           const void* bytes, std::size_t size) {
    const std::lock_guard guard{line_->mutex_};
    const auto how = caf::policy::tcp::write_some(result, fd, bytes, size);
    if (how == net::rw_state::success && result == size
        && stream_.wr_buf().empty())
      line_->is_busy_ = false;
    return how;
  }

  std::shared_ptr<line> line_;
  bool is_launched_ = false;
  net::stream_impl<writer> stream_;
};

namespace {

/// Has the kernel end the connection when nothing has come from the other host
/// for so long, or when that one has not acknowledged for as long what was sent
/// before, or has had no room for more. Nodes notice each other's silence
/// earlier; this is for programs that are none. CAF's own heartbeats take up to
/// 40 s.
void limit_silence(int socket, int seconds) {
  const auto set = [socket](int level, int option, int value) {
    ::setsockopt(socket, level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, seconds - 2); // then two probes
  set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set(IPPROTO_TCP, TCP_KEEPCNT, 2);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, seconds * 1000);
}

} // namespace

caf::io::scribe_ptr make_scribe(net::default_multiplexer& backend,
                                descriptor socket, std::shared_ptr<line> beside,
                                std::chrono::seconds silence) {
  limit_silence(socket.get(), static_cast<int>(silence.count()));
  return caf::make_counted<line_scribe>(backend, socket.release(),
                                        std::move(beside));
}

} // namespace coopcache::actor
