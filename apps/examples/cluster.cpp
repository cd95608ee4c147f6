/// @file
/// Names, locks and transactions of a cluster. Both nodes are in this program,
/// where they would usually be two processes.

#include <coopcache/coopcache.hpp>

#include <caf/event_based_actor.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <string>

namespace {

using namespace std::chrono_literals;

coopcache::config configured(const std::string& name) {
  coopcache::config cfg;
  cfg.node.name = name;
  cfg.node.listen = "127.0.0.1:0"; // any port
  return cfg;
}

caf::behavior billing(caf::event_based_actor*) {
  return {[](const std::string& what) { return "billed " + what; }};
}

/// Stands for a database, which keeps the greatest token with each record.
bool store(const std::string& what, std::uint64_t token) {
  static std::map<std::string, std::uint64_t> greatest;
  auto& seen = greatest[what];
  if (token < seen)
    return false; // somebody else has had the lock since
  seen = token;
  std::cout << "stored " << what << '\n';
  return true;
}

/// What runs on one node: one at a time in the whole cluster.
void bill(const coopcache::registry& registry) {
  const std::string invoice = "invoice 42";
  const auto
    done = registry.trans(invoice, [&](const coopcache::held_lock& lock) {
      return store(invoice, lock.token()); // refuses a token that is too small
    });
  if (!done)
    std::cerr << to_string(done.why().why) << '\n'; // aborted: it did not run
}

} // namespace

int main() {
  const coopcache::node a{configured("a")};
  auto second = configured("b");
  second.nodes = {a.registry().endpoint()};
  const coopcache::node b{second};

  const auto here = a.registry(), there = b.registry();
  if (const auto joined = there.sync(10s); !joined) {
    std::cerr << to_string(joined.error()) << '\n';
    return 1;
  }
  std::cout << there.info().members.size() << " members\n";

  const auto actor = here.spawn_named("billing", billing);
  std::cout << (actor ? "registered" : "not registered") << '\n';
  std::cout << (there.whereis("billing") ? "found" : "not found")
            << " on the other node\n";
  const auto again = there.spawn_named("billing", billing);
  if (!again)
    std::cout << to_string(again.error().code) << '\n';

  bill(there);

  const auto lock = here.lock("printer");
  coopcache::lock_options brief;
  brief.deadline = 50ms;
  const auto late = there.lock("printer", brief);
  if (!late)
    std::cout << to_string(late.error()) << '\n';
  return 0;
}
