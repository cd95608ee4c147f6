#include "summary.hpp"

#include "text.hpp"

#include <sstream>

namespace demo {

namespace {

constexpr std::size_t name_width = 15;
constexpr std::size_t value_width = 13;

/// "name            value  remark"
std::string row(std::string name, const std::string& value,
                const std::string& remark) {
  name.resize(name_width, ' ');
  const auto blanks = value.size() < value_width ? value_width - value.size()
                                                 : 0;
  auto text = "  " + name + std::string(blanks, ' ') + value;
  return text + (remark.empty() ? "\n" : "   " + remark + '\n');
}

std::string files_remark(const listing& found) {
  auto text = bytes(found.bytes);
  const auto skipped = [&text](std::uint64_t n, std::string_view what) {
    if (n > 0)
      text += "; skipped " + count(n, what);
  };
  skipped(found.links, "symbolic link");
  skipped(found.special, "special file");
  skipped(found.mounts, "mounted folder");
  if (found.unread > 0)
    text += "; " + number(found.unread) + " unreadable on the way";
  if (found.cut)
    text += "; there are more: see --max-files";
  return text;
}

std::string askers_remark(const crowd_size& size) {
  return "by " + count(size.threads, "thread") + ", "
         + count(size.fetchers, "actor") + " that fetch, "
         + count(size.messengers, "actor") + " that send messages";
}

std::string full_remark(const coopcache::cache_stats& stats) {
  if (stats.refused + stats.evicted == 0)
    return {};
  return "; it is full: " + count(stats.refused, "value") + " refused, "
         + number(stats.evicted) + " evicted";
}

std::string check_rows(const agreement& check) {
  if (!check.asked)
    return row("sha256sum", "not checked", "there is no such program here");
  std::string changed;
  if (check.changed > 0)
    changed = "; " + count(check.changed, "file") + " changed meanwhile";
  if (check.differ.empty())
    return row("sha256sum", "agree",
               "on a sample of " + count(check.same, "file") + changed);
  auto text = row("sha256sum", "differ",
                  "on " + count(check.differ.size(), "file") + " of "
                    + number(check.same + check.differ.size()) + changed);
  for (const auto& each : check.differ)
    text += "    " + printable(each) + '\n';
  return text;
}

std::string time_rows(const outcome& all) {
  auto text = row("with cache", duration(all.with_cache), {});
  if (!all.without_cache)
    return text;
  const auto& measured = *all.without_cache;
  const auto without = measured.of(all.answers);
  text += row("without cache", duration(without),
              measured.requests == all.answers
                ? "measured"
                : "extrapolated: " + count(measured.requests, "request")
                    + " took " + duration(measured.time));
  const auto ratio = static_cast<double>(without.count())
                     / static_cast<double>(all.with_cache.count());
  std::ostringstream times;
  times.precision(ratio < 10 ? 1 : 0);
  times << std::fixed << ratio;
  return text + row("speed-up", times.str(), "times");
}

std::string fault_rows(const outcome& all) {
  std::string text;
  for (const auto& each : all.errors.first)
    text += "    " + printable(each) + '\n';
  if (all.errors.files > all.errors.first.size())
    text += "    ...\n";
  for (const auto& each : all.found.faults)
    text += "    " + printable(each) + '\n';
  return text;
}

} // namespace

std::string summary(const outcome& all) {
  const auto& s = all.stats;
  auto text = row("files", number(all.found.files.size()),
                  files_remark(all.found));
  text += row("requests", number(all.answers), askers_remark(all.size));
  text += row("hits", number(s.hits), "answered from the cache");
  text += row("joined", number(s.joined), "waited for a load in progress");
  text += row("loads run", number(s.loads),
              bytes(all.bytes_hashed) + " hashed");
  text += row("errors", number(all.errors.answers),
              all.errors.files == 0 ? ""
                                    : "for " + count(all.errors.files, "file"));
  text += fault_rows(all);
  text += row("cached", bytes(s.bytes),
              "of " + bytes(s.memory_limit) + ", " + number(s.entries)
                + (s.entries == 1 ? " entry" : " entries") + full_remark(s));
  text += time_rows(all);
  if (all.check)
    text += check_rows(*all.check);
  return text;
}

} // namespace demo
