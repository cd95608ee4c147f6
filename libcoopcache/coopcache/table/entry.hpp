#pragma once

#include "coopcache/core/record.hpp"
#include "coopcache/export.hpp"
#include "coopcache/table/thread_record.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace coopcache::table {

/// What an entry must know of the type of its value.
struct value_ops {
  const std::type_info* type;
  std::size_t size;
  void (*destroy)(void* value) noexcept;
};

template <class T>
inline constexpr value_ops value_ops_of{&typeid(T), sizeof(T),
                                        [](void* value) noexcept {
                                          static_cast<T*>(value)->~T();
                                        }};

namespace detail {

/// What hits do not look at, and so comes first in an entry.
struct entry_head {
  std::atomic<std::int64_t> refs_{1};
  const value_ops* ops_;
};

} // namespace detail

/// One key with its immutable value: a single reference-counted allocation
/// that holds the header, the bytes of the key and the value.
///
/// The hot table holds one reference for as long as readers may find the
/// entry, results hold one each. References may be taken and dropped by any
/// thread at any time, also after the table, the node and the actor system are
/// gone.
///
/// Invariants:
/// 1. Key, value and type never change after construction.
/// 2. The number of references is `refs_`, less `bias` if a table has held the
///    entry and has not been done with it, plus the number of threads that hold
///    it. It is decided to be zero only when there are none.
///
/// Most results live for some nanoseconds. So a thread that takes a reference
/// to an entry of a table notes that in memory of its own, and does not write
/// to the entry, which other threads read too. A thread holds one entry at a
/// time; further references are counted as usual. Related: Michael, "Hazard
/// pointers", 2004; Choi, Shull and Torrellas, "Biased reference counting",
/// 2018.
class COOPCACHE_EXPORT entry final : private detail::entry_head,
                                     public core::record {
public:
  /// Makes an entry with one reference. `wall_ms` is the wall-clock expiry
  /// that users see: Unix time in milliseconds, 0 for none.
  template <class T>
  static entry* make(std::string_view key, T&& value,
                     std::int64_t wall_ms = 0) {
    using type = std::remove_cvref_t<T>;
    static_assert(alignof(type) <= alignof(std::max_align_t),
                  "over-aligned values are not supported");
    const std::size_t offset = value_offset(key.size(), alignof(type));
    void* const memory = allocate(
      allocation(key.size(), sizeof(type), alignof(type), wall_ms != 0));
    try {
      new (static_cast<char*>(memory) + offset) type(std::forward<T>(value));
    } catch (...) {
      release(memory);
      throw;
    }
    return new (memory) entry(key, offset, &value_ops_of<type>, wall_ms);
  }

  [[nodiscard]] std::string_view key() const noexcept {
    return {reinterpret_cast<const char*>(this + 1), key_size_};
  }

  [[nodiscard]] const std::type_info& type() const noexcept {
    return *ops_->type;
  }

  /// Requires: `type() == typeid(T)`.
  template <class T>
  [[nodiscard]] const T& value() const noexcept {
    return *std::launder(reinterpret_cast<const T*>(
      reinterpret_cast<const char*>(this) + offset()));
  }

  /// Bytes of the allocation that holds header, key, value and expiry.
  static std::size_t allocation(std::size_t key_size, std::size_t value_size,
                                std::size_t value_align,
                                bool has_wall) noexcept {
    return value_offset(key_size, value_align) + value_size
           + (has_wall ? sizeof(std::int64_t) : 0);
  }

  /// Wall-clock expiry, Unix time in milliseconds; 0 for none.
  [[nodiscard]] std::int64_t wall_ms() const noexcept;

  /// Takes one more reference. Requires: the caller has one, or is inside a
  /// read-side critical section in which a table held the entry.
  void ref() noexcept {
    refs_.fetch_add(1, std::memory_order_relaxed);
  }

  /// Drops a reference; the last one destroys value and entry.
  void deref() noexcept {
    if (!let_go())
      deref_counted();
  }

private:
  friend class hot_table;
  friend class retirement;

  static constexpr std::uint8_t padding_mask = alignof(std::max_align_t) - 1;
  static constexpr std::uint8_t wall_bit = 0x80;

  /// Keeps `refs_` from zero while threads may hold the entry.
  static constexpr std::int64_t bias = std::int64_t{1} << 48;

  entry(std::string_view key, std::size_t offset, const value_ops* ops,
        std::int64_t wall_ms) noexcept;
  ~entry() = default;

  static std::size_t value_offset(std::size_t key_size,
                                  std::size_t align) noexcept {
    return (sizeof(entry) + key_size + align - 1) / align * align;
  }

  static void* allocate(std::size_t size);
  static void release(void* memory) noexcept;

  /// Takes a reference without counting it, if the calling thread holds none
  /// yet. Requires: inside the read-side critical section that found the entry;
  /// `own` is the calling thread's and no shared one.
  bool hold(thread_record& own) noexcept {
    if (own.held.load(std::memory_order_relaxed) != nullptr
        || !may_hold_.load(std::memory_order_relaxed))
      return false;
    own.held.store(this, std::memory_order_release);
    return true;
  }

  /// Drops a reference that the calling thread holds, if it does.
  bool let_go() noexcept {
    thread_record& own = detail::records[detail::own_index];
    if (own.held.load(std::memory_order_relaxed) != this)
      return false;
    const short_section guard{own};
    if (!may_hold_.load(std::memory_order_relaxed))
      return false;
    own.held.store(nullptr, std::memory_order_release);
    return true;
  }

  static void count_held(thread_record& own) noexcept;
  void deref_counted() noexcept;
  void allow_holding() noexcept;
  void count(std::int64_t n) noexcept;
  void destroy() noexcept;

  [[nodiscard]] std::size_t wall_offset() const noexcept {
    return offset() + ops_->size;
  }

  /// Of the value.
  [[nodiscard]] std::size_t offset() const noexcept {
    return sizeof(entry) + key_size_ + (shape_ & padding_mask);
  }

  // With `stamp` and `visited` of the record next to the key.
  std::uint8_t shape_; ///< bytes between key and value; `wall_bit`
  std::atomic<bool> may_hold_{false};
  std::uint32_t key_size_;
};

/// A reference to an entry; empty by default. As thread-safe as a
/// `std::shared_ptr`, and a third of its size in cache lines.
class entry_ptr {
public:
  entry_ptr() noexcept = default;

  /// Adopts the reference that the caller has.
  explicit entry_ptr(entry* adopted) noexcept : ptr_(adopted) {
  }

  entry_ptr(const entry_ptr& other) noexcept : ptr_(other.ptr_) {
    if (ptr_ != nullptr)
      ptr_->ref();
  }

  entry_ptr(entry_ptr&& other) noexcept
    : ptr_(std::exchange(other.ptr_, nullptr)) {
  }

  entry_ptr& operator=(entry_ptr other) noexcept {
    std::swap(ptr_, other.ptr_);
    return *this;
  }

  ~entry_ptr() {
    if (ptr_ != nullptr)
      ptr_->deref();
  }

  [[nodiscard]] entry* get() const noexcept {
    return ptr_;
  }

  entry* operator->() const noexcept {
    return ptr_;
  }

  entry& operator*() const noexcept {
    return *ptr_;
  }

  explicit operator bool() const noexcept {
    return ptr_ != nullptr;
  }

  /// Gives the reference to the caller.
  [[nodiscard]] entry* release() noexcept {
    return std::exchange(ptr_, nullptr);
  }

private:
  entry* ptr_ = nullptr;
};

} // namespace coopcache::table
