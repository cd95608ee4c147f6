#pragma once

#include "coopcache/export.hpp"

#include <array>
#include <atomic>
#include <cstdint>

/// @file
/// Small numbers for threads, so that each can count in memory of its own.

namespace coopcache::table {

/// So many threads have an index at the same time; those beyond share
/// `shared_index`.
inline constexpr std::uint32_t thread_indices = 64;
inline constexpr std::uint32_t shared_index = thread_indices;

namespace detail {

/// The index of the calling thread; greater than `shared_index` before it has
/// asked.
extern COOPCACHE_EXPORT constinit thread_local std::uint32_t own_index;

/// Gives the calling thread an index until it ends, if one is left.
[[gnu::cold]] COOPCACHE_EXPORT std::uint32_t take_index() noexcept;

/// Of each index; on a cache line of its own.
struct alignas(64) section_flag {
  std::atomic<bool> inside{false};
};

extern COOPCACHE_EXPORT std::array<section_flag, thread_indices> sections;

} // namespace detail

/// The index of the calling thread, below `thread_indices` and of no other
/// thread that lives, or `shared_index`. Threads get the lowest that is free.
[[nodiscard]] inline std::uint32_t thread_index() noexcept {
  const std::uint32_t index = detail::own_index;
  return index < thread_indices ? index : detail::take_index();
}

/// Whether `await_sections` can be used: the kernel has `membarrier`.
[[nodiscard]] bool has_sections() noexcept;

/// A few instructions of one thread that another thread can wait for. Costs two
/// plain stores: who waits pays for the fence. Sections do not nest. Source of
/// the scheme: the asymmetric fences of liburcu.
class short_section {
public:
  /// Requires: `index` is the calling thread's and not `shared_index`.
  explicit short_section(std::uint32_t index) noexcept
    : inside_(detail::sections[index].inside) {
    inside_.store(true, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  ~short_section() {
    inside_.store(false, std::memory_order_release);
  }

  short_section(const short_section&) = delete;
  short_section& operator=(const short_section&) = delete;

private:
  std::atomic<bool>& inside_;
};

/// Waits until every section has ended that does not see what the calling
/// thread has written before. Requires: `has_sections`.
void await_sections() noexcept;

} // namespace coopcache::table
