#include "coopcache/table/flights.hpp"

#include "coopcache/table/brief_mutex.hpp"
#include "coopcache/table/clock.hpp"
#include "coopcache/table/hash.hpp"

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace coopcache::table {

namespace {

constexpr std::size_t shard_count = 16;

struct key_hash {
  std::uint64_t seed = hash_seed();

  std::size_t operator()(std::string_view key) const noexcept {
    return hash_of(key, seed);
  }
};

} // namespace

struct alignas(64) flights::shard {
  mutable brief_mutex mutex;
  bool closed = false;
  /// The keys live in the flights.
  std::unordered_map<std::string_view, flight_ptr, key_hash> current;
  std::vector<flight_ptr> superseded;

  void append_to(std::vector<flight_ptr>& out) const {
    for (const auto& [key, each] : current)
      out.push_back(each);
    out.insert(out.end(), superseded.begin(), superseded.end());
  }
};

flights::flights() : shards_(std::make_unique<shard[]>(shard_count)) {
}

flights::~flights() = default;

flights::shard& flights::shard_of(std::string_view key) const noexcept {
  return shards_[(key_hash{}(key) >> 40) % shard_count];
}

flights::seat flights::join(std::string_view key, hot_table* table,
                            const std::function<flight_ptr()>& make) {
  shard& s = shard_of(key);
  const std::lock_guard guard{s.mutex};
  seat result;
  if ((result.closed = s.closed))
    return result;
  const auto take = [&result](const flight_ptr& f) {
    result.joined = f;
    result.interest = flight::interest{*f};
  };
  if (const auto at = s.current.find(key); at != s.current.end()) {
    const flight_ptr& f = at->second;
    if (!f->landed() || (table != nullptr && f->usable(precise_now()))) {
      take(f);
      return result;
    }
    // It has ended before this call began, and has nothing for it.
    s.superseded.push_back(std::move(at->second));
    s.current.erase(at);
  }
  if (table != nullptr && (result.hit = table->find(key)))
    return result;
  if (auto fresh = make()) {
    s.current.emplace(fresh->key, fresh);
    take(fresh);
    result.fresh = true;
  }
  return result;
}

flight_ptr flights::find(std::string_view key) const {
  const shard& s = shard_of(key);
  const std::lock_guard guard{s.mutex};
  const auto at = s.current.find(key);
  return at != s.current.end() ? at->second : nullptr;
}

bool flights::remove(const flight& f) {
  shard& s = shard_of(f.key);
  flight_ptr keep; // destroyed after the lock is released
  const std::lock_guard guard{s.mutex};
  const auto at = s.current.find(f.key);
  if (at != s.current.end() && at->second.get() == &f) {
    keep = std::move(at->second);
    s.current.erase(at);
    return true;
  }
  const auto old = std::find_if(s.superseded.begin(), s.superseded.end(),
                                [&f](const auto& x) { return x.get() == &f; });
  if (old != s.superseded.end()) {
    keep = std::move(*old);
    s.superseded.erase(old);
  }
  return false;
}

flight_ptr flights::supersede(std::string_view key) {
  shard& s = shard_of(key);
  const std::lock_guard guard{s.mutex};
  const auto at = s.current.find(key);
  if (at == s.current.end())
    return nullptr;
  flight_ptr result = at->second;
  result->supersede();
  s.current.erase(at);
  s.superseded.push_back(result);
  return result;
}

std::vector<flight_ptr> flights::supersede_all() {
  std::vector<flight_ptr> result;
  for (std::size_t i = 0; i < shard_count; ++i) {
    shard& s = shards_[i];
    const std::lock_guard guard{s.mutex};
    for (const auto& [key, each] : s.current) {
      each->supersede();
      result.push_back(each);
      s.superseded.push_back(each);
    }
    s.current.clear();
  }
  return result;
}

std::vector<flight_ptr> flights::close() {
  std::vector<flight_ptr> result;
  for (std::size_t i = 0; i < shard_count; ++i) {
    shard& s = shards_[i];
    const std::lock_guard guard{s.mutex};
    s.closed = true;
    s.append_to(result);
    s.current.clear();
    s.superseded.clear();
  }
  return result;
}

std::vector<flight_ptr> flights::all() const {
  std::vector<flight_ptr> result;
  for (std::size_t i = 0; i < shard_count; ++i) {
    const std::lock_guard guard{shards_[i].mutex};
    shards_[i].append_to(result);
  }
  return result;
}

} // namespace coopcache::table
