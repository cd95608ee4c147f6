#include "coopcache/table/entry.hpp"

#include <cstring>

namespace coopcache::table {

entry::entry(std::string_view key, std::size_t at, const value_ops* ops,
             std::int64_t wall_ms) noexcept
  : entry_head{.ops_ = ops},
    shape_(static_cast<std::uint8_t>((at - sizeof(entry) - key.size())
                                     | (wall_ms != 0 ? wall_bit : 0))),
    key_size_(static_cast<std::uint32_t>(key.size())) {
  static_assert(sizeof(entry) == 88, "every byte counts a million times");
  char* const self = reinterpret_cast<char*>(this);
  std::memcpy(self + sizeof(entry), key.data(), key.size());
  if (wall_ms != 0)
    std::memcpy(self + wall_offset(), &wall_ms, sizeof wall_ms);
}

std::int64_t entry::wall_ms() const noexcept {
  std::int64_t result = 0;
  if ((shape_ & wall_bit) != 0)
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
  ops_->destroy(reinterpret_cast<char*>(this) + offset());
  this->~entry();
  release(this);
}

void entry::count(std::int64_t n) noexcept {
  if (refs_.fetch_add(n, std::memory_order_acq_rel) + n == 0)
    destroy();
}

/// Drops a reference while the thread keeps one to another entry, or comes from
/// elsewhere: often it is better off holding the next one.
void entry::deref_counted() noexcept {
  thread_record& own = detail::records[detail::own_index];
  if (own.held.load(std::memory_order_relaxed) != nullptr
      && ++own.counted % 64 == 0)
    count_held(own);
  count(-1);
}

/// From now on threads may hold the entry, if they can be told to stop.
void entry::allow_holding() noexcept {
  if (!has_sections())
    return;
  refs_.fetch_add(bias, std::memory_order_relaxed);
  may_hold_.store(true, std::memory_order_relaxed);
}

/// Counts what the calling thread holds, so that it can hold another entry;
/// unless somebody else is about to.
void entry::count_held(thread_record& own) noexcept {
  const std::unique_lock guard{own.moving, std::try_to_lock};
  entry* const held = own.held.load(std::memory_order_relaxed);
  if (!guard || held == nullptr)
    return;
  held->refs_.fetch_add(1, std::memory_order_relaxed);
  own.held.store(nullptr, std::memory_order_release);
}

} // namespace coopcache::table
