#include "support.hpp"

#include "coopcache/actor/compat.hpp"
#include "coopcache/actor/threads.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/init_global_meta_objects.hpp>
#include <caf/io/middleman.hpp>
#include <caf/openssl/manager.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <future>

/// What an application brings: its own block of type ids.
struct app_report {
  std::string text;

  template <class Inspector>
  friend bool inspect(Inspector& f, app_report& x) {
    return f.object(x).fields(f.field("text", x.text));
  }
};

CAF_BEGIN_TYPE_ID_BLOCK(app, coopcache::first_free_type_id)
CAF_ADD_TYPE_ID(app, (app_report))
CAF_ADD_ATOM(app, app_go_atom)
CAF_END_TYPE_ID_BLOCK(app)

using namespace coopcache;
using namespace coopcache::test;

namespace {

/// A host application's actor system, with its own types and modules.
struct host {
  struct settings : caf::actor_system_config {
    settings() {
      load<caf::io::middleman>();
      set("caf.scheduler.max-threads", 2);
    }
  };

  static void init() {
    static const bool once = [] {
      init_types();
      caf::io::middleman::init_global_meta_objects();
      caf::init_global_meta_objects<caf::id_block::app>();
      return true;
    }();
    static_cast<void>(once);
  }

  host() {
    init();
  }

  struct types_first {
    types_first() {
      init();
    }
  } types;
  settings cfg;
  caf::actor_system sys{cfg};
};

/// Runs `f(self)` in an event-based actor.
template <class F>
void run_in_actor(caf::actor_system& sys, F f) {
  sys.spawn([f = std::move(f)](caf::event_based_actor* self) { f(self); });
}

/// Sends a request and waits for the answer.
template <class Response, class Handle, class... Ts>
Response ask(caf::scoped_actor& self, const Handle& to, caf::error& fault,
             Ts&&... xs) {
  Response answer{};
  actor::request(self.ptr(), to, 20s, std::forward<Ts>(xs)...)
    .receive([&](const Response& r) { answer = r; },
             [&](const caf::error& e) { fault = e; });
  return answer;
}

} // namespace

TEST_CASE("an actor fetches without blocking and gets its answer in context") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<std::string>("c", cache_options{});
  gate hold;
  std::promise<std::string> seen;
  run_in_actor(h.sys, [&](caf::event_based_actor* self) {
    c.fetch(self, "k",
            [&] {
              hold.pass();
              return "v";
            })
      .then([&, self](const result<std::string>& r) {
        c.fetch(self, "k", [] { return "w"; })
          .then([&, first = r.value_or("?")](const result<std::string>& hit) {
            seen.set_value(first + hit.value_or("?")
                           + (hit.how() == source::hit ? " hit" : " miss"));
          });
      });
  });
  hold.open();
  auto answer = seen.get_future();
  REQUIRE(answer.wait_for(20s) == std::future_status::ready);
  CHECK(answer.get() == "vv hit");
}

TEST_CASE("an actor refreshes without blocking") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<int>("c", cache_options{});
  REQUIRE(c.put("k", 1));
  std::promise<int> seen;
  run_in_actor(h.sys, [&](caf::event_based_actor* self) {
    c.refresh(self, "k", [] { return 2; }).then([&](const result<int>& r) {
      seen.set_value(r.value_or(0));
    });
  });
  CHECK(seen.get_future().get() == 2);
  CHECK(c.fetch("k").value_or(0) == 2);
}

TEST_CASE("an actor puts without blocking, and learns what became of it") {
  host h;
  auto n = node::start(h.sys);
  cache_options small;
  small.max_key_size = 10;
  small.max_value_size = 1000;
  auto c = n.open<std::string>("c", small);
  std::promise<std::string> seen;
  run_in_actor(h.sys, [&](caf::event_based_actor* self) {
    c.put(self, "k", "v").then([&, self](const result<std::string>& first) {
      c.put(self, "k", std::string(2000, 'x'))
        .then([&, self, first](const result<std::string>& large) {
          c.put(self, "a long, long key", "v")
            .then([&, first, large](const result<std::string>& refused) {
              seen.set_value(first.value_or("?") + ' '
                             + std::string{to_string(large.error().code)} + ' '
                             + std::string{to_string(refused.error().code)});
            });
        });
    });
  });
  auto answer = seen.get_future();
  REQUIRE(answer.wait_for(20s) == std::future_status::ready);
  CHECK(answer.get() == "v no_room key_too_large");
}

TEST_CASE("each put_async is answered once, also by a node that shuts down") {
  constexpr int puts = 2000;
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> stored{0};
    std::atomic<int> refused{0};
    {
      host h;
      auto n = node::start(h.sys);
      auto c = n.open<int>("c", cache_options{});
      std::jthread other{[&] {
        for (int i = 0; i < puts; ++i)
          c.put_async(std::to_string(i), i, [&](const result<int>& r) {
            if (r)
              ++stored;
            else if (r.error().code == errc::shutting_down)
              ++refused;
          });
      }};
      if (round > 0 && eventually([&] { return stored > puts / 10 * round; }))
        n.shutdown();
      other.join();
      if (round == 0)
        CHECK(eventually([&] { return stored == puts; }));
    }
    CHECK(stored + refused == puts);
  }
}

TEST_CASE("an actor that ends before the answer comes harms nobody") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<int>("c", cache_options{});
  gate hold;
  std::atomic<bool> called{false};
  run_in_actor(h.sys, [&](caf::event_based_actor* self) {
    c.fetch(self, "k",
            [&] {
              hold.pass();
              return 1;
            })
      .then([&](const result<int>&) { called = true; });
    self->quit();
  });
  hold.await_arrivals();
  hold.open();
  CHECK(c.fetch("k").value_or(0) == 1);
  CHECK_FALSE(called);
}

TEST_CASE("on a thread of CAF's scheduler a hit is fine, a miss is an error") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<int>("c", cache_options{});
  REQUIRE(c.put("there", 1));
  std::promise<std::vector<std::string>> done;
  run_in_actor(h.sys, [&](caf::event_based_actor*) {
    std::vector<std::string> seen;
    const auto note = [&seen](const result<int>& r) {
      seen.emplace_back(r ? "value" : to_string(r.error().code));
    };
    note(c.fetch("there", [] { return 2; }));
    note(c.fetch("missing", [] { return 2; }));
    const std::vector<std::string> keys{"there", "missing"};
    for (const auto& r :
         c.fetch_many(keys, [](const std::string&) { return 2; }))
      note(r);
    seen.emplace_back(to_string(c.clear("there").error().code));
    seen.emplace_back(to_string(c.put("there", 1).error().code));
    done.set_value(seen);
  });
  CHECK(done.get_future().get()
        == std::vector<std::string>{"value", "would_block", "value",
                                    "would_block", "would_block",
                                    "would_block"});
  CHECK(c.stats().loads == 0);
}

TEST_CASE("the names of CAF's threads are what we take them for") {
  host h;
  CHECK_FALSE(actor::on_caf_thread());
  std::promise<bool> scheduled;
  run_in_actor(h.sys, [&](caf::event_based_actor*) {
    scheduled.set_value(actor::on_caf_thread());
  });
  CHECK(scheduled.get_future().get());
  std::promise<bool> detached;
  h.sys.spawn<caf::detached>([&](caf::event_based_actor*) {
    detached.set_value(actor::on_caf_thread());
  });
  CHECK_FALSE(detached.get_future().get());
  std::promise<bool> multiplexed;
  h.sys.middleman().backend().post(
    [&] { multiplexed.set_value(actor::on_caf_thread()); });
  CHECK(multiplexed.get_future().get());
}

TEST_CASE("any actor can send fetch, clear, clear_all and stats") {
  host h;
  auto n = node::start(h.sys);
  std::atomic<int> runs{0};
  auto c = n.open<std::string>("c", cache_options{}, [&](std::string_view key) {
    ++runs;
    if (key == "bad")
      throw std::runtime_error("boom");
    return "value of " + std::string{key};
  });
  caf::scoped_actor self{h.sys};
  caf::error fault;
  const auto to = c.actor();
  const auto a = ask<fetched>(self, to, fault, fetch_atom_v, std::string{"a"});
  REQUIRE_FALSE(fault);
  CHECK(a.as<std::string>().value_or("") == "value of a");
  CHECK(a.as<std::string>().how() == source::loaded);
  CHECK(code_of(a.as<int>()) == errc::wrong_type);
  CHECK(a.as<int>().error().reason.find("asked for int, got std::")
        != std::string::npos);
  const auto hit = ask<fetched>(self, to, fault, fetch_atom_v,
                                std::string{"a"});
  CHECK(hit.as<std::string>().how() == source::hit);
  CHECK(runs == 1);

  static_cast<void>(
    ask<fetched>(self, to, fault, fetch_atom_v, std::string{"bad"}));
  CHECK(fault == errc::fetch_failed);
  CHECK(to_string(fault).find("boom") != std::string::npos);
  CHECK(to_error(fault)
        == error{errc::fetch_failed, "boom", "c", "bad", "node"});
  CHECK(to_error(caf::make_error(caf::sec::request_timeout)).code
        == errc::timeout);
  CHECK(to_error(caf::make_error(caf::sec::request_receiver_down)).code
        == errc::shutting_down);
  fault = {};

  const auto mine = ask<fetched>(self, to, fault, fetch_atom_v,
                                 std::string{"b"},
                                 carry<std::string>([] { return "mine"; }));
  CHECK(mine.as<std::string>().value_or("") == "mine");

  const auto before = ask<cache_stats>(self, to, fault, stats_atom_v);
  CHECK(before.entries == 2);
  CHECK(before.loads == 3);
  actor::request(self.ptr(), to, 20s, clear_atom_v, std::string{"a"})
    .receive([] {}, [&](const caf::error& e) { fault = e; });
  CHECK_FALSE(c.get_if_present("a").has_value());
  actor::request(self.ptr(), to, 20s, clear_all_atom_v)
    .receive([] {}, [&](const caf::error& e) { fault = e; });
  REQUIRE_FALSE(fault);
  CHECK(c.stats().entries == 0);
}

TEST_CASE("a fetch message without any loader says so") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<int>("c", cache_options{});
  caf::scoped_actor self{h.sys};
  caf::error fault;
  static_cast<void>(
    ask<fetched>(self, c.actor(), fault, fetch_atom_v, std::string{"a"}));
  CHECK(fault == errc::no_loader);
}

TEST_CASE("a cache actor ignores exits, and one that is killed is replaced") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<int>("c", cache_options{});
  REQUIRE(c.put("k", 1));
  const auto first = c.actor();
  caf::scoped_actor self{h.sys};
  self->send_exit(first, caf::exit_reason::user_shutdown);
  caf::error fault;
  CHECK(ask<cache_stats>(self, first, fault, stats_atom_v).entries == 1);
  CHECK_FALSE(fault);

  gate hold;
  std::atomic<int> answered{0};
  for (int i = 0; i < 5; ++i)
    c.fetch_async(
      "slow",
      [&] {
        hold.pass();
        return 2;
      },
      [&](const result<int>& r) { answered += r.value_or(0) == 2; });
  self->send_exit(first, caf::exit_reason::kill);
  REQUIRE(eventually([&] { return c.actor() != first; }));
  CHECK(c.fetch("k").value_or(0) == 1);
  CHECK(c.fetch("new", [] { return 3; }).value_or(0) == 3);
  hold.open();
  REQUIRE(eventually([&] { return answered == 5; }));
  CHECK(c.fetch("slow").value_or(0) == 2);
  CHECK(c.stats().entries == 3);
}

TEST_CASE("a message with a loader of another type is refused") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<std::string>("c", cache_options{});
  caf::scoped_actor self{h.sys};
  caf::error fault;
  static_cast<void>(ask<fetched>(self, c.actor(), fault, fetch_atom_v,
                                 std::string{"k"},
                                 carry<int>([] { return 1; })));
  CHECK(fault == errc::wrong_type);
  CHECK(c.fetch("k", [] { return "v"; }).value_or("") == "v");
}

// A message that waits for a load is answered whatever becomes of the actor
// that took it.
TEST_CASE("fetch messages are answered after a kill and at shutdown") {
  host h;
  auto n = node::start(h.sys);
  gate hold;
  auto c = n.open<int>("c", cache_options{}, [&](std::string_view key) {
    if (key == "waits")
      hold.pass();
    return 1;
  });
  std::promise<int> value;
  std::promise<caf::error> error;
  const auto to = c.actor();
  const auto send = [&](const std::string& key, auto on_value, auto on_error) {
    run_in_actor(h.sys, [=](caf::event_based_actor* self) {
      actor::request(self, to, caf::infinite, fetch_atom_v, key)
        .then(on_value, on_error);
    });
  };
  send(
    "waits",
    [&](const fetched& x) { value.set_value(x.as<int>().value_or(0)); },
    [&](const caf::error&) { value.set_value(-1); });
  hold.await_arrivals();
  caf::anon_send_exit(to, caf::exit_reason::kill);
  REQUIRE(eventually([&] { return c.actor() != to; }));
  hold.open();
  CHECK(value.get_future().get() == 1);

  gate never;
  run_in_actor(h.sys, [&, cache = c.actor()](caf::event_based_actor* self) {
    actor::request(self, cache, caf::infinite, fetch_atom_v,
                   std::string{"slow"}, carry<int>([&](std::stop_token stop) {
                     never.pass();
                     return stop.stop_requested() ? 0 : 1;
                   }))
      .then([&](const fetched&) { error.set_value({}); },
            [&](const caf::error& e) { error.set_value(e); });
  });
  never.await_arrivals();
  std::thread opener{[&] {
    // The answer comes before the loader has ended.
    CHECK(error.get_future().get() == errc::shutting_down);
    never.open();
  }};
  CHECK(n.shutdown().clean());
  opener.join();
}

// Callers, the ticker and the actor take turns as the writer; refused starts
// and hard limits queue commands while they are at it.
TEST_CASE("callers, messages, limits and kills at once leave nobody waiting") {
  host h;
  auto n = node::start(h.sys, {}, [](log_level, std::string_view) {});
  cache_options tight;
  tight.failure_backoff = 1ms;
  tight.load_hard_limit = 2ms;
  tight.load_soft_limit = 1ms;
  tight.cache_duration = 1ms;
  auto c = n.open<int>("c", tight);
  std::atomic<bool> stop{false};
  std::atomic<int> answered{0};
  std::atomic<int> asked{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10'000; ++i) {
        const auto key = std::to_string(i % 7);
        switch ((i + t) % 4) {
          case 0:
            ++asked;
            c.fetch_async(
              key, [i] { return i % 3 == 0 ? throw 1 : i; },
              [&](const result<int>&) { ++answered; });
            break;
          case 1:
            static_cast<void>(c.fetch(key, [](std::stop_token wanted) {
              return eventually([&] { return wanted.stop_requested(); });
            }));
            break;
          case 2:
            static_cast<void>(c.put(key, i));
            break;
          default:
            static_cast<void>(c.clear(key));
        }
      }
      stop = true;
    });
  threads.emplace_back([&] {
    for (int i = 0; !stop; ++i) {
      const auto to = c.actor();
      actor::post(to, clear_atom_v, std::to_string(i % 7));
      actor::post(to, stats_atom_v);
      if (i % 50 == 0)
        caf::anon_send_exit(to, caf::exit_reason::kill);
      std::this_thread::yield();
    }
  });
  threads.clear();
  CHECK(eventually([&] { return answered == asked; }));
  CHECK(c.put("last", 1));
  CHECK(n.shutdown().clean());
}

TEST_CASE("exits from another node are ignored, and a kill is survived") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<int>("c", cache_options{});
  REQUIRE(c.put("k", 1));
  const auto first = c.actor();
  const auto port = h.sys.middleman().publish(first, 0, "127.0.0.1");
  REQUIRE(port);
  host other;
  const auto far = other.sys.middleman().remote_actor<cache_actor>("127.0.0.1",
                                                                   *port);
  REQUIRE(far);
  caf::scoped_actor self{other.sys};
  caf::error fault;
  self->send_exit(*far, caf::exit_reason::user_shutdown);
  CHECK(ask<cache_stats>(self, *far, fault, stats_atom_v).entries == 1);
  CHECK_FALSE(fault);
  CHECK(c.actor() == first);
  self->send_exit(*far, caf::exit_reason::kill);
  REQUIRE(eventually([&] { return c.actor() != first; }));
  CHECK(c.fetch("k").value_or(0) == 1);
  CHECK(c.fetch("new", [] { return 2; }).value_or(0) == 2);
}

TEST_CASE("a hit by message does not disturb the host's own types and actors") {
  host h;
  auto n = node::start(h.sys);
  auto c = n.open<app_report>("reports", cache_options{});
  std::promise<std::string> text;
  auto own = h.sys.spawn([&](caf::event_based_actor*) -> caf::behavior {
    return {[&](app_go_atom, const app_report& r) { text.set_value(r.text); }};
  });
  const auto r = c.fetch("k", [] { return app_report{"fine"}; });
  REQUIRE(r);
  actor::post(own, app_go_atom_v, *r);
  CHECK(text.get_future().get() == "fine");
  caf::anon_send_exit(own, caf::exit_reason::user_shutdown);
}

TEST_CASE("a loader that hangs does not hold up the end of a host's system") {
  static gate hold;
  {
    host h;
    config cfg;
    cfg.node.shutdown_timeout = 20ms;
    auto n = node::start(h.sys, cfg, [](log_level, std::string_view) {});
    auto c = n.open<int>("c", cache_options{});
    std::thread waiter{[c] {
      static_cast<void>(c.fetch("k", [] {
        hold.pass();
        return 1;
      }));
    }};
    hold.await_arrivals();
    CHECK_FALSE(n.shutdown().clean());
    waiter.join();
  }
  hold.open();
}
