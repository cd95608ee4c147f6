#include "coopcache/cluster/component.hpp"

#include <algorithm>
#include <numeric>

namespace coopcache::cluster {

namespace {

using indices = std::vector<std::size_t>;

bool reports(const candidate& from, const core::node_id& to) {
  return std::find(from.links.begin(), from.links.end(), to)
         != from.links.end();
}

/// Which candidates can talk to each other, by index.
class graph {
public:
  explicit graph(const std::vector<candidate>& known)
    : size_(known.size()), edges_(size_ * size_) {
    for (std::size_t a = 0; a < size_; ++a)
      for (std::size_t b = a + 1; b < size_; ++b)
        edges_[a * size_ + b] = edges_[b * size_ + a] = reports(known[a],
                                                                known[b].id)
                                                        && reports(known[b],
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
    std::size_t worst = known.size();
    std::size_t worst_broken = 0;
    for (const auto i : group) {
      const auto broken = links.broken(i, group);
      if (broken == 0)
        continue;
      const bool smaller = worst < known.size()
                           && known[i].view_size < known[worst].view_size;
      const bool same = worst < known.size()
                        && known[i].view_size == known[worst].view_size;
      // `known` is sorted by rank: of equals the later one is the worse.
      if (worst == known.size() || smaller
          || (same && broken >= worst_broken)) {
        worst = i;
        worst_broken = broken;
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
    if (rest.empty() || std::find(ids.begin(), ids.end(), self) != ids.end())
      return ids;
  }
}

} // namespace coopcache::cluster
