#include "coopcache/core/view.hpp"

#include <algorithm>
#include <tuple>

namespace coopcache::core {

bool ranks_before(const node_id& a, const node_id& b) noexcept {
  return std::tie(a.incarnation, a.name) < std::tie(b.incarnation, b.name);
}

bool contains(const std::vector<node_id>& all, const node_id& one) noexcept {
  return std::find(all.begin(), all.end(), one) != all.end();
}

bool contains_all(const std::vector<node_id>& all,
                  const std::vector<node_id>& some) noexcept {
  return std::all_of(some.begin(), some.end(),
                     [&all](const node_id& one) { return contains(all, one); });
}

// FNV-1a, then spread: the keys are short and the result is compared as a
// whole.
std::uint64_t stable_hash(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return mixed(hash);
}

std::uint64_t mixed(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

homes::homes(const view& of) {
  members_.reserve(of.members.size());
  for (const auto& id : of.members)
    members_.push_back({id, stable_hash(id.name)});
}

std::size_t homes::index_of(std::string_view resource) const noexcept {
  const auto key = stable_hash(resource);
  std::size_t best = 0;
  std::uint64_t best_weight = 0;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const auto weight = mixed(key ^ members_[i].hash);
    if (weight > best_weight) {
      best = i;
      best_weight = weight;
    }
  }
  return best;
}

std::string to_string(const node_id& node) {
  return node.name + "/" + std::to_string(node.incarnation);
}

} // namespace coopcache::core
