#pragma once

#include "coopcache/core/names.hpp"

#include <caf/actor.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace coopcache::actor {

/// The names of the cluster with handles of their owners, for readers of any
/// thread: a look-up takes a shard's shared lock and copies a handle.
///
/// A handle of another node's actor is made when somebody asks for it first,
/// and forgotten with each change of the name and of the link: with each one
/// CAF tells the other process that this one watches the actor.
///
/// Writers come first: however many read without a pause, a change is not held
/// up. (`std::shared_mutex` lets readers come first.)
class directory {
public:
  struct entry {
    core::name_owner owner;
    caf::strong_actor_ptr handle; ///< null: nobody has made one yet
  };

  /// Null if there is no such name, or nobody has made a handle yet.
  [[nodiscard]] caf::strong_actor_ptr find(std::string_view name) const {
    const auto& part = part_of(name);
    const std::shared_lock guard{part.mutex};
    const auto at = part.names.find(name);
    return at == part.names.end() ? nullptr : at->second.handle;
  }

  /// Nobody if there is no such name.
  [[nodiscard]] entry look_up(std::string_view name) const {
    const auto& part = part_of(name);
    const std::shared_lock guard{part.mutex};
    const auto at = part.names.find(name);
    return at == part.names.end() ? entry{} : at->second;
  }

  /// Tells times apart between which handles were forgotten.
  [[nodiscard]] std::uint64_t epoch() const noexcept {
    return epoch_;
  }

  /// Somebody has made a handle, in that epoch. It is of no use any more if
  /// handles were forgotten since, or the name has another owner.
  void offer(std::string_view name, const core::name_owner& owner,
             std::uint64_t epoch, caf::strong_actor_ptr handle) {
    auto& part = part_of(name);
    const std::unique_lock guard{part.mutex};
    const auto at = part.names.find(name);
    if (epoch == epoch_ && at != part.names.end() && at->second.owner == owner)
      at->second.handle.swap(handle); // the old one is let go after the lock
  }

  /// Sets a name, and returns who had it.
  core::name_owner set(const std::string& name, const core::name_owner& owner,
                       caf::strong_actor_ptr handle) {
    auto& part = part_of(name);
    const std::unique_lock guard{part.mutex};
    auto& mine = part.names[name];
    mine.handle.swap(handle); // the old one is let go after the lock
    return std::exchange(mine.owner, owner);
  }

  /// Removes a name, and returns who had it.
  core::name_owner erase(const std::string& name) {
    entry old;
    auto& part = part_of(name);
    const std::unique_lock guard{part.mutex};
    if (const auto at = part.names.find(name); at != part.names.end()) {
      old = std::move(at->second);
      part.names.erase(at);
    }
    return old.owner;
  }

  void clear();

  /// Every name, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

  /// Those of `node` lead nowhere any more, or there is a way again.
  void forget_handles(const core::node_id& node);

private:
  struct hash {
    using is_transparent = void;

    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };

  /// A shared mutex of which no thread may take a share twice.
  class patient_mutex {
  public:
    patient_mutex() {
      pthread_rwlockattr_t how;
      pthread_rwlockattr_init(&how);
      pthread_rwlockattr_setkind_np(
        &how, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
      pthread_rwlock_init(&lock_, &how);
      pthread_rwlockattr_destroy(&how);
    }

    ~patient_mutex() {
      pthread_rwlock_destroy(&lock_);
    }

    patient_mutex(const patient_mutex&) = delete;
    patient_mutex& operator=(const patient_mutex&) = delete;

    void lock() {
      pthread_rwlock_wrlock(&lock_);
    }

    void unlock() {
      pthread_rwlock_unlock(&lock_);
    }

    void lock_shared() {
      pthread_rwlock_rdlock(&lock_);
    }

    void unlock_shared() {
      pthread_rwlock_unlock(&lock_);
    }

  private:
    pthread_rwlock_t lock_;
  };

  struct alignas(64) shard {
    mutable patient_mutex mutex;
    std::unordered_map<std::string, entry, hash, std::equal_to<>> names;
  };

  [[nodiscard]] const shard& part_of(std::string_view name) const noexcept {
    return shards_[hash{}(name) % shards_.size()];
  }

  [[nodiscard]] shard& part_of(std::string_view name) noexcept {
    return shards_[hash{}(name) % shards_.size()];
  }

  std::array<shard, 16> shards_;
  std::atomic<std::uint64_t> epoch_ = 0;
};

} // namespace coopcache::actor
