#include "coopcache/cluster/component.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace coopcache::cluster {

namespace {

using indices = std::vector<std::size_t>;

/// Which candidates can talk to each other, by index.
class graph {
public:
  explicit graph(const std::vector<candidate>& known)
    : size_(known.size()), edges_(size_ * size_) {
    for (std::size_t a = 0; a < size_; ++a)
      for (std::size_t b = a + 1; b < size_; ++b)
        edges_[a * size_ + b] = edges_[b * size_
                                       + a] = core::contains(known[a].links,
                                                             known[b].id)
                                              && core::contains(known[b].links,
                                                                known[a].id);
  }

  [[nodiscard]] std::size_t broken(std::size_t a, const indices& among) const {
    return static_cast<std::size_t>(
      std::count_if(among.begin(), among.end(), [this, a](std::size_t b) {
        return a != b && !edges_[a * size_ + b];
      }));
  }

private:
  std::size_t size_;
  std::vector<bool> edges_;
};

/// Takes nodes out of `group` until all that are left are connected; returns
/// those that were taken out.
indices thin_out(indices& group, const graph& links,
                 const std::vector<candidate>& known) {
  indices out;
  for (;;) {
    auto worst = known.size();
    std::pair<std::size_t, std::size_t> most{0, 0}; // smallness, broken pairs
    for (const auto i : group) {
      const auto broken = links.broken(i, group);
      const std::pair here{~known[i].view_size, broken};
      // `known` is sorted by rank: of equals the later one leaves.
      if (broken > 0 && here >= most) {
        worst = i;
        most = here;
      }
    }
    if (worst == known.size())
      return out;
    std::erase(group, worst);
    out.push_back(worst);
  }
}

} // namespace

std::vector<core::node_id> component_of(const core::node_id& self,
                                        std::vector<candidate> known) {
  std::sort(known.begin(), known.end(), [](const auto& a, const auto& b) {
    return core::ranks_before(a.id, b.id);
  });
  const graph links{known};
  indices rest(known.size());
  std::iota(rest.begin(), rest.end(), std::size_t{0});
  for (;;) {
    indices group = std::move(rest);
    rest = thin_out(group, links, known);
    std::sort(rest.begin(), rest.end());
    std::vector<core::node_id> ids;
    ids.reserve(group.size());
    for (const auto i : group)
      ids.push_back(known[i].id);
    if (rest.empty() || core::contains(ids, self))
      return ids;
  }
}

bool is_worse(const std::vector<core::node_id>& next,
              const std::vector<core::node_id>& own) noexcept {
  return next.size() <= own.size() && !core::contains_all(next, own);
}

} // namespace coopcache::cluster
