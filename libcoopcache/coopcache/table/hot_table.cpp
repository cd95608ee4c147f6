#include "coopcache/table/hot_table.hpp"

#include "coopcache/table/clock.hpp"
#include "coopcache/table/hash.hpp"
#include "coopcache/table/rcu.hpp"
#include "coopcache/table/stripes.hpp"

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>

namespace coopcache::table {

namespace {

// -- slots --------------------------------------------------------------------
//
// A slot is one word: the address of the entry in the low 48 bits and 15 bits
// of the hash above them, so that a probe follows no pointer in vain.

using word = std::uint64_t;

constexpr word empty = 0;
constexpr word removed = 1; // has no tag, so no probe takes it for an entry
constexpr word address_mask = (word{1} << 48) - 1;
constexpr std::size_t min_capacity = 16;

word tag_of(std::uint64_t hash) noexcept {
  return (hash | word{1} << 48) & ~address_mask;
}

word pack(const entry* e, std::uint64_t hash) noexcept {
  const auto address = reinterpret_cast<word>(e);
  if ((address & ~address_mask) != 0)
    std::abort(); // a platform with more than 48 bits of user address space
  return address | tag_of(hash);
}

entry* unpack(word w) noexcept {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): a slot is a packed address
  return reinterpret_cast<entry*>(w & address_mask);
}

bool is_entry(word w) noexcept {
  return w > removed;
}

/// `a == b` for keys of equal size; calls nothing for the usual sizes.
bool same_bytes(const char* a, const char* b, std::size_t n) noexcept {
  const auto load = [](const char* p) {
    std::uint64_t x = 0;
    std::memcpy(&x, p, sizeof x);
    return x;
  };
  if (n < 8 || n > 32)
    return std::memcmp(a, b, n) == 0;
  std::uint64_t diff = load(a + n - 8) ^ load(b + n - 8);
  for (std::size_t i = 0; i + 8 < n; i += 8)
    diff |= load(a + i) ^ load(b + i);
  return diff == 0;
}

void after_readers(entry& e, void (*f)(rcu_head* head)) noexcept {
  static_assert(sizeof(rcu_head) <= sizeof(e.queue));
  static_assert(offsetof(core::record, queue) == 0);
  auto* const head = new (static_cast<void*>(&e.queue)) rcu_head;
  rcu::publish();
  urcu_bp_call_rcu(head, f);
}

entry& retired_entry(rcu_head* head) noexcept {
  auto* const hook = static_cast<void*>(head);
  return static_cast<entry&>(*static_cast<core::record*>(hook));
}

/// A hit of so many is looked at more closely.
constexpr std::uint64_t sample_mask = 63;

/// So many turns within one tick make an entry contended: 64 * 32 hits by
/// several threads in 67 ms.
constexpr unsigned contended_after = 32;

std::uint64_t next_table_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
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

/// Written by one thread; on cache lines of its own.
struct alignas(64) reader {
  std::uint32_t stripe = stripe_count; ///< of the thread that uses it now
  std::atomic<std::uint64_t> hits{0};
  std::atomic<std::uint64_t> misses{0};
  std::atomic<std::uint64_t> joined{0};
};

/// All readers of one table. A thread that ends leaves its reader, with the
/// counts in it, to the next thread that comes.
class readers {
public:
  reader* take() {
    const std::lock_guard guard{mutex_};
    if (free_.empty())
      return add();
    reader* const result = free_.back();
    free_.pop_back();
    return result;
  }

  void give_back(reader* r) noexcept {
    const std::lock_guard guard{mutex_};
    free_.push_back(r); // `add` has reserved the room
  }

  /// For destructors that run when their thread has given its reader back.
  /// Shared, so that a count may get lost.
  reader* spare() noexcept {
    return &spare_;
  }

  read_counts sum() const {
    const std::lock_guard guard{mutex_};
    read_counts result;
    const auto add_up = [&result](const reader& r) {
      result.hits += r.hits.load(std::memory_order_relaxed);
      result.misses += r.misses.load(std::memory_order_relaxed);
      result.joined += r.joined.load(std::memory_order_relaxed);
    };
    add_up(spare_);
    for (const auto& r : all_)
      add_up(*r);
    return result;
  }

private:
  reader* add() {
    free_.reserve(all_.size() + 1);
    return all_.emplace_back(std::make_unique<reader>()).get();
  }

  mutable std::mutex mutex_;
  reader spare_;
  std::vector<std::unique_ptr<reader>> all_;
  std::vector<reader*> free_;
};

namespace {

/// Which reader a thread uses for which table.
struct reader_slot {
  std::uint64_t table_id;
  reader* mine;
};

constexpr std::size_t reader_slots = 16;
constinit thread_local std::array<reader_slot, reader_slots> near_readers{};

/// Set when the readers of the thread have been given back.
constinit thread_local bool thread_ended = false;

/// All readers that a thread has taken; gives them back when it ends.
struct owned_readers {
  struct owned {
    std::uint64_t table_id;
    reader* mine;
    std::weak_ptr<readers> home;
  };

  std::vector<owned> all;

  ~owned_readers() {
    thread_ended = true;
    near_readers.fill({});
    for (const auto& each : all)
      if (const auto home = each.home.lock())
        home->give_back(each.mine);
  }
};

void bump(std::atomic<std::uint64_t>& counter) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + 1,
                std::memory_order_relaxed);
}

} // namespace

[[gnu::always_inline]] inline reader& hot_table::mine() noexcept {
  const reader_slot& near = near_readers[id_ % reader_slots];
  if (near.table_id == id_) [[likely]]
    return *near.mine;
  return register_thread();
}

reader& hot_table::register_thread() noexcept {
  if (thread_ended)
    return *readers_->spare();
  static thread_local owned_readers owned;
  std::erase_if(owned.all, [](const auto& o) { return o.home.expired(); });
  for (const auto& each : owned.all) {
    if (each.table_id == id_) {
      near_readers[id_ % reader_slots] = {id_, each.mine};
      return *each.mine;
    }
  }
  reader* const fresh = readers_->take();
  fresh->stripe = my_stripe();
  owned.all.push_back({id_, fresh, readers_});
  near_readers[id_ % reader_slots] = {id_, fresh};
  return *fresh;
}

void hot_table::count_hit() noexcept {
  bump(mine().hits);
}

void hot_table::count_miss() noexcept {
  bump(mine().misses);
}

void hot_table::count_join() noexcept {
  bump(mine().joined);
}

read_counts hot_table::counts() const {
  return readers_->sum();
}

// -- life ---------------------------------------------------------------------

hot_table::hot_table(bool stamps, core::tick now)
  : slots_(slots::make(min_capacity)), now_(now), stamps_(stamps),
    id_(next_table_id()), readers_(std::make_shared<readers>()),
    striped_(std::make_shared<std::atomic<int>>(0)) {
}

hot_table::~hot_table() {
  slots& s = *slots_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i <= s.mask; ++i)
    if (const word w = s[i].load(std::memory_order_relaxed); is_entry(w))
      retire(*unpack(w));
  slots::retire(&s);
}

void hot_table::drain() {
  // A striped entry is retired in two steps, the second from within the first.
  urcu_bp_barrier();
  urcu_bp_barrier();
}

// -- reading ------------------------------------------------------------------

/// Requires: inside a read-side critical section, or the writer.
[[gnu::always_inline]] inline const entry*
hot_table::probe(std::string_view key, std::uint64_t hash) const noexcept {
  slots& s = *slots_.load(std::memory_order_acquire);
  const word tag = tag_of(hash);
  for (std::size_t i = hash;; ++i) {
    const word w = s[i].load(std::memory_order_acquire);
    if ((w & ~address_mask) == tag) {
      const entry* const e = unpack(w);
      if (e->key_size_ == key.size()
          && same_bytes(e->key().data(), key.data(), key.size()))
        return e;
    } else if (w == empty) {
      return nullptr;
    }
  }
}

/// The entry of `key` if its time has not come. The coarse clock is behind:
/// within one step of the expiry the precise one decides.
[[gnu::always_inline]] inline entry*
hot_table::good(std::string_view key) const noexcept {
  auto* const e = const_cast<entry*>(probe(key, hash_of(key)));
  if (e == nullptr)
    return nullptr;
  if (e->expires_at != core::never
      && e->expires_at <= coarse_now() + coarse_step
      && e->expires_at <= precise_now()) [[unlikely]]
    return nullptr;
  return e;
}

[[gnu::always_inline]] inline void hot_table::touch(entry& e,
                                                    reader& r) noexcept {
  if (stamps_) {
    const core::tick now = now_.load(std::memory_order_relaxed);
    if (e.stamp.load(std::memory_order_relaxed) != now)
      e.stamp.store(now, std::memory_order_relaxed);
  }
  if (!e.visited.load(std::memory_order_relaxed))
    e.visited.store(true, std::memory_order_relaxed);
  const std::uint64_t hits = r.hits.load(std::memory_order_relaxed) + 1;
  r.hits.store(hits, std::memory_order_relaxed);
  if ((hits & sample_mask) == 0) [[unlikely]]
    sample(e, r);
}

/// Every 64th hit of a thread notes in the entry who came. Threads that take
/// turns often within a few ticks collide on the reference count.
///
/// `contention` holds the thread that came last (5 bits), the tick (5) and the
/// turns in that tick (6).
void hot_table::sample(entry& e, const reader& r) noexcept {
  const unsigned who = r.stripe;
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
    stripes::give(e, striped_);
  }
}

entry_ptr hot_table::find(std::string_view key) noexcept {
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return {};
  reader& me = mine();
  stripes* const s = e->stripes_.load(std::memory_order_acquire);
  if (s != nullptr && me.stripe < stripe_count)
    s->add(me.stripe, 1);
  else
    e->refs_.fetch_add(1, std::memory_order_relaxed);
  touch(*e, me);
  return entry_ptr{e};
}

entry_ptr hot_table::peek(std::string_view key) const noexcept {
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return {};
  e->ref();
  return entry_ptr{e};
}

bool hot_table::visit(std::string_view key,
                      void (*f)(void* context, const entry& e), void* context) {
  const rcu::read_guard guard;
  entry* const e = good(key);
  if (e == nullptr)
    return false;
  touch(*e, mine());
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
  return const_cast<entry*>(probe(key, hash_of(key)));
}

entry* hot_table::put(entry_ptr e) {
  e->hash_ = hash_of(e->key());
  slots* s = slots_.load(std::memory_order_relaxed);
  if ((used_ + 1) * 4 > (s->mask + 1) * 3) {
    rebuild(live_ * 2 > s->mask + 1 ? 2 * (s->mask + 1) : s->mask + 1);
    s = slots_.load(std::memory_order_relaxed);
  }
  const word w = pack(e.get(), e->hash_);
  std::atomic<word>* target = nullptr;
  for (std::size_t i = e->hash_;; ++i) {
    const word found = (*s)[i].load(std::memory_order_relaxed);
    if (is_entry(found) && unpack(found)->hash_ == e->hash_
        && unpack(found)->key() == e->key()) {
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
  const word w = pack(&e, e.hash_);
  std::size_t i = e.hash_;
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
    std::size_t at = unpack(w)->hash_;
    while (fresh[at].load(std::memory_order_relaxed) != empty)
      ++at;
    fresh[at].store(w, std::memory_order_relaxed);
  }
  used_ = live_;
  slots_.store(&fresh, std::memory_order_release);
  slots::retire(&old);
}

// The hook of the reclamation library lives where the neighbours in the SIEVE
// queue were: a retired entry is in no queue.

void hot_table::retire(entry& e) noexcept {
  after_readers(e, [](rcu_head* head) {
    rcu::observe();
    entry& old = retired_entry(head);
    if (old.stripes_.load(std::memory_order_relaxed) == nullptr)
      old.deref();
    else
      retire_striped(old);
  });
}

/// Second step for an entry with stripes: threads may still count in them. From
/// now on they use `refs_`, and after one more grace period the sum is exact.
void hot_table::retire_striped(entry& e) noexcept {
  stripes* const s = e.stripes_.exchange(nullptr, std::memory_order_acq_rel);
  e.wheel_next = reinterpret_cast<core::record*>(s);
  after_readers(e, [](rcu_head* head) {
    rcu::observe();
    entry& old = retired_entry(head);
    auto* const counted = reinterpret_cast<stripes*>(old.wheel_next);
    const auto owed = counted->sum() - entry::striped_bias - 1;
    delete counted;
    if (old.refs_.fetch_add(owed, std::memory_order_acq_rel) + owed == 0)
      old.destroy();
  });
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
  return static_cast<std::uint64_t>(striped) * sizeof(stripes);
}

} // namespace coopcache::table
