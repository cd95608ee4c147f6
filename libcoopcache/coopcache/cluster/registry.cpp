#include "coopcache/cluster/registry.hpp"

#include <algorithm>
#include <type_traits>

namespace coopcache::cluster {

namespace {

template <class T, class... Ts>
constexpr bool is_one_of = (std::is_same_v<T, Ts> || ...);

membership_settings membership_of(const registry_settings& all) {
  auto result = all.membership;
  result.remembers = all.strict_nodes > 1;
  return result;
}

} // namespace

registry::registry(const core::node_id& self, const registry_settings& settings,
                   const clocks& at)
  : settings_(settings), membership_(self, membership_of(settings), at),
    lock_home_(numbers{settings.numbers_per_view}), name_client_(self),
    name_home_(numbers{settings.numbers_per_view}) {
  note_limits();
}

// In a strict cluster another side may grant when a majority may have gone on
// without this node.
void registry::note_limits() {
  grants_until_ = membership_.grants_until();
  holds_until_ = membership_.kept_until(settings_.strict_nodes
                                        - settings_.strict_nodes / 2);
}

template <class... Parameters, class... Arguments>
void registry::tell_membership(const clocks& at,
                               void (membership::*event)(Parameters...),
                               const Arguments&... what) {
  membership::effects done;
  (membership_.*event)(what..., at, done);
  note_limits();
  for (auto& one : done) {
    if (auto* const sent = std::get_if<send_message>(&one))
      wishes_.effects.emplace_back(std::move(*sent));
    else
      wishes_.effects.emplace_back(std::get<drop_link>(one));
  }
  // A node that still looks for its peers has not even begun its own view.
  const auto& now = membership_.current();
  const bool begins = membership_.forming() && now.members.size() == 1;
  if (!begins && entered_ != now.id)
    enter_view(at);
}

// -- events -------------------------------------------------------------------

registry::effects registry::linked(const core::node_id& peer,
                                   const clocks& at) {
  begin(at);
  channels_.relinked(peer);
  tell_membership(at, &membership::linked, peer);
  name_client_.linked(wishes_);
  return finish(at);
}

registry::effects registry::unlinked(const core::node_id& peer, bool dead,
                                     const clocks& at) {
  begin(at);
  tell_membership(at, &membership::unlinked, peer, dead);
  return finish(at);
}

registry::effects registry::receive(const core::node_id& from, message what,
                                    const clocks& at) {
  begin(at);
  tell_membership(at, &membership::receive, from, what);
  begin(at); // it may have promised a view just now
  if (auto* const p = std::get_if<packet>(&what))
    deliver(from, std::move(*p), at);
  return finish(at);
}

registry::effects registry::tick(const clocks& at) {
  begin(at);
  tell_membership(at, &membership::tick);
  const auto late = has_majority() ? verdict::timed_out : verdict::no_majority;
  lock_client_.tick(at.now, late, wishes_);
  name_client_.tick(at.now, late, wishes_);
  name_home_.tick(at.now, wishes_);
  return finish(at);
}

registry::effects registry::probed(const clocks& at) {
  begin(at);
  tell_membership(at, &membership::probed);
  return finish(at);
}

registry::effects registry::leave(const clocks& at) {
  begin(at);
  lock_client_.give_up(wishes_);
  name_client_.give_up(wishes_);
  tell_membership(at, &membership::leave);
  return finish(at);
}

registry::effects registry::lock(lock_wish wish, const clocks& at) {
  begin(at);
  auto hindrance = why_not({wish.resource, wish.requester});
  if (!hindrance && wish.once && !has_majority())
    hindrance = verdict::no_majority;
  if (hindrance)
    wishes_.effects.emplace_back(lock_answer{wish.request, *hindrance});
  else
    lock_client_.lock(std::move(wish), wishes_);
  return finish(at);
}

std::pair<unlocked, registry::effects>
registry::unlock(std::uint64_t client, const std::string& resource,
                 const std::string& requester, const clocks& at) {
  begin(at);
  const auto how = lock_client_.unlock(client, resource, requester, wishes_);
  return {how, finish(at)};
}

std::pair<unlocked, registry::effects> registry::unlock(std::uint64_t request,
                                                        const clocks& at) {
  begin(at);
  const auto how = lock_client_.unlock(request, wishes_);
  return {how, finish(at)};
}

registry::effects registry::keep(std::uint64_t request, const clocks& at) {
  begin(at);
  lock_client_.keep(request, wishes_);
  return finish(at);
}

std::pair<bool, registry::effects> registry::cancel(std::uint64_t request,
                                                    const clocks& at) {
  begin(at);
  const bool done = lock_client_.cancel(request, wishes_);
  return {done, finish(at)};
}

registry::effects registry::client_gone(std::uint64_t client,
                                        const clocks& at) {
  begin(at);
  lock_client_.client_gone(client, wishes_);
  return finish(at);
}

registry::effects registry::put(name_wish wish, const clocks& at) {
  begin(at);
  if (const auto hindrance = why_not({wish.name, wish.resolver}))
    wishes_.effects.emplace_back(name_answer{wish.request, *hindrance});
  else
    name_client_.put(std::move(wish), wishes_);
  return finish(at);
}

registry::effects registry::remove(std::uint64_t request,
                                   const std::string& name,
                                   const std::optional<core::name_owner>& owner,
                                   core::instant deadline, const clocks& at) {
  begin(at);
  if (const auto hindrance = why_not({name}))
    wishes_.effects.emplace_back(name_answer{request, *hindrance});
  else
    name_client_.remove(request, name, owner, deadline, wishes_);
  return finish(at);
}

registry::effects registry::owner_gone(std::uint64_t actor, const clocks& at) {
  begin(at);
  name_client_.owner_gone(actor, wishes_);
  return finish(at);
}

registry::effects registry::resolved(std::uint64_t question, survivor who,
                                     const clocks& at) {
  begin(at);
  name_home_.resolved(question, who, at.now, wishes_);
  return finish(at);
}

// -- turns --------------------------------------------------------------------

// A node that was stopped must not act on what it was allowed before.
void registry::begin(const clocks& at) {
  lock_client_.note_time(at.now);
  lock_home_.note_time(at.now);
  name_home_.note_wall(at.wall);
  lock_client_.may_hold(at.now < holds_until_, wishes_);
  if (!grants(at.now))
    update_grants(at);
}

void registry::enter_view(const clocks& at) {
  const auto& now = membership_.current();
  const auto& self = membership_.self();
  entered_ = now.id;
  wishes_.bodies.clear(); // of the old view
  wishes_.effects.emplace_back(view_changed{now});
  channels_.enter(now, self);
  lock_home_.enter(now);
  name_home_.enter(now);
  lock_client_.enter(now, self, wishes_);
  for (const auto& id : now.members)
    wishes_.send(id, claims_end{lock_client_.lineage()});
  name_client_.enter(now, wishes_);
  if (!has_majority())
    lock_client_.end_hasty(verdict::no_majority, wishes_);
  name_client_.repeat(wishes_);
  work_off(at);
  auto waiting = std::move(early_);
  early_.clear();
  for (auto& [from, what] : waiting)
    deliver(from, std::move(what), at);
}

void registry::deliver(const core::node_id& from, packet what,
                       const clocks& at) {
  if (what.view > entered_) {
    // The sender has heard of the installation before us.
    if (early_.size() < most_early)
      early_.push_back({from, std::move(what)});
    return;
  }
  for (const auto& one : channels_.receive(from, std::move(what), at.now))
    dispatch(from, one, at);
}

void registry::dispatch(const core::node_id& from, const body& what,
                        const clocks& at) {
  std::visit(
    [&](const auto& b) {
      using type = std::decay_t<decltype(b)>;
      if constexpr (is_one_of<type, lock_request, lock_release, lock_taken,
                              lock_kept>) {
        lock_home_.on(from, b, wishes_);
      } else if constexpr (is_one_of<type, lock_claim>) {
        lock_home_.on(from, b);
      } else if constexpr (is_one_of<type, lock_next, lock_keep, lock_check,
                                     lock_checked>) {
        lock_client_.on(from, b, wishes_);
      } else if constexpr (is_one_of<type, lock_queued>) {
        lock_client_.on(b);
      } else if constexpr (is_one_of<type, lock_granted, lock_refused,
                                     lock_revoked>) {
        lock_client_.on(b, wishes_);
      } else if constexpr (is_one_of<type, name_request, name_cancel, name_ack,
                                     states_ack>) {
        name_home_.on(from, b, wishes_);
      } else if constexpr (is_one_of<type, name_claim>) {
        name_home_.on(from, b);
      } else if constexpr (is_one_of<type, names_end>) {
        name_home_.on(from, b, name_client_.take_claims(from), at.now, wishes_);
      } else if constexpr (is_one_of<type, name_reply>) {
        name_client_.on(
          b, [this](const auto& id) { return membership_.is_linked(id); },
          wishes_);
      } else if constexpr (is_one_of<type, name_gone, name_update, names_wanted,
                                     states_end>) {
        name_client_.on(from, b, wishes_);
      } else if constexpr (is_one_of<type, name_state>) {
        name_client_.on(from, b);
      } else {
        static_assert(is_one_of<type, claims_end>);
        lock_client_.claims_end(from, b.lineage, wishes_);
        lock_home_.claims_end(from, wishes_);
      }
    },
    what);
}

// Bodies for this node are handed on at once, those for others with the turn.
void registry::work_off(const clocks& at) {
  while (!wishes_.bodies.empty()) {
    const auto all = std::exchange(wishes_.bodies, {});
    for (const auto& [to, what] : all) {
      if (to == membership_.self())
        dispatch(to, what, at);
      else
        channels_.send(to, what);
    }
  }
}

std::optional<verdict>
registry::why_not(std::initializer_list<std::string_view> names) const {
  if (membership_.leaving())
    return verdict::leaving;
  for (const auto one : names)
    if (one.size() > most_name)
      return verdict::too_long;
  return std::nullopt;
}

bool registry::has_majority() const noexcept {
  return settings_.strict_nodes == 0
         || membership_.current().members.size() * 2 > settings_.strict_nodes;
}

bool registry::grants(core::instant now) const noexcept {
  return now < grants_until_ && has_majority()
         && entered_ == membership_.current().id;
}

void registry::tell_grants(bool may) {
  lock_client_.may_hand_on(may);
  lock_home_.grants(may, wishes_);
  name_home_.grants(may, wishes_);
}

void registry::update_grants(const clocks& at) {
  tell_grants(grants(at.now));
  if (at.now >= holds_until_)
    lock_client_.lose_all(wishes_);
  if (!lock_home_.used_up() && !name_home_.used_up())
    return;
  tell_membership(at, &membership::renew);
  if (grants(at.now)) // a node alone is in the next view at once
    tell_grants(true);
}

registry::effects registry::finish(const clocks& at) {
  update_grants(at);
  work_off(at);
  for (auto& [to, what] : channels_.flush(at.now))
    wishes_.effects.emplace_back(send_message{to, std::move(what)});
  last_turn_ = at.now;
  return std::exchange(wishes_.effects, {});
}

core::instant registry::next_wake() const {
  auto wake = std::min({membership_.next_wake(), channels_.next_wake(),
                        lock_client_.next_wake(), name_client_.next_wake(),
                        name_home_.next_wake()});
  for (const auto until : {grants_until_, holds_until_})
    if (until > last_turn_)
      wake = std::min(wake, until);
  return wake;
}

} // namespace coopcache::cluster
