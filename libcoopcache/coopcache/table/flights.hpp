#pragma once

#include "coopcache/export.hpp"
#include "coopcache/table/flight.hpp"
#include "coopcache/table/hot_table.hpp"

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace coopcache::table {

/// All flights of a cache: at most one that new callers of a key may join, and
/// those that were superseded but have not landed yet. Thread-safe, in shards;
/// hits never come here.
///
/// Invariants:
/// 1. At most one current flight per key.
/// 2. A flight is in here from `join` until `remove`; nobody else takes it out
///    but `close`.
class COOPCACHE_EXPORT flights {
public:
  flights();
  ~flights();
  flights(const flights&) = delete;
  flights& operator=(const flights&) = delete;

  /// What a caller gets: a hit, a flight, `closed`, or nothing if there was no
  /// flight to publish.
  struct seat {
    entry_ptr hit;
    flight_ptr joined;
    flight::interest interest{}; ///< in `joined`; ends before it
    bool fresh = false;          ///< the caller has published `joined`
    bool closed = false;         ///< `close` has been called
  };

  /// Joins the current flight of `key`, or publishes the one that `make`
  /// returns, which may be none. A flight that has landed is joined only if its
  /// value may be handed out. If `table` is given, a value that has got
  /// there meanwhile goes first: a flight leaves only after its value is in the
  /// table, so that nobody slips through between the two.
  [[nodiscard]] seat join(std::string_view key, hot_table* table,
                          const std::function<flight_ptr()>& make);

  /// The current flight of `key`, or null.
  [[nodiscard]] flight_ptr find(std::string_view key) const;

  /// Takes `f` out. True if it was the current one of its key.
  bool remove(const flight& f);

  /// Supersedes the current flight of `key`: it stays until it lands, but new
  /// callers do not find it. Empty if there is none.
  flight_ptr supersede(std::string_view key);

  /// Supersedes all.
  std::vector<flight_ptr> supersede_all();

  /// Takes all flights out; `join` answers `closed` from now on.
  [[nodiscard]] std::vector<flight_ptr> close();

  /// A copy of all, superseded ones included.
  [[nodiscard]] std::vector<flight_ptr> all() const;

private:
  struct shard;

  [[nodiscard]] shard& shard_of(std::string_view key) const noexcept;

  std::unique_ptr<shard[]> shards_;
};

} // namespace coopcache::table
