#include "coopcache/table/flights.hpp"

#include "coopcache/table/clock.hpp"
#include "table/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>

using namespace coopcache;
using namespace coopcache::test;

using table::flight;
using table::flight_ptr;
using table::flights;

namespace {

flight_ptr make_flight(std::string_view key,
                       std::unique_ptr<table::loader> work = nullptr) {
  static std::atomic<std::uint64_t> last{0};
  return std::make_shared<flight>(++last, key, nullptr, std::move(work));
}

flights::seat join(flights& all, std::string_view key, hot_table* t = nullptr) {
  return all.join(key, t, [&] { return make_flight(key); });
}

flight_ptr never_made() {
  FAIL("no flight was to be made");
  return nullptr;
}

bool contains(const std::vector<flight_ptr>& all, const flight_ptr& f) {
  return std::find(all.begin(), all.end(), f) != all.end();
}

} // namespace

TEST_CASE("the first caller publishes a flight, the others join it") {
  flights all;
  const auto first = join(all, "a");
  CHECK(first.fresh);
  const auto second = all.join("a", nullptr, never_made);
  CHECK_FALSE(second.fresh);
  CHECK(second.joined == first.joined);
  CHECK(all.find("a") == first.joined);
  CHECK(all.find("b") == nullptr);
  CHECK(join(all, "b").joined != first.joined);
  CHECK(all.all().size() == 2);
}

TEST_CASE("of many callers at once one publishes") {
  flights all;
  for (std::uint64_t round = 0; round < 50 * effort; ++round) {
    const auto key = key_of(round);
    std::array<flights::seat, 4> seats;
    std::atomic<int> made{0};
    on_threads(4, [&](std::size_t i) {
      seats[i] = all.join(key, nullptr, [&] {
        ++made;
        return make_flight(key);
      });
    });
    REQUIRE(made == 1);
    REQUIRE(std::count_if(seats.begin(), seats.end(),
                          [](const auto& s) { return s.fresh; })
            == 1);
    for (const auto& each : seats)
      REQUIRE(each.joined == all.find(key));
  }
}

TEST_CASE("a landed flight is joined only while its value is good") {
  hot_table t{false, 0};
  flights all;
  census values;
  const auto land = [&](std::string_view key, bool reusable,
                        core::instant until) {
    const auto f = join(all, key, &t).joined;
    static_cast<void>(
      f->land({make_tracked(key, values, 1), nullptr, true, reusable, until}));
    return f;
  };
  const auto now = table::precise_now();
  CHECK(join(all, "no", &t).fresh);
  const auto good = land("good", true, core::later(now, std::chrono::hours{1}));
  CHECK(join(all, "good", &t).joined == good);
  const auto expired = land("expired", true, now);
  CHECK(join(all, "expired", &t).fresh);
  const auto uncached = land("uncached", false, core::never);
  CHECK(join(all, "uncached", &t).fresh);
  CHECK(contains(all.all(), expired)); // until its owner removes it
  CHECK(contains(all.all(), uncached));
}

TEST_CASE("who has found a flight counts as somebody who waits for it") {
  flights all;
  auto first = join(all, "a");
  const auto f = first.joined;
  CHECK(f->awaited());
  {
    const auto second = join(all, "a");
    first = {};
    CHECK(f->awaited());
  }
  CHECK_FALSE(f->awaited());
}

TEST_CASE("nothing is published if there is nothing to load with") {
  flights all;
  const auto seat = all.join("a", nullptr, [] { return flight_ptr{}; });
  CHECK(seat.joined == nullptr);
  CHECK_FALSE(seat.fresh);
  CHECK_FALSE(seat.closed);
  CHECK(all.find("a") == nullptr);
  CHECK(all.all().empty());
  CHECK(join(all, "a").fresh);
}

TEST_CASE("nothing is published if making a flight throws") {
  flights all;
  CHECK_THROWS_AS(static_cast<void>(all.join("a", nullptr,
                                             []() -> flight_ptr {
                                               throw std::runtime_error{"no"};
                                             })),
                  std::runtime_error);
  CHECK(all.find("a") == nullptr);
  CHECK(join(all, "a").fresh);
}

TEST_CASE("a flight that was removed makes room for the next") {
  flights all;
  const auto first = join(all, "a").joined;
  CHECK(all.remove(*first));
  CHECK_FALSE(all.remove(*first));
  CHECK(all.find("a") == nullptr);
  const auto second = join(all, "a");
  CHECK(second.fresh);
  CHECK_FALSE(all.remove(*first));
  CHECK(all.find("a") == second.joined);
}

TEST_CASE("a superseded flight is not found but stays until it is removed") {
  flights all;
  const auto old = join(all, "a").joined;
  CHECK_FALSE(old->superseded());
  CHECK(all.supersede("a") == old);
  CHECK(old->superseded());
  CHECK(all.find("a") == nullptr);
  CHECK(all.supersede("a") == nullptr);
  CHECK(contains(all.all(), old));
  const auto next = join(all, "a").joined;
  CHECK(next != old);
  CHECK(all.all().size() == 2);
  CHECK_FALSE(all.remove(*old));
  CHECK(all.find("a") == next);
  CHECK(all.all() == std::vector<flight_ptr>{next});
}

TEST_CASE("a clear supersedes the flights of all keys") {
  flights all;
  std::vector<flight_ptr> before;
  for (std::uint64_t i = 0; i < 100; ++i)
    before.push_back(join(all, key_of(i)).joined);
  const auto superseded = all.supersede_all();
  CHECK(superseded.size() == 100);
  for (const auto& each : before) {
    CHECK(contains(superseded, each));
    CHECK(each->superseded());
    CHECK(all.find(each->key) == nullptr);
  }
  CHECK(all.supersede_all().empty());
  CHECK(all.all().size() == 100);
  for (const auto& each : before)
    CHECK_FALSE(all.remove(*each));
  CHECK(all.all().empty());
}

TEST_CASE("after the close all flights are out and nobody joins") {
  flights all;
  const auto old = join(all, "a").joined;
  static_cast<void>(all.supersede("a"));
  const auto current = join(all, "a").joined;
  const auto out = all.close();
  CHECK(out.size() == 2);
  CHECK(contains(out, old));
  CHECK(contains(out, current));
  CHECK(all.all().empty());
  CHECK(all.close().empty());
  for (const auto* const key : {"a", "b"}) {
    const auto seat = all.join(key, nullptr, never_made);
    CHECK(seat.closed);
    CHECK(seat.joined == nullptr);
    CHECK_FALSE(seat.fresh);
  }
  CHECK_FALSE(all.remove(*current));
}

TEST_CASE("no flight slips in while all are closed") {
  for (std::uint64_t round = 0; round < 20 * effort; ++round) {
    flights all;
    std::array<std::vector<flight_ptr>, 3> fresh;
    std::vector<flight_ptr> out;
    on_threads(4, [&](std::size_t i) {
      if (i == 3) {
        out = all.close();
        return;
      }
      for (std::uint64_t n = 0; n < 50; ++n)
        if (auto seat = join(all, key_of(n)); seat.fresh)
          fresh[i].push_back(std::move(seat.joined));
    });
    std::size_t published = 0;
    for (const auto& each : fresh) {
      published += each.size();
      for (const auto& f : each)
        REQUIRE(contains(out, f));
    }
    REQUIRE(out.size() == published);
    REQUIRE(all.all().empty());
  }
}

TEST_CASE("a loader may use the flights while it is destroyed") {
  flights all;
  struct curious final : table::loader {
    explicit curious(flights& where) : all(&where) {
    }
    ~curious() override {
      static_cast<void>(all->find("a"));
    }
    void run(const flight_ptr&) noexcept override {
    }
    flights* all;
  };
  const auto publish = [&] {
    return all
      .join("a", nullptr,
            [&] { return make_flight("a", std::make_unique<curious>(all)); })
      .joined.get();
  };
  all.remove(*publish());
  const flight* const old = publish();
  static_cast<void>(all.supersede("a"));
  all.remove(*old);
  publish();
  static_cast<void>(all.supersede_all());
  publish();
  CHECK(all.close().size() == 2);
}

// -- the gap between the flight and the table ---------------------------------

// 1. A caller looks into the table and finds nothing.
// 2. The load ends: its value is put into the table, its flight removed.
// 3. The caller comes to the flights, which have none of the key.
TEST_CASE("a value that came while the caller was on its way is a hit") {
  flights all;
  hot_table t{false, 1};
  const auto loading = join(all, "a", &t).joined;
  CHECK_FALSE(t.find("a"));
  put(t, entry_ptr{entry::make("a", 7)});
  CHECK(all.remove(*loading));
  const auto seat = all.join("a", &t, never_made);
  REQUIRE(seat.hit);
  CHECK(seat.hit->value<int>() == 7);
  CHECK(seat.joined == nullptr);
  CHECK_FALSE(seat.fresh);
}

TEST_CASE("a refresh loads although there is a value") {
  flights all;
  hot_table t{false, 1};
  put(t, entry_ptr{entry::make("a", 7)});
  CHECK(join(all, "a", nullptr).fresh);
}

// The two threads of the gap, with a barrier where one has to wait.
TEST_CASE("the gap is closed between two threads, too") {
  flights all;
  hot_table t{false, 1};
  std::barrier step{2};
  const auto loading = join(all, "a", &t).joined;
  on_threads(2, [&](std::size_t i) {
    if (i == 0) {
      CHECK_FALSE(t.find("a"));
      step.arrive_and_wait();
      step.arrive_and_wait();
      CHECK(all.join("a", &t, never_made).hit);
    } else {
      step.arrive_and_wait();
      put(t, entry_ptr{entry::make("a", 7)});
      CHECK(all.remove(*loading));
      step.arrive_and_wait();
    }
  });
}

// While the flight of a key is made no other caller gets in.
TEST_CASE("a caller that comes while a flight is made joins that flight") {
  flights all;
  std::barrier making{2};
  std::array<flights::seat, 2> seats;
  on_threads(2, [&](std::size_t i) {
    if (i == 0) {
      seats[0] = all.join("a", nullptr, [&] {
        making.arrive_and_wait();
        std::this_thread::yield();
        return make_flight("a");
      });
    } else {
      making.arrive_and_wait();
      seats[1] = all.join("a", nullptr, never_made);
    }
  });
  CHECK(seats[0].fresh);
  CHECK(seats[1].joined == seats[0].joined);
}

namespace {

/// The life of a fetch on the floor of the table: a hit, or a seat, and who
/// published the flight loads.
struct small_cache {
  std::uint64_t fetch(const std::string& key) {
    if (const entry_ptr hit = t.find(key))
      return number_of(*hit);
    const auto seat = join(all_flights, key, &t);
    if (seat.hit)
      return number_of(*seat.hit);
    if (seat.fresh)
      load(*seat.joined);
    else
      static_cast<void>(seat.joined->wait(core::never, 1000));
    return number_of(*seat.joined->how().value);
  }

  void load(flight& f) {
    const auto value = make_tracked(f.key, all, ++loads);
    {
      const std::lock_guard guard{writer};
      put(t, value);
    }
    static_cast<void>(f.claim());
    table::landing how;
    how.value = value;
    static_cast<void>(f.land(std::move(how)));
    all_flights.remove(f);
  }

  census all;
  hot_table t{false, 1};
  flights all_flights;
  std::mutex writer;
  std::atomic<std::uint64_t> loads{0};
};

} // namespace

TEST_CASE("each key is loaded once, however many ask at the same moment") {
  small_cache cache;
  const std::uint64_t keys = 300 * effort;
  std::array<std::vector<std::uint64_t>, 4> seen;
  on_threads(4, [&](std::size_t i) {
    for (std::uint64_t key = 0; key < keys; ++key)
      seen[i].push_back(cache.fetch(key_of(key)));
  });
  CHECK(cache.loads == keys);
  for (std::size_t i = 1; i < 4; ++i)
    CHECK(seen[i] == seen[0]);
  CHECK(std::set<std::uint64_t>(seen[0].begin(), seen[0].end()).size() == keys);
  CHECK(cache.all_flights.all().empty());
}
