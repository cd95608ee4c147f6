#pragma once

#include "coopcache/table/flight.hpp"

#include <stop_token>
#include <string_view>

namespace coopcache {

/// The load that a loader runs for: what a loader may ask for as its argument.
///
/// An asynchronous loader passes it on to the fetches that it makes, so that
/// loads which wait for each other are found; on a worker's own thread that is
/// done by itself. Cheap to copy, valid for ever.
class load_context {
public:
  load_context() noexcept = default;

  explicit load_context(table::flight_ptr f) noexcept : flight_(std::move(f)) {
  }

  /// The key that is loaded. Requires: not default-constructed.
  [[nodiscard]] std::string_view key() const noexcept {
    return flight_->key;
  }

  /// Asked to stop when the result is not wanted any more: after a clear, at
  /// the hard time limit, at shutdown. Requires: not default-constructed.
  [[nodiscard]] std::stop_token stop_token() const {
    return flight_->stop_token();
  }

  [[nodiscard]] const table::flight_ptr& flight() const noexcept {
    return flight_;
  }

private:
  table::flight_ptr flight_;
};

/// What a fetch may ask for beside the key.
struct fetch_options {
  /// How long to wait at most; unset: the `deadline` of the cache. More than
  /// 200 years counts as 200 years, less than nothing as nothing.
  std::optional<std::chrono::milliseconds> deadline{};
  /// The load that this fetch is made for; see `load_context`.
  load_context within{};
};

} // namespace coopcache
