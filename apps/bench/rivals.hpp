#pragma once

#include "coopcache/table/hot_table.hpp"
#include "coopcache/table/rcu.hpp"

#include "suite.hpp"

#include <tbb/concurrent_hash_map.h>
#include <urcu/rculfhash.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>

/// @file
/// Our cache and its rivals behind one interface: `put` before the clock
/// starts, and `read`, which takes shared ownership of the value where nothing
/// else is said, looks at the value and lets go. Each uses the hash that it
/// comes with, and rculfhash, which comes with none, uses ours.

namespace bench {

using shared_value = std::shared_ptr<const std::string>;

/// A loader that a hit never runs.
inline constexpr auto no_load = [] { return std::string{}; };

// -- ours ---------------------------------------------------------------------

/// The public API under the default options.
class our_fetch {
public:
  explicit our_fetch(const coopcache::cache_options& with = {})
    : cache_(open_cache(with)) {
  }

  void put(const std::string& key, const std::string& value) {
    static_cast<void>(cache_.put(key, value));
  }

  std::size_t read(const std::string& key) {
    return cache_.fetch(key, no_load)->size();
  }

protected:
  coopcache::cache<std::string> cache_;
};

/// The same, with an idle timeout: hits leave a stamp.
class our_fetch_idle : public our_fetch {
public:
  our_fetch_idle() : our_fetch(options()) {
  }

private:
  static coopcache::cache_options options() {
    coopcache::cache_options result;
    result.cache_duration = std::chrono::minutes{30};
    return result;
  }
};

/// The same, with values that expire at a time of their own: hits look at it.
class our_fetch_expiring : public our_fetch {
public:
  void put(const std::string& key, const std::string& value) {
    static_cast<void>(cache_.put(key, value, std::chrono::minutes{30}));
  }
};

/// A borrowing read: the value is seen, not shared.
class our_visit : public our_fetch {
public:
  std::size_t read(const std::string& key) {
    std::size_t size = 0;
    cache_.visit(key, [&size](const std::string& v) { size = v.size(); });
    return size;
  }
};

/// The container that our cache uses, without the cache.
class our_table {
public:
  void put(const std::string& key, const std::string& value) {
    using coopcache::detail::make_entry;
    if (auto* const old = table_.put(make_entry<std::string>(key, value, {})))
      coopcache::table::hot_table::retire(*old);
  }

  void erase(const std::string& key) {
    if (auto* const old = table_.lookup(key))
      table_.erase(*old);
  }

  std::size_t read(const std::string& key) {
    return table_.find(key)->value<std::string>().size();
  }

private:
  coopcache::table::hot_table table_{false, 0};
};

// -- theirs -------------------------------------------------------------------

/// A bare rculfhash lookup: read lock, lookup, a look at the value, unlock. No
/// reference is taken, so nobody may keep the value. At its best: a bucket for
/// each key from the start, the key inside the node, its size known.
class bare_rculfhash {
public:
  bare_rculfhash()
    : table_(cds_lfht_new_flavor(buckets, buckets, buckets, 0, &urcu_bp_flavor,
                                 nullptr)) {
  }

  void put(const std::string& key, const std::string& value) {
    auto* const added = new item{};
    std::memcpy(added->key, key.data(), key_size);
    added->value = value;
    const coopcache::table::rcu::read_guard guard;
    cds_lfht_add_unique(table_, hash(added->key), match, added->key, added);
  }

  std::size_t read(const std::string& key) {
    const coopcache::table::rcu::read_guard guard;
    cds_lfht_iter found;
    cds_lfht_lookup(table_, hash(key.data()), match, key.data(), &found);
    return static_cast<item*>(cds_lfht_iter_get_node(&found))->value.size();
  }

private:
  static constexpr std::size_t key_size = 16;
  static constexpr unsigned long buckets = 1 << 14;

  struct item : cds_lfht_node {
    char key[key_size];
    std::string value;
  };

  static unsigned long hash(const char* key) {
    return XXH3_64bits_withSeed(key, key_size, 42);
  }

  static int match(cds_lfht_node* node, const void* key) {
    return std::memcmp(static_cast<item*>(node)->key, key, key_size) == 0;
  }

  cds_lfht* table_;
};

/// oneTBB.
class tbb_map {
public:
  void put(const std::string& key, const std::string& value) {
    map_.emplace(key, std::make_shared<const std::string>(value));
  }

  std::size_t read(const std::string& key) {
    return find(key)->size();
  }

private:
  shared_value find(const std::string& key) {
    map::const_accessor at;
    return map_.find(at, key) ? at->second : nullptr;
  }

  using map = tbb::concurrent_hash_map<std::string, shared_value>;
  map map_;
};

/// `std::unordered_map` behind a `std::shared_mutex`.
class locked_map {
public:
  void put(const std::string& key, const std::string& value) {
    const std::unique_lock guard{mutex_};
    map_.emplace(key, std::make_shared<const std::string>(value));
  }

  std::size_t read(const std::string& key) {
    return find(key)->size();
  }

private:
  shared_value find(const std::string& key) {
    const std::shared_lock guard{mutex_};
    const auto at = map_.find(key);
    return at != map_.end() ? at->second : nullptr;
  }

  std::shared_mutex mutex_;
  std::unordered_map<std::string, shared_value> map_;
};

/// The memoizer that everybody writes. Hands out the future, which shares the
/// value: to take a pointer out of it would count references twice.
class memoizer {
public:
  using future = std::shared_future<shared_value>;

  void put(const std::string& key, const std::string& value) {
    fetch(key, [&value] { return value; });
  }

  std::size_t read(const std::string& key) {
    return fetch(key, no_load).get()->size();
  }

  /// The first caller of a key loads, the others get his future.
  template <class Load>
  future fetch(const std::string& key, Load load) {
    std::unique_lock guard{mutex_};
    if (const auto at = map_.find(key); at != map_.end())
      return at->second;
    std::promise<shared_value> promise;
    const future result = promise.get_future().share();
    map_.emplace(key, result);
    guard.unlock();
    promise.set_value(std::make_shared<const std::string>(load()));
    return result;
  }

private:
  std::mutex mutex_;
  std::unordered_map<std::string, future> map_;
};

} // namespace bench
