#pragma once

#include "coopcache/actor/line.hpp"
#include "coopcache/actor/sockets.hpp"

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/io/scribe.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace coopcache::actor {

/// Where connections between nodes enter CAF: it listens, and hands connected
/// sockets to CAF's broker. Beside each of them it has a line.
class gate {
public:
  /// Connections over which nothing gets through for `silence` end, once or
  /// twice as long after it began. Requires: the system has the middleman.
  gate(caf::actor_system& sys, std::chrono::seconds silence);

  ~gate() = default;

  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;

  /// Listens on "host:port" and publishes `what` there, as an actor that takes
  /// `messages`. Returns the endpoint with the port that it got. @throws
  /// std::runtime_error with the reason.
  std::string listen(const std::string& endpoint, const caf::actor& what,
                     const std::set<std::string>& messages);

  /// Closes the listening socket, and waits until it is, for a second at most.
  /// Not for the context of an actor that shares its thread with others.
  void close();

  /// CAF's broker, which takes sockets in.
  [[nodiscard]] const caf::actor& broker() const noexcept {
    return broker_;
  }

  /// A connected socket as the broker wants it, and the line beside it.
  [[nodiscard]] std::pair<caf::io::scribe_ptr, std::shared_ptr<line>>
  adopt(descriptor socket);

  /// The lines to an address; none if unknown. Each can be taken once, within
  /// some seconds. If there are several, CAF uses one of their connections, and
  /// it does not say which.
  [[nodiscard]] std::vector<std::shared_ptr<line>> take(const std::string& host,
                                                        std::uint16_t port);

  /// Forgets the lines that were not taken in time. Thread-safe.
  void forget_visitors();

  /// A handle of an actor of another process; null if it cannot be one. It is
  /// a dead one if there is no connection. Thread-safe.
  [[nodiscard]] caf::strong_actor_ptr find(const caf::node_id& where,
                                           std::uint64_t actor) const;

  /// Has CAF forget the processes to which it has no way any more: it would
  /// keep 1.3 KB of each one for ever. Thread-safe.
  void forget_lost() const;

private:
  class door;
  struct visitors;

  caf::actor_system& sys_;
  caf::actor broker_;
  std::shared_ptr<visitors> visitors_;
  std::uint16_t port_ = 0;
};

} // namespace coopcache::actor
