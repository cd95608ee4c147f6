// Both ends of a link to be have dialled. What the other end says is written by
// hand here, in the order in which CAF gets it once in a thousand times.

#include "support.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/sockets.hpp"
#include "coopcache/actor/wire.hpp"
#include "coopcache/cluster/greeting.hpp"

#include <caf/actor_system.hpp>
#include <caf/defaults.hpp>
#include <caf/io/basp/version.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <cstdint>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <set>
#include <string>
#include <sys/socket.h>
#include <utility>
#include <vector>

using namespace coopcache;
using namespace coopcache::test;

namespace basp = caf::io::basp;

namespace {

using clock = std::chrono::steady_clock;
using basp::message_type;

/// The id of the one actor of the other end.
constexpr caf::actor_id port = 7;

sockaddr_in at_endpoint(const std::string& endpoint) {
  const auto [host, number] = actor::split_endpoint(endpoint);
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(number);
  REQUIRE(inet_pton(AF_INET, host.c_str(), &result.sin_addr) == 1);
  return result;
}

actor::descriptor new_socket() {
  return actor::descriptor{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
}

/// What comes over a connection.
struct frame {
  basp::header header{};
  std::string payload;
};

/// One connection of the other end's.
class wire {
public:
  explicit wire(actor::descriptor socket) : socket_(std::move(socket)) {
  }

  void send(const caf::byte_buffer& bytes) const {
    REQUIRE(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL)
            == static_cast<ssize_t>(bytes.size()));
  }

  /// Whether something comes within that time, or the connection ends.
  [[nodiscard]] bool is_readable(std::chrono::milliseconds patience) const {
    pollfd ready{socket_.get(), POLLIN, 0};
    return ::poll(&ready, 1, static_cast<int>(patience.count())) == 1;
  }

  /// The next frame, or nothing if the connection has ended; throws if none
  /// comes in 5 s.
  std::optional<frame> next() const {
    frame result;
    std::string head(basp::header_size, '\0');
    if (!fill(head))
      return std::nullopt;
    auto source = actor::source_of(head);
    REQUIRE(source.apply(result.header));
    result.payload.resize(result.header.payload_len);
    if (!fill(result.payload))
      return std::nullopt;
    return result;
  }

  void skip(message_type kind) const {
    const auto got = next();
    REQUIRE(got);
    REQUIRE(got->header.operation == kind);
  }

private:
  bool fill(std::string& into) const {
    for (std::size_t size = 0; size < into.size();) {
      REQUIRE(is_readable(5s));
      const auto got = ::recv(socket_.get(), &into[size], into.size() - size,
                              0);
      if (got <= 0)
        return false;
      size += static_cast<std::size_t>(got);
    }
    return true;
  }

  actor::descriptor socket_;
};

/// A process that a node has as its peer.
class other_end {
public:
  explicit other_end(const std::string& address) : listener_(new_socket()) {
    auto at = at_endpoint(address + ":0");
    socklen_t size = sizeof at;
    auto* const raw = reinterpret_cast<sockaddr*>(&at);
    REQUIRE(::bind(listener_.get(), raw, size) == 0);
    REQUIRE(::listen(listener_.get(), 10) == 0);
    REQUIRE(::getsockname(listener_.get(), raw, &size) == 0);
    endpoint = actor::join_endpoint(address, ntohs(at.sin_port));
  }

  /// The next connection to it, after CAF's handshake.
  wire accept() {
    pollfd ready{listener_.get(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, 5000) == 1);
    wire made{actor::descriptor{
      ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)}};
    made.send(actor::frame(
      sys, {message_type::server_handshake, 0, 0, basp::version, 0, 0},
      [this](caf::binary_serializer& sink) {
        const auto& id = caf::defaults::middleman::app_identifier;
        const std::vector<std::string> ids{std::string{id.begin(), id.end()}};
        const std::set<std::string> messages;
        return sink.apply(sys.node()) && sink.apply(ids) && sink.apply(port)
               && sink.apply(messages);
      }));
    made.skip(message_type::client_handshake);
    return made;
  }

  /// One that it has dialled; CAF's handshake is up to the caller.
  static wire dial(const std::string& endpoint) {
    auto socket = new_socket();
    const auto at = at_endpoint(endpoint);
    REQUIRE(
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at)
      == 0);
    wire made{std::move(socket)};
    made.skip(message_type::server_handshake);
    return made;
  }

  std::string endpoint;
  settings_with_io cfg;
  caf::actor_system sys{cfg};

private:
  actor::descriptor listener_;
};

/// The greeting that a frame is; nothing if it is something of CAF's own.
std::optional<cluster::greeting> greeting_in(const frame& what) {
  if (what.header.operation != message_type::direct_message)
    return std::nullopt;
  auto source = actor::source_of(what.payload);
#if CAF_MAJOR_VERSION < 1
  std::vector<caf::strong_actor_ptr> stages;
  REQUIRE(source.apply(stages));
#endif
  caf::message content;
  REQUIRE(source.apply(content));
  if (!content.match_elements<caf::forward_atom, std::string>())
    return std::nullopt;
  auto bytes = actor::decode(content.get_as<std::string>(1));
  REQUIRE(bytes);
  return std::get<cluster::greeting>(*bytes);
}

/// The next greeting; `handshakes` counts CAF's before it.
struct heard {
  cluster::greeting what;
  caf::actor_id from = 0;
  int handshakes = 0;
};

/// Calls `repeat` while nothing comes.
template <class F>
heard next_greeting(const wire& over, F repeat) {
  for (int handshakes = 0;;) {
    for (int i = 0; i < 50 && !over.is_readable(100ms); ++i)
      repeat();
    const auto one = over.next();
    REQUIRE(one);
    if (const auto what = greeting_in(*one))
      return {*what, one->header.source_actor, handshakes};
    handshakes += one->header.operation == message_type::client_handshake;
  }
}

heard next_greeting(const wire& over) {
  return next_greeting(over, [] {});
}

config at(const std::string& address, const other_end& peer) {
  auto result = listening("n");
  result.node.listen = address + ":0";
  result.nodes = {peer.endpoint};
  return result;
}

} // namespace

TEST_CASE("a greeting is repeated until it is answered, with CAF's handshake") {
  other_end peer{"127.0.0.2"}; // greater than the node's: that one dials
  auto third_config = listening("third");
  third_config.node.listen = "127.0.0.2:0";
  const node third{third_config};
  auto cfg = at("127.0.0.1", peer);
  cfg.nodes.push_back(third.registry().endpoint());
  const node n{cfg};
  REQUIRE(eventually([&] {
    const auto links = n.registry().info().links;
    return std::any_of(links.begin(), links.end(),
                       [](const auto& one) { return one.up; });
  }));
  const auto link = peer.accept();
  const auto first = next_greeting(link).what;
  CHECK(first.is == cluster::greeting::step::hello);
  CHECK(first.endpoint == n.registry().endpoint());
  CHECK(first.peers == std::vector{third.registry().endpoint()});
  const auto begin = clock::now();
  for (int i = 0; i < 2; ++i) {
    const auto again = next_greeting(link);
    CHECK(again.what == first);
    CHECK(again.handshakes == 1);
  }
  CHECK(clock::now() - begin > 200ms);
  CHECK(clock::now() - begin < 900ms);
}

TEST_CASE("of two that have dialled the greater endpoint ends its connection") {
  other_end peer{"127.0.0.1"};
  const node n{at("127.0.0.2", peer)};
  const auto its = peer.accept();
  const auto hello = next_greeting(its);
  auto mine = hello.what;
  mine.self = {"peer", 1};
  mine.endpoint = peer.endpoint;
  // The node's CAF has the other connection already, and does not take this one
  // for the same process's.
  const auto own = other_end::dial(n.registry().endpoint());
  const auto greet = [&] {
    own.send(actor::client_handshake(peer.sys));
    own.send(actor::to_wire(peer.sys, port, hello.from,
                            caf::make_message(caf::forward_atom_v,
                                              actor::encode(mine))));
  };
  const auto begin = clock::now();
  greet();
  while (its.next()) {}
  CHECK(clock::now() - begin < 500ms); // and not when its greeting is too old
  // CAF takes a moment to forget the other one, and may end a handle of the
  // greeting's sender with it. So who greets does not do it only once.
  CHECK(next_greeting(own, greet).what.is == cluster::greeting::step::welcome);
  mine.is = cluster::greeting::step::confirm;
  greet();
  CHECK(eventually([&] {
    const auto links = n.registry().info().links;
    return links.size() == 1 && links.front().up
           && links.front().node == "peer";
  }));
}
