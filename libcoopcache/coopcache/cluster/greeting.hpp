#pragma once

#include "coopcache/cluster/messages.hpp"
#include "coopcache/core/view.hpp"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

/// @file
/// What two nodes say to each other before they are linked, and beside what
/// their machines say. PROTOCOL.md has the flow.

namespace coopcache::cluster {

/// Raised whenever nodes of two versions could not talk to each other.
constexpr std::uint32_t protocol_version = 1;

/// What has to be the same on both ends of a link, and who speaks.
struct greeting {
  enum class step : std::uint8_t {
    hello,   ///< from the node that has dialled
    welcome, ///< the answer: the node agrees
    confirm, ///< the answer has come: both are linked
    refuse,  ///< the answer: `refusal` says why not
  };

  std::uint32_t protocol = protocol_version;
  step is = step::hello;
  core::node_id self;
  std::string endpoint;            ///< where the speaker can be dialled
  std::string cluster;             ///< name of the cluster
  std::uint64_t detection_ms = 0;  ///< after so much silence a node is lost
  std::vector<std::string> strict; ///< sorted endpoints; empty: not strict
  std::uint32_t first_type_id = 0; ///< where the library's types begin
  std::string refusal;
  std::vector<std::string> peers; ///< endpoints of other nodes

  friend bool operator==(const greeting&, const greeting&) = default;
};

/// The sender has met another node.
struct acquaintance {
  std::string endpoint;

  friend bool operator==(const acquaintance&, const acquaintance&) = default;
};

/// Everything that goes over a link.
using link_message = std::variant<greeting, acquaintance, message>;

/// Why a node with `own` must not be linked to one that says `theirs`, in
/// words; empty if it may.
[[nodiscard]] std::string mismatch(const greeting& own, const greeting& theirs);

} // namespace coopcache::cluster
