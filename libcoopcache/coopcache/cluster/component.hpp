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
/// to each other, and the same answer on every node that knows the same. As
/// few nodes as possible are left out: of a broken pair the one leaves that
/// comes from the smaller view (a joiner has to reach all members), then the
/// one with more broken pairs, then the one that ranks last. A link counts
/// only if both ends report it.
///
/// REQUIRES: `self` is among `known`, no two of which have the same id.
[[nodiscard]] std::vector<core::node_id>
component_of(const core::node_id& self, std::vector<candidate> known);

/// Whether members of a view of `own` should rather stay there than go on to
/// one of `next`: it is not greater, and leaves some of them out.
[[nodiscard]] bool is_worse(const std::vector<core::node_id>& next,
                            const std::vector<core::node_id>& own) noexcept;

} // namespace coopcache::cluster
