#include "coopcache/core/store.hpp"

#include <algorithm>
#include <cassert>

namespace coopcache::core {

bool store::admit(record& r, instant now, std::vector<record*>& victims) {
  assert(!r.stored);
  if (!make_room(r.charge, victims))
    return false;
  if (options_.time_to_live)
    r.expire_at(std::min(r.expires_at, later(now, *options_.time_to_live)));
  r.stamp.store(to_tick(now), std::memory_order_relaxed);
  r.visited.store(false, std::memory_order_relaxed);
  r.stored = true;
  bytes_ += r.charge;
  ++entries_;
  push(r);
  if (const instant at = due(r); at != never)
    wheel_.schedule(r, tick_after(at));
  return true;
}

void store::remove(record& r) noexcept {
  if (!r.stored)
    return;
  wheel_.cancel(r);
  unlink(r);
  r.stored = false;
  bytes_ -= r.charge;
  --entries_;
}

void store::expire(instant now, std::vector<record*>& out) {
  woken_.clear();
  wheel_.advance(to_tick(now), woken_);
  for (record* r : woken_) {
    const instant at = due(*r);
    if (at <= now) {
      remove(*r);
      out.push_back(r);
    } else {
      wheel_.schedule(*r, tick_after(at));
    }
  }
}

instant store::next_wake() const noexcept {
  const auto next = wheel_.next();
  return next ? start_of(*next) : never;
}

/// An entry that was read in a tick counts as read at the end of the next one,
/// so that it does not live shorter than promised: readers take the time from
/// the ticker, which may be one tick behind.
instant store::due(const record& r) const noexcept {
  if (!options_.idle)
    return r.expires_at;
  const tick read = r.stamp.load(std::memory_order_relaxed);
  return std::min(r.expires_at, later(start_of(read + 2), *options_.idle));
}

bool store::make_room(std::uint64_t need, std::vector<record*>& out) {
  const std::uint64_t limit = options_.memory_limit;
  if (need > limit)
    return false;
  while (bytes() + need > limit) {
    record* const victim = options_.evict ? pick_victim() : nullptr;
    if (victim == nullptr)
      return false;
    remove(*victim);
    out.push_back(victim);
  }
  return true;
}

void store::push(record& r) noexcept {
  r.queue.newer = nullptr;
  r.queue.older = newest_;
  (newest_ != nullptr ? newest_->queue.newer : oldest_) = &r;
  newest_ = &r;
}

void store::unlink(record& r) noexcept {
  if (hand_ == &r)
    hand_ = r.queue.newer;
  (r.queue.newer != nullptr ? r.queue.newer->queue.older
                            : newest_) = r.queue.older;
  (r.queue.older != nullptr ? r.queue.older->queue.newer
                            : oldest_) = r.queue.newer;
}

/// SIEVE: the hand moves from old to new, spares what was visited since it last
/// passed, and takes the first that was not. Source: Y. Zhang et al., "SIEVE is
/// Simpler than LRU", NSDI 2024.
record* store::pick_victim() noexcept {
  record* r = hand_ != nullptr ? hand_ : oldest_;
  // Two rounds see every record unvisited once, unless readers are faster than
  // the hand: then the record under the hand goes.
  for (std::uint64_t left = 2 * entries_; r != nullptr && left > 0; --left) {
    if (!r->visited.exchange(false, std::memory_order_relaxed))
      break;
    r = r->queue.newer != nullptr ? r->queue.newer : oldest_;
  }
  hand_ = r != nullptr ? r->queue.newer : nullptr;
  return r;
}

} // namespace coopcache::core
