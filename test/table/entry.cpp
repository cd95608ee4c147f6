#include "coopcache/table/entry.hpp"

#include "table/support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>

using namespace coopcache::test;

namespace {

/// A value of `Size` bytes that wants to lie at a multiple of `Align`.
template <std::size_t Size, std::size_t Align>
struct alignas(Align) block {
  explicit block(unsigned char fill) {
    bytes.fill(fill);
  }

  std::array<unsigned char, Size> bytes;
};

std::string key_of_size(std::size_t size) {
  std::string result(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    result[i] = static_cast<char>(i * 131 + size);
  return result;
}

template <std::size_t Size, std::size_t Align>
void check_block(std::size_t key_size, std::int64_t wall_ms) {
  CAPTURE(Size);
  CAPTURE(Align);
  CAPTURE(key_size);
  CAPTURE(wall_ms);
  using type = block<Size, Align>;
  const auto key = key_of_size(key_size);
  const auto fill = static_cast<unsigned char>(key_size + Size);
  const entry_ptr e{entry::make(key, type{fill}, wall_ms)};
  const auto& value = e->value<type>();
  CHECK(e->key() == key);
  CHECK(e->type() == typeid(type));
  CHECK(e->wall_ms() == wall_ms);
  CHECK(reinterpret_cast<std::uintptr_t>(&value) % alignof(type) == 0);
  CHECK(std::count(value.bytes.begin(), value.bytes.end(), fill) == Size);
}

} // namespace

TEST_CASE("key, value, and expiry are as given, for all sizes, alignments") {
  for (const std::size_t key_size :
       {0U,  1U,  2U,  3U,  7U,   8U,   9U,    15U,   16U,     17U,    31U,
        32U, 33U, 63U, 64U, 255U, 256U, 1000U, 4096U, 65'535U, 65'536U}) {
    for (const std::int64_t wall_ms :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1},
          std::numeric_limits<std::int64_t>::max()}) {
      check_block<1, 1>(key_size, wall_ms);
      check_block<3, 1>(key_size, wall_ms);
      check_block<2, 2>(key_size, wall_ms);
      check_block<4, 4>(key_size, wall_ms);
      check_block<8, 8>(key_size, wall_ms);
      check_block<24, 8>(key_size, wall_ms);
      check_block<16, 16>(key_size, wall_ms);
      check_block<1000, 1>(key_size, wall_ms);
      check_block<100'000, 16>(key_size, wall_ms);
    }
  }
}

TEST_CASE("an entry is one allocation of the size that it says") {
  const std::size_t bare = entry::allocation(0, 1, 1, false) - 1;
  CHECK(bare == sizeof(entry));
  CHECK(entry::allocation(16, 32, 8, false) == bare + 16 + 32);
  CHECK(entry::allocation(16, 32, 8, true) == bare + 16 + 32 + 8);
  CHECK(entry::allocation(1, 8, 8, false) == (bare + 1 + 7) / 8 * 8 + 8);
}

TEST_CASE("the last reference destroys the value, once") {
  census all;
  {
    const entry_ptr first = make_tracked("a", all, 1);
    CHECK(all.alive == 1);
    all.destroyed = 0;
    const entry_ptr second = first;
    { const entry_ptr third = second; }
    CHECK(all.destroyed == 0);
  }
  CHECK(all.alive == 0);
  CHECK(all.destroyed == 1);
  CHECK(all.damaged == 0);
}

TEST_CASE("a reference can be moved, assigned, taken over, and be none") {
  census all;
  entry_ptr a = make_tracked("a", all, 1);
  entry_ptr b = make_tracked("b", all, 2);
  entry* const at_a = a.get();
  b = a;
  CHECK(all.alive == 1);
  CHECK(b.get() == at_a);
  b = *&b;
  CHECK(b.get() == at_a);
  entry_ptr c = std::move(a);
  CHECK_FALSE(a);
  CHECK(c.get() == at_a);
  b = entry_ptr{};
  CHECK(all.alive == 1);
  const entry_ptr adopted{c.release()};
  CHECK_FALSE(c);
  CHECK(number_of(*adopted) == 1);
  const entry_ptr none;
  const entry_ptr none_either = none;
  CHECK_FALSE(none_either);
}

TEST_CASE("a value that cannot be moved in leaves nothing behind") {
  struct refusing {
    refusing() = default;
    refusing(refusing&&) {
      throw std::runtime_error{"no"};
    }
    std::shared_ptr<int> owned = std::make_shared<int>(1);
  };
  refusing source;
  CHECK_THROWS_AS(static_cast<void>(entry::make("a", std::move(source))),
                  std::runtime_error);
  CHECK(source.owned.use_count() == 1);
}

TEST_CASE("a value that cannot be copied may be moved in") {
  const entry_ptr e{entry::make("a", std::make_unique<int>(7))};
  CHECK(*e->value<std::unique_ptr<int>>() == 7);
}

TEST_CASE("threads share an entry, and the last of them destroys it") {
  census all;
  for (std::uint64_t round = 0; round < 20 * effort; ++round) {
    entry_ptr shared = make_tracked("a", all, 1);
    std::vector<entry_ptr> of_thread(4, shared);
    shared = entry_ptr{};
    on_threads(4, [&](std::size_t i) {
      for (int n = 0; n < 20; ++n) {
        const entry_ptr copy = of_thread[i];
        if (number_of(*copy) != 1)
          ++all.damaged;
      }
      of_thread[i] = entry_ptr{};
    });
    REQUIRE(all.alive == 0);
  }
  CHECK(all.damaged == 0);
}
