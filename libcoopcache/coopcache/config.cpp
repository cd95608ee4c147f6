#include "coopcache/config.hpp"

#include "coopcache/config_check.hpp"
#include "coopcache/config_read.hpp"
#include "coopcache/config_settings.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/core/units.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

namespace coopcache {

namespace {

using detail::raw_fault;

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

config_fault without_place(raw_fault fault) {
  return {{},
          0,
          0,
          std::move(fault.path),
          std::move(fault.found),
          std::move(fault.allowed),
          std::move(fault.hint)};
}

std::vector<config_fault> without_places(std::vector<raw_fault> faults) {
  std::vector<config_fault> result;
  result.reserve(faults.size());
  for (raw_fault& fault : faults)
    result.push_back(without_place(std::move(fault)));
  return result;
}

/// In the order of the text; of too many, the first ones.
std::vector<config_fault> placed(std::vector<raw_fault> faults,
                                 std::string_view text, std::string_view file) {
  std::stable_sort(faults.begin(), faults.end(),
                   [](const auto& a, const auto& b) {
                     return a.offset < b.offset;
                   });
  const std::size_t left_out = faults.size()
                               - std::min(faults.size(), detail::most_faults);
  faults.resize(faults.size() - left_out);
  std::vector<config_fault> result;
  for (raw_fault& fault : faults) {
    const std::size_t offset = fault.offset;
    config_fault& added = result.emplace_back(without_place(std::move(fault)));
    added.file = file;
    if (offset != detail::nowhere) {
      const auto [line, column] = detail::position_of(text, offset);
      added.line = line;
      added.column = column;
    }
  }
  if (left_out > 0) {
    result.back().hint += result.back().hint.empty() ? "" : "; ";
    result.back().hint += "and " + std::to_string(left_out) + " faults more";
  }
  return result;
}

config_fault fault_of_file(std::string_view file, std::string found,
                           std::string hint = {}) {
  return {std::string(file), 0, 0, {}, std::move(found), {}, std::move(hint)};
}

std::string too_large() {
  return "file too large; allowed: at most "
         + core::bytes_text(detail::largest_file);
}

[[noreturn]] void refuse(const std::filesystem::path& file, std::string found,
                         std::string hint = {}) {
  throw config_error(
    {fault_of_file(file.string(), std::move(found), std::move(hint))});
}

std::string_view kind_of(std::filesystem::file_type type) {
  using std::filesystem::file_type;
  switch (type) {
    case file_type::directory:
      return "a directory";
    case file_type::fifo:
      return "a pipe";
    case file_type::socket:
      return "a socket";
    case file_type::block:
    case file_type::character:
      return "a device";
    default:
      return "something else";
  }
}

/// Of regular files only: opening or reading anything else may wait for ever.
std::string contents(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (status.type() == std::filesystem::file_type::not_found)
    refuse(file, "no such file",
           file.is_absolute()
             ? ""
             : "looked for in "
                 + std::filesystem::current_path(error).string());
  if (exists(status) && !is_regular_file(status))
    refuse(file, std::string(kind_of(status.type())) + ", not a file");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    refuse(file, "cannot be read: "
                   + std::error_code(errno, std::generic_category()).message());
  std::string text(detail::largest_file + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (stream.bad())
    refuse(file, "cannot be read: input/output error");
  return text;
}

std::string report(const std::vector<config_fault>& faults) {
  std::string text;
  for (const config_fault& fault : faults) {
    text += text.empty() ? "" : "\n";
    text += fault.to_string();
  }
  return text;
}

} // namespace

std::string config_fault::to_string() const {
  std::string text = core::printable(file, 4096);
  if (line > 0)
    text += ':' + std::to_string(line) + ':' + std::to_string(column);
  const auto append = [&](std::string_view separator, const std::string& part) {
    if (!part.empty() && !text.empty())
      text += separator;
    text += part;
  };
  append(": ", path);
  append(": ", found);
  append("; ", allowed);
  append("; ", hint);
  return text;
}

config_error::config_error(std::vector<config_fault> faults)
  : std::runtime_error(report(faults)),
    faults_(
      std::make_shared<const std::vector<config_fault>>(std::move(faults))) {
  // nop
}

parsed_config parse_config(std::string_view text, std::string_view file) {
  if (text.starts_with(byte_order_mark))
    text.remove_prefix(byte_order_mark.size());
  if (text.size() > detail::largest_file)
    return {{}, {fault_of_file(file, too_large())}};
  if (text.find_first_not_of(" \t\r\n") == text.npos)
    return {{},
            {fault_of_file(file, "the file is empty", "write at least {}")}};
  detail::json_document document = detail::read_json(text);
  detail::read_config read;
  const bool has_root = !document.fault || !document.root.members.empty();
  if (has_root)
    read = detail::read_tree(document.root, text);
  auto faults = std::move(read.faults);
  for (raw_fault& fault : detail::check_config(read.value, read.from))
    faults.push_back(std::move(fault));
  if (auto& broken = document.fault)
    faults.push_back({broken->offset,
                      {},
                      std::move(broken->found),
                      std::move(broken->allowed),
                      std::move(broken->hint)});
  return {std::move(read.value), placed(std::move(faults), text, file)};
}

config load_config(const std::filesystem::path& file) {
  parsed_config parsed = parse_config(contents(file), file.string());
  if (!parsed.faults.empty())
    throw config_error(std::move(parsed.faults));
  return std::move(parsed.value);
}

std::vector<config_fault> check(const config& value) {
  return without_places(detail::check_config(value, {}));
}

std::vector<config_fault> check_cache(std::string_view name,
                                      const cache_options& options) {
  return without_places(detail::check_one_cache(name, options, {}));
}

} // namespace coopcache
