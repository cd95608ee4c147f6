#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace demo {

/// What the program `sha256sum` says about files: its hexadecimal digits by
/// path. A file that it cannot read is missing. Empty if there is no such
/// program here.
[[nodiscard]] std::optional<std::map<std::string, std::string>>
ask_sha256sum(const std::vector<std::string>& paths);

} // namespace demo
