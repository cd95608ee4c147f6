#pragma once

#include "coopcache/core/time.hpp"
#include "coopcache/export.hpp"
#include "coopcache/table/entry.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace coopcache::table {

/// What fetches did, as counted by the calling threads.
struct read_counts {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t joined = 0;
};

/// The concurrent table behind every hit: open addressing with linear probing,
/// read by any thread under user-space RCU, written by one.
///
/// A hit takes no lock, sends nothing, allocates nothing, and does not wait for
/// the writer. It writes to memory that other threads read only where a policy
/// needs it, once a tick, and while its thread keeps an older result.
///
/// Invariants:
/// 1. A key is in at most one slot of the current array.
/// 2. A slot changes from entry to entry of the same key, or through removed
///    or empty; entries never move within an array.
/// 3. The table holds one reference to each of its entries, and drops it only
///    after every reader that may have seen the entry has left.
class COOPCACHE_EXPORT hot_table {
public:
  /// `stamps`: whether hits leave the tick of the read in the entry, as idle
  /// expiry needs it. Time begins at `now`.
  hot_table(bool stamps, core::tick now);
  ~hot_table();

  hot_table(const hot_table&) = delete;
  hot_table& operator=(const hot_table&) = delete;

  // -- any thread -----------------------------------------------------------

  /// The entry of `key`, or empty if there is none that is good now. Counts
  /// a hit, or nothing.
  [[nodiscard]] entry_ptr find(std::string_view key) noexcept {
    entry* const quick = find_quickly(key);
    return entry_ptr{quick != nullptr ? quick : find_slowly(key)};
  }

  /// Like `find`, but leaves no trace: no count, no stamp.
  [[nodiscard]] entry_ptr peek(std::string_view key) const noexcept;

  /// Calls `f(context, e)` for the entry of `key`, without taking a reference,
  /// inside the read-side critical section: `f` must be short, must not block
  /// and must not throw. Returns whether there was one. Counts a hit.
  bool visit(std::string_view key, void (*f)(void* context, const entry& e),
             void* context);

  /// Appends a reference to every entry that is good now.
  void collect(std::vector<entry_ptr>& out) const;

  /// Tells the time. Hits take it from here instead of asking the clock, which
  /// costs more than all else they do; so somebody must call this once a tick.
  void set_time(core::tick now) noexcept {
    if (now_.load(std::memory_order_relaxed) != now)
      now_.store(now, std::memory_order_relaxed);
  }

  void count_hit() noexcept;
  void count_miss() noexcept;
  void count_join() noexcept;

  /// Sums over all threads; exact while none of them reads.
  [[nodiscard]] read_counts counts() const;

  // -- the writer alone -----------------------------------------------------

  /// The entry of `key`, good or expired; null if there is none.
  [[nodiscard]] entry* lookup(std::string_view key) const noexcept;

  /// Makes room for one more, so that the next `put` does not throw.
  void reserve();

  /// Makes `e` the entry of its key and returns the one that it replaces, no
  /// longer in the table, or null. The returned entry is valid until
  /// `retire`, which the caller owes.
  [[nodiscard]] entry* put(entry_ptr e);

  /// Removes `e` and retires it. Requires: `e` is in the table.
  void erase(entry& e) noexcept;

  /// Drops the table's reference to a replaced entry when no reader can have
  /// it in sight any more.
  static void retire(entry& e) noexcept;

  /// Removes and retires all entries; `f` sees each of them first.
  void clear(const std::function<void(entry&)>& f);

  /// Bytes of an entry's share of the array: of one that has grown by puts
  /// alone, which is 3/8 to 3/4 full.
  static constexpr std::uint64_t slot_charge = 22;

  [[nodiscard]] std::size_t size() const noexcept {
    return live_;
  }

  /// Waits until everything that any table retired has been destroyed. Not to
  /// be called from the destructor of a value.
  static void drain();

private:
  struct slots;
  struct reader;
  using counter = std::atomic<std::uint64_t>;

  void count(counter reader::*which) noexcept;
  template <class F>
  [[nodiscard]] entry* quick_hit(std::string_view key, F f) noexcept;
  [[nodiscard]] entry* find_quickly(std::string_view key) noexcept;
  [[nodiscard]] entry* find_slowly(std::string_view key) noexcept;
  [[nodiscard]] const entry* probe(std::string_view key,
                                   std::uint64_t hash) const noexcept;
  [[nodiscard]] entry* good(std::string_view key) const noexcept;
  void touch(entry& e) const noexcept;
  void rebuild(std::size_t capacity);
  void shrink(std::size_t capacity) noexcept;

  std::atomic<slots*> slots_;
  std::atomic<core::tick> now_;
  const bool stamps_;
  const bool quick_;                        ///< whether `quick_hit` can be used
  const std::uint64_t seed_;                ///< of the hash
  const std::unique_ptr<reader[]> readers_; ///< by index of thread
  std::size_t live_ = 0;                    ///< entries
  std::size_t used_ = 0;                    ///< entries and removed slots
};

} // namespace coopcache::table
