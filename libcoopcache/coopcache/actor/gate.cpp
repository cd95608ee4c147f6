#include "coopcache/actor/gate.hpp"

#include "coopcache/actor/compat.hpp"

#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/doorman_impl.hpp>
#include <caf/make_counted.hpp>
#include <caf/scoped_actor.hpp>

#include <chrono>
#include <future>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace coopcache::actor {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

caf::io::network::default_multiplexer& backend_of(caf::actor_system& sys) {
  return dynamic_cast<caf::io::network::default_multiplexer&>(
    sys.middleman().backend());
}

} // namespace

/// The lines that were not asked for yet.
struct gate::visitors {
  struct visitor {
    std::string host;
    std::uint16_t port = 0;
    clock::time_point came;
    std::shared_ptr<line> to;
  };

  static constexpr auto patience = 10s;

  explicit visitors(std::chrono::seconds silence_arg) : silence(silence_arg) {
  }

  /// The socket as the broker wants it, and its line.
  std::pair<caf::io::scribe_ptr, std::shared_ptr<line>>
  add(caf::io::network::default_multiplexer& backend, descriptor socket) {
    auto host = caf::io::network::remote_addr_of_fd(socket.get());
    auto port = caf::io::network::remote_port_of_fd(socket.get());
    auto made = std::make_shared<line>(socket.duplicate());
    if (host && port) {
      const std::lock_guard guard{mutex};
      all.push_back({*host, *port, clock::now(), made});
    }
    return {make_scribe(backend, std::move(socket), made, silence), made};
  }

  void forget() {
    const auto now = clock::now();
    const std::lock_guard guard{mutex};
    std::erase_if(all,
                  [&](const auto& one) { return now - one.came > patience; });
  }

  const std::chrono::seconds silence;
  std::mutex mutex;
  std::vector<visitor> all;
};

/// CAF's own way to accept, but for the line.
class gate::door : public caf::io::network::doorman_impl {
public:
  door(caf::io::network::default_multiplexer& backend,
       caf::io::network::native_socket fd, std::shared_ptr<visitors> into)
    : doorman_impl(backend, fd), into_(std::move(into)) {
  }

  bool new_connection() override {
    descriptor socket{acceptor_.accepted_socket()};
    if (detached())
      return false; // CAF takes the socket out of its loop a little later
    auto& backend = acceptor_.backend();
    auto made = into_->add(backend, std::move(socket)).first;
    const auto handle = made->hdl();
    parent()->add_scribe(std::move(made));
    return doorman::new_connection(&backend, handle);
  }

private:
  std::shared_ptr<visitors> into_;
};

gate::gate(caf::actor_system& sys, std::chrono::seconds silence)
  : sys_(sys),
    broker_(sys.middleman().named_broker<caf::io::basp_broker>("BASP")),
    visitors_(std::make_shared<visitors>(silence)) {
}

void gate::close() {
  if (port_ == 0)
    return;
  caf::scoped_actor self{sys_};
  request(&*self, broker_, 1s, caf::close_atom_v, std::exchange(port_, 0))
    .receive([] {}, [](const caf::error&) {});
}

std::string gate::listen(const std::string& endpoint, const caf::actor& what,
                         const std::set<std::string>& messages) {
  const auto [host, port] = split_endpoint(endpoint);
  auto& backend = backend_of(sys_);
  const auto fd = caf::io::network::new_tcp_acceptor_impl(port, host.c_str(),
                                                          true);
  if (!fd)
    throw std::runtime_error("cannot listen on " + endpoint + ": "
                             + why_not_to_listen(host, port));
  auto made = caf::make_counted<door>(backend, *fd, visitors_);
  port_ = made->port();
  post(broker_, caf::publish_atom_v, caf::io::doorman_ptr{std::move(made)},
       port_, caf::actor_cast<caf::strong_actor_ptr>(what), messages);
  // CAF never frees a socket that is closed in the turn of its loop in which it
  // was opened: so that turn has to be over.
  const auto turn = std::make_shared<std::promise<void>>();
  backend.post([turn] { turn->set_value(); });
  turn->get_future().wait_for(1s);
  return join_endpoint(host, port_);
}

std::pair<caf::io::scribe_ptr, std::shared_ptr<line>>
gate::adopt(descriptor socket) {
  return visitors_->add(backend_of(sys_), std::move(socket));
}

namespace {

caf::io::basp_broker& inside(const caf::actor& broker) {
  return *static_cast<caf::io::basp_broker*>(
    caf::actor_cast<caf::abstract_actor*>(broker));
}

} // namespace

caf::strong_actor_ptr gate::find(const caf::node_id& where,
                                 std::uint64_t actor) const {
  // What the broker's own workers do with each handle in a message. Where one
  // came from it notes for each thread, and never takes back.
  inside(broker_).set_last_hop(nullptr);
  return inside(broker_).instance.proxies().get_or_put(where, actor);
}

void gate::forget_lost() const {
  sys_.middleman().backend().post([broker = broker_] {
    auto& basp = inside(broker);
    std::erase_if(basp.spawn_servers, [&](const auto& entry) {
      if (basp.instance.tbl().lookup_direct(entry.first))
        return false;
      // One that was never answered would stay for five minutes.
      end_actor(entry.second);
      return true;
    });
  });
}

void gate::forget_visitors() {
  visitors_->forget();
}

std::vector<std::shared_ptr<line>> gate::take(const std::string& host,
                                              std::uint16_t port) {
  const std::lock_guard guard{visitors_->mutex};
  auto& all = visitors_->all;
  std::vector<std::shared_ptr<line>> result;
  std::erase_if(all, [&](auto& one) {
    if (one.port != port || one.host != host)
      return false;
    result.push_back(std::move(one.to));
    return true;
  });
  return result;
}

} // namespace coopcache::actor
