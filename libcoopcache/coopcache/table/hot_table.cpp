#include "coopcache/table/hot_table.hpp"

#include "coopcache/table/clock.hpp"
#include "coopcache/table/hash.hpp"
#include "coopcache/table/rcu.hpp"
#include "coopcache/table/thread_record.hpp"

#include <cassert>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace coopcache::table {

namespace {

// -- slots --------------------------------------------------------------------
//
// A slot is one word: the address of the entry in the high 48 bits, below them
// a tag of 15 bits of the hash, so that a probe follows no pointer in vain, and
// a bit that is set. The bits above the tag say where in the array to begin.

using word = std::uint64_t;

constexpr word empty = 0;
constexpr word removed = 2; // has no tag, so no probe takes it for an entry
constexpr int tag_bits = 16;
constexpr word used_bit = 1;
constexpr std::size_t min_capacity = 16;

std::uint64_t slot_hash(std::string_view key, std::uint64_t seed) noexcept {
  return hash_of(key, seed) | used_bit;
}

std::size_t index_of(std::uint64_t hash) noexcept {
  return hash >> tag_bits;
}

bool same_tag(word w, std::uint64_t hash) noexcept {
  return static_cast<std::uint16_t>(w) == static_cast<std::uint16_t>(hash);
}

word pack(const entry* e, std::uint64_t hash) noexcept {
  const auto address = reinterpret_cast<word>(e);
  const word result = address << tag_bits;
  if (result >> tag_bits != address)
    std::abort(); // a platform with more than 48 bits of user address space
  return result | static_cast<std::uint16_t>(hash);
}

entry* unpack(word w) noexcept {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): a slot is a packed address
  return reinterpret_cast<entry*>(w >> tag_bits);
}

bool is_entry(word w) noexcept {
  return (w & used_bit) != 0;
}

std::uint64_t word_at(const char* p) noexcept {
  std::uint64_t result = 0;
  std::memcpy(&result, p, sizeof result);
  return result;
}

/// `a == b` for keys of equal size; calls nothing for the usual sizes.
[[gnu::always_inline]] inline bool same_bytes(const char* a, const char* b,
                                              std::size_t n) noexcept {
  const auto differ = [a, b](std::size_t at) {
    return word_at(a + at) ^ word_at(b + at);
  };
  if (n - 8 <= 8) // 8 to 16
    return (differ(0) | differ(n - 8)) == 0;
  if (n - 8 <= 24)
    return (differ(0) | differ(8) | differ(n - 16) | differ(n - 8)) == 0;
  return std::memcmp(a, b, n) == 0;
}

/// Whether the time of an entry has come. The coarse clock is behind: within
/// one step of the expiry the precise one decides.
[[gnu::noinline]] bool has_expired(const entry& e) noexcept {
  return e.expires_at <= coarse_now() + coarse_step
         && e.expires_at <= precise_now();
}

} // namespace

struct hot_table::slots {
  rcu_head retired;
  std::size_t mask;

  [[nodiscard]] std::atomic<word>* begin() noexcept {
    return reinterpret_cast<std::atomic<word>*>(this + 1);
  }

  [[nodiscard]] std::atomic<word>& operator[](std::size_t i) noexcept {
    return begin()[i & mask];
  }

  static slots* make(std::size_t capacity) {
    void* const memory = std::calloc(1,
                                     sizeof(slots) + capacity * sizeof(word));
    if (memory == nullptr)
      throw std::bad_alloc{};
    auto* const result = static_cast<slots*>(memory);
    result->mask = capacity - 1;
    return result;
  }

  static void retire(slots* s) noexcept {
    rcu::publish();
    urcu_bp_call_rcu(&s->retired, [](rcu_head* head) {
      rcu::observe();
      std::free(caa_container_of(head, slots, retired));
    });
  }
};

// -- counters per thread and table --------------------------------------------

/// Written by the threads of one index, one after the other; those of
/// `shared_index` write at the same time.
struct alignas(64) hot_table::reader {
  std::atomic<std::uint64_t> hits{0};
  std::atomic<std::uint64_t> misses{0};
  std::atomic<std::uint64_t> joined{0};
};

namespace {

void add_one(std::atomic<std::uint64_t>& counter,
             std::uint32_t index) noexcept {
  if (index == shared_index) [[unlikely]]
    counter.fetch_add(1, std::memory_order_relaxed);
  else
    counter.store(counter.load(std::memory_order_relaxed) + 1,
                  std::memory_order_relaxed);
}

} // namespace

void hot_table::count(counter reader::*which) noexcept {
  const auto me = thread_index();
  add_one(readers_[me].*which, me);
}

void hot_table::count_hit() noexcept {
  count(&reader::hits);
}

void hot_table::count_miss() noexcept {
  count(&reader::misses);
}

void hot_table::count_join() noexcept {
  count(&reader::joined);
}

read_counts hot_table::counts() const {
  read_counts result;
  for (std::size_t i = 0; i <= shared_index; ++i) {
    const reader& r = readers_[i];
    result.hits += r.hits.load(std::memory_order_relaxed);
    result.misses += r.misses.load(std::memory_order_relaxed);
    result.joined += r.joined.load(std::memory_order_relaxed);
  }
  return result;
}

// -- life ---------------------------------------------------------------------

hot_table::hot_table(bool stamps, core::tick now)
  : slots_(slots::make(min_capacity)), now_(now), stamps_(stamps),
    quick_(rcu::quick_guard::supported()), seed_(hash_seed()),
    readers_(std::make_unique<reader[]>(shared_index + 1)) {
}

hot_table::~hot_table() {
  slots& s = *slots_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i <= s.mask; ++i)
    if (const word w = s[i].load(std::memory_order_relaxed); is_entry(w))
      retire(*unpack(w));
  slots::retire(&s);
}

// -- reading ------------------------------------------------------------------

/// Requires: inside a read-side critical section, or the writer.
[[gnu::always_inline]] inline const entry*
hot_table::probe(std::string_view key, std::uint64_t hash) const noexcept {
  slots& s = *slots_.load(std::memory_order_acquire);
  for (std::size_t i = index_of(hash);; ++i) {
    const word w = s[i].load(std::memory_order_acquire);
    if (same_tag(w, hash)) [[likely]] {
      const entry* const e = unpack(w);
      if (e->key_size_ == key.size()
          && same_bytes(e->key().data(), key.data(), key.size()))
        return e;
    } else if (w == empty) {
      return nullptr;
    }
  }
}

/// The entry of `key` if its time has not come.
[[gnu::always_inline]] inline entry*
hot_table::good(std::string_view key) const noexcept {
  auto* const e = const_cast<entry*>(probe(key, slot_hash(key, seed_)));
  if (e == nullptr || (e->may_expire && has_expired(*e)))
    return nullptr;
  return e;
}

/// Leaves the traces of a read that the policies look at.
[[gnu::always_inline]] inline void hot_table::touch(entry& e) const noexcept {
  if (stamps_) {
    const core::tick now = now_.load(std::memory_order_relaxed);
    if (e.stamp.load(std::memory_order_relaxed) != now)
      e.stamp.store(now, std::memory_order_relaxed);
  }
  if (!e.visited.load(std::memory_order_relaxed)) [[unlikely]]
    e.visited.store(true, std::memory_order_relaxed);
}

/// A hit on a key of 9 to 16 bytes that leaves no trace but counts, in as few
/// instructions, registers and stores as we can: how many cache misses of
/// neighbouring hits overlap depends on that. Calls `f(e, index of the
/// thread)`. Null in all other cases; then nothing has been counted.
template <class F>
[[gnu::always_inline]] inline entry* hot_table::quick_hit(std::string_view key,
                                                          F f) noexcept {
  const std::size_t n = key.size();
  if (n - 9 > 7 || !quick_ || !rcu::quick_guard::possible()) [[unlikely]]
    return nullptr;
  const rcu::quick_guard guard;
  slots& s = *slots_.load(std::memory_order_acquire);
  for (auto at = slot_hash(key, seed_);; at += word{1} << tag_bits) {
    const word w = s[index_of(at)].load(std::memory_order_acquire);
    if (!same_tag(w, at)) {
      if (w == empty)
        return nullptr;
      continue;
    }
    entry& e = *unpack(w);
    if (e.key_size_ != n || !same_bytes(e.key().data(), key.data(), n))
      continue;
    const std::uint32_t me = detail::own_index;
    if (e.may_expire || !e.visited.load(std::memory_order_relaxed)
        || (stamps_
            && e.stamp.load(std::memory_order_relaxed)
                 != now_.load(std::memory_order_relaxed))
        || me >= thread_indices) [[unlikely]]
      return nullptr;
    auto& hits = readers_[me].hits;
    hits.store(hits.load(std::memory_order_relaxed) + 1,
               std::memory_order_relaxed);
    f(e, me);
    return &e;
  }
}

/// Raw pointers are returned in registers.
[[gnu::flatten]] entry* hot_table::find_quickly(std::string_view key) noexcept {
  return quick_hit(key, [](entry& e, std::uint32_t me) {
    if (!e.hold(detail::records[me])) [[unlikely]]
      e.ref();
  });
}

/// The rest: any key, any trace.
[[gnu::flatten]] entry* hot_table::find_slowly(std::string_view key) noexcept {
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return nullptr;
  touch(*e);
  const std::uint32_t me = thread_index();
  add_one(readers_[me].hits, me);
  if (me == shared_index || !e->hold(detail::records[me]))
    e->ref();
  return e;
}

entry_ptr hot_table::peek(std::string_view key) const noexcept {
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return {};
  e->ref();
  return entry_ptr{e};
}

[[gnu::flatten]] bool hot_table::visit(std::string_view key,
                                       void (*f)(void* context, const entry& e),
                                       void* context) {
  if (quick_hit(key, [=](const entry& e, std::uint32_t) { f(context, e); }))
    return true;
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return false;
  touch(*e);
  const std::uint32_t me = thread_index();
  add_one(readers_[me].hits, me);
  f(context, *e);
  return true;
}

void hot_table::collect(std::vector<entry_ptr>& out) const {
  const rcu::read_guard guard;
  const core::instant now = precise_now();
  slots& s = *slots_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i <= s.mask; ++i) {
    const word w = s[i].load(std::memory_order_acquire);
    if (!is_entry(w) || unpack(w)->expires_at <= now)
      continue;
    unpack(w)->ref();
    out.emplace_back(unpack(w));
  }
}

// -- writing ------------------------------------------------------------------

entry* hot_table::lookup(std::string_view key) const noexcept {
  return const_cast<entry*>(probe(key, slot_hash(key, seed_)));
}

void hot_table::reserve() {
  const std::size_t capacity = slots_.load(std::memory_order_relaxed)->mask + 1;
  if ((used_ + 1) * 4 > capacity * 3)
    rebuild(live_ * 2 > capacity ? 2 * capacity : capacity);
}

entry* hot_table::put(entry_ptr e) {
  reserve();
  const auto hash = slot_hash(e->key(), seed_);
  slots* const s = slots_.load(std::memory_order_relaxed);
  const word w = pack(e.get(), hash);
  std::atomic<word>* target = nullptr;
  e->allow_holding();
  for (std::size_t i = index_of(hash);; ++i) {
    const word found = (*s)[i].load(std::memory_order_relaxed);
    if (same_tag(found, hash) && unpack(found)->key() == e->key()) {
      (*s)[i].store(w, std::memory_order_release);
      static_cast<void>(e.release());
      return unpack(found);
    }
    if (!is_entry(found) && target == nullptr)
      target = &(*s)[i];
    if (found == empty)
      break;
  }
  if (target->load(std::memory_order_relaxed) == empty)
    ++used_;
  ++live_;
  target->store(w, std::memory_order_release);
  static_cast<void>(e.release());
  return nullptr;
}

void hot_table::erase(entry& e) noexcept {
  slots& s = *slots_.load(std::memory_order_relaxed);
  const auto hash = slot_hash(e.key(), seed_);
  const word w = pack(&e, hash);
  std::size_t i = index_of(hash);
  while (s[i].load(std::memory_order_relaxed) != w) {
    assert(s[i].load(std::memory_order_relaxed) != empty);
    ++i;
  }
  s[i].store(removed, std::memory_order_release);
  --live_;
  // At the end of a chain nothing has to be stepped over any more.
  if (s[i + 1].load(std::memory_order_relaxed) == empty) {
    for (; s[i].load(std::memory_order_relaxed) == removed; --i) {
      s[i].store(empty, std::memory_order_release);
      --used_;
    }
  }
  retire(e);
  if (s.mask + 1 > min_capacity && live_ * 8 < s.mask + 1)
    shrink((s.mask + 1) / 2);
}

/// Gives memory back, if there is memory for it.
void hot_table::shrink(std::size_t capacity) noexcept {
  try {
    rebuild(capacity);
  } catch (const std::bad_alloc&) {
    return; // the array stays as it is
  }
}

/// Copies the entries into a new array; readers go on in the old one.
void hot_table::rebuild(std::size_t capacity) {
  slots& old = *slots_.load(std::memory_order_relaxed);
  slots& fresh = *slots::make(capacity);
  for (std::size_t i = 0; i <= old.mask; ++i) {
    const word w = old[i].load(std::memory_order_relaxed);
    if (!is_entry(w))
      continue;
    std::size_t at = index_of(slot_hash(unpack(w)->key(), seed_));
    while (fresh[at].load(std::memory_order_relaxed) != empty)
      ++at;
    fresh[at].store(w, std::memory_order_relaxed);
  }
  used_ = live_;
  slots_.store(&fresh, std::memory_order_release);
  slots::retire(&old);
}

void hot_table::clear(const std::function<void(entry&)>& f) {
  slots& old = *slots_.load(std::memory_order_relaxed);
  slots_.store(slots::make(min_capacity), std::memory_order_release);
  live_ = used_ = 0;
  for (std::size_t i = 0; i <= old.mask; ++i) {
    const word w = old[i].load(std::memory_order_relaxed);
    if (!is_entry(w))
      continue;
    f(*unpack(w));
    retire(*unpack(w));
  }
  slots::retire(&old);
}

} // namespace coopcache::table
