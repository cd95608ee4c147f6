#include "support.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>

#include <array>
#include <latch>
#include <set>

using namespace coopcache;
using namespace coopcache::test;

TEST_CASE("a value is loaded once and then hit") {
  one_node n;
  auto c = n.open();
  std::atomic<int> runs{0};
  const auto first = c.fetch("k", counted(runs, std::string{"v"}));
  const auto second = c.fetch("k", counted(runs, std::string{"w"}));
  REQUIRE(first);
  REQUIRE(second);
  CHECK(*first == "v");
  CHECK(first.how() == source::loaded);
  CHECK(*second == "v");
  CHECK(second.how() == source::hit);
  CHECK(&*first == &*second);
  CHECK(runs == 1);
}

TEST_CASE("10 000 callers of a cold key run one loader and share one object") {
  one_node n;
  auto c = n.open();
  gate hold;
  std::atomic<int> runs{0};
  std::atomic<int> answered{0};
  std::mutex mutex;
  std::set<const std::string*> objects;
  std::array<std::atomic<int>, 3> how{};
  const auto load = [&] {
    ++runs;
    hold.pass();
    return std::string{"v"};
  };
  constexpr int callers = 10'000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < callers / 4; ++i)
        c.fetch_async("k", load, [&](const result<std::string>& r) {
          ++how[static_cast<std::size_t>(r.how())];
          {
            const std::lock_guard guard{mutex};
            objects.insert(r ? &*r : nullptr);
          }
          ++answered;
        });
    });
  for (auto& t : threads)
    t.join();
  hold.open();
  REQUIRE(eventually([&] { return answered == callers; }));
  CHECK(runs == 1);
  CHECK(objects.size() == 1);
  CHECK_FALSE(objects.contains(nullptr));
  CHECK(how[static_cast<std::size_t>(source::loaded)] == 1);
  CHECK(how[static_cast<std::size_t>(source::joined)] == callers - 1);
  const auto s = c.stats();
  CHECK(s.misses == 1);
  CHECK(s.joined == callers - 1);
  CHECK(s.hits == 0);
  CHECK(s.loads == 1);
}

TEST_CASE("blocking callers of a cold key run one loader") {
  one_node n;
  auto c = n.open();
  std::atomic<int> runs{0};
  std::atomic<int> good{0};
  std::latch ready{64};
  std::vector<std::thread> threads;
  for (int t = 0; t < 64; ++t)
    threads.emplace_back([&] {
      ready.arrive_and_wait();
      const auto r = c.fetch("k", counted(runs, std::string{"v"}));
      good += r && *r == "v" ? 1 : 0;
    });
  for (auto& t : threads)
    t.join();
  CHECK(runs == 1);
  CHECK(good == 64);
}

TEST_CASE("repeated stampedes on fresh keys never load twice") {
  one_node n;
  auto c = n.open<int>();
  std::atomic<int> runs{0};
  constexpr int keys = 2000;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < keys; ++i) {
        const auto r = c.fetch(std::to_string(i), [&runs, i] {
          ++runs;
          return i;
        });
        wrong += r && *r == i ? 0 : 1;
      }
    });
  for (auto& t : threads)
    t.join();
  CHECK(runs == keys);
  CHECK(wrong == 0);
  const auto s = c.stats();
  CHECK(s.loads == keys);
  CHECK(s.hits + s.misses + s.joined == 4 * keys);
  CHECK(s.entries == keys);
}

TEST_CASE("joining a load costs the actor of the cache no message") {
  // The only thread of the scheduler is kept busy once the load runs; so
  // whoever joins is served without the actor, or not at all.
  config cfg;
  init_types();
  caf::actor_system_config sys_cfg;
  sys_cfg.set("caf.scheduler.max-threads", 1);
  caf::actor_system sys{sys_cfg};
  auto n = node::start(sys, cfg);
  auto c = n.open<std::string>("c", cache_options{});
  gate load;
  gate scheduler;
  std::atomic<int> answered{0};
  const auto loader = [&] {
    load.pass();
    return std::string{"v"};
  };
  const auto count = [&](const result<std::string>& r) {
    answered += r ? 1 : 0;
  };
  c.fetch_async("k", loader, count);
  load.await_arrivals();
  sys.spawn([&scheduler](caf::event_based_actor*) { scheduler.pass(); });
  scheduler.await_arrivals();
  for (int i = 0; i < 1000; ++i)
    c.fetch_async("k", loader, count);
  load.open();
  CHECK(eventually([&] { return answered == 1001; }));
  // The value is not in the table yet, but nobody loads it again.
  const auto late = c.fetch("k", [] { return std::string{"other"}; });
  CHECK(late.value_or("") == "v");
  CHECK(c.get_if_present("k").has_value());
  scheduler.open();
}

TEST_CASE("a blocking fetch ends by its deadline, and the load goes on") {
  one_node n;
  auto c = n.open();
  gate hold;
  std::atomic<int> runs{0};
  const auto slow = [&] {
    ++runs;
    hold.pass();
    return std::string{"v"};
  };
  const auto late = c.fetch("k", slow, {.deadline = 20ms});
  CHECK(code_of(late) == errc::timeout);
  CHECK(late.error().reason == "no answer within 20 ms");
  CHECK(late.error().key == "k");
  CHECK(late.error().node == "n1");
  hold.open();
  const auto then = c.fetch("k", slow);
  CHECK(then.value_or("") == "v");
  CHECK(runs == 1);
}

TEST_CASE("an asynchronous fetch ends by its deadline, on a free worker") {
  one_node n;
  auto c = n.open();
  gate hold;
  std::atomic<int> timeouts{0};
  std::atomic<int> values{0};
  const auto slow = [&] {
    hold.pass();
    return std::string{"v"};
  };
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) {
    const auto deadline = i % 2 == 0 ? 30ms : 20s;
    c.fetch_async("k", slow,
                  [&](const result<std::string>& r) {
                    if (r)
                      ++values;
                    else
                      timeouts += r.error().code == errc::timeout ? 1 : 0;
                  },
                  {.deadline = deadline});
  }
  REQUIRE(eventually([&] { return timeouts == 50; }));
  CHECK(std::chrono::steady_clock::now() - begin >= 30ms);
  CHECK(values == 0);
  hold.open();
  CHECK(eventually([&] { return values == 50; }));
  CHECK(timeouts == 50);
}

TEST_CASE("beyond max_waiters a caller is refused, and the others are not") {
  one_node n;
  cache_options few;
  few.max_waiters = 3;
  auto c = n.open(few);
  gate hold;
  std::atomic<int> good{0};
  const auto slow = [&] {
    hold.pass();
    return std::string{"v"};
  };
  for (int i = 0; i < 3; ++i)
    c.fetch_async("k", slow,
                  [&](const result<std::string>& r) { good += r ? 1 : 0; });
  CHECK(code_of(c.fetch("k", slow)) == errc::queue_full);
  errc async{};
  c.fetch_async("k", slow,
                [&](const result<std::string>& r) { async = code_of(r); });
  CHECK(async == errc::queue_full);
  hold.open();
  CHECK(eventually([&] { return good == 3; }));
}
