#include "support.hpp"

#include <future>
#include <set>

using namespace coopcache;
using namespace coopcache::test;

namespace {

node_options workers(std::uint64_t n) {
  node_options result;
  result.workers = n;
  return result;
}

} // namespace

TEST_CASE("loads run on a bounded number of threads that are reused") {
  one_node n{workers(2)};
  auto c = n.open<int>();
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::atomic<int> answered{0};
  for (int i = 0; i < 500; ++i)
    c.fetch_async(
      std::to_string(i),
      [&] {
        const int now = ++running;
        for (int seen = most;
             now > seen && !most.compare_exchange_weak(seen, now);)
          ;
        {
          const std::lock_guard guard{mutex};
          threads.insert(std::this_thread::get_id());
        }
        --running;
        return 1;
      },
      [&](const result<int>&) { ++answered; });
  REQUIRE(eventually([&] { return answered == 500; }));
  CHECK(most <= 2);
  CHECK(threads.size() <= 2);
}

// 1. Small jobs leave a worker that watches.
// 2. A long job begins; the next one is left to the worker that runs it.
// 3. The long job waits for that one: whoever watches must take it.
TEST_CASE("a load begins although the worker that is awake does not end") {
  one_node n{workers(3)};
  auto c = n.open<int>();
  for (int round = 0; round < 50; ++round) {
    const auto key = [round](const char* what) {
      return what + std::to_string(round);
    };
    std::atomic<int> answered{0};
    const auto count = [&](const result<int>&) { ++answered; };
    for (int i = 0; i < 20; ++i)
      c.fetch_async(
        key("small") + "/" + std::to_string(i), [] { return 1; }, count);
    std::promise<void> begun;
    c.fetch_async(
      key("long"),
      [other = begun.get_future().share()] {
        return other.wait_for(std::chrono::seconds{20})
                   == std::future_status::ready
                 ? 1
                 : throw std::runtime_error{"nobody took the other one"};
      },
      [&](const result<int>& r) {
        CHECK(r);
        ++answered;
      });
    c.fetch_async(
      key("next"),
      [&] {
        begun.set_value();
        return 1;
      },
      count);
    REQUIRE(eventually([&] { return answered == 22; }));
  }
}

TEST_CASE("a destructor of what a load left does not hold up the next load") {
  struct wish {
    explicit wish(std::function<void()> f) : last(std::move(f)) {
    }
    wish(const wish&) = delete;
    wish& operator=(const wish&) = delete;
    ~wish() {
      last();
    }
    std::function<void()> last;
  };
  one_node n{workers(1)};
  auto c = n.open<std::shared_ptr<wish>>();
  gate hold;
  std::promise<bool> granted;
  const auto ignore = [](const result<std::shared_ptr<wish>>&) {};
  c.fetch_async(
    "first",
    [&] {
      hold.pass();
      return uncached(std::make_shared<wish>(
        [&] { granted.set_value(c.fetch("second").has_value()); }));
    },
    ignore);
  hold.await_arrivals();
  c.fetch_async(
    "second", [] { return std::shared_ptr<wish>{}; }, ignore);
  hold.open();
  CHECK(granted.get_future().get());
}

TEST_CASE("nested fetches cannot dead-lock a pool of one worker") {
  one_node n{workers(1)};
  auto c = n.open<int>();
  std::function<int(int)> depth = [&](int d) -> int {
    if (d == 0)
      return 0;
    return c.fetch(std::to_string(d - 1), [&, d] { return depth(d - 1); })
             .value()
           + 1;
  };
  CHECK(c.fetch("30", [&] { return depth(30); }).value_or(-1) == 30);
}

TEST_CASE("fetch_many inside a loader cannot dead-lock a pool of one worker") {
  one_node n{workers(1)};
  auto c = n.open<int>();
  const auto r = c.fetch("sum", [&] {
    const std::vector<std::string> keys{"1", "2", "3"};
    int sum = 0;
    for (const auto& each :
         c.fetch_many(keys, [](const std::string& k) { return std::stoi(k); }))
      sum += each.value();
    return sum;
  });
  CHECK(r.value_or(0) == 6);
}

TEST_CASE("beyond max_blocked_workers a nested fetch is an error, not a hang") {
  auto few = workers(1);
  few.max_blocked_workers = 3;
  one_node n{few};
  auto c = n.open<int>();
  std::atomic<int> refused{0};
  std::function<int(int)> depth = [&](int d) -> int {
    const auto r = c.fetch(std::to_string(d - 1),
                           [&, d] { return d == 1 ? 0 : depth(d - 1); });
    if (!r && r.error().code == errc::workers_exhausted)
      ++refused;
    return r.value() + 1;
  };
  CHECK_FALSE(c.fetch("10", [&] { return depth(10); }).has_value());
  CHECK(refused == 1);
}

TEST_CASE("a loader that fetches its own key gets an error") {
  one_node n;
  auto c = n.open<int>();
  errc inner{};
  const auto r = c.fetch("k", [&] {
    inner = code_of(c.fetch("k", [] { return 1; }));
    return 2;
  });
  CHECK(r.value_or(0) == 2);
  CHECK(inner == errc::load_cycle);
}

TEST_CASE("a loader that fetches its own key through others gets an error") {
  one_node n;
  auto c = n.open<int>();
  auto other = n.open<int>();
  // Many rounds: a load can end before who asked for it looks again.
  for (int round = 0; round < 300; ++round) {
    const auto key = [round](char name) {
      std::string result{name};
      return result += std::to_string(round);
    };
    errc inner{};
    const auto innermost = [&] {
      inner = code_of(c.fetch(key('a'), [] { return 1; }));
      return 3;
    };
    const auto middle = [&] { return c.fetch(key('c'), innermost).value(); };
    const auto r = c.fetch(key('a'), [&] {
      return other.fetch(key('b'), middle).value();
    });
    INFO((r ? std::string{} : to_string(r.error())));
    REQUIRE(r.value_or(0) == 3);
    REQUIRE(inner == errc::load_cycle);
  }
}

TEST_CASE(
  "of two loads that join each other's keys exactly one gets an error") {
  for (int round = 0; round < 50; ++round) {
    one_node n;
    auto c = n.open<int>();
    gate both;
    std::atomic<int> cycles{0};
    const auto cross = [&](const std::string& other) {
      both.pass();
      const auto r = c.fetch(other, [] { return 0; });
      if (r)
        return *r;
      cycles += r.error().code == errc::load_cycle ? 1 : 0;
      return 1;
    };
    std::atomic<int> answered{0};
    c.fetch_async(
      "a", [&] { return cross("b"); },
      [&](const result<int>& r) { answered += r.value_or(0); });
    c.fetch_async(
      "b", [&] { return cross("a"); },
      [&](const result<int>& r) { answered += r.value_or(0); });
    both.await_arrivals(2);
    both.open();
    REQUIRE(eventually([&] { return answered == 2; }));
    CHECK(cycles == 1);
  }
}

TEST_CASE("loads of two nodes may wait for each other, and cycles are found") {
  one_node a;
  one_node b;
  auto of_a = a.open<int>();
  auto of_b = b.open<int>();
  CHECK(
    of_a.fetch("x", [&] { return of_b.fetch("y", [] { return 7; }).value(); })
      .value_or(0)
    == 7);
  errc inner{};
  const auto r = of_a.fetch("k", [&] {
    return of_b
      .fetch("k",
             [&] {
               inner = code_of(of_a.fetch("k", [] { return 1; }));
               return 2;
             })
      .value();
  });
  CHECK(r.value_or(0) == 2);
  CHECK(inner == errc::load_cycle);
}

TEST_CASE("what a callback fetches is not fetched for the load that ended") {
  one_node n;
  auto c = n.open<int>();
  gate hold;
  std::atomic<int> seen{-1};
  const auto load = [&] {
    hold.pass();
    return 1;
  };
  // The first who waits for "a" asks for "b", whose load waits for "a", too.
  c.fetch_async("a", load, [&](const result<int>&) {
    c.fetch_async(
      "b", [] { return 0; },
      [&](const result<int>& r) {
        seen = r ? *r : static_cast<int>(r.error().code) * 100;
      });
  });
  c.fetch_async(
    "b",
    [&c, &load](promise<int> p) {
      const fetch_options within{.within = p.context()};
      c.fetch_async(
        "a", load,
        [p = std::make_shared<promise<int>>(std::move(p))](
          const result<int>& r) { p->set(r.value_or(0) + 1); },
        within);
    },
    [](const result<int>&) {});
  REQUIRE(eventually([&] { return c.stats().joined == 1; }));
  hold.open();
  REQUIRE(eventually([&] { return seen != -1; }));
  CHECK(seen == 2);
}

TEST_CASE("a nested fetch_many beyond max_blocked_workers is an error") {
  auto none = workers(1);
  none.max_blocked_workers = 0;
  one_node n{none};
  auto c = n.open<int>();
  const auto r = c.fetch("k", [&]() -> int {
    const std::vector<std::string> keys{"1", "2"};
    const auto all = c.fetch_many(keys, [](const std::string&) { return 1; });
    for (const auto& each : all)
      CHECK(code_of(each) == errc::workers_exhausted);
    return static_cast<int>(all.size());
  });
  CHECK(r.value_or(0) == 2);
}

TEST_CASE("a nested borrowed fetch leaves its place to others") {
  one_node n{workers(1)};
  auto c = n.open<int>();
  std::atomic<bool> late{false};
  std::atomic<bool> other{false};
  gate queued;
  std::thread observer;
  const auto r = c.fetch("a", [&] {
    // Stands in the queue before "b", and ends after the deadline for "b".
    c.fetch_async(
      "c",
      [&] {
        queued.pass();
        return 0;
      },
      [&](const result<int>&) { other = true; });
    int local = 0;
    const auto load = [&] { return ++local; };
    observer = std::thread{[&] {
      queued.await_arrivals();
      static_cast<void>(c.fetch("never", [] { return 0; }, {.deadline = 50ms}));
      queued.open();
    }};
    const auto b = c.fetch("b", borrowed(load), {.deadline = 1ms});
    late = !b && b.error().code == errc::timeout;
    return local;
  });
  observer.join();
  CHECK(r.value_or(0) == 1);
  CHECK(late);
  CHECK(eventually([&] { return other.load(); }));
}

TEST_CASE("a borrowed loader that will never run lets its caller go") {
  auto one = workers(1);
  one.max_lost_workers = 0;
  one_node n{one};
  cache_options limited;
  limited.load_hard_limit = 80ms;
  auto c = n.open<int>(limited);
  gate hold;
  c.fetch_async(
    "hangs",
    [&] {
      hold.pass();
      return 0;
    },
    [](const result<int>&) {});
  hold.await_arrivals();
  int runs = 0;
  auto load = [&] { return ++runs; };
  CHECK(code_of(c.fetch("b", borrowed(load))) == errc::timeout);
  hold.open();
  CHECK(runs == 0);
}

TEST_CASE("an idle worker keeps nothing of its last job") {
  one_node n{workers(2)};
  auto c = n.open<std::shared_ptr<int>>();
  const auto value = std::make_shared<int>(1);
  const auto captured = std::make_shared<int>(2);
  std::atomic<bool> called{false};
  c.fetch_async(
    "k", [value] { return uncached(value); },
    [captured, &called](const auto&) { called = true; });
  REQUIRE(eventually([&] { return called.load(); }));
  CHECK(eventually([&] { return value.use_count() == 1; }));
  CHECK(eventually([&] { return captured.use_count() == 1; }));
}

TEST_CASE("a callback that blocks does not hold up the timeouts of others") {
  one_node n;
  auto c = n.open<int>();
  gate load;
  gate callback;
  std::atomic<bool> second{false};
  const auto slow = [&] {
    load.pass();
    return 1;
  };
  c.fetch_async("k", slow, [&](const result<int>&) { callback.pass(); },
                {.deadline = 10ms});
  callback.await_arrivals();
  c.fetch_async("k", slow,
                [&](const result<int>& r) { second = !r.has_value(); },
                {.deadline = 10ms});
  CHECK(eventually([&] { return second.load(); }));
  callback.open();
  load.open();
}

TEST_CASE("asynchronous loaders fulfil a promise, from any thread") {
  one_node n{workers(1)};
  auto c = n.open<int>();
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::atomic<int> sum{0};
  std::atomic<int> answered{0};
  for (int i = 0; i < 10; ++i)
    c.fetch_async(
      std::to_string(i),
      [&, i](promise<int> p) {
        const std::lock_guard guard{mutex};
        threads.emplace_back([p = std::move(p), i]() mutable { p.set(i); });
      },
      [&](const result<int>& r) {
        sum += r.value_or(0);
        ++answered;
      });
  REQUIRE(eventually([&] { return answered == 10; }));
  for (auto& t : threads)
    t.join();
  CHECK(sum == 45);
  CHECK(c.fetch("5").value_or(0) == 5);
}

TEST_CASE("a promise can fail, be uncached, and be dropped") {
  one_node n;
  auto c = n.open<int>();
  CHECK(code_of(c.fetch("f", [](promise<int> p) { p.set(failed("no")); }))
        == errc::fetch_failed);
  CHECK(c.fetch("u", [](promise<int> p) { p.set(uncached(1)); }).has_value());
  CHECK_FALSE(c.get_if_present("u").has_value());
  CHECK(code_of(c.fetch("d", [](promise<int>) {})) == errc::broken_promise);
  const auto threw = c.fetch("t", [](promise<int> p) {
    p.set(3);
    throw 1;
  });
  CHECK(threw.value_or(0) == 3);
  const auto boom = c.fetch("b", [](promise<int>) -> void {
    throw std::runtime_error("boom");
  });
  CHECK(code_of(boom) == errc::fetch_failed);
  CHECK(boom.error().reason == "boom");
  const auto inner = c.fetch("i", [](promise<int> p) {
    try {
      const promise<int> dropped = std::move(p);
      throw 1;
    } catch (int) { // the load has lost its promise all the same
    }
  });
  CHECK(code_of(inner) == errc::broken_promise);
}

TEST_CASE("an asynchronous loader passes its context on, so cycles are found") {
  one_node n;
  auto c = n.open<int>();
  std::atomic<bool> cycle{false};
  const auto r = c.fetch("k", [&](promise<int> p) {
    const fetch_options within{.within = p.context()};
    std::thread{[&c, &cycle, within, p = std::move(p)]() mutable {
      c.fetch_async(
        "k", [] { return 1; },
        [&cycle](const result<int>& inner) {
          cycle = !inner && inner.error().code == errc::load_cycle;
        },
        within);
      p.set(2);
    }}.detach();
  });
  CHECK(r.value_or(0) == 2);
  CHECK(cycle);
}

TEST_CASE("a borrowed loader may refer to locals: the fetch outlasts it") {
  one_node n;
  auto c = n.open<int>();
  std::atomic<bool> ended{false};
  const auto late = [&] {
    const auto begin = std::chrono::steady_clock::now();
    auto local = [&] {
      ended = eventually(
        [&] { return std::chrono::steady_clock::now() - begin > 100ms; });
      return 1;
    };
    return c.fetch("k", borrowed(local), {.deadline = 1ms});
  }();
  CHECK(ended);
  CHECK(code_of(late) == errc::timeout);
  int runs = 0;
  auto unused = [&] { return ++runs; };
  REQUIRE(eventually([&] { return c.get_if_present("k").has_value(); }));
  CHECK(c.fetch("k", borrowed(unused)).value_or(0) == 1);
  CHECK(runs == 0);
}

TEST_CASE(
  "at the soft limit all who wait get a timeout, and the load goes on") {
  one_node n;
  cache_options limited;
  limited.load_soft_limit = 50ms;
  auto c = n.open<int>(limited);
  gate hold;
  std::atomic<int> runs{0};
  const auto slow = [&] {
    ++runs;
    hold.pass();
    return 1;
  };
  std::atomic<int> timeouts{0};
  for (int i = 0; i < 5; ++i)
    c.fetch_async("k", slow, [&](const result<int>& r) {
      timeouts += code_of(r) == errc::timeout ? 1 : 0;
    });
  const auto blocking = c.fetch("k", slow);
  CHECK(code_of(blocking) == errc::timeout);
  CHECK(blocking.error().reason.find("soft limit of 50 ms")
        != std::string::npos);
  REQUIRE(eventually([&] { return timeouts == 5; }));
  std::thread opener{[&] { hold.open(); }};
  CHECK(c.fetch("k", slow).value_or(0) == 1);
  opener.join();
  CHECK(runs == 1);
}

TEST_CASE("at the hard limit a load loses its lease and its worker's place") {
  auto one = workers(1);
  one.max_lost_workers = 2;
  one.shutdown_timeout = 20s;
  gate hold;
  std::atomic<int> stop_requests{0};
  std::atomic<int> back{0};
  {
    one_node n{one};
    cache_options limited;
    limited.load_hard_limit = 60ms;
    auto c = n.open<int>(limited);
    const auto hang = [&](std::stop_token stop) {
      hold.pass();
      stop_requests += eventually([&] { return stop.stop_requested(); });
      ++back;
      return 1;
    };
    const auto r = c.fetch("k", hang);
    CHECK(code_of(r) == errc::timeout);
    CHECK(r.error().reason.find("hard limit") != std::string::npos);
    // Another worker has taken the place, so the key can be loaded again.
    CHECK(c.fetch("k", [] { return 2; }).value_or(0) == 2);
    hold.open();
    REQUIRE(eventually([&] { return back == 1; }));
    CHECK(stop_requests == 1);
    CHECK(c.fetch("k").value_or(0) == 2);
    CHECK(c.stats().superseded == 1);
  }
}

TEST_CASE("threads that never come back are capped: workers_exhausted") {
  auto one = workers(1);
  one.max_lost_workers = 2;
  gate hold;
  one_node n{one};
  cache_options limited;
  limited.load_hard_limit = 30ms;
  auto c = n.open<int>(limited);
  const auto hang = [&] {
    hold.pass();
    return 1;
  };
  for (int i = 0; i < 3; ++i)
    CHECK(code_of(c.fetch(std::to_string(i), hang)) == errc::timeout);
  CHECK(code_of(c.fetch("3", hang)) == errc::workers_exhausted);
  hold.open();
  // Whoever comes back takes up its place again.
  CHECK(eventually([&] { return c.fetch("4", [] { return 4; }).has_value(); }));
}

TEST_CASE("beyond queue_limit a load is refused") {
  auto one = workers(1);
  one.queue_limit = 2;
  one_node n{one};
  auto c = n.open<int>();
  gate hold;
  std::atomic<int> good{0};
  std::atomic<int> refused{0};
  for (int i = 0; i < 10; ++i) {
    c.fetch_async(
      std::to_string(i),
      [&] {
        hold.pass();
        return 1;
      },
      [&](const result<int>& r) {
        if (r)
          ++good;
        else
          refused += r.error().code == errc::queue_full ? 1 : 0;
      });
    if (i == 0)
      hold.await_arrivals();
  }
  REQUIRE(eventually([&] { return refused == 7; }));
  hold.open();
  CHECK(eventually([&] { return good == 3; }));
}

TEST_CASE("a load that no worker took is no failure to back off from") {
  auto one = workers(1);
  one.queue_limit = 1;
  one_node n{one};
  cache_options patient;
  patient.failure_backoff = std::chrono::hours{1};
  patient.load_hard_limit = 500ms;
  auto c = n.open<int>(patient);
  gate hold;
  const auto wait = [&] {
    hold.pass();
    return 1;
  };
  const auto nothing = [](const result<int>&) {};
  c.fetch_async("runs", wait, nothing);
  hold.await_arrivals();
  c.fetch_async("queued", wait, nothing);
  CHECK(code_of(c.fetch("k", [] { return 1; })) == errc::queue_full);
  CHECK(c.stats().failures == 0);
  hold.open();
  CHECK(eventually([&] { return c.fetch("k", [] { return 1; }).has_value(); }));
}

TEST_CASE("a load at its hard limit is a failure to back off from") {
  one_node n;
  cache_options patient;
  patient.failure_backoff = std::chrono::hours{1};
  patient.load_hard_limit = 30ms;
  auto c = n.open<int>(patient);
  gate hold;
  const auto hang = [&] {
    hold.pass();
    return 1;
  };
  CHECK(code_of(c.fetch("k", hang)) == errc::timeout);
  CHECK(code_of(c.fetch("k", hang)) == errc::backing_off);
  hold.open();
}

TEST_CASE("a callback that throws is logged and harms nobody") {
  one_node n;
  auto c = n.open<int>();
  std::atomic<bool> other{false};
  gate hold;
  const auto load = [&] {
    hold.pass();
    return 1;
  };
  c.fetch_async("k", load, [](const result<int>&) { throw 42; });
  c.fetch_async("k", load, [&](const result<int>&) { other = true; });
  hold.open();
  REQUIRE(eventually([&] { return other.load(); }));
  REQUIRE(eventually([&] { return !n.log().empty(); }));
  CHECK(n.log().at(0).find("a callback threw exception of type int")
        != std::string::npos);
  CHECK(c.stats().throws == 1);
}

TEST_CASE("loaders that are not used are destroyed, and used ones once") {
  one_node n;
  auto c = n.open<int>();
  const auto token = std::make_shared<int>(1);
  for (int i = 0; i < 10; ++i)
    static_cast<void>(c.fetch("k", [token] { return *token; }));
  CHECK(eventually([&] { return token.use_count() == 1; }));
}
