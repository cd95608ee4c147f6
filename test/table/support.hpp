#pragma once

#include "coopcache/table/hot_table.hpp"

#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#  define COOPCACHE_TEST_THREAD_SANITIZED 1
#elif defined(__SANITIZE_ADDRESS__)
#  define COOPCACHE_TEST_ADDRESS_SANITIZED 1
#elif defined(__has_feature)
#  if __has_feature(thread_sanitizer)
#    define COOPCACHE_TEST_THREAD_SANITIZED 1
#  elif __has_feature(address_sanitizer)
#    define COOPCACHE_TEST_ADDRESS_SANITIZED 1
#  endif
#endif

namespace coopcache::test {

/// How much more a stress test does where no sanitizer slows it down.
#if defined(COOPCACHE_TEST_THREAD_SANITIZED)                                   \
  || defined(COOPCACHE_TEST_ADDRESS_SANITIZED)
inline constexpr std::uint64_t effort = 1;
#else
inline constexpr std::uint64_t effort = 10;
#endif

using table::entry;
using table::entry_ptr;
using table::hot_table;

/// Waits until everything that any table retired before has been destroyed. As
/// `hot_table::drain`, but in words that the thread sanitizer understands: it
/// does not see how liburcu waits. The thread of liburcu takes one after the
/// other; entries take two turns.
inline void await_reclamation() {
  struct bell {
    std::shared_ptr<std::atomic<bool>> rung;

    bell() : rung(std::make_shared<std::atomic<bool>>(false)) {
    }

    bell(bell&&) = default;

    ~bell() {
      if (rung == nullptr)
        return;
      *rung = true;
      rung->notify_all();
    }
  };
  for (int turn = 0; turn < 2; ++turn) {
    bell last;
    const auto rung = last.rung;
    hot_table::retire(*entry::make("", std::move(last)));
    rung->wait(false);
  }
}

/// Counts what lives: one more for each construction, one less for each
/// destruction; a second destruction of the same object shows as a wrong mark.
struct census {
  /// What was retired may still be on its way here.
  ~census() {
    await_reclamation();
  }

  std::atomic<std::int64_t> alive{0};
  std::atomic<std::int64_t> destroyed{0};
  std::atomic<std::int64_t> damaged{0};
};

/// A value that belongs to a census and can tell whether it is intact.
class tracked {
public:
  tracked(census& all, std::uint64_t number) noexcept
    : all_(&all), number_(number), mark_(~number) {
    ++all_->alive;
  }

  tracked(tracked&& other) noexcept : tracked(*other.all_, other.number()) {
  }

  tracked& operator=(tracked&&) = delete;

  ~tracked() {
    if (!intact())
      ++all_->damaged;
    mark_ = number_;
    --all_->alive;
    ++all_->destroyed;
  }

  [[nodiscard]] std::uint64_t number() const noexcept {
    return number_;
  }

  [[nodiscard]] bool intact() const noexcept {
    return mark_ == ~number_;
  }

private:
  census* all_;
  std::uint64_t number_;
  std::uint64_t mark_;
};

inline entry_ptr make_tracked(std::string_view key, census& all,
                              std::uint64_t number) {
  return entry_ptr{entry::make(key, tracked{all, number})};
}

inline std::uint64_t number_of(const entry& e) {
  return e.value<tracked>().number();
}

/// A key of the given number.
inline std::string key_of(std::uint64_t number) {
  std::string result{"key "};
  result += std::to_string(number);
  return result;
}

/// Puts `e`, and retires what it replaces.
inline void put(hot_table& t, entry_ptr e) {
  if (entry* const old = t.put(std::move(e)))
    hot_table::retire(*old);
}

/// Removes the entry of `key`, if there is one.
inline void erase(hot_table& t, std::string_view key) {
  if (entry* const old = t.lookup(key))
    t.erase(*old);
}

/// Runs `work(i)` on `n` threads, which begin at the same moment.
inline void on_threads(std::size_t n,
                       const std::function<void(std::size_t)>& work) {
  std::barrier start{static_cast<std::ptrdiff_t>(n)};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < n; ++i)
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      work(i);
    });
}

/// Lets `n` threads do `work(i)` one after the other, again and again, for
/// `rounds` rounds.
inline void in_turns(std::size_t n, std::size_t rounds,
                     const std::function<void(std::size_t)>& work) {
  std::barrier step{static_cast<std::ptrdiff_t>(n)};
  on_threads(n, [&](std::size_t i) {
    for (std::size_t turn = 0; turn < rounds * n; ++turn) {
      if (turn % n == i)
        work(i);
      step.arrive_and_wait();
    }
  });
}

} // namespace coopcache::test
