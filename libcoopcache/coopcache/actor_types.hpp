#pragma once

#include "coopcache/cache_base.hpp"
#include "coopcache/core/error.hpp"
#include "coopcache/loader.hpp"
#include "coopcache/registry_info.hpp"
#include "coopcache/result.hpp"
#include "coopcache/stats.hpp"

#include <caf/default_enum_inspect.hpp>
#include <caf/is_error_code_enum.hpp>
#include <caf/result.hpp>
#include <caf/scheduled_actor.hpp>
#include <caf/timespan.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>
#include <caf/unit.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <typeinfo>

/// @file
/// The messages of caches and of the registry, and what CAF has to know of
/// them.

/// The first type id of the library, the same in every process of a cluster.
/// Set it at build time where the default collides with an application.
#ifndef COOPCACHE_FIRST_TYPE_ID
#  define COOPCACHE_FIRST_TYPE_ID caf::first_custom_type_id
#endif

namespace coopcache {

/// The library's type ids lie in a block of this size.
inline constexpr caf::type_id_t type_id_block_size = 100;

/// The first type id that an application may use for its own types.
inline constexpr caf::type_id_t first_free_type_id = COOPCACHE_FIRST_TYPE_ID
                                                     + type_id_block_size;

/// The answer to a `fetch` message: a value of whatever type the cache has.
/// Travels within the process only.
class fetched {
public:
  fetched() noexcept = default;

  explicit fetched(detail::answer how) noexcept : how_(std::move(how)) {
  }

  /// The answer as a result; the error `wrong_type` if the cache has values of
  /// another type, or if the message has crossed a network.
  template <class T>
  [[nodiscard]] result<T> as() const {
    if (how_.failure != nullptr)
      return result<T>{how_};
    if (how_.value && how_.value->type() == typeid(T))
      return result<T>{how_};
    return result<T>{detail::answer{{}, detail::wrong_type(typeid(T), how_)}};
  }

  template <class Inspector>
  friend bool inspect(Inspector& f, fetched& x) {
    return f.object(x).fields();
  }

private:
  detail::answer how_;
};

/// A loader inside a message, made by `carry`. Travels within the process only.
class local_loader {
public:
  local_loader() = default;

  /// `type`: of the values that the loaders make.
  local_loader(detail::loader_factory make, const std::type_info& type)
    : make_(std::move(make)), type_(&type) {
  }

  /// Null if empty.
  [[nodiscard]] std::unique_ptr<table::loader> make() const {
    return make_ ? make_() : nullptr;
  }

  /// Of the values that the loaders make; `void` if empty.
  [[nodiscard]] const std::type_info& type() const noexcept {
    return *type_;
  }

  template <class Inspector>
  friend bool inspect(Inspector& f, local_loader& x) {
    return f.object(x).fields();
  }

private:
  detail::loader_factory make_;
  const std::type_info* type_ = &typeid(void);
};

/// Sent to an actor that held a lock: it is held no longer, because another
/// side of the cluster holds it, may grant it, or has granted it since, or
/// because the node shuts down. It is not to be given back; who tries is told
/// `not_held`.
struct lock_lost {
  std::string resource;
  std::string requester;
  std::uint64_t token = 0; ///< that it had

  template <class Inspector>
  friend bool inspect(Inspector& f, lock_lost& x) {
    return f.object(x).fields(f.field("resource", x.resource),
                              f.field("requester", x.requester),
                              f.field("token", x.token));
  }
};

/// Sent to an actor that had a name, and has it no longer; not if somebody
/// has unregistered it.
struct name_lost {
  std::string name;
  /// Two sides of the cluster have met that both had the name; else somebody
  /// has registered another actor in its place.
  bool clash = false;

  template <class Inspector>
  friend bool inspect(Inspector& f, name_lost& x) {
    return f.object(x).fields(f.field("name", x.name),
                              f.field("clash", x.clash));
  }
};

/// Carries an answer to an actor of the same process.
class local_answer {
public:
  local_answer() noexcept = default;

  explicit local_answer(std::shared_ptr<void> what) noexcept
    : what_(std::move(what)) {
  }

  /// False for one that came from another process.
  explicit operator bool() const noexcept {
    return what_ != nullptr;
  }

  /// Requires: made from a shared pointer to a T.
  template <class T>
  [[nodiscard]] T& as() const noexcept {
    return *static_cast<T*>(what_.get());
  }

  template <class Inspector>
  friend bool inspect(Inspector& f, local_answer& x) {
    return f.object(x).fields();
  }

private:
  std::shared_ptr<void> what_;
};

/// A name for people, a number for machines.
template <class Inspector>
bool inspect(Inspector& f, errc& x) {
  if (f.has_human_readable_format()) {
    auto get = [&x] { return std::string{to_string(x)}; };
    auto set = [&x](const std::string& name) { return from_string(name, x); };
    return f.apply(get, set);
  }
  auto get = [&x] { return static_cast<std::uint8_t>(x); };
  auto set = [&x](std::uint8_t code) {
    x = static_cast<errc>(code);
    return to_string(x) != "unknown";
  };
  return f.apply(get, set);
}

} // namespace coopcache

CAF_BEGIN_TYPE_ID_BLOCK(coopcache_types, COOPCACHE_FIRST_TYPE_ID)

CAF_ADD_TYPE_ID(coopcache_types, (coopcache::errc))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::cache_stats))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::fetched))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::local_loader))

CAF_ADD_ATOM(coopcache_types, coopcache, fetch_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, clear_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, clear_all_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, stats_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, drain_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, go_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, stop_atom)

CAF_ADD_TYPE_ID(coopcache_types, (coopcache::registry_info))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::member_info))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::link_info))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::lock_client_info))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::lock_info))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::name_info))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::lock_lost))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::name_lost))
CAF_ADD_TYPE_ID(coopcache_types, (coopcache::local_answer))

CAF_ADD_ATOM(coopcache_types, coopcache, register_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, replace_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, unregister_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, whereis_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, lock_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, unlock_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, info_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, cancel_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, sync_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, add_peer_atom)
CAF_ADD_ATOM(coopcache_types, coopcache, disconnect_atom)

CAF_END_TYPE_ID_BLOCK(coopcache_types)

CAF_ERROR_CODE_ENUM(coopcache::errc)

namespace coopcache {

static_assert(caf::id_block::coopcache_types::end <= first_free_type_id);

/// A named cache as any actor sees it. An error is a `caf::error` with a code
/// of `errc`; `to_error` has the rest.
///
/// * fetch by key: runs the declared loader if need be, else `no_loader`;
/// * fetch by key with a loader: for senders of the same process;
/// * clear a key, clear all: answered when no fetch that starts later can see
///   an old value;
/// * stats.
using cache_actor = caf::typed_actor<
  caf::result<fetched>(fetch_atom, std::string),
  caf::result<fetched>(fetch_atom, std::string, local_loader),
  caf::result<void>(clear_atom, std::string), caf::result<void>(clear_all_atom),
  caf::result<cache_stats>(stats_atom)>;

/// The registry of a node as any actor sees it, also one of a program that is
/// no node: a node's endpoint is where `caf::io::middleman::remote_actor` finds
/// it. An error is a `caf::error` with a code of `errc`.
///
/// * register, replace: name, actor, resolver. Answered within 30 s; whoever no
///   longer awaits the answer may find it done;
/// * unregister: name, or name and the actor that is to have it; likewise, and
///   `not_synced` as below;
/// * whereis: the actor of a name; a null pointer if nobody has it, or if there
///   is no link to its node now; `not_synced` if it is not found, and the node
///   does not know all names of the cluster yet;
/// * lock: resource, requester (empty: the sender alone), and what to wait at
///   most, 0 for not at all (then within 30 s: the way there and back).
///   Answers with the fencing token. The sender holds
///   the lock until it gives it back or ends, also if it no longer awaits the
///   answer: a request's timeout has to be longer than what the lock may wait.
///   It gets a `lock_lost` if the lock is lost, also because the node shuts
///   down, and has nothing to give back then. If the connection to the node
///   breaks, the lock is lost within 10 s, without a `lock_lost`. A program
///   that is no node has to monitor this actor; if it was unplugged, CAF tells
///   it up to 40 s later, and only the fencing token says that it has lost;
/// * unlock: resource, requester; `not_held` also if there is no sender;
/// * cancel: resource, requester: ends the sender's last request that waits,
///   which is answered with `cancelled`; `not_held` if none does;
/// * info; sync: what to wait at most; add_peer: endpoint; disconnect: name of
///   a node: as the functions of `registry`.
using registry_actor = caf::typed_actor<
  caf::result<void>(register_atom, std::string, caf::strong_actor_ptr,
                    std::string),
  caf::result<void>(replace_atom, std::string, caf::strong_actor_ptr,
                    std::string),
  caf::result<void>(unregister_atom, std::string),
  caf::result<void>(unregister_atom, std::string, caf::strong_actor_ptr),
  caf::result<caf::strong_actor_ptr>(whereis_atom, std::string),
  caf::result<std::uint64_t>(lock_atom, std::string, std::string,
                             caf::timespan),
  caf::result<void>(unlock_atom, std::string, std::string),
  caf::result<void>(cancel_atom, std::string, std::string),
  caf::result<registry_info>(info_atom),
  caf::result<void>(sync_atom, caf::timespan),
  caf::result<void>(add_peer_atom, std::string),
  caf::result<void>(disconnect_atom, std::string)>;

/// What went wrong, from the answer to a message. For an error of CAF's:
/// `timeout` if it is one of the request, else `shutting_down`, because the
/// actor was not there. Thread-safe.
[[nodiscard]] COOPCACHE_EXPORT error to_error(const caf::error& what);

namespace detail {

/// What functions that take `self` take for an actor.
template <class Self>
concept event_actor = std::derived_from<Self, caf::scheduled_actor>;

/// The actor of a cache; null after its end.
[[nodiscard]] COOPCACHE_EXPORT cache_actor handle_of(cache_base& cache);

} // namespace detail

} // namespace coopcache
