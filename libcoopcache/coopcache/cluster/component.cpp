#include "coopcache/cluster/component.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>
#include <utility>

namespace coopcache::cluster {

namespace {

using indices = std::vector<std::size_t>;

/// How many nodes leave, by the size of the view that they come from, the
/// greatest first. That is the order in which it counts.
using cost = std::vector<std::size_t>;

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

  [[nodiscard]] bool is_broken(std::size_t a, std::size_t b) const {
    return a != b && !edges_[a * size_ + b];
  }

private:
  std::size_t size_;
  std::vector<bool> edges_;
};

/// Who has to leave a group for all others to be connected: the vertex cover of
/// its broken pairs that costs least, by branch and bound. The first that it
/// comes to is that of the greedy way, which takes the worst out one by one; it
/// has so much work to better it, the same on all nodes. Thirteen nodes never
/// need more: with T(n) = 1 + T(n - 1) + T(n - 2), T(13) is 753 steps.
class thinning {
public:
  thinning(const graph& links, const std::vector<candidate>& known)
    : links_(links) {
    indices sizes;
    for (const auto& one : known)
      sizes.push_back(one.view_size);
    std::sort(sizes.begin(), sizes.end(), std::greater{});
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    for (const auto& one : known)
      ranks_.push_back(static_cast<std::size_t>(
        std::find(sizes.begin(), sizes.end(), one.view_size) - sizes.begin()));
    none_ = cost(sizes.size());
  }

  /// Takes them out of `group` and returns them.
  indices apply(indices& group) {
    go(group, {}, none_);
    for (const auto one : out_)
      std::erase(group, one);
    return std::move(out_);
  }

private:
  /// Pairs to look at.
  static constexpr std::size_t most_work = std::size_t{1000} * 13 * 13;

  [[nodiscard]] std::size_t broken(std::size_t a, const indices& among) const {
    return static_cast<std::size_t>(
      std::count_if(among.begin(), among.end(),
                    [&](std::size_t b) { return links_.is_broken(a, b); }));
  }

  /// Who leaves first: whoever comes from the smallest view, then who has most
  /// broken pairs. `group` is sorted by rank: of equals the later one. Null if
  /// there is no broken pair.
  [[nodiscard]] const std::size_t* worst(const indices& group) const {
    const std::size_t* result = nullptr;
    std::pair<std::size_t, std::size_t> most{0, 0}; // smallness, broken pairs
    for (const auto& i : group) {
      const std::pair here{ranks_[i], broken(i, group)};
      if (here.second > 0 && here >= most) {
        result = &i;
        most = here;
      }
    }
    return result;
  }

  /// At least this has to be added for `group`: of each of some broken pairs
  /// that share no node one leaves.
  [[nodiscard]] cost least(indices group) const {
    auto result = none_;
    while (group.size() > 1) {
      const auto a = group.back();
      group.pop_back();
      const auto b = std::find_if(group.begin(), group.end(), [&](auto other) {
        return links_.is_broken(a, other);
      });
      if (b == group.end())
        continue;
      ++result[std::max(ranks_[a], ranks_[*b])];
      group.erase(b);
    }
    return result;
  }

  // Either the worst leaves, or all leave to whom its link is broken.
  void go(const indices& group, const indices& out, const cost& so_far) {
    work_ += group.size() * group.size();
    if (work_ > most_work && is_found_)
      return;
    auto bound = least(group);
    std::transform(bound.begin(), bound.end(), so_far.begin(), bound.begin(),
                   std::plus{});
    if (is_found_ && bound >= best_)
      return;
    const auto* const who = worst(group);
    if (who == nullptr) {
      is_found_ = true;
      out_ = out;
      best_ = so_far;
      return;
    }
    go_without(group, {*who}, out, so_far);
    indices others;
    std::copy_if(group.begin(), group.end(), std::back_inserter(others),
                 [&](auto i) { return links_.is_broken(*who, i); });
    go_without(group, others, out, so_far);
  }

  void go_without(indices group, const indices& leaving, indices out,
                  cost so_far) {
    for (const auto one : leaving) {
      std::erase(group, one);
      out.push_back(one);
      ++so_far[ranks_[one]];
    }
    go(group, out, so_far);
  }

  const graph& links_;
  indices ranks_; ///< of their views' sizes, 0 is the greatest
  cost none_;
  cost best_;
  indices out_;
  bool is_found_ = false;
  std::size_t work_ = 0;
};

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
    rest = thinning{links, known}.apply(group);
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
