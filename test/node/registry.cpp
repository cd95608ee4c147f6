// The registry of one node, from threads, from actors and by message.

#include "support.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/directory.hpp"
#include "coopcache/actor/sockets.hpp"

#include <caf/actor_companion.hpp>
#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>

#include <future>
#include <latch>
#include <memory>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

using namespace coopcache;
using namespace coopcache::test;

namespace {

/// A node in an actor system of the test's.
struct host {
  struct settings : caf::actor_system_config {
    settings() {
      init_types();
      set("caf.scheduler.max-threads", 2);
      set("caf.scheduler.policy", "sharing");
    }
  };

  host() {
    REQUIRE(registry.sync(10s));
  }

  caf::actor idle() {
    return sys.spawn([](caf::event_based_actor*) -> caf::behavior {
      return {[](caf::get_atom) { return 42; }, [](const name_lost&) {}};
    });
  }

  /// Runs `f(self)` in an actor that lives until `end`.
  template <class F>
  caf::actor with(F f) {
    return sys.spawn([f](caf::event_based_actor* self) -> caf::behavior {
      f(self);
      return {[self](caf::close_atom) { self->quit(); }};
    });
  }

  settings cfg;
  caf::actor_system sys{cfg};
  node n = node::start(sys, [] {
    config c;
    c.node.name = "solo";
    return c;
  }());
  coopcache::registry registry = n.registry();
};

errc code_of(const status& s) {
  REQUIRE_FALSE(s);
  return s.error().code;
}

void end(const caf::actor& whom) {
  caf::anon_send_exit(whom, caf::exit_reason::kill);
}

/// A socket at an endpoint where nothing else is.
std::pair<int, std::string> bound_socket() {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  auto* const address = reinterpret_cast<sockaddr*>(&at);
  REQUIRE(bind(made, address, size) == 0);
  REQUIRE(getsockname(made, address, &size) == 0);
  std::string endpoint{"127.0.0.1:"};
  return {made, endpoint += std::to_string(ntohs(at.sin_port))};
}

std::string free_endpoint() {
  const auto [unused, endpoint] = bound_socket();
  close(unused);
  return endpoint;
}

} // namespace

TEST_CASE("a name belongs to one living actor, and an actor has one name") {
  host h;
  const auto a = h.idle(), b = h.idle();
  CHECK(h.registry.register_name("alpha", a));
  CHECK(h.registry.whereis("alpha") == a);
  CHECK(code_of(h.registry.register_name("alpha", b)) == errc::name_taken);
  CHECK(code_of(h.registry.register_name("beta", a)) == errc::name_taken);
  CHECK(h.registry.replace_name("alpha", b));
  CHECK(h.registry.whereis("alpha") == b);
  CHECK(code_of(h.registry.unregister_name("alpha", a)) == errc::unknown_name);
  CHECK(h.registry.whereis("alpha") == b);
  CHECK(h.registry.names() == std::vector<std::string>{"alpha"});
  CHECK(h.registry.unregister_name("alpha", b));
  CHECK_FALSE(h.registry.whereis("alpha"));
  CHECK(code_of(h.registry.unregister_name("alpha")) == errc::unknown_name);
  end(a);
  CHECK(eventually([&] {
    const auto again = h.registry.register_name("alpha", a);
    return !again && again.error().code == errc::owner_dead;
  }));
  end(b);
}

TEST_CASE("names have up to 4096 bytes, of any value, also none") {
  host h;
  const auto a = h.idle();
  const std::string longest(4096, 'x'), longer(4097, 'x');
  for (const auto& name : {longest, std::string{}, std::string{"a\0b\n", 4}}) {
    CHECK(h.registry.register_name(name, a));
    CHECK(h.registry.whereis(name) == a);
    CHECK(h.registry.unregister_name(name));
    CHECK(h.registry.set_lock(name, longest));
    CHECK(h.registry.del_lock(name, longest));
  }
  constexpr auto refused = errc::name_too_long;
  CHECK(code_of(h.registry.register_name(longer, a)) == refused);
  CHECK(code_of(h.registry.register_name("a", a, {.resolver = longer}))
        == refused);
  CHECK(code_of(h.registry.unregister_name(longer)) == refused);
  CHECK(code_of(h.registry.set_lock(longer, "me")) == refused);
  CHECK(code_of(h.registry.set_lock("r", longer)) == refused);
  CHECK(h.registry.info().own_locks.empty());
  end(a);
}

TEST_CASE("who is not linked cannot be disconnected") {
  host h;
  CHECK(code_of(h.registry.disconnect("solo")) == errc::unknown_node);
  CHECK(code_of(h.registry.add_peer("127.0.0.1:1")) == errc::unknown_node);
}

TEST_CASE("who reads names without a pause does not hold up who changes them") {
  host h;
  const auto a = h.idle(), b = h.idle();
  REQUIRE(h.registry.register_name("alpha", a));
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 16; ++i)
    readers.emplace_back([&] {
      while (!stop)
        static_cast<void>(h.registry.whereis("alpha"));
    });
  name_options brief;
  brief.deadline = 10s; // it took minutes
  for (int i = 0; i < 50; ++i)
    CHECK(h.registry.replace_name("alpha", i % 2 == 0 ? b : a, brief));
  stop = true;
  for (auto& one : readers)
    one.join();
  end(a);
  end(b);
}

TEST_CASE("a handle of a link that is lost is not found by who asks later") {
  host h;
  const auto first = caf::actor_cast<caf::strong_actor_ptr>(h.idle());
  const auto second = caf::actor_cast<caf::strong_actor_ptr>(h.idle());
  const core::name_owner owner{{"there", 1}, 1};
  actor::directory d;
  CHECK(d.look_up("n").owner.actor == 0);
  CHECK(d.set("n", owner, nullptr).actor == 0);
  CHECK(d.look_up("n").owner == owner);
  CHECK(d.find("n") == nullptr);
  const auto before = d.epoch();
  d.offer("n", {{"there", 1}, 2}, before, first); // it had another owner
  CHECK(d.find("n") == nullptr);
  d.offer("n", owner, before, first);
  CHECK(d.find("n") == first);
  d.forget_handles({"elsewhere", 1});
  CHECK(d.find("n") == first);
  d.forget_handles({"there", 1});
  CHECK(d.find("n") == nullptr);
  d.offer("n", owner, before, first); // made before the link was lost
  CHECK(d.find("n") == nullptr);
  d.offer("n", owner, d.epoch(), second);
  CHECK(d.find("n") == second);
  CHECK(d.set("n", {{"there", 1}, 2}, nullptr) == owner);
  CHECK(d.find("n") == nullptr);
  d.offer("m", owner, d.epoch(), first);
  CHECK(d.find("m") == nullptr);
}

TEST_CASE("a name goes with its actor") {
  host h;
  const auto a = h.idle();
  REQUIRE(h.registry.register_name("alpha", a));
  end(a);
  CHECK(eventually([&] { return !h.registry.whereis("alpha"); }));
  CHECK(h.registry.info().names.empty());
}

TEST_CASE(
  "messages reach the actor of a name, or an error tells that none is") {
  host h;
  std::promise<int> got;
  const auto a = h.sys.spawn([&](caf::event_based_actor*) -> caf::behavior {
    return {[&](int x) { got.set_value(x); }};
  });
  REQUIRE(h.registry.register_name("alpha", a));
  CHECK(h.registry.send("alpha", 7));
  CHECK(got.get_future().get() == 7);
  const auto none = h.registry.send("beta", 7);
  CHECK(code_of(none) == errc::unknown_name);
  CHECK(to_string(none.error())
        == "unknown_name: nobody has the name (\"beta\", node \"solo\")");
  const auto found = h.registry.lookup("alpha");
  REQUIRE(found);
  CHECK(*found == a);
  const auto missing = h.registry.lookup("beta");
  REQUIRE_FALSE(missing);
  CHECK(to_string(missing.error()) == to_string(none.error()));
  end(a);
}

TEST_CASE("who has had a name stays within reach of other nodes") {
  host h;
  const auto taken = h.idle(), once = h.idle(), never = h.idle();
  REQUIRE(h.registry.register_name("taken", taken));
  REQUIRE(h.registry.register_name("x", once));
  REQUIRE(h.registry.unregister_name("x"));
  for (const auto& refused : {once, never})
    CHECK(code_of(h.registry.register_name("taken", refused))
          == errc::name_taken);
  CHECK(h.sys.registry().get(once.id()) != nullptr);
  CHECK(h.sys.registry().get(never.id()) == nullptr);
  for (const auto& each : {taken, once, never})
    end(each);
}

TEST_CASE("typed actors are found with their type") {
  host h;
  const auto own = h.registry.actor();
  REQUIRE(h.registry.register_name("registry", own));
  const registry_actor found = h.registry.whereis<registry_actor>("registry");
  CHECK(found == own);
  const auto same = h.registry.lookup<registry_actor>("registry");
  REQUIRE(same);
  CHECK(*same == own);
  CHECK_FALSE(h.registry.whereis<registry_actor>("nobody"));
}

TEST_CASE("a node that has not joined yet says that it is not synced") {
  // Takes connections, and never says anything.
  const auto [silent, endpoint] = bound_socket();
  REQUIRE(listen(silent, 10) == 0);
  config cfg;
  cfg.node.listen = "127.0.0.1:0";
  cfg.nodes.push_back(endpoint);
  cfg.cluster.join_timeout = 1h;
  init_types();
  caf::actor_system_config alone;
  caf::actor_system sys{alone};
  caf::scoped_actor self{sys};
  { // It is given up after a second.
    const node n{cfg};
    const auto r = n.registry();
    CHECK_FALSE(r.synced());
    CHECK(code_of(r.send("a", 1)) == errc::not_synced);
    const auto missing = r.lookup("a");
    REQUIRE_FALSE(missing);
    CHECK(to_string(missing.error())
          == "not_synced: this node does not know all names of the cluster yet "
             "(\"a\", node \"node\")");
    CHECK_FALSE(r.whereis("a"));
    CHECK(code_of(r.sync(1ms)) == errc::timeout);
    actor::request(&*self, r.actor(), 5s, whereis_atom_v, std::string{"a"})
      .receive([](const caf::strong_actor_ptr&) { FAIL("found"); },
               [](const caf::error& e) {
                 CHECK(to_error(e).code == errc::not_synced);
               });
  }
  close(silent);
}

TEST_CASE("who is replaced is told") {
  host h;
  std::promise<name_lost> told;
  const auto a = h.sys.spawn([&](caf::event_based_actor*) -> caf::behavior {
    return {[&](const name_lost& what) { told.set_value(what); }};
  });
  const auto b = h.idle();
  REQUIRE(h.registry.register_name("alpha", a));
  REQUIRE(h.registry.replace_name("alpha", b));
  const auto what = told.get_future().get();
  CHECK(what.name == "alpha");
  CHECK_FALSE(what.clash);
  end(a);
  end(b);
}

TEST_CASE("a handle that cannot have the name takes it from nobody") {
  host h;
  const auto a = h.idle();
  REQUIRE(h.registry.register_name("alpha", a));
  CHECK(code_of(h.registry.unregister_name("alpha", caf::actor{}))
        == errc::unknown_name);
  CHECK(h.registry.whereis("alpha") == a);
  end(a);
}

TEST_CASE("an actor that is spawned by name runs only if it gets it") {
  host h;
  std::atomic<int> ran = 0;
  const auto make = [&ran](caf::event_based_actor*) -> caf::behavior {
    ++ran;
    return {[](caf::get_atom) { return 1; }};
  };
  auto first = h.registry.spawn_named("alpha", make);
  REQUIRE(first);
  CHECK(h.registry.whereis("alpha") == *first);
  CHECK(eventually([&] { return ran == 1; }));
  auto second = h.registry.spawn_named("alpha", make);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::name_taken);
  CHECK(ran == 1);
  end(*first);
}

TEST_CASE("an actor spawns one by name without waiting for it") {
  host h;
  std::atomic<int> ran = 0;
  const auto make = [&ran](caf::event_based_actor*, int number) {
    ++ran;
    return caf::behavior{[number](caf::get_atom) { return number; }};
  };
  std::promise<reply<caf::actor>> first, second;
  const auto parent = h.with([&](caf::event_based_actor* self) {
    h.registry.spawn_named(self, "alpha", make, 7)
      .then([&, self](reply<caf::actor> made) {
        first.set_value(std::move(made));
        h.registry.spawn_named(self, "alpha", make, 8)
          .then([&](reply<caf::actor> refused) {
            second.set_value(std::move(refused));
          });
      });
  });
  auto made = first.get_future().get();
  REQUIRE(made);
  CHECK(h.registry.whereis("alpha") == *made);
  caf::scoped_actor self{h.sys};
  actor::request(&*self, *made, 5s, caf::get_atom_v)
    .receive([](int number) { CHECK(number == 7); },
             [](const caf::error& e) { FAIL(to_string(e)); });
  CHECK(second.get_future().get().error().code == errc::name_taken);
  CHECK(ran == 1);
  end(*made);
  end(parent);
}

TEST_CASE("who is spawned by name runs also if who asked for it has ended") {
  host h;
  std::atomic<bool> ran = false;
  const auto parent = h.with([&](caf::event_based_actor* self) {
    h.registry
      .spawn_named(
        self, "alpha",
        [&ran](caf::event_based_actor*, const std::unique_ptr<int>& what) {
          ran = *what == 7;
          return caf::behavior{[](caf::get_atom) { return 1; }};
        },
        std::make_unique<int>(7))
      .then([](const reply<caf::actor>&) { FAIL("nobody is there"); });
    self->quit();
  });
  CHECK(eventually([&] { return ran.load(); }));
  end(h.registry.whereis("alpha"));
}

TEST_CASE("a lock excludes, is queued for, and has a growing token") {
  host h;
  auto first = h.registry.lock("r");
  REQUIRE(first);
  CHECK_FALSE(first->lost());
  lock_options once;
  once.wait = false;
  auto refused = h.registry.lock("r", once);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::lock_taken);
  lock_options brief;
  brief.deadline = 20ms;
  auto late = h.registry.lock("r", brief);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::timeout);
  auto second = std::async(std::launch::async, [&] {
    auto got = h.registry.lock("r");
    REQUIRE(got);
    return got->token();
  });
  CHECK(eventually([&] {
    const auto all = h.registry.info().locks;
    return all.size() == 1 && all[0].queue.size() == 1;
  }));
  CHECK(eventually([&] {
    const auto info = h.registry.info();
    return info.locks[0].queue[0].age >= 30ms
           && info.locks[0].holders[0].age > info.locks[0].queue[0].age
           && info.own_locks.size() == 1;
  }));
  const auto own = h.registry.info().own_locks[0];
  CHECK(own.resource == "r");
  CHECK(own.holders.size() == 1);
  REQUIRE(own.queue.size() == 1);
  CHECK(own.queue[0].age >= 30ms);
  const auto token = first->token();
  CHECK(first->unlock());
  CHECK_FALSE(first->unlock());
  CHECK(second.get() > token);
  CHECK(eventually([&] { return h.registry.info().locks.empty(); }));
}

TEST_CASE("who waits for a lock can be told to stop") {
  host h;
  auto first = h.registry.lock("r");
  std::stop_source stop;
  const lock_options options{.stop = stop.get_token()};
  auto blocking = std::async(std::launch::async,
                             [&] { return h.registry.lock("r", options); });
  std::promise<errc> told;
  const auto a = h.with([&](caf::event_based_actor* self) {
    h.registry.lock(self, "r", options).then([&](reply<held_lock> got) {
      told.set_value(got ? errc{} : got.error().code);
    });
  });
  CHECK(eventually([&] {
    const auto all = h.registry.info().locks;
    return all.size() == 1 && all[0].queue.size() == 2;
  }));
  stop.request_stop();
  const auto got = blocking.get();
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::cancelled);
  CHECK(told.get_future().get() == errc::cancelled);
  CHECK(eventually([&] { return h.registry.info().locks[0].queue.empty(); }));
  // Too late for who has it, in time for who asks later.
  CHECK_FALSE(first->lost());
  CHECK(code_of(h.registry.set_lock("r", "you", options)) == errc::cancelled);
  first->unlock();
  CHECK(h.registry.lock("r"));
  end(a);
}

TEST_CASE("a requester locks again at once, and each time is counted") {
  host h;
  CHECK(h.registry.set_lock("r", "me"));
  CHECK(h.registry.set_lock("r", "me"));
  CHECK(h.registry.set_lock("r", "me"));
  lock_options once;
  once.wait = false;
  CHECK(code_of(h.registry.set_lock("r", "you", once)) == errc::lock_taken);
  CHECK(h.registry.del_lock("r", "me"));
  CHECK(h.registry.del_lock("r", "me"));
  CHECK(code_of(h.registry.set_lock("r", "you", once)) == errc::lock_taken);
  CHECK(code_of(h.registry.del_lock("r", "you")) == errc::not_held);
  CHECK(h.registry.del_lock("r", "me"));
  CHECK(h.registry.set_lock("r", "you", once));
  CHECK(code_of(h.registry.del_lock("r", "me")) == errc::not_held);
  CHECK(h.registry.del_lock("r", "you"));
}

TEST_CASE("those who name one requester hold it together, each its own") {
  host h;
  lock_options shared;
  shared.requester = "us";
  auto first = h.registry.lock("r", {.requester = "other"});
  std::vector<std::future<reply<held_lock>>> waiting;
  for (int i = 0; i < 2; ++i)
    waiting.push_back(std::async(std::launch::async,
                                 [&] { return h.registry.lock("r", shared); }));
  CHECK(eventually([&] {
    const auto all = h.registry.info().locks;
    return all.size() == 1 && all[0].queue.size() == 2;
  }));
  first->unlock();
  auto one = waiting[0].get(), two = waiting[1].get();
  REQUIRE(one);
  REQUIRE(two);
  CHECK(one->token() != two->token());
  const auto left = two->token();
  CHECK(one->unlock());
  CHECK_FALSE(two->lost());
  const auto info = h.registry.info();
  REQUIRE(info.locks.size() == 1);
  REQUIRE(info.locks[0].holders.size() == 1);
  CHECK(info.locks[0].holders[0].token == left);
  CHECK(two->unlock());
  CHECK(eventually([&] { return h.registry.info().locks.empty(); }));
}

TEST_CASE("del_lock gives back what set_lock got, and no handle's hold") {
  host h;
  lock_options mine;
  mine.requester = "x";
  auto handle = h.registry.lock("r", mine);
  REQUIRE(handle);
  CHECK(code_of(h.registry.del_lock("r", "x")) == errc::not_held);
  CHECK(h.registry.set_lock("r", "x"));
  CHECK(h.registry.info().own_locks[0].holders[0].holds == 2);
  CHECK(h.registry.del_lock("r", "x"));
  CHECK(code_of(h.registry.del_lock("r", "x")) == errc::not_held);
  CHECK_FALSE(handle->lost());
  CHECK(h.registry.set_lock("r", "x"));
  CHECK(handle->unlock());
  CHECK_FALSE(handle->unlock());
  lock_options once;
  once.wait = false;
  CHECK(code_of(h.registry.set_lock("r", "you", once)) == errc::lock_taken);
  CHECK(h.registry.del_lock("r", "x"));
  CHECK(h.registry.info().own_locks.empty());
}

TEST_CASE("each of two that were queued gives back its own hold") {
  host h;
  auto first = h.registry.lock("r", {.requester = "y"});
  lock_options mine;
  mine.requester = "x";
  auto named = std::async(std::launch::async,
                          [&] { return h.registry.set_lock("r", "x"); });
  const auto queued = [&](std::size_t n) {
    const auto all = h.registry.info().locks;
    return all.size() == 1 && all[0].queue.size() == n;
  };
  REQUIRE(eventually([&] { return queued(1); }));
  auto handle = std::async(std::launch::async,
                           [&] { return h.registry.lock("r", mine); });
  REQUIRE(eventually([&] { return queued(2); }));
  first->unlock();
  CHECK(named.get());
  auto held = handle.get();
  REQUIRE(held);
  CHECK(h.registry.del_lock("r", "x"));
  CHECK_FALSE(held->lost());
  CHECK(held->unlock());
  CHECK(h.registry.info().own_locks.empty());
}

TEST_CASE("a kept lock is given back by name, an actor's by the actor") {
  host h;
  lock_options mine;
  mine.requester = "x";
  auto handle = h.registry.lock("r", mine);
  REQUIRE(handle);
  const auto token = handle->token();
  handle->keep();
  handle->keep();
  CHECK(handle->token() == token);
  CHECK_FALSE(handle->lost());
  CHECK_FALSE(handle->unlock());
  CHECK(h.registry.del_lock("r", "x"));
  CHECK(code_of(h.registry.del_lock("r", "x")) == errc::not_held);
  std::promise<std::vector<errc>> told;
  const auto a = h.with([&](caf::event_based_actor* self) {
    h.registry.lock(self, "r", mine).then([&, self](reply<held_lock> got) {
      REQUIRE(got);
      got->keep();
      std::vector<errc> all;
      for (const auto& done :
           {h.registry.del_lock("r", "x"), h.registry.del_lock(self, "r", "x"),
            h.registry.del_lock(self, "r", "x")})
        all.push_back(done ? errc{} : done.error().code);
      told.set_value(std::move(all));
    });
  });
  CHECK(told.get_future().get()
        == std::vector{errc::not_held, errc{}, errc::not_held});
  end(a);
}

TEST_CASE("the node itself is a requester, too") {
  host h;
  CHECK(h.registry.set_lock("r", ""));
  CHECK(h.registry.set_lock("r", ""));
  CHECK(code_of(h.registry.set_lock("r", "x", {.wait = false}))
        == errc::lock_taken);
  CHECK(h.registry.del_lock("r", ""));
  CHECK(h.registry.del_lock("r", ""));
  CHECK(code_of(h.registry.del_lock("r", "")) == errc::not_held);
}

TEST_CASE("the node itself is a requester of its own locks, too") {
  config linked;
  linked.node.listen = "127.0.0.1:0";
  const node n{linked};
  const auto registry = n.registry();
  constexpr auto local = lock_scope::local;
  CHECK(registry.set_lock("r", "", {.scope = local}));
  CHECK(registry.del_lock("r", "", local));
  CHECK(code_of(registry.del_lock("r", "", local)) == errc::not_held);
}

TEST_CASE("a lock may be waited for as long as can be said, or not at all") {
  host h;
  using std::chrono::milliseconds;
  for (const auto deadline :
       {milliseconds::max(), milliseconds{std::chrono::years{300}}, 0ms, -1ms,
        milliseconds::min()})
    CHECK(h.registry.lock("r", {.deadline = deadline}));
  const auto held = h.registry.lock("r");
  for (const auto deadline : {0ms, -1ms, milliseconds::min()})
    CHECK(h.registry.lock("r", {.deadline = deadline}).error().code
          == errc::lock_taken);
  CHECK(h.registry.sync(milliseconds::max()));
}

TEST_CASE("a lock that an actor handed on is lost when the actor ends") {
  host h;
  std::promise<std::shared_ptr<held_lock>> got;
  const auto a = h.with([&](caf::event_based_actor* self) {
    h.registry.lock(self, "r").then([&](reply<held_lock> r) {
      got.set_value(std::make_shared<held_lock>(std::move(*r)));
    });
  });
  const auto lock = got.get_future().get();
  CHECK_FALSE(lock->lost());
  end(a);
  CHECK(eventually([&] { return lock->lost(); }));
  CHECK_FALSE(lock->unlock());
  CHECK(h.registry.lock("r"));
}

TEST_CASE("a local lock is another one than that of the cluster") {
  host h;
  lock_options local;
  local.scope = lock_scope::local;
  local.wait = false;
  const auto wide = h.registry.lock("r");
  CHECK(h.registry.info().local_locks.empty());
  auto own = h.registry.lock("r", local);
  REQUIRE(own);
  const auto seen = h.registry.info().local_locks;
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].resource == "r");
  REQUIRE(seen[0].holders.size() == 1);
  CHECK(seen[0].holders[0].token == own->token());
  CHECK_FALSE(h.registry.lock("r", local));
  own->unlock();
  CHECK(h.registry.set_lock("r", "me", local));
  CHECK(h.registry.del_lock("r", "me", lock_scope::local));
}

TEST_CASE("retries are deadlines, as long as global would wait at most") {
  CHECK_FALSE(lock_options::retries(0).wait);
  CHECK(lock_options::retries(0).deadline == lock_options{}.deadline);
  CHECK(lock_options::retries(1).deadline == 250ms);
  CHECK(lock_options::retries(3).deadline == 1750ms);
  CHECK(lock_options::retries(8).deadline
        == 250ms + 500ms + 1s + 2s + 4s + 24s);
  CHECK_FALSE(lock_options{.deadline = std::nullopt}.deadline);
}

TEST_CASE("a transaction runs under the lock, or is aborted") {
  host h;
  const auto sum = h.registry.trans("r", [&](const held_lock& lock) {
    lock_options once;
    once.wait = false;
    const auto other = h.registry.trans(
      "r", [] { return 1; }, once);
    REQUIRE_FALSE(other);
    CHECK(other.why().why.code == errc::lock_taken);
    CHECK_THROWS_AS(static_cast<void>(other.value()), bad_result);
    return lock.token() > 0 ? 5 : 6;
  });
  REQUIRE(sum);
  CHECK(sum.value() == 5);
  CHECK_FALSE(sum.lost());
  int ran = 0;
  CHECK(h.registry.trans("r", [&] { ++ran; }));
  CHECK(ran == 1);
  CHECK_THROWS_AS(static_cast<void>(h.registry.trans("r",
                                                     []() -> int {
                                                       throw std::logic_error(
                                                         "no");
                                                     })),
                  std::logic_error);
  CHECK(h.registry.trans("r", [] { return true; }).value());
  // An aborted one cannot be taken for one that returned an `aborted`.
  const auto nested = h.registry.trans("r", [] { return aborted{}; });
  CHECK(nested);
}

TEST_CASE(
  "transactions of many threads never overlap, and all have their turn") {
  host h;
  int inside = 0, total = 0;
  bool overlap = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 50; ++j) {
        const bool done{h.registry.trans("r", [&] {
          overlap = overlap || ++inside != 1;
          ++total;
          --inside;
        })};
        CHECK(done);
      }
    });
  for (auto& each : threads)
    each.join();
  CHECK_FALSE(overlap);
  CHECK(total == 400);
}

TEST_CASE("actors lock, run transactions and register without blocking") {
  host h;
  std::promise<std::string> done;
  const auto a = h.with([&](caf::event_based_actor* self) {
    h.registry.lock(self, "r").then([&, self](reply<held_lock> first) {
      REQUIRE(first);
      lock_options once;
      once.wait = false;
      h.registry
        .trans(
          self, "r", [] { return 1; }, once)
        .then([&, self, lock = std::make_shared<held_lock>(std::move(*first))](
                trans_result<int> refused) {
          CHECK_FALSE(refused);
          lock->unlock();
          h.registry.trans(self, "r", [] { return 2; })
            .then([&, self](trans_result<int> two) {
              REQUIRE(two);
              CHECK(two.value() == 2);
              h.registry
                .register_name(self, "me", caf::actor_cast<caf::actor>(self))
                .then([&, self](const status& named) {
                  CHECK(named);
                  h.registry.unregister_name(self, "me")
                    .then([&](const status& gone) {
                      CHECK(gone);
                      done.set_value("all");
                    });
                });
            });
        });
    });
  });
  CHECK(done.get_future().get() == "all");
  end(a);
}

TEST_CASE("an actor that ends loses its locks, and its wishes end") {
  host h;
  std::promise<void> locked;
  auto keep = std::make_shared<std::optional<held_lock>>();
  const auto holder = h.with([&](caf::event_based_actor* self) {
    h.registry.lock(self, "r").then([&, keep](reply<held_lock> got) {
      keep->emplace(std::move(*got));
      locked.set_value();
    });
  });
  locked.get_future().get();
  std::atomic<bool> answered = false;
  const auto waiter = h.with([&](caf::event_based_actor* self) {
    h.registry.lock(self, "r").then([&](reply<held_lock>) { answered = true; });
  });
  CHECK(eventually([&] {
    const auto all = h.registry.info().locks;
    return all.size() == 1 && all[0].queue.size() == 1;
  }));
  end(waiter);
  CHECK(eventually([&] { return h.registry.info().locks[0].queue.empty(); }));
  end(holder);
  CHECK(h.registry.lock("r"));
  CHECK_FALSE(answered);
}

TEST_CASE("a blocking call on a thread of CAF is an error") {
  host h;
  std::promise<std::vector<errc>> got;
  const auto a = h.with([&](caf::event_based_actor* self) {
    std::vector<errc> codes;
    codes.push_back(h.registry.lock("r").error().code);
    codes.push_back(h.registry.set_lock("r", "me").error().code);
    codes.push_back(h.registry.trans("r", [] { return 1; }).why().why.code);
    codes.push_back(
      h.registry.register_name("x", caf::actor_cast<caf::actor>(self))
        .error()
        .code);
    codes.push_back(
      h.registry.replace_name("x", caf::actor_cast<caf::actor>(self))
        .error()
        .code);
    codes.push_back(h.registry.unregister_name("x").error().code);
    codes.push_back(
      h.registry.spawn_named("x", [](caf::event_based_actor*) {}).error().code);
    codes.push_back(h.registry.sync(1s).error().code);
    got.set_value(codes);
  });
  for (const auto code : got.get_future().get())
    CHECK(code == errc::would_block);
  end(a);
}

namespace {

/// A companion that asks for a lock and waits for it, in what it does with a
/// message.
class waits_when_told {
public:
  waits_when_told(host& h, std::string resource, lock_options how)
    : handle(h.sys.spawn<caf::actor_companion>()),
      inside(*static_cast<caf::actor_companion*>(
        caf::actor_cast<caf::abstract_actor*>(handle))) {
    inside.on_enqueue([code = code_, r = h.registry, what = std::move(resource),
                       how = std::move(how)](auto) {
      const auto got = r.lock(what, how);
      code->set_value(got ? errc::timeout : got.error().code);
    });
  }

  ~waits_when_told() {
    actor::end_companion(inside);
  }

  waits_when_told(const waits_when_told&) = delete;
  waits_when_told& operator=(const waits_when_told&) = delete;

  errc told() {
    auto result = code_->get_future();
    REQUIRE(result.wait_for(5s) == std::future_status::ready);
    return result.get();
  }

  caf::actor handle;
  caf::actor_companion& inside;

private:
  std::shared_ptr<std::promise<errc>>
    code_ = std::make_shared<std::promise<errc>>();
};

} // namespace

TEST_CASE("who is told of something must not wait for the registry there") {
  host h;
  waits_when_told companion{h, "r", {.deadline = 10s}};
  REQUIRE(h.registry.register_name("n", companion.handle));
  const auto other = h.idle();
  REQUIRE(h.registry.replace_name("n", other));
  CHECK(companion.told() == errc::would_block);
  end(other);
}

TEST_CASE("who is told of a local lock must not wait for one there") {
  host h;
  lock_options local{.deadline = 10s};
  local.scope = lock_scope::local;
  waits_when_told companion{h, "b", local};
  h.registry.lock(&companion.inside, "a", local).then([](const auto&) {});
  CHECK(companion.told() == errc::would_block);
}

TEST_CASE("a resolver that is replaced may own a lock") {
  host h;
  auto held = h.registry.lock("r");
  REQUIRE(held);
  auto owned = std::make_shared<held_lock>(std::move(*held));
  const std::weak_ptr<held_lock> seen = owned;
  h.registry.add_resolver("mine",
                          [owned](const auto&, const auto&, const auto&) {
                            return survivor::first;
                          });
  owned.reset();
  h.registry.add_resolver("mine", [](const auto&, const auto&, const auto&) {
    return survivor::first;
  });
  CHECK(seen.expired());
  CHECK(h.registry.lock("r", {.wait = false}));
}

TEST_CASE("who has not asked is not told that all is well") {
  host h;
  const auto a = h.idle();
  caf::scoped_actor self{h.sys};
  const auto own = caf::actor_cast<caf::actor>(self.ptr());
  const auto to = caf::actor_cast<caf::strong_actor_ptr>(h.registry.actor());
  const auto who = caf::actor_cast<caf::strong_actor_ptr>(a);
  actor::post_as(own, to, register_atom_v, std::string{"n"}, who,
                 std::string{"exit"});
  actor::post_as(own, to, unregister_atom_v, std::string{"none"}, who);
  self->receive([](const caf::error& e) { // of the second
    CHECK(to_error(e).code == errc::unknown_name);
  });
  CHECK(h.registry.whereis("n") == a);
  end(a);
}

TEST_CASE("ten thousand holders that end at once hold up nobody for long") {
  host h;
  std::vector<caf::actor> holders;
  std::latch locked{10'000};
  for (int i = 0; i < 10'000; ++i)
    holders.push_back(h.with([&, i](caf::event_based_actor* self) {
      h.registry.lock(self, "r" + std::to_string(i))
        .then([&locked](const reply<held_lock>& got) {
          CHECK(got);
          locked.count_down();
        });
    }));
  locked.wait();
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& one : holders)
    end(one);
  CHECK(eventually([&] { return h.registry.info().own_locks.empty(); }));
  const auto all = std::chrono::steady_clock::now() - begin;
  CHECK(h.registry.lock("r0", {.deadline = 10s}));
  CHECK(std::chrono::steady_clock::now() - begin < all + 500ms);
}

TEST_CASE("everything can be had by message, and the sender is the holder") {
  host h;
  const auto r = h.registry.actor();
  const auto b = h.idle();
  caf::scoped_actor self{h.sys};
  const auto fail = [](const caf::error& e) { FAIL(to_string(e)); };
  const auto refused = [](errc expected) {
    return
      [expected](const caf::error& e) { CHECK(to_error(e).code == expected); };
  };
  const auto nothing = [] { FAIL("it was done"); };
  actor::request(&*self, r, 5s, register_atom_v, std::string{"alpha"},
                 caf::actor_cast<caf::strong_actor_ptr>(b), std::string{"exit"})
    .receive([] {}, fail);
  actor::request(&*self, r, 5s, register_atom_v, std::string{"alpha"},
                 caf::actor_cast<caf::strong_actor_ptr>(h.idle()),
                 std::string{"exit"})
    .receive(nothing, refused(errc::name_taken));
  actor::request(&*self, r, 5s, whereis_atom_v, std::string{"alpha"})
    .receive([&](const caf::strong_actor_ptr&
                   who) { CHECK(caf::actor_cast<caf::actor>(who) == b); },
             fail);
  actor::request(&*self, r, 5s, unregister_atom_v, std::string{"alpha"},
                 caf::actor_cast<caf::strong_actor_ptr>(h.idle()))
    .receive(nothing, refused(errc::unknown_name));
  const auto c = h.idle();
  actor::request(&*self, r, 5s, replace_atom_v, std::string{"alpha"},
                 caf::actor_cast<caf::strong_actor_ptr>(c), std::string{"exit"})
    .receive([] {}, fail);
  CHECK(h.registry.whereis("alpha") == c);
  actor::request(&*self, r, 5s, replace_atom_v, std::string{"alpha"},
                 caf::actor_cast<caf::strong_actor_ptr>(b), std::string{"exit"})
    .receive([] {}, fail);
  end(c);
  actor::request(&*self, r, 5s, unregister_atom_v, std::string{"alpha"},
                 caf::actor_cast<caf::strong_actor_ptr>(b))
    .receive([] {}, fail);
  actor::request(&*self, r, 5s, unregister_atom_v, std::string{"alpha"})
    .receive(nothing, refused(errc::unknown_name));
  {
    caf::scoped_actor other{h.sys};
    actor::request(&*other, r, 5s, lock_atom_v, std::string{"r"},
                   std::string{"o"}, caf::timespan{1s})
      .receive([](std::uint64_t token) { CHECK(token > 0); }, fail);
    actor::request(&*self, r, 5s, lock_atom_v, std::string{"r"},
                   std::string{"s"}, caf::timespan{0})
      .receive([](std::uint64_t) { FAIL("locked twice"); },
               refused(errc::lock_taken));
    actor::request(&*self, r, 5s, unlock_atom_v, std::string{"r"},
                   std::string{"o"})
      .receive(nothing, refused(errc::not_held));
    auto waiting = actor::request(&*self, r, 5s, lock_atom_v, std::string{"r"},
                                  std::string{"s"}, caf::timespan{5s});
    actor::request(&*self, r, 5s, cancel_atom_v, std::string{"r"},
                   std::string{"s"})
      .receive([] {}, fail);
    std::move(waiting).receive([](std::uint64_t) { FAIL("locked twice"); },
                               refused(errc::cancelled));
    actor::request(&*self, r, 5s, cancel_atom_v, std::string{"r"},
                   std::string{"s"})
      .receive(nothing, refused(errc::not_held));
    actor::request(&*self, r, 5s, info_atom_v)
      .receive(
        [](const registry_info& info) {
          REQUIRE(info.locks.size() == 1);
          CHECK(info.locks[0].holders.at(0).requester == "o");
        },
        fail);
  } // the holder is gone
  actor::request(&*self, r, 5s, lock_atom_v, std::string{"r"}, std::string{"s"},
                 caf::timespan{5s})
    .receive([](std::uint64_t token) { CHECK(token > 0); }, fail);
  actor::request(&*self, r, 5s, unlock_atom_v, std::string{"r"},
                 std::string{"s"})
    .receive([] {}, fail);
  actor::request(&*self, r, 5s, sync_atom_v, caf::timespan{5s})
    .receive([] {}, fail);
  actor::request(&*self, r, 5s, add_peer_atom_v, std::string{"127.0.0.1:1"})
    .receive(nothing, refused(errc::unknown_node));
  actor::request(&*self, r, 5s, disconnect_atom_v, std::string{"nobody"})
    .receive(nothing, refused(errc::unknown_node));
  end(b);
}

TEST_CASE("a sink that hangs holds nobody up") {
  static gate hold; // a thread of the log is left at it
  const auto cfg = [](const std::string& name) {
    auto result = listening(name);
    result.cluster.failure_detection = 1s;
    return result;
  };
  const node one{cfg("one")};
  node two{cfg("two"), [](auto, auto) { hold.pass(); }};
  const auto a = one.registry(), b = two.registry();
  CHECK(b.add_peer(a.endpoint()));
  hold.await_arrivals();
  REQUIRE(eventually([&] { return b.info().members.size() == 2; }));
  REQUIRE(a.sync(10s));
  const auto view = a.info().view;
  std::this_thread::sleep_for(3s);
  for (int i = 0; i < 2000; ++i) // each is one line of the log
    b.add_resolver("exit", {});
  CHECK(b.lock("r"));
  CHECK(a.info().view == view);
  const auto report = two.shutdown();
  REQUIRE(report.left_behind.size() == 1);
  CHECK(report.left_behind[0].find("the sink") != std::string::npos);
  CHECK(report.left_behind[0].find("still runs") != std::string::npos);
  hold.open();
}

TEST_CASE("peers come and go by message") {
  host h;
  const node one{listening("one")}, two{listening("two")};
  const auto r = one.registry();
  REQUIRE(r.sync(10s));
  caf::scoped_actor self{h.sys};
  const auto fail = [](const caf::error& e) { FAIL(to_string(e)); };
  const auto members = [&] { return r.info().members.size(); };
  actor::request(&*self, r.actor(), 5s, add_peer_atom_v,
                 two.registry().endpoint())
    .receive([] {}, fail);
  CHECK(eventually([&] { return members() == 2; }));
  actor::request(&*self, r.actor(), 20s, sync_atom_v, caf::timespan{10s})
    .receive([] {}, fail);
  std::promise<bool> synced;
  h.with([&](auto* a) {
    r.sync(a, 10s).then([&](const status& s) { synced.set_value(bool{s}); });
  });
  CHECK(synced.get_future().get());
  const auto other = two.registry();
  const auto named = other.spawn_named("alpha", [](caf::event_based_actor*) {
    return caf::behavior{[](int) {}};
  });
  CHECK(named);
  auto held = other.lock("r");
  REQUIRE(held);
  auto waiting = std::async(std::launch::async, [&] { return r.lock("r"); });
  lock_info lock;
  CHECK(eventually([&] {
    for (const auto& at : {r, other})
      for (const auto& known : at.info().locks)
        lock = known;
    return lock.queue.size() == 1;
  }));
  CHECK(lock.resource == "r");
  REQUIRE(lock.holders.size() == 1);
  CHECK(lock.holders[0].requester == held->requester());
  CHECK(lock.holders[0].node == "two");
  CHECK(lock.holders[0].token == held->token());
  CHECK(lock.queue[0].node == "one");
  CHECK(lock.queue[0].token == 0);
  const auto info = r.info();
  CHECK(info.self.name == "one");
  CHECK(info.endpoint == r.endpoint());
  CHECK(info.view == other.info().view);
  CHECK(info.members == std::vector{info.self, other.info().self});
  REQUIRE(info.names.size() == 1);
  CHECK(info.names[0].name == "alpha");
  CHECK(info.names[0].node == "two");
  REQUIRE(info.links.size() == 1);
  CHECK(info.links[0].endpoint == other.endpoint());
  CHECK(info.links[0].node == "two");
  CHECK(info.links[0].configured);
  CHECK(info.links[0].up);
  CHECK(info.links[0].trouble.empty());
  CHECK(held->unlock());
  CHECK(waiting.get());
  actor::request(&*self, r.actor(), 5s, disconnect_atom_v, std::string{"two"})
    .receive([] {}, fail);
  CHECK(eventually([&] { return members() == 1; }));
}

TEST_CASE("messages of any size keep apart on a link, and nobody is expelled") {
  const node one{listening("one")}, two{listening("two")};
  const auto from = one.registry(), to = two.registry();
  REQUIRE(from.add_peer(to.endpoint()));
  REQUIRE(eventually([&] { return to.info().members.size() == 2; }));
  REQUIRE(from.sync(10s));
  const auto view = from.info().view;
  // More than the socket takes at once, so that CAF writes parts of messages.
  constexpr int count = 300;
  const auto text = [](int i) {
    const auto size = i == count / 2
                        ? std::size_t{64} << 20
                        : 100'000 + static_cast<std::size_t>(i) * 997;
    return std::string(size, static_cast<char>('a' + i % 26));
  };
  std::atomic<int> came = 0, wrong = 0;
  const auto sink = to.spawn_named("sink", [&](caf::event_based_actor*) {
    return caf::behavior{[&](const std::string& what) {
      wrong += what == text(came) ? 0 : 1;
      ++came;
    }};
  });
  REQUIRE(sink);
  const auto limit = std::chrono::steady_clock::now() + 60s;
  const auto is_late = [&] { return std::chrono::steady_clock::now() > limit; };
  std::thread sender{[&] {
    for (int i = 0; i < count && wrong == 0; ++i) {
      while (came < i - 30 && wrong == 0 && !is_late())
        std::this_thread::yield();
      wrong += from.send("sink", text(i)) ? 0 : 1;
    }
  }};
  int locks = 0;
  do {
    const auto got = from.lock(std::to_string(locks % 10));
    wrong += got ? 0 : 1;
    ++locks;
  } while (came < count && wrong == 0 && !is_late());
  sender.join();
  CHECK(wrong == 0);
  CHECK(came == count);
  CHECK(locks > 1);
  CHECK(from.info().view == view);
  CHECK(to.info().view == view);
  end(caf::actor_cast<caf::actor>(*sink));
}

TEST_CASE("a lock by message without a requester is the sender's alone") {
  host h;
  const auto r = h.registry.actor();
  caf::scoped_actor one{h.sys}, other{h.sys};
  const auto fail = [](const caf::error& e) { FAIL(to_string(e)); };
  const auto refused = [](errc expected) {
    return
      [expected](const caf::error& e) { CHECK(to_error(e).code == expected); };
  };
  const std::string resource = "r", nobody;
  const auto lock = [&](auto& self) {
    return actor::request(&*self, r, 5s, lock_atom_v, resource, nobody,
                          caf::timespan{0});
  };
  const auto unlock = [&](auto& self) {
    return actor::request(&*self, r, 5s, unlock_atom_v, resource, nobody);
  };
  const auto got = [](std::uint64_t token) { CHECK(token > 0); };
  lock(one).receive(got, fail);
  lock(one).receive(got, fail);
  lock(other).receive([](std::uint64_t) { FAIL("two hold it"); },
                      refused(errc::lock_taken));
  unlock(other).receive([] { FAIL("given back by a stranger"); },
                        refused(errc::not_held));
  unlock(one).receive([] {}, fail);
  unlock(one).receive([] {}, fail);
  lock(other).receive(got, fail);
}

TEST_CASE("a message without a sender gets no lock, and does no harm") {
  host h;
  const auto r = h.registry.actor();
  const std::string resource = "r", me = "me";
  actor::post(r, lock_atom_v, resource, me, caf::timespan{1s});
  actor::post(r, unlock_atom_v, resource, me);
  actor::post(r, cancel_atom_v, resource, me);
  actor::post(r, register_atom_v, resource, caf::strong_actor_ptr{}, me);
  caf::scoped_actor self{h.sys};
  actor::request(&*self, r, 5s, info_atom_v)
    .receive([](const registry_info& info) { CHECK(info.own_locks.empty()); },
             [](const caf::error& e) { FAIL(to_string(e)); });
  CHECK(h.registry.actor() == r);
}

TEST_CASE("the actor of the registry is deaf to strangers, and comes back") {
  host h;
  const auto before = h.registry.actor();
  caf::anon_send_exit(before, caf::exit_reason::user_shutdown);
  CHECK(h.registry.lock("r"));
  CHECK(h.registry.actor() == before);
  caf::anon_send_exit(before, caf::exit_reason::kill);
  CHECK(eventually([&] { return h.registry.actor() != before; }));
  caf::scoped_actor self{h.sys};
  actor::request(&*self, h.registry.actor(), 5s, info_atom_v)
    .receive([](const registry_info& info) { CHECK(info.self.name == "solo"); },
             [](const caf::error& e) { FAIL(to_string(e)); });
}

TEST_CASE("a program that is no node asks at a node's endpoint") {
  config cfg;
  cfg.node.name = "here";
  cfg.node.listen = "127.0.0.1:0";
  const node n{cfg};
  const auto here = n.registry();
  REQUIRE(here.sync(10s));
  const auto endpoint = here.endpoint();
  const auto colon = endpoint.rfind(':');
  const auto port = static_cast<std::uint16_t>(
    std::stoi(endpoint.substr(colon + 1)));
  const auto free = [&] { return here.info().locks.empty(); };
  {
    settings_with_io alone;
    caf::actor_system sys{alone};
    const auto fail = [](const caf::error& e) { FAIL(to_string(e)); };
    const auto far = sys.middleman().remote_actor<registry_actor>("127.0.0.1",
                                                                  port);
    REQUIRE_MESSAGE(far, to_string(far.error()));
    const std::string name = "n", resource = "r", nobody, resolver = "exit";
    caf::scoped_actor self{sys};
    const auto lock = [&](auto& who) {
      return actor::request(&*who, *far, 5s, lock_atom_v, resource, nobody,
                            caf::timespan{0});
    };
    lock(self).receive([](std::uint64_t token) { CHECK(token > 0); }, fail);
    CHECK(here.lock(resource, {.wait = false}).error().code
          == errc::lock_taken);
    actor::request(&*self, *far, 5s, unlock_atom_v, resource, nobody)
      .receive([] {}, fail);
    CHECK(free());
    {
      caf::scoped_actor other{sys};
      lock(other).receive([](std::uint64_t) {}, fail);
      CHECK_FALSE(free());
    } // the holder is gone
    CHECK(eventually(free));
    actor::request(&*self, *far, 5s, whereis_atom_v, name)
      .receive([](const caf::strong_actor_ptr& who) { CHECK(who == nullptr); },
               fail);
    actor::request(&*self, *far, 5s, info_atom_v)
      .receive([](const registry_info&
                    info) { CHECK(info.self.name == "here"); },
               fail);
    // Only an actor of a node can have a name.
    const auto stranger = sys.spawn(
      [](caf::event_based_actor*) { return caf::behavior{}; });
    actor::request(&*self, *far, 5s, register_atom_v, name,
                   caf::actor_cast<caf::strong_actor_ptr>(stranger), resolver)
      .receive([] { FAIL("it was done"); },
               [](const caf::error& e) {
                 CHECK(to_error(e).code == errc::unknown_node);
               });
    lock(self).receive([](std::uint64_t) {}, fail);
  } // and with it the program
  CHECK(eventually(free));
}

TEST_CASE("an actor that only its name keeps alive does not hold up the end") {
  host h;
  auto made = h.registry.spawn_named("alpha", [](caf::event_based_actor*) {
    return caf::behavior{[](caf::get_atom) { return 1; }};
  });
  CHECK(made);
}

TEST_CASE("strict: a minority names no actor of another node of it either") {
  config cfg;
  cfg.cluster.strict = true;
  cfg.nodes = {"127.0.0.1:1", "127.0.0.1:2", free_endpoint(), free_endpoint()};
  const auto at = [&](std::size_t i) {
    auto result = cfg;
    result.node.name = "n" + std::to_string(i);
    result.node.listen = cfg.nodes[i];
    return result;
  };
  const node one{at(2)}, two{at(3)};
  const auto here = one.registry();
  CHECK(eventually([&] { return here.info().members.size() == 2; }));
  settings_with_io alone;
  caf::actor_system sys{alone};
  const auto port = actor::split_endpoint(cfg.nodes[3]).second;
  const auto theirs = sys.middleman().remote_actor<registry_actor>("127.0.0.1",
                                                                   port);
  REQUIRE(theirs);
  const auto begin = std::chrono::steady_clock::now();
  const auto got = here.register_name("x", *theirs, {.deadline = 200ms});
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  CHECK(code_of(got) == errc::no_majority);
}

TEST_CASE("a node's port is free when it has shut down") {
  config cfg;
  cfg.node.listen = "127.0.0.1:0";
  node first{cfg};
  cfg.node.listen = first.registry().endpoint();
  static_cast<void>(first.shutdown());
  const node second{cfg};
  CHECK(second.registry().sync(5s));
}

TEST_CASE("whoever waits is answered when the node shuts down") {
  host h;
  const auto first = h.registry.lock("r");
  auto second = std::async(std::launch::async, [&] {
    auto got = h.registry.lock("r");
    return got ? errc::fetch_failed : got.error().code;
  });
  CHECK(eventually([&] {
    const auto all = h.registry.info().locks;
    return all.size() == 1 && all[0].queue.size() == 1;
  }));
  CHECK(h.n.shutdown().clean());
  CHECK(second.get() == errc::shutting_down);
  const auto after = h.registry.info();
  CHECK(after.self.name == "solo");
  CHECK_FALSE(after.serving);
  CHECK(after.members.empty());
  CHECK(after.locks.empty());
}

TEST_CASE("an actor that holds a lock is told when its node shuts down") {
  host h;
  std::promise<std::string> told;
  std::promise<void> held;
  const auto a = h.sys.spawn([&](caf::event_based_actor* self) {
    h.registry.lock(self, "r").then([&](reply<held_lock> got) {
      REQUIRE(got);
      got->keep();
      held.set_value();
    });
    return caf::behavior{
      [&](const lock_lost& what) { told.set_value(what.resource); }};
  });
  held.get_future().get();
  CHECK(h.n.shutdown().clean());
  auto word = told.get_future();
  REQUIRE(word.wait_for(10s) == std::future_status::ready);
  CHECK(word.get() == "r");
  end(a);
}

TEST_CASE("a transaction says that its lock was lost meanwhile") {
  host h;
  const auto done = h.registry.trans("r", [&](const held_lock& lock) {
    const bool before = lock.lost();
    CHECK(h.n.shutdown().clean()); // gives all locks up
    return !before && lock.lost();
  });
  REQUIRE(done);
  CHECK(done.value());
  CHECK(done.lost());
}

TEST_CASE("handles that outlive node and system answer shutting_down") {
  std::optional<coopcache::registry> left;
  std::optional<held_lock> lock;
  SUBCASE("of a node alone") {
    host h;
    left = h.registry;
    auto got = h.registry.lock("r");
    lock.emplace(std::move(*got));
  }
  SUBCASE("of a node with links") {
    config cfg;
    cfg.node.listen = "127.0.0.1:0";
    const node n{cfg};
    left = n.registry();
    auto got = left->lock("r");
    lock.emplace(std::move(*got));
  }
  lock_options local;
  local.scope = lock_scope::local;
  CHECK(left->lock("r", local).error().code == errc::shutting_down);
  CHECK(code_of(left->add_peer("127.0.0.1:1")) == errc::shutting_down);
  CHECK(code_of(left->add_peer("127.0.0.1")) == errc::unknown_node);
  CHECK(code_of(left->disconnect("x")) == errc::shutting_down);
  CHECK(lock->lost());
  lock.reset();
  CHECK(left->lock("r").error().code == errc::shutting_down);
  CHECK(left->unregister_name("x").error().code == errc::shutting_down);
  CHECK(code_of(left->send("x", 1)) == errc::shutting_down);
  CHECK(left->sync(10ms).error().code == errc::shutting_down);
  CHECK(left->spawn_named("x", [](caf::event_based_actor*) {}).error().code
        == errc::shutting_down);
  CHECK_FALSE(left->whereis("x"));
  CHECK_FALSE(left->actor());
  CHECK(left->names().empty());
  CHECK_FALSE(left->info().serving);
}
