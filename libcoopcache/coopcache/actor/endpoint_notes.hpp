#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace coopcache::actor {

/// What is known of an endpoint, for the status of a node.
struct endpoint_state {
  std::string endpoint;
  bool configured = false;
  bool linked = false;
  std::string peer;    ///< name of the node there, if it ever said it
  std::string trouble; ///< why there is no link; empty if there is one
};

/// The endpoints that a node dials or is dialled from, and what was said of
/// them. Thread-safe.
class endpoint_notes {
public:
  /// Of one endpoint so many reasons are said between two links.
  static constexpr std::size_t most_said = 10;

  /// It is known from now on.
  void add(const std::string& endpoint);

  void set_configured(const std::string& endpoint);

  [[nodiscard]] bool is_configured(const std::string& endpoint) const;

  void set_peer(const std::string& endpoint, const std::string& name);

  void set_linked(const std::string& endpoint, const std::string& peer);

  /// There is no link, for that reason. Returns whether it is to be logged:
  /// each reason once between two links.
  [[nodiscard]] bool set_trouble(const std::string& endpoint,
                                 const std::string& why);

  void forget(const std::string& endpoint);

  /// Sorted by endpoint.
  [[nodiscard]] std::vector<endpoint_state> all() const;

private:
  struct entry {
    endpoint_state state;
    std::set<std::string> said; ///< since the last link
  };

  /// With `mutex_`.
  entry& at(const std::string& endpoint);

  mutable std::mutex mutex_;
  std::map<std::string, entry> entries_; ///< by endpoint
};

} // namespace coopcache::actor
