#include "coopcache/core/timer_wheel.hpp"

#include <algorithm>
#include <cassert>

namespace coopcache::core {

void timer_wheel::schedule(record& r, tick due) noexcept {
  assert(!r.scheduled);
  r.due = std::max(due, now_ + 1);
  r.scheduled = true;
  link(r);
}

void timer_wheel::cancel(record& r) noexcept {
  if (!r.scheduled)
    return;
  *r.wheel_link = r.wheel_next;
  if (r.wheel_next != nullptr)
    r.wheel_next->wheel_link = r.wheel_link;
  r.scheduled = false;
}

/// Picks the level by the distance, the slot by the digit of the due time at
/// that level. A slot begins when the time reaches its first tick.
void timer_wheel::link(record& r) noexcept {
  const tick away = r.due - now_;
  unsigned level = 0;
  while (level + 1 < levels && (away >> (bits * (level + 1))) != 0)
    ++level;
  const tick reach = (slots - 1) << (bits * level);
  const tick at = (now_ + std::min(away, reach)) >> (bits * level);
  record*& head = heads_[level][at & (slots - 1)];
  r.wheel_next = head;
  r.wheel_link = &head;
  if (head != nullptr)
    head->wheel_link = &r.wheel_next;
  head = &r;
  const tick begins = at << (bits * level);
  next_ = next_ ? std::min(*next_, begins) : begins;
}

void timer_wheel::advance(tick now, std::vector<record*>& out) {
  while (next_ && *next_ <= now) {
    now_ = *next_;
    step(out);
    next_ = earliest();
  }
  now_ = std::max(now_, now);
}

/// Empties every slot that begins now: what is due comes out, the rest is
/// linked again, closer.
void timer_wheel::step(std::vector<record*>& out) {
  for (unsigned level = 0; level < levels; ++level) {
    const tick width_mask = (tick{1} << (bits * level)) - 1;
    if ((now_ & width_mask) != 0)
      return;
    record*& head = heads_[level][(now_ >> (bits * level)) & (slots - 1)];
    record* r = head;
    head = nullptr;
    while (r != nullptr) {
      record* const following = r->wheel_next;
      if (r->due <= now_) {
        r->scheduled = false;
        out.push_back(r);
      } else {
        link(*r);
      }
      r = following;
    }
  }
}

std::optional<tick> timer_wheel::next() const noexcept {
  return next_;
}

std::optional<tick> timer_wheel::earliest() const noexcept {
  std::optional<tick> result;
  for (unsigned level = 0; level < levels; ++level) {
    const tick at = now_ >> (bits * level);
    for (tick i = 1; i < slots; ++i) {
      if (heads_[level][(at + i) & (slots - 1)] == nullptr)
        continue;
      const tick begins = (at + i) << (bits * level);
      result = result ? std::min(*result, begins) : begins;
      break;
    }
  }
  return result;
}

} // namespace coopcache::core
