#include "support.hpp"

#include <optional>

using namespace coopcache;
using namespace coopcache::test;

namespace {

std::optional<result<std::string>> kept; // NOLINT: must outlive main

} // namespace

TEST_CASE("at shutdown every waiter is answered, and loaders asked to stop") {
  std::atomic<int> answered{0};
  std::atomic<bool> stopped{false};
  gate begun;
  begun.open();
  std::thread blocked;
  {
    one_node n;
    auto c = n.open<int>();
    const auto load = [&](std::stop_token stop) {
      begun.pass();
      stopped = eventually([&] { return stop.stop_requested(); });
      return 1;
    };
    for (int i = 0; i < 100; ++i)
      c.fetch_async("k", load, [&](const result<int>& r) {
        answered += code_of(r) == errc::shutting_down ? 1 : 0;
      });
    begun.await_arrivals();
    blocked = std::thread{[&, c] {
      answered += code_of(c.fetch("k", load)) == errc::shutting_down ? 1 : 0;
    }};
    REQUIRE(eventually([&] { return c.stats().joined == 100; }));
    CHECK(n->shutdown().clean());
    CHECK(code_of(c.fetch("k", load)) == errc::shutting_down);
    CHECK(code_of(c.fetch("x", load)) == errc::shutting_down);
    CHECK_FALSE(c.clear("k"));
    CHECK_FALSE(c.put("k", 1));
    CHECK_FALSE(c.get_if_present("k").has_value());
    CHECK(c.keys().empty());
    CHECK(n->shutdown().clean());
  }
  blocked.join();
  CHECK(answered == 101);
  CHECK(stopped);
}

TEST_CASE("a loader that never returns is reported and left behind") {
  // The gate outlives the test: the thread that is left behind waits at it.
  static gate hold;
  node_options brief;
  brief.shutdown_timeout = 50ms;
  one_node n{brief};
  auto c = n.open<int>();
  errc code{};
  std::thread waiter{[&] {
    code = code_of(c.fetch("k", [] {
      hold.pass();
      return 1;
    }));
  }};
  hold.await_arrivals();
  const auto report = n->shutdown();
  waiter.join();
  CHECK(code == errc::shutting_down);
  REQUIRE(report.left_behind.size() == 1);
  CHECK(report.left_behind[0].find("still runs") != std::string::npos);
  CHECK(n.log().size() == 1);
  hold.open();
}

TEST_CASE("handles and results stay valid after node and system are gone") {
  std::optional<cache<std::string>> handle;
  {
    one_node n;
    handle = n.open();
    kept = handle->fetch("k", [] { return std::string(100, 'x'); });
  }
  CHECK(kept->value() == std::string(100, 'x'));
  CHECK(code_of(handle->fetch("k", [] { return "v"; })) == errc::shutting_down);
  CHECK(handle->stats().entries == 0);
  const auto copy = *kept;
  std::thread{[copy] { CHECK(copy->size() == 100); }}.join();
}

TEST_CASE("nodes can come and go, with loads in progress") {
  std::atomic<int> answered{0};
  constexpr int rounds = 30;
  for (int i = 0; i < rounds; ++i) {
    one_node n;
    auto c = n.open<int>();
    for (int k = 0; k < 20; ++k)
      c.fetch_async(
        std::to_string(k % 7), [] { return 1; },
        [&](const result<int>&) { ++answered; });
  }
  CHECK(answered == rounds * 20);
}

TEST_CASE("a shutdown races with fetches, and nobody is left waiting") {
  for (int round = 0; round < 20; ++round) {
    one_node n;
    auto c = n.open<int>();
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&, t] {
        while (!go)
          std::this_thread::yield();
        for (int i = 0; i < 300; ++i) {
          const auto r = c.fetch(std::to_string(i % 50 + t), [] { return 1; });
          if (!r)
            CHECK(r.error().code == errc::shutting_down);
          if (i % 16 == 0)
            static_cast<void>(c.clear(std::to_string(i % 50)));
        }
      });
    go = true;
    std::this_thread::yield();
    CHECK(n->shutdown().clean());
    for (auto& t : threads)
      t.join();
  }
}
