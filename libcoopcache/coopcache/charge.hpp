#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <forward_list>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <stack>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

/// @file
/// What a value costs in memory.
///
/// The charge of an entry is what the allocator gives for it, rounded as it
/// rounds, and what its value owns outside itself. The latter is known for
/// strings, the standard containers and their adapters, smart pointers,
/// `optional`, `pair`, `tuple` and `variant`, and what they contain. Pointers
/// to arrays and to `void` count as owning nothing: they do not know how much.
///
/// Every other type counts as owning nothing, a plain struct of strings too:
/// nobody can look into it. Unless there is a function
///
///     std::size_t coopcache_heap_bytes(const my_type&);
///
/// in its namespace that says how many bytes it owns outside itself. It is
/// called once per load, by the worker; `coopcache::heap_bytes(member)` helps
/// to write it.

namespace coopcache {

/// What the allocator takes for `n` bytes: a header, rounded to 16, at least
/// 32 (glibc, and close to the truth for others).
constexpr std::size_t allocated_bytes(std::size_t n) noexcept {
  const std::size_t chunk = (n + 8 + 15) / 16 * 16;
  return chunk < 32 ? 32 : chunk;
}

namespace detail {

template <class T>
concept has_own_heap_bytes = requires(const T& x) {
  { coopcache_heap_bytes(x) } -> std::convertible_to<std::size_t>;
};

template <class T>
struct heap_of;

template <class T>
std::size_t heap(const T& x) {
  if constexpr (has_own_heap_bytes<T>)
    return coopcache_heap_bytes(x);
  else
    return heap_of<T>::bytes(x);
}

template <class Range>
std::size_t heap_of_elements(const Range& range) {
  using element = std::remove_cvref_t<decltype(*std::begin(range))>;
  std::size_t result = 0;
  if constexpr (!std::is_scalar_v<element>)
    for (const auto& x : range)
      result += heap(x);
  return result;
}

/// A type that nothing is known of owns nothing.
template <class T>
struct heap_of {
  static std::size_t bytes(const T&) {
    return 0;
  }
};

template <class C, class Traits, class A>
struct heap_of<std::basic_string<C, Traits, A>> {
  static std::size_t bytes(const std::basic_string<C, Traits, A>& x) {
    const auto* const inside = reinterpret_cast<const char*>(&x);
    const auto* const data = reinterpret_cast<const char*>(x.data());
    const bool small = data >= inside && data < inside + sizeof x;
    return small ? 0 : allocated_bytes((x.capacity() + 1) * sizeof(C));
  }
};

template <class T, class A>
struct heap_of<std::vector<T, A>> {
  static std::size_t bytes(const std::vector<T, A>& x) {
    if (x.capacity() == 0)
      return 0;
    if constexpr (std::is_same_v<T, bool>)
      return allocated_bytes(x.capacity() / 8);
    else
      return allocated_bytes(x.capacity() * sizeof(T)) + heap_of_elements(x);
  }
};

template <class T, std::size_t N>
struct heap_of<std::array<T, N>> {
  static std::size_t bytes(const std::array<T, N>& x) {
    return heap_of_elements(x);
  }
};

template <class T, class A>
struct heap_of<std::deque<T, A>> {
  static std::size_t bytes(const std::deque<T, A>& x) {
    return 576 + x.size() * sizeof(T) + heap_of_elements(x);
  }
};

/// Containers of nodes, each with `Links` bytes beside the element.
template <class Container, std::size_t Links>
struct heap_of_nodes {
  static std::size_t bytes(const Container& x) {
    using element = typename Container::value_type;
    // A `forward_list` knows no size.
    const auto count = static_cast<std::size_t>(
      std::distance(x.begin(), x.end()));
    return count * allocated_bytes(Links + sizeof(element))
           + heap_of_elements(x);
  }
};

template <class T, class A>
struct heap_of<std::forward_list<T, A>>
  : heap_of_nodes<std::forward_list<T, A>, 8> {};

template <class T, class A>
struct heap_of<std::list<T, A>> : heap_of_nodes<std::list<T, A>, 16> {};
template <class K, class C, class A>
struct heap_of<std::set<K, C, A>> : heap_of_nodes<std::set<K, C, A>, 32> {};
template <class K, class C, class A>
struct heap_of<std::multiset<K, C, A>>
  : heap_of_nodes<std::multiset<K, C, A>, 32> {};
template <class K, class V, class C, class A>
struct heap_of<std::map<K, V, C, A>> : heap_of_nodes<std::map<K, V, C, A>, 32> {
};
template <class K, class V, class C, class A>
struct heap_of<std::multimap<K, V, C, A>>
  : heap_of_nodes<std::multimap<K, V, C, A>, 32> {};

/// Hashed containers have an array of buckets, too.
template <class Container>
struct heap_of_hashed {
  static std::size_t bytes(const Container& x) {
    return allocated_bytes(x.bucket_count() * sizeof(void*))
           + heap_of_nodes<Container, 16>::bytes(x);
  }
};

template <class K, class H, class E, class A>
struct heap_of<std::unordered_set<K, H, E, A>>
  : heap_of_hashed<std::unordered_set<K, H, E, A>> {};
template <class K, class H, class E, class A>
struct heap_of<std::unordered_multiset<K, H, E, A>>
  : heap_of_hashed<std::unordered_multiset<K, H, E, A>> {};
template <class K, class V, class H, class E, class A>
struct heap_of<std::unordered_map<K, V, H, E, A>>
  : heap_of_hashed<std::unordered_map<K, V, H, E, A>> {};
template <class K, class V, class H, class E, class A>
struct heap_of<std::unordered_multimap<K, V, H, E, A>>
  : heap_of_hashed<std::unordered_multimap<K, V, H, E, A>> {};

/// Adapters own what the container inside them does. It is their protected
/// member `c`, of which only a derived class may say the name.
template <class Adapter>
struct heap_of_adapter {
  struct insight : Adapter {
    static const auto& container(const Adapter& x) {
      return x.*(&insight::c);
    }
  };

  static std::size_t bytes(const Adapter& x) {
    return heap(insight::container(x));
  }
};

template <class T, class C>
struct heap_of<std::queue<T, C>> : heap_of_adapter<std::queue<T, C>> {};
template <class T, class C>
struct heap_of<std::stack<T, C>> : heap_of_adapter<std::stack<T, C>> {};
template <class T, class C, class Less>
struct heap_of<std::priority_queue<T, C, Less>>
  : heap_of_adapter<std::priority_queue<T, C, Less>> {};

template <class T>
struct heap_of<std::optional<T>> {
  static std::size_t bytes(const std::optional<T>& x) {
    return x ? heap(*x) : 0;
  }
};

/// Whether a pointer to it tells how much it points to.
template <class T>
concept of_known_size = !std::is_void_v<T> && !std::is_array_v<T>;

template <of_known_size T, class D>
struct heap_of<std::unique_ptr<T, D>> {
  static std::size_t bytes(const std::unique_ptr<T, D>& x) {
    return x ? allocated_bytes(sizeof(T)) + heap(*x) : 0;
  }
};

/// Counted in full for every owner: too much is safer than too little.
template <of_known_size T>
struct heap_of<std::shared_ptr<T>> {
  static std::size_t bytes(const std::shared_ptr<T>& x) {
    return x ? allocated_bytes(16 + sizeof(T)) + heap(*x) : 0;
  }
};

template <class A, class B>
struct heap_of<std::pair<A, B>> {
  static std::size_t bytes(const std::pair<A, B>& x) {
    return heap(x.first) + heap(x.second);
  }
};

template <class... Ts>
struct heap_of<std::tuple<Ts...>> {
  static std::size_t bytes(const std::tuple<Ts...>& x) {
    return std::apply(
      [](const auto&... each) { return (std::size_t{0} + ... + heap(each)); },
      x);
  }
};

template <class... Ts>
struct heap_of<std::variant<Ts...>> {
  static std::size_t bytes(const std::variant<Ts...>& x) {
    return x.valueless_by_exception()
             ? 0
             : std::visit([](const auto& each) { return heap(each); }, x);
  }
};

} // namespace detail

/// Bytes that `x` owns outside itself, as far as that is known; see above.
template <class T>
[[nodiscard]] std::size_t heap_bytes(const T& x) {
  return detail::heap(x);
}

} // namespace coopcache
