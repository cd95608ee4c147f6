#include "coopcache/cluster/greeting.hpp"

#include "coopcache/core/text.hpp"

#include <string_view>

namespace coopcache::cluster {

namespace {

std::string list_text(const std::vector<std::string>& strict) {
  if (strict.empty())
    return "not strict";
  const std::vector<std::string_view> all{strict.begin(), strict.end()};
  std::string text = "strict with ";
  text += core::joined(all, ", ");
  return text;
}

std::string difference(std::string_view what, const std::string& theirs,
                       const std::string& own) {
  std::string text{what};
  text += ": ";
  text += theirs;
  text += " there, ";
  text += own;
  text += " here";
  return text;
}

} // namespace

std::string mismatch(const greeting& own, const greeting& theirs) {
  if (own.protocol != theirs.protocol)
    return difference("another version of the protocol",
                      std::to_string(theirs.protocol),
                      std::to_string(own.protocol));
  if (own.cluster != theirs.cluster)
    return difference("another cluster", core::quoted(theirs.cluster),
                      core::quoted(own.cluster));
  if (own.first_type_id != theirs.first_type_id)
    return difference("another COOPCACHE_FIRST_TYPE_ID",
                      std::to_string(theirs.first_type_id),
                      std::to_string(own.first_type_id));
  if (own.detection_ms != theirs.detection_ms)
    return difference("another cluster.failure_detection",
                      std::to_string(theirs.detection_ms) + " ms",
                      std::to_string(own.detection_ms) + " ms");
  if (own.strict != theirs.strict)
    return difference("another list of nodes", list_text(theirs.strict),
                      list_text(own.strict));
  if (own.self.name == theirs.self.name && own.endpoint != theirs.endpoint)
    return difference("two nodes of the name " + core::quoted(own.self.name),
                      theirs.endpoint, own.endpoint);
  return {};
}

} // namespace coopcache::cluster
