#include "coopcache/table/entry.hpp"

#include "coopcache/table/rcu.hpp"
#include "coopcache/table/stripes.hpp"

#include <cstring>
#include <mutex>

namespace coopcache::table {

// -- entry --------------------------------------------------------------------

entry::entry(std::string_view key, std::size_t offset, const value_ops* ops,
             std::int64_t wall_ms) noexcept
  : has_wall_(wall_ms != 0), ops_(ops),
    key_size_(static_cast<std::uint32_t>(key.size())),
    value_offset_(static_cast<std::uint32_t>(offset)) {
  static_assert(sizeof(entry) == 104, "every byte counts a million times");
  char* const self = reinterpret_cast<char*>(this);
  std::memcpy(self + sizeof(entry), key.data(), key.size());
  if (has_wall_)
    std::memcpy(self + wall_offset(), &wall_ms, sizeof wall_ms);
}

std::int64_t entry::wall_ms() const noexcept {
  std::int64_t result = 0;
  if (has_wall_)
    std::memcpy(&result, reinterpret_cast<const char*>(this) + wall_offset(),
                sizeof result);
  return result;
}

void* entry::allocate(std::size_t size) {
  return ::operator new(size);
}

void entry::release(void* memory) noexcept {
  ::operator delete(memory);
}

void entry::destroy() noexcept {
  ops_->destroy(reinterpret_cast<char*>(this) + value_offset_);
  this->~entry();
  release(this);
}

void entry::ref_striped() noexcept {
  const rcu::read_guard guard;
  const std::uint32_t mine = my_stripe();
  stripes* const s = stripes_.load(std::memory_order_acquire);
  if (s != nullptr && mine < stripe_count)
    s->add(mine, 1);
  else
    refs_.fetch_add(1, std::memory_order_relaxed);
}

void entry::deref_striped() noexcept {
  {
    const rcu::read_guard guard;
    const std::uint32_t mine = my_stripe();
    stripes* const s = stripes_.load(std::memory_order_acquire);
    if (s != nullptr && mine < stripe_count) {
      s->add(mine, -1);
      return;
    }
  }
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1)
    destroy();
}

// -- stripes ------------------------------------------------------------------

namespace {

/// Hands out stripe indices to threads.
struct stripe_indices {
  std::mutex mutex;
  std::uint32_t taken = 0; ///< bit set

  std::uint32_t take() noexcept {
    const std::lock_guard guard{mutex};
    for (std::uint32_t i = 0; i < stripe_count; ++i) {
      if ((taken >> i & 1U) == 0) {
        taken |= 1U << i;
        return i;
      }
    }
    return stripe_count;
  }

  void give_back(std::uint32_t index) noexcept {
    const std::lock_guard guard{mutex};
    taken &= ~(1U << index);
  }
};

/// Never destroyed: threads may end after the statics of the program.
stripe_indices& indices() {
  static auto* const all = new stripe_indices;
  return *all;
}

/// Gives the index back when the thread ends.
struct index_owner {
  index_owner() {
    stripe_index = indices().take();
  }

  ~index_owner() {
    if (stripe_index < stripe_count)
      indices().give_back(stripe_index);
    stripe_index = stripe_count;
  }
};

} // namespace

constinit thread_local std::uint32_t stripe_index = not_asked;

void take_stripe() noexcept {
  static thread_local const index_owner owner;
}

std::int64_t stripes::sum() const noexcept {
  std::int64_t result = 0;
  for (const auto& each : counts_)
    result += each.value.load(std::memory_order_relaxed);
  return result;
}

void stripes::give(entry& e, const std::shared_ptr<std::atomic<int>>& in_use) {
  if (e.stripes_.load(std::memory_order_relaxed) != nullptr)
    return;
  if (in_use->fetch_add(1, std::memory_order_relaxed) >= max_striped) {
    in_use->fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  auto* const fresh = new stripes(in_use);
  e.refs_.fetch_add(entry::striped_bias, std::memory_order_relaxed);
  stripes* expected = nullptr;
  if (!e.stripes_.compare_exchange_strong(expected, fresh,
                                          std::memory_order_acq_rel)) {
    e.refs_.fetch_sub(entry::striped_bias, std::memory_order_relaxed);
    delete fresh;
  }
}

} // namespace coopcache::table
