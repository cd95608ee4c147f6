#pragma once

#include "coopcache/core/view.hpp"

#include <cstddef>
#include <vector>

namespace coopcache::cluster {

/// What is known of one node when components are looked for.
struct candidate {
  core::node_id id;
  std::size_t view_size = 1;        ///< candidates in the view that it is in
  std::vector<core::node_id> links; ///< whom it can talk to
};

/// The nodes that should make up one view with `self`, by rank: all connected
/// to each other, and the same answer on every node that knows the same. As few
/// nodes as possible of the largest view are left out, then of the next one (a
/// joiner has to reach all members): exactly with up to 13 candidates, and in a
/// bounded search with more. Of equal choices the one that leaves has more
/// broken pairs, then ranks last. A link counts only if both ends report it.
///
/// REQUIRES: `self` is among `known`, no two of which have the same id.
[[nodiscard]] std::vector<core::node_id>
component_of(const core::node_id& self, std::vector<candidate> known);

/// Whether members of a view of `own` should rather stay there than go on to
/// one of `next`: it is not greater, and leaves some of them out.
[[nodiscard]] bool is_worse(const std::vector<core::node_id>& next,
                            const std::vector<core::node_id>& own) noexcept;

} // namespace coopcache::cluster
