#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace coopcache::core {

/// Which load waits for which: finds a cycle before it is closed.
///
/// A plain table; not thread-safe. Invariant: the graph has no cycle.
class wait_graph {
public:
  using load = std::uint64_t;

  /// Notes that `waiter` waits for `target`. Returns false, and notes nothing,
  /// if `target` already waits for `waiter`, directly or through others, or
  /// if they are the same. The same edge may be noted several times.
  [[nodiscard]] bool add(load waiter, load target);

  /// Takes one noted edge back; no effect if there is none.
  void remove(load waiter, load target) noexcept;

  /// Number of noted edges.
  [[nodiscard]] std::size_t edges() const noexcept {
    return edges_;
  }

private:
  [[nodiscard]] bool reaches(load from, load to) const;

  std::unordered_map<load, std::vector<load>> targets_;
  std::size_t edges_ = 0;
};

} // namespace coopcache::core
