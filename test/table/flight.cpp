#include "coopcache/table/flight.hpp"

#include "coopcache/table/clock.hpp"
#include "core/random.hpp"
#include "table/support.hpp"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <set>

using namespace coopcache;
using namespace coopcache::test;
using namespace std::chrono_literals;

using core::instant;
using core::never;
using table::flight;
using table::landing;
using table::waiter_ptr;
using attached = flight::attached;
using waited = flight::waited;

namespace {

constexpr std::uint64_t many = 1'000'000;
constexpr instant origin{1000h};

/// How often somebody was answered, and with which value last.
struct answer {
  std::atomic<int> times{0};
  std::atomic<const entry*> value{nullptr};
};

class listener final : public table::waiter {
public:
  listener(answer& to, instant until) noexcept : to_(&to) {
    deadline = until;
  }

  void notify(const landing& how) noexcept override {
    to_->value = how.value.get();
    ++to_->times;
  }

private:
  answer* to_;
};

waiter_ptr listen(answer& to, instant deadline = never) {
  return std::make_unique<listener>(to, deadline);
}

table::flight_ptr make_flight() {
  return std::make_shared<flight>(1, "key", nullptr, nullptr);
}

attached attach(flight& f, waiter_ptr who, std::uint64_t max_waiters = many) {
  bool earliest = false;
  return f.attach(who, max_waiters, earliest);
}

landing with_value(const entry_ptr& value) {
  landing how;
  how.value = value;
  how.reusable = true;
  return how;
}

/// Claims and lands `f` and answers its waiters.
void land(flight& f, const entry_ptr& value) {
  REQUIRE(f.claim());
  for (const auto& each : f.land(with_value(value)))
    each->notify(f.how());
}

/// Returns when `n` threads block in `f.wait`, and nobody else waits.
void await_blocked(flight& f, std::uint64_t n) {
  for (;;) {
    answer unused;
    waiter_ptr probe = listen(unused);
    bool earliest = false;
    if (f.attach(probe, n, earliest) == attached::full)
      return;
    static_cast<void>(f.expel()); // the probe; blockers wait again
    std::this_thread::yield();
  }
}

} // namespace

TEST_CASE("a flight answers who waits, and tells the end to who comes late") {
  const entry_ptr value{entry::make("key", 7)};
  const auto f = make_flight();
  answer early, late;
  CHECK_FALSE(f->awaited());
  CHECK(attach(*f, listen(early)) == attached::yes);
  CHECK(f->awaited());
  CHECK_FALSE(f->landed());
  land(*f, value);
  CHECK(f->landed());
  CHECK_FALSE(f->awaited());
  CHECK(early.times == 1);
  CHECK(early.value == value.get());
  waiter_ptr who = listen(late);
  bool earliest = false;
  CHECK(f->attach(who, many, earliest) == attached::landed);
  CHECK(who != nullptr);
  CHECK(late.times == 0);
  CHECK(f->wait(never, many) == waited::landed);
  CHECK(f->how().value.get() == value.get());
  CHECK(f->how().reusable);
}

TEST_CASE("a landed flight is never full and needs no deadline") {
  const auto f = make_flight();
  land(*f, {});
  CHECK(attach(*f, nullptr, 0) == attached::landed);
  CHECK(f->wait(origin - 1h, 0) == waited::landed);
}

TEST_CASE("only so many may wait, blocked or not") {
  const auto f = make_flight();
  answer a;
  CHECK(attach(*f, listen(a), 0) == attached::full);
  CHECK(f->wait(never, 0) == waited::full);
  CHECK(attach(*f, listen(a), 1) == attached::yes);
  CHECK(attach(*f, listen(a), 1) == attached::full);
  CHECK(f->wait(never, 1) == waited::full);
  CHECK(f->expel().size() == 1);
  std::jthread blocked{[&] {
    while (f->wait(never, 1) == waited::expelled) {
      // Sent away by a probe of `await_blocked`.
    }
  }};
  await_blocked(*f, 1);
  CHECK(attach(*f, listen(a), 1) == attached::full);
  CHECK(f->wait(never, 1) == waited::full);
  CHECK(attach(*f, listen(a), 2) == attached::yes);
  land(*f, {});
}

TEST_CASE("one thread alone has the claim") {
  for (std::uint64_t round = 0; round < 50 * effort; ++round) {
    const auto f = make_flight();
    std::atomic<int> claims{0};
    CHECK_FALSE(f->claimed());
    on_threads(4, [&](std::size_t) {
      if (f->claim())
        ++claims;
    });
    REQUIRE(claims == 1);
    REQUIRE(f->claimed());
  }
}

TEST_CASE("the loader is taken once") {
  struct nothing final : table::loader {
    void run(const table::flight_ptr&) noexcept override {
    }
  };
  flight f{1, "key", nullptr, std::make_unique<nothing>()};
  std::atomic<int> taken{0};
  on_threads(4, [&](std::size_t) {
    if (f.take_loader() != nullptr)
      ++taken;
  });
  CHECK(taken == 1);
}

TEST_CASE("a stop that was asked for is seen by the loader's token") {
  const auto f = make_flight();
  const auto token = f->stop_token();
  CHECK_FALSE(token.stop_requested());
  f->request_stop();
  CHECK(token.stop_requested());
}

// -- deadlines ----------------------------------------------------------------

TEST_CASE("waiters are let go at their deadlines, the earliest first") {
  for (const auto seed : seeds(20)) {
    CAPTURE(seed);
    dice any{seed};
    const auto f = make_flight();
    std::multiset<instant> model;
    instant now = origin;
    for (int step = 0; step < 500; ++step) {
      if (!any.one_in(4)) {
        const instant deadline = any.one_in(10) ? never
                                                : now
                                                    + std::chrono::seconds{
                                                      1 + any.below(100)};
        answer unused;
        waiter_ptr who = listen(unused, deadline);
        bool earliest = false;
        REQUIRE(f->attach(who, many, earliest) == attached::yes);
        if (model.empty() || deadline != *model.begin())
          REQUIRE(earliest == (model.empty() || deadline < *model.begin()));
        model.insert(deadline);
      } else {
        now += std::chrono::seconds{any.below(30)};
        std::vector<waiter_ptr> late;
        f->expire(now, late);
        for (const auto& each : late) {
          REQUIRE(each->deadline == *model.begin());
          model.erase(model.begin());
        }
        REQUIRE((model.empty() || *model.begin() > now));
      }
      REQUIRE(f->next_deadline() == (model.empty() ? never : *model.begin()));
    }
  }
}

TEST_CASE("who blocks is let go at the deadline, not before") {
  const auto f = make_flight();
  CHECK(f->wait(table::precise_now() - 1h, many) == waited::deadline);
  const auto deadline = table::precise_now() + 5ms;
  CHECK(f->wait(deadline, many) == waited::deadline);
  CHECK(table::precise_now() >= deadline);
  CHECK_FALSE(f->awaited());
}

// -- blocked threads ----------------------------------------------------------

TEST_CASE("a landing wakes all who block") {
  for (const instant deadline : {never, table::precise_now() + 1h}) {
    const entry_ptr value{entry::make("key", 7)};
    const auto f = make_flight();
    std::atomic<int> woken{0};
    on_threads(4, [&](std::size_t i) {
      if (i == 0) {
        await_blocked(*f, 3);
        return land(*f, value);
      }
      while (f->wait(deadline, many) != waited::landed) {
        // Sent away by a probe of `await_blocked`.
      }
      if (f->how().value.get() == value.get())
        ++woken;
    });
    CHECK(woken == 3);
  }
}

TEST_CASE("an expulsion sends away who waits now, and nobody who comes after") {
  const auto f = make_flight();
  answer before, after;
  CHECK(attach(*f, listen(before)) == attached::yes);
  CHECK(f->expel().size() == 1);
  CHECK(attach(*f, listen(after)) == attached::yes);
  CHECK(f->wait(table::precise_now() - 1s, many) == waited::deadline);
  CHECK(f->expel().size() == 1);
  CHECK(f->expel().empty());
  CHECK(f->next_deadline() == never);
  CHECK_FALSE(f->landed());
}

TEST_CASE("an expulsion wakes all who block") {
  const auto f = make_flight();
  std::atomic<int> woken{0};
  std::atomic<bool> over{false};
  on_threads(4, [&](std::size_t i) {
    if (i != 0) {
      while (!over)
        if (f->wait(never, many) == waited::expelled)
          ++woken;
      return;
    }
    await_blocked(*f, 3);
    over = true;
    static_cast<void>(f->expel());
  });
  CHECK(woken >= 3);
  CHECK_FALSE(f->awaited());
}

// -- races --------------------------------------------------------------------

namespace {

constexpr std::size_t attachers = 2;
constexpr int waiters_each = 20;

/// One flight with all that can happen to it at the same moment.
struct raced_flight {
  /// Attaches waiters; who is not taken is answered here.
  void attach_all(std::size_t who) {
    for (int i = 0; i < waiters_each; ++i) {
      const auto n = who * waiters_each + static_cast<std::size_t>(i);
      waiter_ptr each = listen(answers[n],
                               i % 2 == 0 ? never : origin + i * 1s);
      bool earliest = false;
      if (f->attach(each, max_waiters, earliest) != attached::yes)
        each->notify({});
    }
  }

  void expire_all() {
    for (int i = 0; i < waiters_each; ++i) {
      std::vector<waiter_ptr> late;
      f->expire(origin + i * 1s, late);
      if (i % 8 == 0)
        for (auto& each : f->expel())
          late.push_back(std::move(each));
      for (const auto& each : late)
        each->notify({});
    }
  }

  void try_to_land() {
    if (f->claim())
      for (const auto& each : f->land(with_value(value)))
        each->notify(f->how());
  }

  void block() {
    waited how = f->wait(never, max_waiters);
    while (how == waited::expelled)
      how = f->wait(never, max_waiters);
    if (how == waited::landed && f->how().value.get() != value.get())
      ++wrong;
  }

  std::uint64_t max_waiters = many;
  table::flight_ptr f = make_flight();
  entry_ptr value{entry::make("key", 7)};
  std::array<answer, attachers * waiters_each> answers{};
  std::atomic<int> wrong{0};
};

} // namespace

TEST_CASE("everybody is answered exactly once, whatever comes together") {
  for (std::uint64_t round = 0; round < 100 * effort; ++round) {
    raced_flight all;
    all.max_waiters = round % 3 == 0 ? 15 : many;
    on_threads(attachers + 3, [&](std::size_t i) {
      if (i < attachers)
        return all.attach_all(i);
      if (i == attachers)
        return all.block();
      all.expire_all();
      all.try_to_land();
    });
    for (const auto& each : all.answers)
      REQUIRE(each.times == 1);
    REQUIRE(all.wrong == 0);
    REQUIRE_FALSE(all.f->awaited());
  }
}
