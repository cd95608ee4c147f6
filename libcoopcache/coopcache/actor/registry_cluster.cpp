#include "coopcache/actor/registry_core.hpp"

#include "coopcache/config_endpoint.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <algorithm>
#include <map>

// Links, views, and what is known of the cluster.

namespace coopcache::actor {

using namespace std::chrono_literals;

namespace {

std::string members_text(const core::view& now) {
  std::string text;
  for (const auto& id : now.members)
    text += (text.empty() ? "" : ", ") + core::printable(id.name);
  return text;
}

} // namespace

void registry_core::linked(const link& to) {
  {
    const std::lock_guard guard{tables_mutex_};
    links_[to.peer] = to;
  }
  turn([&](auto& machine, const auto& at) {
    tasks_.emplace_back(link_changed{to.peer});
    return machine.linked(to.peer, at);
  });
}

void registry_core::unlinked(const core::node_id& peer, bool dead) {
  {
    const std::lock_guard guard{tables_mutex_};
    links_.erase(peer);
  }
  turn([&](auto& machine, const auto& at) {
    tasks_.emplace_back(link_changed{peer});
    return machine.unlinked(peer, dead, at);
  });
}

bool registry_core::leaves(const core::node_id& peer) {
  const std::lock_guard guard{mutex_};
  return machine_.members().leaves(peer);
}

void registry_core::received(const core::node_id& from, cluster::message what) {
  turn([&](auto& machine, const auto& at) {
    return machine.receive(from, std::move(what), at);
  });
}

void registry_core::probed() {
  turn([](auto& machine, const auto& at) { return machine.probed(at); });
}

void registry_core::log(log_level level, std::string_view line) noexcept {
  log_(level, line);
}

// Only while performing: that is one thread at a time.
void registry_core::warn_of_many(std::string line) {
  constexpr unsigned most = 10;
  const auto now = table::boot_now();
  if (now - many_since_ >= 1s) {
    many_since_ = now;
    many_ = 0;
  }
  if (many_ >= most)
    return;
  if (++many_ == most)
    line += "; what else is lost within this second is not named";
  log(log_level::warning, line);
}

void registry_core::perform(const cluster::send_message& what) {
  if (const auto [over, net] = way_to(what.to); net != nullptr)
    net->send(over, what.what);
}

std::pair<link, std::shared_ptr<class links>>
registry_core::way_to(const core::node_id& peer) const {
  const std::lock_guard guard{tables_mutex_};
  const auto at = links_.find(peer);
  if (at == links_.end())
    return {};
  return {at->second, net_};
}

void registry_core::perform(const cluster::drop_link& what) {
  if (const auto [over, net] = way_to(what.peer); net != nullptr)
    net->drop(over);
}

void registry_core::perform(const cluster::view_changed& what) {
  if (cfg_.node.listen.empty())
    return; // alone for good
  std::string line = "view ";
  line += std::to_string(what.now.id.number);
  line += ": ";
  line += members_text(what.now);
  log(log_level::info, line);
}

bool registry_core::is_in_sync(const cluster::clocks& at) const {
  const auto& members = machine_.members();
  const auto links = members.links();
  return machine_.grants(at.now) && machine_.names().synced()
         && std::all_of(links.begin(), links.end(), [&](const auto& id) {
              return members.current().has(id);
            });
}

// With `mutex_`.
void registry_core::answer_syncs(const cluster::clocks& at) {
  const bool good = is_in_sync(at);
  using cluster::verdict;
  const auto how = stopped_ ? verdict::leaving : good ? verdict::done : late();
  std::erase_if(syncs_, [&](auto& one) {
    if (!good && at.now < one.deadline && !stopped_)
      return false;
    tasks_.emplace_back(synced_up{std::move(one.done), how});
    return true;
  });
}

// With `mutex_`: why there is no answer by a deadline.
cluster::verdict registry_core::late() const {
  return machine_.has_majority() ? cluster::verdict::timed_out
                                 : cluster::verdict::no_majority;
}

void registry_core::sync(std::chrono::milliseconds deadline,
                         std::function<void(std::optional<error>)> done) {
  turn([&](auto&, const auto& at) {
    syncs_.push_back(
      {core::later(at.now, core::clamped(deadline)), std::move(done)});
    return cluster::registry::effects{};
  });
}

void registry_core::perform(const synced_up& what) {
  auto failure = error_of(what.how, {}, errc::timeout);
  if (failure && what.how == cluster::verdict::timed_out)
    failure->reason = "the node and those that it is linked to are not in one "
                      "view yet";
  what.done(std::move(failure));
}

registry_info registry_core::info() const {
  registry_info result;
  const auto member = [](const core::node_id& id) {
    return member_info{id.name, id.incarnation};
  };
  result.self = member(self_);
  result.endpoint = endpoint();
  if (const auto net = network())
    for (const auto& one : net->state())
      result.links.push_back(
        {one.endpoint, one.peer, one.configured, one.linked, one.trouble});
  if (const auto local = local_if_any())
    result.local_locks = local->info().own_locks;
  const std::lock_guard guard{mutex_};
  if (stopped_)
    return result;
  const auto now = this->now().now;
  const auto age = [&](core::instant since) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::max(now, since) - since);
  };
  const auto& view = machine_.members().current();
  result.view = view.id.number;
  for (const auto& id : view.members)
    result.members.push_back(member(id));
  result.serving = machine_.grants(now);
  result.synced = machine_.names().synced();
  for (const auto& [name, record] : machine_.names().replica().all())
    result.names.push_back({name, record.owner.node.name});
  const auto& table = machine_.home_locks().table();
  for (const auto& resource : table.resources()) {
    auto& one = result.locks.emplace_back();
    one.resource = resource;
    const auto* const lock = table.find(resource);
    for (const auto& holder : lock->holders)
      one.holders.push_back({holder.requester, holder.who.node.name,
                             holder.token, age(holder.since)});
    for (const auto& [ticket, waiter] : lock->queue)
      one.queue.push_back(
        {waiter.requester, waiter.who.node.name, 0, age(waiter.since)});
  }
  std::map<std::string, lock_info> own;
  for (const auto& [request, mine] : machine_.own_locks().all()) { // by age
    auto& one = own[mine.wish.resource];
    using state = cluster::lock_client::state;
    lock_client_info client{mine.wish.requester,
                            self_.name,
                            mine.token,
                            age(mine.since),
                            mine.is == state::lost,
                            mine.holds};
    (mine.is == state::waiting ? one.queue : one.holders)
      .push_back(std::move(client));
  }
  for (auto& [resource, one] : own) {
    one.resource = resource;
    result.own_locks.push_back(std::move(one));
  }
  return result;
}

std::optional<error> registry_core::add_peer(const std::string& endpoint) {
  const auto fault = detail::check_endpoint(endpoint,
                                            detail::endpoint_use::dial);
  if (!fault.found.empty()) {
    auto reason = "no endpoint: " + fault.found;
    if (!fault.hint.empty())
      reason += "; " + fault.hint;
    return make_error(errc::unknown_node, std::move(reason), endpoint);
  }
  const auto net = network();
  if (net == nullptr)
    return stopped()
             ? make_error(errc::shutting_down, "the node has shut down",
                          endpoint)
             : make_error(errc::unknown_node,
                          "this node has no links: set node.listen", endpoint);
  net->add_peer(endpoint);
  return std::nullopt;
}

std::optional<error> registry_core::disconnect(std::string_view name) {
  if (stopped())
    return make_error(errc::shutting_down, "the node has shut down", name);
  std::optional<core::node_id> peer;
  const auto net = network();
  if (net != nullptr) {
    const std::lock_guard guard{tables_mutex_};
    for (const auto& [id, one] : links_)
      if (id.name == name)
        peer = id;
  }
  if (!peer)
    return make_error(errc::unknown_node, "no link to a node of that name",
                      name);
  net->disconnect(*peer);
  return std::nullopt;
}

} // namespace coopcache::actor
