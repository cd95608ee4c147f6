#include "coopcache/actor/registry_core.hpp"

// What is said of a wish that has failed.

namespace coopcache::actor {

error registry_core::make_error(errc code, std::string reason,
                                std::string_view subject) const {
  error result;
  result.code = code;
  result.reason = std::move(reason);
  result.key = subject.substr(0, 100);
  result.node = self_.name;
  return result;
}

std::optional<error> registry_core::error_of(cluster::verdict how,
                                             std::string_view subject,
                                             errc refused) const {
  using cluster::verdict;
  const auto text = [&]() -> std::pair<errc, std::string_view> {
    switch (how) {
      case verdict::no_majority:
        return {errc::no_majority,
                "this node sees no majority of the configured nodes"};
      case verdict::owner_dead:
        return {errc::owner_dead, "the actor has ended"};
      case verdict::cancelled:
        return {errc::cancelled, "the request was taken back"};
      case verdict::too_long:
        return {errc::name_too_long,
                "a name, resource, requester or resolver has more than 4096 "
                "bytes"};
      case verdict::not_synced:
        return {errc::not_synced, not_all_names};
      case verdict::leaving:
        return {errc::shutting_down, "the node leaves"};
      case verdict::refused:
        if (refused == errc::lock_taken)
          return {refused, "somebody else holds the lock"};
        if (refused == errc::name_taken)
          return {refused, "another actor has the name, or the actor has a "
                           "name already"};
        if (is_cut_off(subject))
          return {errc::unknown_node, no_way_to_owner};
        return {refused, "nobody has the name, or not that actor"};
      default:
        if (refused == errc::lock_taken)
          return {errc::timeout, "the lock was not granted by the deadline"};
        return {errc::timeout, "no answer by the deadline"};
    }
  };
  if (how == verdict::done)
    return std::nullopt;
  const auto [code, reason] = text();
  return make_error(code, std::string{reason}, subject);
}

std::optional<error> registry_core::error_of(cluster::unlocked how,
                                             std::string_view subject) const {
  if (how == cluster::unlocked::not_held)
    return make_error(errc::not_held,
                      "that requester does not hold the lock, or not any more",
                      subject);
  if (how == cluster::unlocked::lost)
    return make_error(errc::lock_lost,
                      "another side of the cluster may hold it", subject);
  return std::nullopt;
}

} // namespace coopcache::actor
