// Connections between nodes.

#include "support.hpp"

#include "coopcache/actor/line.hpp"
#include "coopcache/actor/sockets.hpp"

#include <caf/actor_system.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>

#include <cstdint>
#include <memory>
#include <set>
#include <sys/socket.h>

using namespace coopcache;
using namespace coopcache::test;

TEST_CASE("each connection has a name of its own, also if its socket had one") {
  settings_with_io cfg;
  caf::actor_system sys{cfg};
  auto& backend = dynamic_cast<caf::io::network::default_multiplexer&>(
    sys.middleman().backend());
  std::set<std::int64_t> names;
  std::set<int> sockets;
  constexpr std::size_t count = 20;
  for (std::size_t i = 0; i < count; ++i) {
    actor::descriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockets.insert(socket.get());
    auto beside = std::make_shared<actor::line>(socket.duplicate());
    names.insert(
      actor::make_scribe(backend, std::move(socket), std::move(beside), 5s)
        ->hdl()
        .id());
  }
  REQUIRE(sockets.size() < count);
  CHECK(names.size() == count);
}
