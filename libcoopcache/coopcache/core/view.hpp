#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace coopcache::core {

/// One run of one node. A node that starts again has a greater incarnation.
struct node_id {
  std::string name;              ///< unique in the cluster
  std::uint64_t incarnation = 0; ///< Unix time of its start in ms

  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 that it compares with
  friend auto operator<=>(const node_id&, const node_id&) = default;

  /// The number first, which tells most of them apart.
  friend bool operator==(const node_id& a, const node_id& b) noexcept {
    return a.incarnation == b.incarnation && a.name == b.name;
  }
};

/// Whether `a` goes before `b` in rank: the older one does, then the one with
/// the smaller name. Who ranks first proposes views; who ranks last leaves.
[[nodiscard]] bool ranks_before(const node_id& a, const node_id& b) noexcept;

/// Whether `one` is among `all`.
[[nodiscard]] bool contains(const std::vector<node_id>& all,
                            const node_id& one) noexcept;

/// Whether each of `some` is among `all`.
[[nodiscard]] bool contains_all(const std::vector<node_id>& all,
                                const std::vector<node_id>& some) noexcept;

/// Names a view; later views of a member have greater ids.
struct view_id {
  std::uint64_t number = 0; ///< usually its Unix time in ms, or more
  node_id proposer;

  // NOLINTNEXTLINE(modernize-use-nullptr): the 0 that it compares with
  friend auto operator<=>(const view_id&, const view_id&) = default;
};

/// Members that are all connected to each other, as they agreed on it.
struct view {
  view_id id;
  std::vector<node_id> members; ///< by rank, no two of one name

  [[nodiscard]] bool has(const node_id& node) const noexcept {
    return contains(members, node);
  }

  friend bool operator==(const view&, const view&) = default;
};

/// Which member of a view arbitrates what: each resource has exactly one home,
/// all members pick the same, and few resources move when a member comes or
/// goes. Rendezvous hashing (Thaler and Ravishankar, 1998).
class homes {
public:
  homes() = default;
  explicit homes(const view& of);

  /// Whether there is no member.
  [[nodiscard]] bool empty() const noexcept {
    return members_.empty();
  }

  /// REQUIRES: a member.
  [[nodiscard]] const node_id& of(std::string_view resource) const noexcept {
    return members_[index_of(resource)].id;
  }

  /// The same, as the position among the members of the view.
  [[nodiscard]] std::size_t index_of(std::string_view resource) const noexcept;

private:
  struct member {
    node_id id;
    std::uint64_t hash; ///< of its name
  };

  std::vector<member> members_;
};

/// A 64-bit hash that is the same on every node and in every version.
[[nodiscard]] std::uint64_t stable_hash(std::string_view text) noexcept;

/// Spreads the bits of `x` (the finalizer of SplitMix64, Steele et al. 2014).
[[nodiscard]] std::uint64_t mixed(std::uint64_t x) noexcept;

/// "name/incarnation", for logs.
[[nodiscard]] std::string to_string(const node_id& node);

} // namespace coopcache::core
