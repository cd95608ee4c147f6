// What may be found at the endpoint of a peer, and is no peer.

#include "imposter.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/wire.hpp"
#include "coopcache/cluster/greeting.hpp"

#include <coopcache/coopcache.hpp>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/io/middleman.hpp>

#include <iostream>
#include <stdexcept>
#include <string>
#include <sys/socket.h>

namespace {

using namespace coopcache;

struct system_config : caf::actor_system_config {
  system_config() {
    prepare(*this);
  }
};

/// Some actor of some other application.
caf::behavior stranger(caf::event_based_actor*) {
  return {[](int x) { return x; }};
}

/// A node of another version: greets as it would, and understands nothing.
caf::behavior newer(caf::event_based_actor* self) {
  return {[self](caf::forward_atom, const std::string&) {
    cluster::greeting mine;
    mine.protocol = cluster::protocol_version + 1;
    mine.self = {"newer", 1};
    actor::post_as(caf::actor_cast<caf::actor>(self),
                   caf::actor_cast<caf::strong_actor_ptr>(
                     self->current_sender()),
                   caf::forward_atom_v, actor::encode(mine));
  }};
}

/// Ends each connection as soon as somebody has greeted over it.
caf::behavior hangs_up(caf::event_based_actor*) {
  return {[count = 0](caf::forward_atom, const std::string&) mutable {
    std::cout << "greeted " << ++count << std::endl;
    sockaddr_storage peer;
    for (int fd = 0; fd < 1024; ++fd) {
      socklen_t size = sizeof peer;
      if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0
          && peer.ss_family == AF_INET)
        ::shutdown(fd, SHUT_RDWR);
    }
  }};
}

} // namespace

int pretend(const std::string& kind, std::uint16_t port) {
  init_types();
  system_config cfg;
  caf::actor_system sys{cfg};
  const auto who = kind == "newer"      ? sys.spawn(newer)
                   : kind == "hangs-up" ? sys.spawn(hangs_up)
                                        : sys.spawn(stranger);
  if (!sys.middleman().publish(who, port, "127.0.0.1", true))
    throw std::runtime_error("cannot listen");
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {}
  caf::anon_send_exit(who, caf::exit_reason::kill);
  return 0;
}
