#include "coopcache/core/timer_wheel.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>

using namespace coopcache::core;
using namespace coopcache::test;

namespace {

/// The wheel beside a plain map of what is scheduled.
struct wheel_and_model {
  explicit wheel_and_model(tick now) : wheel(now) {
  }

  void schedule(record& r, tick due) {
    wheel.schedule(r, due);
    model[&r] = std::max(due, wheel.now() + 1);
    check();
  }

  void cancel(record& r) {
    wheel.cancel(r);
    model.erase(&r);
    check();
  }

  void advance(tick now) {
    const auto before = wheel.next();
    std::vector<record*> out;
    wheel.advance(now, out);
    REQUIRE(wheel.now() == now);
    if (!before || *before > now)
      REQUIRE(out.empty());
    for (record* const r : out) {
      REQUIRE(model.count(r) == 1);
      REQUIRE(model[r] <= now);
      model.erase(r);
      REQUIRE_FALSE(r->scheduled);
    }
    check();
  }

  void check() {
    std::optional<tick> first;
    for (const auto& [r, due] : model) {
      REQUIRE(r->scheduled);
      REQUIRE(r->due == due);
      REQUIRE(due > wheel.now());
      first = std::min(first.value_or(due), due);
    }
    if (first)
      REQUIRE(wheel.next().value_or(~tick{0}) <= *first);
    if (const auto next = wheel.next())
      REQUIRE(*next > wheel.now());
  }

  timer_wheel wheel;
  std::map<record*, tick> model;
};

constexpr tick hour = 53'645; // ticks

/// A distance on any of the scales on which the wheel works differently.
tick some_distance(dice& any) {
  const tick scale = any.any_of<tick>(
    {1, 2, 63, 64, 65, 4095, 4096, 4097, hour, 1 << 18, 1 << 24, 3 << 24});
  return static_cast<tick>(any.below(scale + 1));
}

void run_random_schedule(std::uint64_t seed) {
  CAPTURE(seed);
  dice any{seed};
  wheel_and_model both{static_cast<tick>(any.below(1 << 25))};
  std::array<record, 40> records;
  for (int step = 0; step < 3000; ++step) {
    CAPTURE(step);
    record& r = records[any.below(records.size())];
    const tick now = both.wheel.now();
    if (any.one_in(4))
      both.advance(now + some_distance(any));
    else if (any.one_in(4) && both.wheel.next())
      both.advance(*both.wheel.next());
    else if (r.scheduled)
      both.cancel(r);
    else
      both.schedule(r, now + some_distance(any));
  }
}

} // namespace

TEST_CASE("the wheel lets go of records as a plain list would") {
  for (const auto seed : seeds(20))
    run_random_schedule(seed);
}

TEST_CASE("a record comes out at its due tick, not before") {
  for (const tick start : {0U, 1U, 63U, 64U, 4095U, 4096U, 1'000'003U}) {
    for (const tick away :
         {1U, 2U, 63U, 64U, 65U, 127U, 128U, 4031U, 4032U, 4095U, 4096U,
          262'143U, 262'144U, 16'777'215U, 16'777'216U, 50'000'000U}) {
      CAPTURE(start);
      CAPTURE(away);
      timer_wheel wheel{start};
      record r;
      std::vector<record*> out;
      wheel.schedule(r, start + away);
      wheel.advance(start + away - 1, out);
      CHECK(out.empty());
      CHECK(r.scheduled);
      wheel.advance(start + away, out);
      CHECK(out == std::vector<record*>{&r});
      CHECK_FALSE(r.scheduled);
      CHECK_FALSE(wheel.next());
    }
  }
}

TEST_CASE("a due time that has passed counts as the next tick") {
  for (const tick due : {0U, 99U, 100U, 101U}) {
    CAPTURE(due);
    timer_wheel wheel{100};
    record r;
    std::vector<record*> out;
    wheel.schedule(r, due);
    CHECK(wheel.next() == tick{101});
    wheel.advance(100, out);
    CHECK(out.empty());
    wheel.advance(101, out);
    CHECK(out.size() == 1);
  }
}

TEST_CASE("a jump of hours lets go of all that became due in them") {
  timer_wheel wheel{7};
  std::array<record, 500> records;
  for (tick i = 0; i < records.size(); ++i)
    wheel.schedule(records[i], 8 + i * 331);
  std::vector<record*> out;
  wheel.advance(7 + 3 * hour, out);
  const auto due = [](const record& r) { return r.due <= 7 + 3 * hour; };
  CHECK(out.size() == 487);
  CHECK(std::count_if(records.begin(), records.end(), due) == 487);
  for (const record* const r : out)
    CHECK(due(*r));
}

TEST_CASE("waiting for a far record costs few wakes") {
  for (const tick away : {1U, 100U, 10'000U, 1'000'000U, 16'000'000U}) {
    CAPTURE(away);
    timer_wheel wheel{12'345};
    record r;
    std::vector<record*> out;
    wheel.schedule(r, 12'345 + away);
    int wakes = 0;
    while (out.empty()) {
      REQUIRE(wheel.next());
      REQUIRE(++wakes <= 5);
      wheel.advance(*wheel.next(), out);
    }
    CHECK(wheel.now() == r.due);
  }
}

TEST_CASE("time does not go back") {
  timer_wheel wheel{100};
  record r;
  std::vector<record*> out;
  wheel.schedule(r, 110);
  wheel.advance(50, out);
  CHECK(wheel.now() == 100);
  CHECK(out.empty());
}

TEST_CASE("a cancelled record never comes out and may be scheduled again") {
  timer_wheel wheel{0};
  record a, b, c;
  std::vector<record*> out;
  for (record* const r : {&a, &b, &c})
    wheel.schedule(*r, 5);
  wheel.cancel(b);
  wheel.cancel(b);
  wheel.advance(5, out);
  CHECK(out.size() == 2);
  CHECK(std::count(out.begin(), out.end(), &b) == 0);
  wheel.schedule(b, 6);
  out.clear();
  wheel.advance(6, out);
  CHECK(out == std::vector<record*>{&b});
}
