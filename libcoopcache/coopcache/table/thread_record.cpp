#include "coopcache/table/thread_record.hpp"

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <linux/membarrier.h>
#include <mutex>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace coopcache::table {

namespace {

/// Hands out the indices.
struct index_pool {
  std::mutex mutex;
  std::uint64_t taken = 0; ///< bit set
  std::atomic<std::uint32_t> limit{0};

  std::uint32_t take() noexcept {
    const std::lock_guard guard{mutex};
    const auto index = static_cast<std::uint32_t>(std::countr_one(taken));
    if (index == thread_indices)
      return shared_index;
    taken |= std::uint64_t{1} << index;
    if (index >= limit)
      limit = index + 1;
    return index;
  }

  void give_back(std::uint32_t index) noexcept {
    const std::lock_guard guard{mutex};
    taken &= ~(std::uint64_t{1} << index);
  }
};

static_assert(thread_indices == 64, "one bit each in `taken`");

/// Never destroyed: threads may end after the statics of the program.
index_pool& pool() {
  static auto* const all = new index_pool;
  return *all;
}

/// Gives the index back when the thread ends.
struct index_owner {
  index_owner() {
    detail::own_index = pool().take();
  }

  ~index_owner() {
    if (detail::own_index < thread_indices)
      pool().give_back(detail::own_index);
    detail::own_index = shared_index;
  }
};

long membarrier(int command) noexcept {
  return syscall(__NR_membarrier, command, 0, 0);
}

} // namespace

namespace detail {

constinit thread_local std::uint32_t own_index = no_index;
constinit std::array<thread_record, no_index + 1> records{};

std::uint32_t take_index() noexcept {
  if (own_index != shared_index)
    static thread_local const index_owner owner;
  return own_index;
}

} // namespace detail

std::uint32_t index_limit() noexcept {
  return pool().limit;
}

bool has_sections() noexcept {
  static const bool answer = membarrier(
                               MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
                             == 0;
  return answer;
}

void await_sections() noexcept {
  while (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0) {
    if (errno != ENOMEM && errno != EINTR)
      std::abort(); // forbidden since: counts would get lost
    std::this_thread::yield();
  }
  const std::uint32_t limit = index_limit();
  for (std::uint32_t i = 0; i < limit; ++i)
    while (detail::records[i].inside.load(std::memory_order_acquire))
      std::this_thread::yield();
}

} // namespace coopcache::table
