#pragma once

#include "coopcache/export.hpp"

#include <string>

namespace coopcache::core {

/// The text of the exception that is being handled, whatever its type: its
/// `what()`, the text itself if one was thrown, else the name of its type.
/// Requires: inside a `catch` block.
[[nodiscard]] COOPCACHE_EXPORT std::string exception_text();

} // namespace coopcache::core
