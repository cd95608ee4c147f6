#include "coopcache/config.hpp"

#include "coopcache/core/text.hpp"

#include <array>
#include <cstdlib>
#include <utility>

namespace coopcache {

namespace {

/// A setting that tells one process of many apart.
struct setting {
  std::string_view path; ///< in the configuration
  const char* variable;
  std::string_view argument;
  std::string node_options::*place;
};

constexpr std::array settings{
  setting{"node.name", "COOPCACHE_NAME", "--coopcache-name",
          &node_options::name},
  setting{"node.listen", "COOPCACHE_LISTEN", "--coopcache-listen",
          &node_options::listen},
  setting{"node.advertise", "COOPCACHE_ADVERTISE", "--coopcache-advertise",
          &node_options::advertise},
};

constexpr std::string_view prefix = "--coopcache-";

/// Collects values with where they came from, and faults.
class overrides {
public:
  explicit overrides(config base) : value_(std::move(base)) {
  }

  void set(const setting& what, std::string_view text, std::string from) {
    value_.node.*what.place = text;
    from_[static_cast<std::size_t>(&what - settings.data())] = std::move(from);
  }

  void fault(std::string_view argument, std::string found, std::string hint) {
    config_fault added;
    added.file = "arguments";
    added.path = argument;
    added.found = std::move(found);
    added.hint = std::move(hint);
    faults_.push_back(std::move(added));
  }

  /// Throws if anything is wrong.
  config finish() && {
    for (auto& each : check(value_)) {
      for (std::size_t i = 0; i < settings.size(); ++i)
        if (each.path == settings[i].path && !from_[i].empty())
          each.file = from_[i];
      faults_.push_back(std::move(each));
    }
    if (!faults_.empty())
      throw config_error{std::move(faults_)};
    return std::move(value_);
  }

private:
  config value_;
  std::array<std::string, settings.size()> from_;
  std::vector<config_fault> faults_;
};

void read_arguments(overrides& result, int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word{argv[i]};
    if (word == "--")
      return;
    if (!word.starts_with(prefix))
      continue; // the application's
    const auto name = word.substr(0, word.find('='));
    const setting* found = nullptr;
    std::vector<std::string_view> known;
    for (const auto& each : settings) {
      known.push_back(each.argument);
      if (each.argument == name)
        found = &each;
    }
    if (found == nullptr) {
      const auto near = core::nearest_name(name, known);
      result.fault(name, "unknown argument",
                   near.empty() ? "known: " + core::joined(known, ", ")
                                : "did you mean " + core::quoted(near) + '?');
    } else if (name.size() < word.size()) {
      result.set(*found, word.substr(name.size() + 1), "arguments");
    } else if (i + 1 < argc) {
      result.set(*found, argv[++i], "arguments");
    } else {
      result.fault(name, "no value", "write " + std::string{name} + "=VALUE");
    }
  }
}

} // namespace

config overridden(config base, int argc, const char* const* argv) {
  overrides result{std::move(base)};
  for (const auto& each : settings) {
    const char* const text = std::getenv(each.variable);
    if (text != nullptr && *text != '\0')
      result.set(each, text, std::string{"environment "} + each.variable);
  }
  read_arguments(result, argc, argv);
  return std::move(result).finish();
}

} // namespace coopcache
