#include "coopcache/table/hot_table.hpp"

#include "coopcache/table/clock.hpp"
#include "coopcache/table/hash.hpp"
#include "coopcache/table/rcu.hpp"
#include "coopcache/table/stripes.hpp"
#include "coopcache/table/thread_index.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

namespace coopcache::table {

namespace {

// -- slots --------------------------------------------------------------------
//
// A slot is one word: the address of the entry in the low 48 bits, above them
// 15 bits of the hash, so that a probe follows no pointer in vain, and a bit
// that is set.

using word = std::uint64_t;

constexpr word empty = 0;
constexpr word removed = 1; // has no tag, so no probe takes it for an entry
constexpr int address_bits = 48;
constexpr word address_mask = (word{1} << address_bits) - 1;
constexpr word used_bit = word{1} << 63;
constexpr std::size_t min_capacity = 16;

bool same_tag(word w, std::uint64_t hash) noexcept {
  return ((w ^ (hash | used_bit)) >> address_bits) == 0;
}

word pack(const entry* e, std::uint64_t hash) noexcept {
  const auto address = reinterpret_cast<word>(e);
  if ((address & ~address_mask) != 0)
    std::abort(); // a platform with more than 48 bits of user address space
  return address | ((hash | used_bit) & ~address_mask);
}

entry* unpack(word w) noexcept {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): a slot is a packed address
  return reinterpret_cast<entry*>(w & address_mask);
}

bool is_entry(word w) noexcept {
  return w > removed;
}

/// `a == b` for keys of equal size; calls nothing for the usual sizes.
[[gnu::always_inline]] inline bool same_bytes(const char* a, const char* b,
                                              std::size_t n) noexcept {
  const auto differ = [a, b](std::size_t at) {
    std::uint64_t x = 0;
    std::uint64_t y = 0;
    std::memcpy(&x, a + at, sizeof x);
    std::memcpy(&y, b + at, sizeof y);
    return x ^ y;
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

/// A hit of so many is looked at more closely.
constexpr std::uint64_t sample_mask = 63;

/// So many turns within one tick make an entry contended: 64 * 32 hits by
/// several threads in 67 ms.
constexpr unsigned contended_after = 32;

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

std::uint64_t add_one(std::atomic<std::uint64_t>& counter,
                      std::uint32_t index) noexcept {
  if (index == shared_index) [[unlikely]]
    return counter.fetch_add(1, std::memory_order_relaxed) + 1;
  const auto result = counter.load(std::memory_order_relaxed) + 1;
  counter.store(result, std::memory_order_relaxed);
  return result;
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

hot_table::hot_table(bool stamps, core::tick now, std::size_t most_striped)
  : slots_(slots::make(min_capacity)), now_(now), stamps_(stamps),
    seed_(hash_seed()), readers_(std::make_unique<reader[]>(shared_index + 1)),
    most_striped_(
      static_cast<int>(std::min<std::size_t>(max_striped, most_striped))),
    striped_(std::make_shared<std::atomic<int>>(0)) {
  static_assert(stripes_size == sizeof(stripes));
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
  for (std::size_t i = hash;; ++i) {
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
  auto* const e = const_cast<entry*>(probe(key, hash_of(key, seed_)));
  if (e == nullptr || (e->may_expire && has_expired(*e)))
    return nullptr;
  return e;
}

/// Leaves the traces of a read that the policies look at.
[[gnu::always_inline]] inline void
hot_table::touch(entry& e, std::uint32_t index) const noexcept {
  if (stamps_) {
    const core::tick now = now_.load(std::memory_order_relaxed);
    if (e.stamp.load(std::memory_order_relaxed) != now)
      e.stamp.store(now, std::memory_order_relaxed);
  }
  if (!e.visited.load(std::memory_order_relaxed)) [[unlikely]]
    first_read(e, index);
}

/// The first since the entry came, or since the hand of SIEVE passed.
[[gnu::cold]] void hot_table::first_read(entry& e,
                                         std::uint32_t index) noexcept {
  e.visited.store(true, std::memory_order_relaxed);
  if (e.owner_.load(std::memory_order_relaxed) == entry::no_owner)
    e.adopt(index);
}

/// Every 64th hit of a thread notes in the entry who came. Threads that take
/// turns often within a few ticks collide on the reference count.
///
/// `contention` holds the thread that came last (5 bits), the tick (5) and the
/// turns in that tick (6).
void hot_table::sample(entry& e, std::uint32_t index) noexcept {
  const unsigned who = index & 31U;
  const unsigned when = now_.load(std::memory_order_relaxed) & 31U;
  const unsigned seen = e.contention.load(std::memory_order_relaxed);
  unsigned turns = (seen >> 5 & 31U) == when ? seen >> 10 : 0;
  if ((seen & 31U) != who)
    ++turns;
  if (turns < contended_after) {
    e.contention.store(static_cast<std::uint16_t>(turns << 10 | when << 5
                                                  | who),
                       std::memory_order_relaxed);
  } else {
    stripes::give(e, striped_, most_striped_);
  }
}

/// A raw pointer, because it is returned in a register.
[[gnu::flatten]] entry* hot_table::find_and_ref(std::string_view key) noexcept {
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return nullptr;
  const std::uint32_t me = thread_index();
  touch(*e, me);
  const auto hits = add_one(readers_[me].hits, me);
  const std::uint32_t owner = e->owner_.load(std::memory_order_acquire);
  if (owner == me)
    e->add_own(1);
  else if (owner != entry::striped || !e->add_striped(1, me))
    e->refs_.fetch_add(1, std::memory_order_relaxed);
  if ((hits & sample_mask) == 0 && owner != entry::striped) [[unlikely]]
    sample(*e, me);
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
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return false;
  const std::uint32_t me = thread_index();
  touch(*e, me);
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
  return const_cast<entry*>(probe(key, hash_of(key, seed_)));
}

void hot_table::reserve() {
  const std::size_t capacity = slots_.load(std::memory_order_relaxed)->mask + 1;
  if ((used_ + 1) * 4 > capacity * 3)
    rebuild(live_ * 2 > capacity ? 2 * capacity : capacity);
}

entry* hot_table::put(entry_ptr e) {
  reserve();
  const auto hash = hash_of(e->key(), seed_);
  slots* const s = slots_.load(std::memory_order_relaxed);
  const word w = pack(e.get(), hash);
  std::atomic<word>* target = nullptr;
  for (std::size_t i = hash;; ++i) {
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
  std::size_t i = hash_of(e.key(), seed_);
  const word w = pack(&e, i);
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
    std::size_t at = hash_of(unpack(w)->key(), seed_);
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

std::uint64_t hot_table::striped_bytes() const noexcept {
  const int striped = striped_->load(std::memory_order_relaxed);
  return static_cast<std::uint64_t>(striped) * stripes_size;
}

} // namespace coopcache::table
