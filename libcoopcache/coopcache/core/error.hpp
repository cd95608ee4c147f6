#pragma once

#include "coopcache/export.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace coopcache {

/// Why a fetch, a clear or another request was not answered with a value.
enum class errc : std::uint8_t {
  /// The loader threw, returned `failed(...)`, or an empty `caf::expected`.
  fetch_failed = 1,
  /// The deadline of the caller, or a limit on the time of a load, has passed.
  timeout,
  /// Neither the caller nor the cache has a loader for the key.
  no_loader,
  /// A loader asked for a key that waits, directly or through other loads, for
  /// that very loader.
  load_cycle,
  /// A blocking call that has to wait, on a thread of CAF that must not.
  would_block,
  /// Too many loads are queued, or too many callers wait for one load.
  queue_full,
  /// No worker can be had: too many wait in nested fetches, or too many never
  /// came back from their loaders.
  workers_exhausted,
  /// An earlier load of this key failed a moment ago, and the cache is
  /// configured to leave the origin alone for a while.
  backing_off,
  /// An asynchronous loader dropped its promise without fulfilling it.
  broken_promise,
  /// The key is longer than the cache allows.
  key_too_large,
  /// The value that was to be stored finds no room in the cache.
  no_room,
  /// The value has another type than the one that was asked for.
  wrong_type,
  /// The node has shut down, or is about to.
  shutting_down,
  /// Somebody else holds the lock, and the request was not to wait.
  lock_taken,
  /// Who gives a lock back does not hold it, or who takes a request back has
  /// none.
  not_held,
  /// The lock was taken away: somebody else may hold it, or has held it since.
  lock_lost,
  /// Another actor has the name, or the actor has a name already.
  name_taken,
  /// Nobody has the name, or not the actor that was said to have it.
  unknown_name,
  /// The actor to be registered has ended.
  owner_dead,
  /// No link to the node: the actor that a message or a name is for lives
  /// there, or it is to be disconnected; or what is to be a peer is no
  /// endpoint.
  unknown_node,
  /// In a strict cluster, the node sees no majority of the configured nodes.
  no_majority,
  /// The caller took the request back.
  cancelled,
  /// A name, resource, requester or resolver has more than 4096 bytes.
  name_too_long,
  /// The node of the actor to be registered knows no resolver of that name.
  unknown_resolver,
  /// The name is not known here, but this node does not know all names of the
  /// cluster yet: it has not joined, or its view has just changed.
  not_synced,
};

/// The name of a code as it stands in this header.
[[nodiscard]] COOPCACHE_EXPORT std::string_view to_string(errc code) noexcept;

/// The code of that name; false, and `code` as it was, if there is none.
COOPCACHE_EXPORT bool from_string(std::string_view name, errc& code) noexcept;

/// What went wrong, where, in words. Holds only strings, so that it stays valid
/// after node and actor system are gone.
struct error {
  errc code = errc::fetch_failed;
  std::string reason; ///< the loader's own text, or ours
  std::string cache;  ///< name of the cache; empty if it is about none
  std::string key;    ///< or name, or resource; shortened to 100 bytes
  std::string node;   ///< name of the node that found the error

  friend bool operator==(const error&, const error&) = default;
};

/// One line: the code, the reason, and cache, key and node.
[[nodiscard]] COOPCACHE_EXPORT std::string to_string(const error& what);

} // namespace coopcache
