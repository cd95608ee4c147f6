#include "coopcache/actor/registry_core.hpp"

#include "coopcache/core/exception_text.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <type_traits>

// What goes into the machine of the cluster, and how its effects are done.

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

constexpr int most_batches = 50;

std::uint64_t wall_now() noexcept {
  return static_cast<std::uint64_t>(
    std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch())
      .count());
}

} // namespace

cluster::clocks registry_core::now() {
  return {table::boot_now(), wall_now()};
}

core::instant registry_core::deadline_of(
  const cluster::clocks& at,
  const std::optional<std::chrono::milliseconds>& length) {
  return length ? core::later(at.now, core::clamped(*length)) : core::never;
}

void registry_core::end_turn(std::unique_lock<std::mutex>& guard,
                             const cluster::clocks& at,
                             cluster::registry::effects effects) {
  for (auto& one : effects)
    tasks_.emplace_back(std::move(one));
  if (!syncs_.empty())
    answer_syncs(at);
  *holds_until_ = machine_.holds_until();
  work(guard);
  if (machine_.traffic().next_wake() != core::never)
    busy_until_ = at.now + 100ms;
  const auto next = due();
  guard.unlock();
  wake(next - (now().now - table::precise_now()));
}

// With `mutex_`.
core::instant registry_core::due() const {
  if (!tasks_.empty() && !working_)
    return {}; // somebody else goes on
  auto result = machine_.next_wake();
  for (const auto& one : syncs_)
    result = std::min(result, one.deadline);
  return result;
}

void registry_core::work(std::unique_lock<std::mutex>& guard) {
  if (working_)
    return; // in order: whoever is at it goes on
  working_ = true;
  worker_ = std::this_thread::get_id();
  // Nobody is to do the work of all others for ever, least of all a thread of
  // the network, or the one that sends the beats.
  for (auto left = most_batches; left > 0 && !tasks_.empty(); --left) {
    auto batch = std::exchange(tasks_, {});
    guard.unlock();
    for (auto& one : batch)
      try {
        perform(one);
      } catch (...) {
        log(log_level::error,
            "a step of the registry has thrown, which is a fault of coopcache: "
              + core::exception_text());
      }
    guard.lock();
  }
  working_ = false;
  worker_ = std::thread::id{};
  idle_.notify_all();
}

// Beats wait behind a long message: whatever comes is a sign of life.
std::vector<std::pair<core::node_id, core::instant>>
registry_core::last_heard() const {
  std::vector<std::pair<core::node_id, core::instant>> result;
  const std::lock_guard guard{tables_mutex_};
  for (const auto& [peer, over] : links_)
    if (const auto line = over.past_broker->get())
      result.emplace_back(peer, line->heard());
  return result;
}

core::instant registry_core::tick(core::instant monotonic) {
  core::instant next;
  {
    const std::lock_guard guard{mutex_};
    next = due();
  }
  if (table::boot_now() >= next) {
    const auto heard = last_heard();
    turn([&](auto& machine, const auto& at) {
      for (const auto& [peer, when] : heard)
        machine.heard(peer, when);
      return machine.tick(at);
    });
  }
  auto wanted = core::never;
  if (const auto net = network()) {
    net->tick(monotonic);
    if (monotonic < net->next_wake())
      wanted = net->next_wake();
  }
  const std::lock_guard guard{mutex_};
  const auto at = table::boot_now();
  if (at < busy_until_)
    wanted = std::min(wanted, monotonic + 20ms);
  return std::min(wanted, due() - (at - monotonic));
}

void registry_core::wake(core::instant at) {
  const std::lock_guard guard{ticker_mutex_};
  if (ticker_ != nullptr)
    ticker_->poke(at);
}

void registry_core::perform(task& what) {
  std::visit(
    [this](auto& one) {
      if constexpr (std::is_same_v<std::decay_t<decltype(one)>,
                                   cluster::effect>)
        std::visit([this](const auto& effect) { this->perform(effect); }, one);
      else
        this->perform(one);
    },
    what);
}

} // namespace coopcache::actor
