#include "coopcache/charge.hpp"

#include <doctest/doctest.h>

#include <functional>

using namespace coopcache;

namespace {

/// Bytes that are allocated now by all `counting` allocators.
std::size_t taken = 0;

/// Counts what it hands out, rounded as the allocator does.
template <class T>
struct counting {
  using value_type = T;

  counting() = default;

  template <class U>
  counting(const counting<U>&) {
    // nop
  }

  T* allocate(std::size_t n) {
    taken += allocated_bytes(n * sizeof(T));
    return std::allocator<T>{}.allocate(n);
  }

  void deallocate(T* p, std::size_t n) {
    taken -= allocated_bytes(n * sizeof(T));
    std::allocator<T>{}.deallocate(p, n);
  }

  friend bool operator==(const counting&, const counting&) = default;
};

using text = std::basic_string<char, std::char_traits<char>, counting<char>>;
using entry = std::pair<const text, text>;
using hash = decltype([](const text& x) {
  return std::hash<std::string_view>{}(x);
});
template <class T>
using deque = std::deque<T, counting<T>>;
template <class T>
using vector = std::vector<T, counting<T>>;

text long_text(int i) {
  return text(40, 'x') + text(std::to_string(i));
}

/// Puts an element in, however that is said.
template <class Container>
void fill(Container& x, int i) {
  if constexpr (requires { typename Container::mapped_type; })
    x.emplace(long_text(i), long_text(i));
  else if constexpr (requires { x.push_back(long_text(i)); })
    x.push_back(long_text(i));
  else if constexpr (requires { x.push_front(long_text(i)); })
    x.push_front(long_text(i));
  else if constexpr (requires { x.push(long_text(i)); })
    x.push(long_text(i));
  else
    x.insert(long_text(i));
}

struct opaque {
  std::string hidden;
};

struct open {
  std::string shown;
};

std::size_t coopcache_heap_bytes(const open& x) {
  return heap_bytes(x.shown);
}

struct picture {
  const unsigned char* pixels = nullptr;
};

std::size_t coopcache_heap_bytes(const picture&) {
  return 500;
}

const std::string large(1000, 'x');

} // namespace

TEST_CASE_TEMPLATE(
  "containers count what they allocate", Container, vector<text>, deque<text>,
  std::list<text, counting<text>>, std::forward_list<text, counting<text>>,
  std::set<text, std::less<>, counting<text>>,
  std::multiset<text, std::less<>, counting<text>>,
  std::map<text, text, std::less<>, counting<entry>>,
  std::multimap<text, text, std::less<>, counting<entry>>,
  std::unordered_set<text, hash, std::equal_to<>, counting<text>>,
  std::unordered_multiset<text, hash, std::equal_to<>, counting<text>>,
  std::unordered_map<text, text, hash, std::equal_to<>, counting<entry>>,
  std::unordered_multimap<text, text, hash, std::equal_to<>, counting<entry>>,
  std::queue<text, deque<text>>, std::stack<text, vector<text>>,
  std::priority_queue<text, vector<text>>) {
  REQUIRE(taken == 0);
  {
    Container x;
    for (int i = 0; i < 1000; ++i)
      fill(x, i);
    const auto ratio = static_cast<double>(heap_bytes(x))
                       / static_cast<double>(taken);
    CHECK(ratio > 0.95);
    CHECK(ratio < 1.1);
  }
  CHECK(taken == 0);
}

TEST_CASE("pointers count what they own") {
  CHECK(heap_bytes(std::unique_ptr<int>{}) == 0);
  CHECK(heap_bytes(std::make_unique<int>(1)) == allocated_bytes(sizeof(int)));
  CHECK(heap_bytes(std::make_shared<std::string>(large)) > 1000);
}

TEST_CASE("pointers that do not know a size count as owning nothing") {
  CHECK(heap_bytes(std::make_unique<int[]>(1000)) == 0);
  CHECK(heap_bytes(std::make_unique<std::string[]>(10)) == 0);
  CHECK(heap_bytes(std::make_shared<int[]>(1000)) == 0);
  CHECK(heap_bytes(std::make_shared<int[8]>()) == 0);
  CHECK(heap_bytes(std::shared_ptr<void>{std::make_shared<int>(1)}) == 0);
  CHECK(heap_bytes(std::unique_ptr<void, void (*)(void*)>{nullptr, nullptr})
        == 0);
}

TEST_CASE("a struct owns what it says, without a word nothing") {
  CHECK(heap_bytes(opaque{large}) == 0);
  CHECK(heap_bytes(open{large}) == heap_bytes(large));
  CHECK(heap_bytes(std::vector<opaque>(1)) == allocated_bytes(sizeof(opaque)));
  CHECK(heap_bytes(std::vector<open>(10, open{large})) > 10'000);
}

// A type with a plain pointer may be trivially copyable and still own memory.
TEST_CASE("what a trivially copyable member owns counts in containers, too") {
  CHECK(heap_bytes(picture{}) == 500);
  CHECK(heap_bytes(std::optional<picture>{picture{}}) == 500);
  CHECK(heap_bytes(std::pair<int, picture>{}) == 500);
  CHECK(heap_bytes(std::array<picture, 3>{}) == 1500);
  CHECK(heap_bytes(std::variant<int, picture>{picture{}}) == 500);
  CHECK(heap_bytes(std::vector<std::optional<picture>>(2, picture{})) > 1000);
}
