#pragma once

#include "coopcache/table/entry.hpp"
#include "coopcache/table/thread_index.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace coopcache::table {

/// Number of threads that can count without sharing, those with the lowest
/// indices; further threads use the entry's own counter.
inline constexpr std::uint32_t stripe_count = 16;
static_assert(stripe_count <= thread_indices);

/// How many entries of a table may have stripes at the same time, at most.
inline constexpr int max_striped = 64;

/// Counts references per thread, so that readers of one hot entry do not
/// write to a shared cache line.
///
/// Each stripe is written by its thread alone, with plain loads and stores, and
/// inside a read-side critical section or a short section. Counts may be
/// negative: a result may be dropped by another thread than the one that took
/// it. Source of the scheme: the percpu_ref of the Linux kernel.
class stripes {
public:
  explicit stripes(std::shared_ptr<std::atomic<int>> in_use) noexcept
    : in_use_(std::move(in_use)) {
  }

  ~stripes() {
    in_use_->fetch_sub(1, std::memory_order_relaxed);
  }

  stripes(const stripes&) = delete;
  stripes& operator=(const stripes&) = delete;

  /// Adds to the calling thread's stripe. Requires: `index < stripe_count`.
  void add(std::uint32_t index, std::int64_t n) noexcept {
    auto& count = counts_[index].value;
    count.store(count.load(std::memory_order_relaxed) + n,
                std::memory_order_relaxed);
  }

  /// Exact once no thread can reach the stripes any more.
  [[nodiscard]] std::int64_t sum() const noexcept;

  /// Gives `e` stripes if it has none and fewer than `most` are in use.
  /// Requires: inside the read-side critical section that found `e`.
  static void give(entry& e, const std::shared_ptr<std::atomic<int>>& in_use,
                   int most = max_striped) noexcept;

private:
  struct alignas(64) stripe {
    std::atomic<std::int64_t> value{0};
  };

  std::array<stripe, stripe_count> counts_;
  std::shared_ptr<std::atomic<int>> in_use_;
};

/// Counts in the stripes, if there are any and the thread of that index has
/// one. Requires: inside a section that the stripes outlast.
inline bool entry::add_striped(std::int64_t n, std::uint32_t index) noexcept {
  stripes* const s = stripes_.load(std::memory_order_acquire);
  if (s == nullptr || index >= stripe_count)
    return false;
  s->add(index, n);
  return true;
}

} // namespace coopcache::table
