#include "coopcache/table/entry.hpp"

#include "coopcache/table/stripes.hpp"

#include <cstring>

namespace coopcache::table {

// -- entry --------------------------------------------------------------------

entry::entry(std::string_view key, std::size_t at, const value_ops* ops,
             std::int64_t wall_ms) noexcept
  : entry_head{.ops_ = ops},
    shape_(static_cast<std::uint8_t>((at - sizeof(entry) - key.size())
                                     | (wall_ms != 0 ? wall_bit : 0))),
    key_size_(static_cast<std::uint32_t>(key.size())) {
  static_assert(sizeof(entry) == 96, "every byte counts a million times");
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

[[gnu::flatten]] void entry::count_shared(std::int64_t n) noexcept {
  const std::uint32_t me = detail::own_index;
  if (owner_.load(std::memory_order_acquire) == striped && me < stripe_count) {
    const short_section guard{me};
    if (add_striped(n, me))
      return;
  }
  if (refs_.fetch_add(n, std::memory_order_acq_rel) + n == 0)
    destroy();
}

/// So that a thread that takes references which another one drops cannot make
/// the owner's small counter overflow.
void entry::pour_own() noexcept {
  refs_.fetch_add(own_refs_.load(std::memory_order_relaxed),
                  std::memory_order_relaxed);
  own_refs_.store(0, std::memory_order_relaxed);
}

/// Makes `who` the owner if there is none. Requires: inside the read-side
/// critical section that found the entry.
void entry::adopt(std::uint32_t who) noexcept {
  if (who == shared_index || !has_sections())
    return;
  refs_.fetch_add(bias, std::memory_order_relaxed);
  std::uint8_t none = no_owner;
  if (!owner_.compare_exchange_strong(none, static_cast<std::uint8_t>(who),
                                      std::memory_order_acq_rel,
                                      std::memory_order_acquire))
    refs_.fetch_sub(bias, std::memory_order_relaxed);
}

/// Adds what was counted beside `refs_` to it, takes one bias away and drops
/// one reference. Requires: no thread counts there any more.
void entry::settle(stripes* counted) noexcept {
  std::int64_t owed = own_refs_.load(std::memory_order_relaxed) - bias - 1;
  if (counted != nullptr) {
    owed += counted->sum();
    delete counted;
  }
  if (refs_.fetch_add(owed, std::memory_order_acq_rel) + owed == 0)
    destroy();
}

// -- stripes ------------------------------------------------------------------

std::int64_t stripes::sum() const noexcept {
  std::int64_t result = 0;
  for (const auto& each : counts_)
    result += each.value.load(std::memory_order_relaxed);
  return result;
}

void stripes::give(entry& e, const std::shared_ptr<std::atomic<int>>& in_use,
                   int most) noexcept {
  if (e.owner_.load(std::memory_order_relaxed) == entry::striped
      || !has_sections())
    return;
  if (in_use->fetch_add(1, std::memory_order_relaxed) >= most) {
    in_use->fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  auto* const fresh = new (std::nothrow) stripes(in_use);
  if (fresh == nullptr) {
    in_use->fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  stripes* none = nullptr;
  if (!e.stripes_.compare_exchange_strong(none, fresh,
                                          std::memory_order_acq_rel)) {
    delete fresh;
    return;
  }
  e.adopt(entry::striped);
  e.owner_.store(entry::striped, std::memory_order_release);
}

} // namespace coopcache::table
