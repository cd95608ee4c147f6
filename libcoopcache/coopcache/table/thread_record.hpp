#pragma once

#include "coopcache/export.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

/// @file
/// Memory that one thread writes alone, so that readers of the same entries do
/// not get in each other's way.

namespace coopcache::table {

class entry;

/// So many threads have an index at the same time; those beyond share
/// `shared_index`.
inline constexpr std::uint32_t thread_indices = 64;
inline constexpr std::uint32_t shared_index = thread_indices;

/// What belongs to one thread, on a cache line of its own.
///
/// `held` is an entry to which the thread has a reference that is not counted
/// there, or null. It is set by the thread alone. It is set to null by the
/// thread in a section, as long as the entry may be held; and with `moving`
/// locked, by one who counts the reference in the entry instead. All stores
/// release: who sees one sees what was counted before it.
struct alignas(64) thread_record {
  std::atomic<bool> inside{false}; ///< a short section
  std::uint8_t counted = 0; ///< drops of counted references while one is held
  std::atomic<entry*> held{nullptr};
  std::mutex moving;
};

namespace detail {

/// The `own_index` of a thread that has not asked.
inline constexpr std::uint32_t no_index = shared_index + 1;

/// The index of the calling thread, or `no_index`.
[[gnu::tls_model(
  "initial-exec")]] extern COOPCACHE_EXPORT constinit thread_local std::uint32_t
  own_index;

/// By `own_index`. The last two are shared: nothing is ever held there.
extern COOPCACHE_EXPORT std::array<thread_record, no_index + 1> records;

/// Gives the calling thread an index until it ends, if one is left.
[[gnu::cold]] COOPCACHE_EXPORT std::uint32_t take_index() noexcept;

} // namespace detail

/// The index of the calling thread, below `thread_indices` and of no other
/// thread that lives, or `shared_index`. Threads get the lowest that is free.
[[nodiscard]] inline std::uint32_t thread_index() noexcept {
  const std::uint32_t index = detail::own_index;
  return index < thread_indices ? index : detail::take_index();
}

/// All indices that threads have ever had are below this one.
[[nodiscard]] std::uint32_t index_limit() noexcept;

/// Whether `await_sections` can be used: the kernel has `membarrier`.
[[nodiscard]] bool has_sections() noexcept;

/// A few instructions of one thread that another thread can wait for. Costs two
/// plain stores: who waits pays for the fence. Sections do not nest. Source of
/// the scheme: the asymmetric fences of liburcu.
class short_section {
public:
  /// Requires: `own` is the calling thread's. Nobody waits for threads without
  /// an index of their own.
  explicit short_section(thread_record& own) noexcept : inside_(own.inside) {
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
