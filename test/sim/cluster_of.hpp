#pragma once

#include "sim/world.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <malloc.h>

namespace coopcache::sim {

using namespace std::chrono_literals;

using sizes = std::vector<std::size_t>;

inline std::string numbered(const char* prefix, std::uint64_t n) {
  std::string result{prefix};
  result += std::to_string(n);
  return result;
}

/// Bytes that the program has allocated; 0 under a sanitizer.
inline std::size_t heap_in_use() {
  return ::mallinfo2().uordblks;
}

/// Of n configured nodes, only a majority grants.
inline cluster::registry_settings strict_of(std::size_t n) {
  cluster::registry_settings strict;
  strict.strict_nodes = n;
  return strict;
}

/// A quiet cluster, and the words to talk about it. Nodes are counted from 0,
/// and rank in that order.
class cluster_of {
public:
  explicit cluster_of(std::size_t n,
                      const cluster::registry_settings& settings = {})
    : w{1, settings, {20us, 1ms, 0, false, 0}} {
    for (std::size_t i = 0; i < n; ++i) {
      w.add_node();
      w.run_for(2ms);
    }
    w.on_effect = [this](std::size_t node, const cluster::effect& what) {
      note(node, what);
    };
    w.run_for(2s);
  }

  [[nodiscard]] const core::view& view(std::size_t node) const {
    return w.nodes()[node].machine->members().current();
  }

  /// Members of the node's view, as "013".
  [[nodiscard]] std::string members(std::size_t node) const {
    std::string result;
    for (std::size_t i = 0; i < w.nodes().size(); ++i)
      if (view(node).has(w.nodes()[i].id))
        result += std::to_string(i);
    return result;
  }

  /// How long it takes until `f` holds; checked each millisecond.
  template <class F>
  std::optional<nanos> time_until(F f, nanos most = 10s) {
    const auto start = w.now();
    while (!f()) {
      if (w.now() - start >= most)
        return std::nullopt;
      w.run_for(1ms);
    }
    return w.now() - start;
  }

  std::uint64_t lock(std::size_t node, const std::string& resource,
                     nanos within = 1h, const std::string& requester = {}) {
    cluster::lock_wish wish;
    wish.request = ++last;
    wish.client = last;
    wish.resource = resource;
    wish.requester = requester.empty() ? numbered("c", last) : requester;
    wish.deadline = w.now() + within;
    clients[last] = {node, resource, wish.requester};
    w.lock(node, wish);
    return last;
  }

  /// The same, and time for all to hear of it.
  std::uint64_t quiet_lock(std::size_t node, const std::string& resource,
                           nanos within = 1h,
                           const std::string& requester = {}) {
    const auto request = lock(node, resource, within, requester);
    w.run_for(5ms);
    return request;
  }

  /// The same client once more.
  std::uint64_t lock_again(std::uint64_t request) {
    const auto& [node, resource, requester] = clients.at(request);
    cluster::lock_wish wish;
    wish.request = ++last;
    wish.client = request;
    wish.resource = resource;
    wish.requester = requester;
    w.lock(node, wish);
    return last;
  }

  /// Does not queue.
  std::uint64_t try_lock(std::size_t node, const std::string& resource) {
    cluster::lock_wish wish;
    wish.request = wish.client = ++last;
    wish.resource = resource;
    wish.requester = numbered("c", last);
    wish.once = true;
    w.lock(node, wish);
    return last;
  }

  cluster::unlocked give_back(std::uint64_t request) {
    const auto& [node, resource, requester] = clients.at(request);
    return w.unlock(node, request, resource, requester);
  }

  void unlock(std::uint64_t request) {
    CHECK(give_back(request) == cluster::unlocked::released);
  }

  std::uint64_t put(std::size_t node, const std::string& name,
                    const std::string& resolver = "", bool replace = false,
                    nanos within = 1h) {
    cluster::name_wish wish;
    wish.deadline = w.now() + within;
    wish.request = ++last;
    wish.actor = last;
    wish.name = name;
    wish.resolver = resolver;
    wish.replace = replace;
    w.put(node, wish);
    return last;
  }

  [[nodiscard]] std::uint64_t owner(std::size_t node,
                                    const std::string& name) const {
    const auto* const r = w.nodes()[node].machine->names().replica().find(name);
    return r == nullptr ? 0 : r->owner.actor;
  }

  void split(std::size_t first_of_second) {
    for (std::size_t i = 0; i < first_of_second; ++i)
      for (std::size_t j = first_of_second; j < w.nodes().size(); ++j) {
        w.cut(i, j);
        w.cut(j, i);
      }
  }

  void cut_both(std::size_t a, std::size_t b, bool cut = true) {
    w.cut(a, b, cut);
    w.cut(b, a, cut);
  }

  [[nodiscard]] bool got(std::uint64_t request) const {
    const auto at = answers.find(request);
    return at != answers.end() && at->second == cluster::verdict::done;
  }

  /// Whether the homes on the node may grant now.
  [[nodiscard]] bool grants(std::size_t node) const {
    return w.nodes()[node].machine->grants(w.on_clock_of(node, w.now()));
  }

  [[nodiscard]] bool was_lost(std::uint64_t request) const {
    return std::find(lost.begin(), lost.end(), request) != lost.end();
  }

  [[nodiscard]] bool all_in_one() const {
    for (std::size_t i = 0; i < w.nodes().size(); ++i)
      if (!w.runs(i) || view(i) != view(0) || !grants(i))
        return false;
    return view(0).members.size() == w.nodes().size();
  }

  /// The node that a resource falls to, in the view of `node`.
  [[nodiscard]] std::size_t home(const std::string& resource,
                                 std::size_t node = 0) const {
    return w.index_of(core::homes{view(node)}.of(resource));
  }

  /// Some resource that falls to `node`.
  [[nodiscard]] std::string resource_at(std::size_t node) const {
    for (std::uint64_t i = 0;; ++i)
      if (const auto r = numbered("r", i); home(r, node) == node)
        return r;
  }

  struct client {
    std::size_t node;
    std::string resource;
    std::string requester;
  };

  world w;
  std::map<std::uint64_t, cluster::verdict> answers;
  std::map<std::uint64_t, std::uint64_t> tokens;
  std::vector<std::uint64_t> lost; ///< requests
  std::vector<cluster::owner_told> told;
  std::map<std::uint64_t, client> clients;
  std::uint64_t last = 0;
  std::size_t views = 0;
  std::size_t questions = 0;
  std::size_t late = 0; ///< resolvers
  /// Who answers later; instead of `decide`.
  std::function<void(std::size_t node, const cluster::ask_resolver&)> asked;
  std::function<std::optional<cluster::survivor>(const cluster::ask_resolver&)>
    decide; ///< nothing: never answers

private:
  void note(std::size_t node, const cluster::effect& what) {
    if (const auto* const a = std::get_if<cluster::lock_answer>(&what)) {
      answers[a->request] = a->how;
      tokens[a->request] = a->token;
    } else if (const auto* const n = std::get_if<cluster::name_answer>(&what)) {
      answers[n->request] = n->how;
    } else if (const auto* const l = std::get_if<cluster::lock_lost>(&what)) {
      lost.push_back(l->request);
    } else if (const auto* const t = std::get_if<cluster::owner_told>(&what)) {
      told.push_back(*t);
    } else if (std::holds_alternative<cluster::view_changed>(what)) {
      ++views;
    } else if (std::holds_alternative<cluster::resolver_late>(what)) {
      ++late;
    } else if (const auto* const q = std::get_if<cluster::ask_resolver>(
                 &what)) {
      ++questions;
      if (asked)
        asked(node, *q);
      const auto who = decide ? decide(*q) : std::nullopt;
      if (who)
        w.at(w.now(), [this, node, question = q->question, who] {
          w.resolved(node, question, *who);
        });
    }
  }
};

} // namespace coopcache::sim
