#include "coopcache/table/flight.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace coopcache::table {

namespace {

bool later_deadline(const waiter_ptr& a, const waiter_ptr& b) noexcept {
  return a->deadline > b->deadline;
}

} // namespace

void notify(const std::vector<waiter_ptr>& all, const landing& how) noexcept {
  for (const auto& each : all)
    each->settle();
  for (const auto& each : all)
    each->notify(how);
}

flight::flight(std::uint64_t id_arg, std::string_view key_arg,
               std::shared_ptr<flight_owner> owner_arg,
               std::unique_ptr<loader> work, bool refresh_arg)
  : id(id_arg), key(key_arg), owner(std::move(owner_arg)), refresh(refresh_arg),
    loader_(std::move(work)) {
}

flight::attached flight::attach(waiter_ptr& who, std::uint64_t max_waiters,
                                bool& earliest) {
  const std::lock_guard guard{mutex_};
  if (landed())
    return attached::landed;
  if (waiters_.size() + blocked_ >= max_waiters)
    return attached::full;
  const waiter* const added = who.get();
  waiters_.push_back(std::move(who));
  std::push_heap(waiters_.begin(), waiters_.end(), later_deadline);
  earliest = waiters_.front().get() == added;
  return attached::yes;
}

flight::waited flight::wait(core::instant deadline, std::uint64_t max_waiters) {
  std::unique_lock guard{mutex_};
  if (!landed() && waiters_.size() + blocked_ >= max_waiters)
    return waited::full;
  ++blocked_;
  const auto over = [this, before = expulsions_] {
    return landed() || expulsions_ != before;
  };
  const std::chrono::steady_clock::time_point until{
    deadline.time_since_epoch()};
  bool in_time = true;
  if (deadline == core::never)
    changed_.wait(guard, over);
  else
    in_time = changed_.wait_until(guard, until, over);
  --blocked_;
  if (landed())
    return waited::landed;
  return in_time ? waited::expelled : waited::deadline;
}

std::vector<waiter_ptr> flight::land(landing how) {
  std::vector<waiter_ptr> result;
  {
    const std::lock_guard guard{mutex_};
    how_ = std::move(how);
    landed_.store(true, std::memory_order_release);
    result.swap(waiters_);
  }
  changed_.notify_all();
  return result;
}

void flight::expire(core::instant now, std::vector<waiter_ptr>& out) {
  const std::lock_guard guard{mutex_};
  while (!waiters_.empty() && waiters_.front()->deadline <= now) {
    std::pop_heap(waiters_.begin(), waiters_.end(), later_deadline);
    out.push_back(std::move(waiters_.back()));
    waiters_.pop_back();
  }
}

std::vector<waiter_ptr> flight::expel() {
  std::vector<waiter_ptr> result;
  {
    const std::lock_guard guard{mutex_};
    ++expulsions_;
    result.swap(waiters_);
  }
  changed_.notify_all();
  return result;
}

core::instant flight::next_deadline() const {
  const std::lock_guard guard{mutex_};
  return waiters_.empty() ? core::never : waiters_.front()->deadline;
}

bool flight::awaited() const {
  const std::lock_guard guard{mutex_};
  return interested_ != 0 || blocked_ != 0 || !waiters_.empty();
}

void flight::request_stop() noexcept {
  const std::stop_source known = [this] {
    const std::lock_guard guard{mutex_};
    stopped_ = true;
    return stop_;
  }();
  known.request_stop(); // without the lock: it runs the callbacks
}

std::stop_token flight::stop_token() {
  const std::lock_guard guard{mutex_};
  if (!stop_.stop_possible()) {
    stop_ = std::stop_source{};
    if (stopped_)
      stop_.request_stop(); // it has no callbacks yet
  }
  return stop_.get_token();
}

std::unique_ptr<loader> flight::take_loader() {
  const std::lock_guard guard{mutex_};
  return std::move(loader_);
}

} // namespace coopcache::table
