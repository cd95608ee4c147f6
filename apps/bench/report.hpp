#pragma once

#include <benchmark/benchmark.h>

#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// Collects what Google Benchmark reports, round by round.
///
/// Figures are medians over the rounds. Where a round tells for how much of its
/// time it had to wait for a core, those count that waited for at most 5 % of
/// it, but at least the quietest third.
class results : public benchmark::BenchmarkReporter {
public:
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;

  /// Whether there is a figure of a workload whose name begins so.
  [[nodiscard]] bool ran(std::string_view prefix) const;

  /// Seconds per operation of a workload; with several threads those of all
  /// together. Empty if it did not run.
  [[nodiscard]] std::optional<double> seconds(const std::string& name,
                                              int threads = 1) const;

  [[nodiscard]] std::optional<double> counter(const std::string& name,
                                              const std::string& what) const;

  /// The workloads that failed, with why.
  [[nodiscard]] const std::vector<std::string>& failed() const noexcept {
    return failed_;
  }

  /// Rounds that told, and how many of them were disturbed.
  [[nodiscard]] std::pair<std::size_t, std::size_t> disturbed() const;

private:
  struct round {
    double disturbed;
    double seconds;
    std::map<std::string, double> counters;
  };

  using rounds = std::vector<round>;

  [[nodiscard]] rounds quiet(const std::string& name, int threads) const;

  std::map<std::pair<std::string, int>, rounds> all_;
  std::vector<std::string> failed_;
};

/// Prints all figures, and at the end the targets: reached or missed.
void print_tables(std::ostream& out, const results& all);

} // namespace bench
