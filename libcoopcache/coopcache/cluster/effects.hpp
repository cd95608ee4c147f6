#pragma once

#include "coopcache/cluster/membership.hpp"
#include "coopcache/cluster/messages.hpp"
#include "coopcache/core/names.hpp"
#include "coopcache/core/view.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

/// @file
/// What the machines of the registry want done by their shell.

namespace coopcache::cluster {

/// How a request ended.
enum class verdict : std::uint8_t {
  done,        ///< locked, registered, unregistered
  refused,     ///< the lock or the name is taken, or the name is not there
  timed_out,   ///< by its deadline
  no_majority, ///< by its deadline, in a strict cluster that is split
  cancelled,   ///< by who had asked
  leaving,     ///< the node leaves
  owner_dead,  ///< the actor to be registered has ended
  too_long,    ///< a name, resource or requester above `most_name`
  not_synced,  ///< the name is not known here, but not all names are
};

/// Bytes in the name of anything. It goes to every member, and into memory of
/// each.
inline constexpr std::size_t most_name = 4096;

/// The answer to `registry::lock`.
struct lock_answer {
  std::uint64_t request = 0;
  verdict how = verdict::done;
  std::uint64_t token = 0; ///< fencing token; 0 unless done
  /// The request under which it is held: an earlier one, if the client held the
  /// lock already; 0 unless done.
  std::uint64_t held = 0;
};

/// A lock is held no longer, and its holder has not given it back.
struct lock_lost {
  std::uint64_t request = 0; ///< that had got it
  std::uint64_t client = 0;
  std::uint64_t token = 0;
};

/// A lock was given back, as often as it was locked; or it was lost before.
struct lock_freed {
  std::uint64_t request = 0; ///< that had got the lock
};

/// A client has ended: of its requests those that waited get no answer, and
/// what the others had got was given back.
struct requests_dropped {
  std::vector<std::uint64_t> requests;
};

/// The answer to `registry::put` and `registry::remove`.
struct name_answer {
  std::uint64_t request = 0;
  verdict how = verdict::done;
};

/// This node's replica has changed. Without owner: the name was removed.
struct name_changed {
  std::string name;
  core::name_record record;
};

/// An actor of this node has lost its name to somebody else, or to nobody.
struct owner_told {
  std::string name;
  core::name_owner owner;
  name_cause cause = name_cause::request;
};

/// Two sides have met that both have the name. To be answered with
/// `registry::resolved`.
struct ask_resolver {
  std::uint64_t question = 0;
  std::string resolver;
  std::string name;
  core::name_owner first; ///< the one that was registered earlier
  core::name_owner second;
};

/// Its function did not answer in time: nobody keeps the name.
struct resolver_late {
  std::string resolver;
  std::string name;
};

/// The node is in another view.
struct view_changed {
  core::view now;
};

/// The replica of names is complete, or is not any more.
struct names_synced {
  bool now = false;
};

using effect = std::variant<send_message, drop_link, lock_answer, lock_lost,
                            lock_freed, requests_dropped, name_answer,
                            name_changed, owner_told, ask_resolver,
                            resolver_late, view_changed, names_synced>;

/// What a part of the registry wants: bodies for members, this one included,
/// and effects.
struct wishes {
  std::vector<std::pair<core::node_id, body>> bodies;
  std::vector<effect> effects;

  void send(const core::node_id& to, body what) {
    bodies.emplace_back(to, std::move(what));
  }
};

/// Makes numbers that grow: within a view by counting, from view to view
/// because those of a later view begin with its greater number. 42 bits of
/// milliseconds last until 2109; a home that has counted to the end asks for a
/// new view.
class numbers {
public:
  static constexpr unsigned counter_bits = 22;

  /// `most` numbers can be had in one view.
  explicit numbers(std::uint64_t most = (std::uint64_t{1} << counter_bits) - 1)
    : most_(most) {
  }

  void enter(const core::view_id& view) noexcept {
    base_ = view.number << counter_bits;
    used_ = 0;
  }

  [[nodiscard]] bool used_up() const noexcept {
    return used_ >= most_;
  }

  /// REQUIRES: not used up, but by a few, which may be numbers of the next
  /// view.
  std::uint64_t next() noexcept {
    return base_ + ++used_;
  }

private:
  std::uint64_t most_;
  std::uint64_t base_ = 0;
  std::uint64_t used_ = 0;
};

} // namespace coopcache::cluster
