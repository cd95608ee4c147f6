#pragma once

#include "coopcache/table/entry.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace coopcache::table {

/// Number of threads that can count without sharing; further threads use the
/// entry's own counter.
inline constexpr std::uint32_t stripe_count = 16;

/// The stripe of the calling thread once it has asked.
extern constinit thread_local std::uint32_t stripe_index;
inline constexpr std::uint32_t not_asked = ~std::uint32_t{0};

/// Gives the calling thread a stripe of its own until it ends, if one is left.
void take_stripe() noexcept;

/// The stripe of the calling thread, below `stripe_count`, or that value if it
/// has none. No other live thread has the same.
[[nodiscard]] inline std::uint32_t my_stripe() noexcept {
  if (stripe_index == not_asked) [[unlikely]]
    take_stripe();
  return stripe_index;
}

/// How many entries of a table may have stripes at the same time.
inline constexpr int max_striped = 64;

/// Counts references per thread, so that readers of one hot entry do not
/// write to a shared cache line.
///
/// Each stripe is written by its thread alone, with plain loads and stores,
/// and inside a read-side critical section. Counts may be negative: a result
/// may be dropped by another thread than the one that took it. Source of the
/// scheme: the percpu_ref of the Linux kernel.
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

  /// Gives `e` stripes if it has none and the table may have more of them.
  /// Requires: inside the read-side critical section that found `e`.
  static void give(entry& e, const std::shared_ptr<std::atomic<int>>& in_use);

private:
  struct alignas(64) stripe {
    std::atomic<std::int64_t> value{0};
  };

  std::array<stripe, stripe_count> counts_;
  std::shared_ptr<std::atomic<int>> in_use_;
};

} // namespace coopcache::table
