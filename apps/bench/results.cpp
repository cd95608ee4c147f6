#include "report.hpp"

#include <algorithm>
#include <iostream>

namespace bench {

namespace {

constexpr double disturbed_share = 0.05;

std::optional<double> median(std::vector<double> of) {
  if (of.empty())
    return std::nullopt;
  std::sort(of.begin(), of.end());
  const auto middle = of.size() / 2;
  return of.size() % 2 != 0 ? of[middle] : (of[middle - 1] + of[middle]) / 2;
}

} // namespace

bool results::ReportContext(const Context& context) {
  PrintBasicContext(&std::cerr, context);
  return true;
}

void results::ReportRuns(const std::vector<Run>& runs) {
  for (const auto& run : runs) {
    const auto& name = run.run_name.function_name;
    if (run.run_type == Run::RT_Aggregate)
      continue;
    if (run.error_occurred) {
      failed_.push_back(name + ": " + run.error_message);
      continue;
    }
    round r{0,
            run.real_accumulated_time / static_cast<double>(run.iterations),
            {}};
    for (const auto& [what, value] : run.counters)
      r.counters[what] = value;
    if (const auto at = r.counters.find("disturbed"); at != r.counters.end())
      r.disturbed = at->second;
    all_[{name, static_cast<int>(run.threads)}].push_back(std::move(r));
  }
}

bool results::ran(std::string_view prefix) const {
  return std::any_of(all_.begin(), all_.end(), [prefix](const auto& each) {
    return each.first.first.starts_with(prefix);
  });
}

results::rounds results::quiet(const std::string& name, int threads) const {
  const auto at = all_.find({name, threads});
  if (at == all_.end())
    return {};
  rounds of = at->second;
  std::stable_sort(of.begin(), of.end(), [](const auto& a, const auto& b) {
    return a.disturbed < b.disturbed;
  });
  const auto good = std::count_if(of.begin(), of.end(), [](const auto& r) {
    return r.disturbed <= disturbed_share;
  });
  of.resize(std::max(static_cast<std::size_t>(good), (of.size() + 2) / 3));
  return of;
}

std::optional<double> results::seconds(const std::string& name,
                                       int threads) const {
  std::vector<double> of;
  for (const auto& each : quiet(name, threads))
    of.push_back(each.seconds);
  return median(std::move(of));
}

std::optional<double> results::counter(const std::string& name,
                                       const std::string& what) const {
  std::vector<double> of;
  for (const auto& each : quiet(name, 1))
    if (const auto at = each.counters.find(what); at != each.counters.end())
      of.push_back(at->second);
  return median(std::move(of));
}

std::pair<std::size_t, std::size_t> results::disturbed() const {
  std::pair<std::size_t, std::size_t> result{0, 0};
  for (const auto& [name, of] : all_)
    for (const auto& each : of) {
      result.first += each.counters.count("disturbed");
      result.second += each.disturbed > disturbed_share ? 1 : 0;
    }
  return result;
}

} // namespace bench
