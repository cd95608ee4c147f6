#include "coopcache/core/time.hpp"

#include <doctest/doctest.h>

using namespace coopcache::core;
using namespace std::chrono_literals;

namespace {

constexpr instant at(std::chrono::nanoseconds since_origin) {
  return instant{since_origin};
}

} // namespace

TEST_CASE("adding to an instant stops at never") {
  struct {
    instant from;
    std::chrono::nanoseconds by;
    instant sum;
  } const table[] = {
    {at(0ns), 0ns, at(0ns)},
    {at(5s), 3s, at(8s)},
    {at(5s), -3s, at(2s)},
    {never, 0ns, never},
    {never, 1ns, never},
    {never - 1ns, 1ns, never},
    {never - 1ns, 2ns, never},
    {at(1ns), std::chrono::nanoseconds::max(), never},
    {at(0ns), std::chrono::nanoseconds::max(), never},
    {at(87'600h), 2'500'000h, never},
  };
  for (const auto& row : table)
    CHECK(later(row.from, row.by) == row.sum);
}

TEST_CASE("an instant lies in the tick that has begun and not ended") {
  for (const auto since :
       {0ns, 1ns, tick_length - 1ns, tick_length, tick_length + 1ns,
        std::chrono::nanoseconds{1h}, std::chrono::nanoseconds{70'000h}}) {
    CAPTURE(since.count());
    const tick t = to_tick(at(since));
    CHECK(start_of(t) <= at(since));
    CHECK(at(since) < start_of(t + 1));
  }
}

TEST_CASE("the tick after an instant begins at it or less than a tick later") {
  for (const auto since :
       {0ns, 1ns, tick_length - 1ns, tick_length, tick_length + 1ns,
        std::chrono::nanoseconds{1h}, std::chrono::nanoseconds{70'000h}}) {
    CAPTURE(since.count());
    const instant begins = start_of(tick_after(at(since)));
    CHECK(begins >= at(since));
    CHECK(begins - at(since) < tick_length);
  }
}
