#include "askers.hpp"
#include "interrupt.hpp"
#include "progress.hpp"
#include "sha256sum.hpp"
#include "summary.hpp"
#include "text.hpp"

#include <coopcache/coopcache.hpp>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

/// @file
/// Checksums of the files below a folder, asked for by many threads and actors
/// at once through a cache.

namespace demo {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr int bad_arguments = 2;
constexpr int wrong_checksums = 1;

struct arguments {
  std::string folder = "/usr/share";
  std::string config = COOPCACHE_DEMO_CONFIG;
  crowd_size size;
  std::size_t most_files = 1'000'000;
};

/// Arguments that make no sense, in words.
class usage_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

struct system_config : caf::actor_system_config {
  system_config() {
    std::istringstream no_file;
    if (const auto fault = parse(std::vector<std::string>{}, no_file))
      throw std::runtime_error(to_string(fault));
    set("caf.scheduler.policy", "sharing");
  }
};

/// What the loaders have done so far.
struct work_done {
  std::atomic<std::uint64_t> files{0};
  std::atomic<std::uint64_t> bytes{0};
};

checksums open_cache(coopcache::node& node,
                     const std::shared_ptr<work_done>& done,
                     const std::stop_token& stop) {
  return node.open<digest>("checksums", [done, stop](std::string_view path) {
    const auto [sum, size] = hash_file(std::string{path}, stop);
    ++done->files;
    done->bytes += size;
    return sum;
  });
}

listing list(const arguments& asked, const std::stop_token& stop) {
  progress line;
  auto found = list_files(asked.folder, asked.most_files, stop,
                          [&](std::size_t n) {
                            line.show(0, 0, "listing: " + count(n, "file"));
                          });
  line.clear();
  return found;
}

/// Lets all askers loose, and shows how far they are until they have ended.
void run_crowd(crowd& who, caf::actor_system& sys, const crowd_size& size,
               const work_done& done) {
  progress line;
  const auto all = who.files.size() * size.all();
  const auto threads = start_askers(who, sys, size);
  const auto show = [&] {
    const auto answers = who.answers();
    line.show(answers, all,
              "asking: " + number(answers) + " of " + number(all)
                + " requests; hashed " + count(done.files, "file") + ", "
                + bytes(done.bytes));
  };
  while (!who.wait_for(100ms))
    show();
  if (!who.stop.stop_requested())
    show();
  line.clear();
}

/// Compares some of the checksums in the cache.
agreement check(const crowd& who) {
  constexpr std::size_t most = 64;
  std::vector<std::string> paths;
  const auto step = std::max<std::size_t>(1, who.files.size() / most);
  for (std::size_t i = 0; i < who.files.size() && paths.size() < most;
       i += step)
    paths.push_back(who.files[i].path);
  const auto theirs = ask_sha256sum(paths);
  agreement result;
  result.asked = theirs.has_value();
  if (!theirs)
    return result;
  for (const auto& [path, sum] : *theirs) {
    const auto ours = who.cache.fetch(path);
    if (!ours)
      continue; // counted as an error before
    if (to_hex(*ours) == sum)
      ++result.same;
    else if (to_hex(hash_file(path, who.stop).sum) == sum)
      ++result.changed;
    else
      result.differ.push_back(path);
  }
  return result;
}

/// Every so many-th file will do for a measurement of a few seconds.
std::size_t sampling_step(std::chrono::nanoseconds with_cache) {
  return static_cast<std::size_t>(with_cache / 4s) + 1;
}

outcome work(const arguments& asked, const interrupt& ctrl_c) {
  const auto stop = ctrl_c.token();
  const auto declared = coopcache::load_config(asked.config);
  outcome all;
  all.size = asked.size;
  all.found = list(asked, stop);
  if (all.found.files.empty() && !ctrl_c.happened())
    throw usage_error("there are no files below " + asked.folder
                      + (all.found.faults.empty()
                           ? std::string{}
                           : ": " + all.found.faults[0]));
  std::printf("SHA-256 of %s below %s, through the cache \"checksums\"\n",
              count(all.found.files.size(), "file").c_str(),
              printable(asked.folder).c_str());
  std::fflush(stdout);

  coopcache::init_types();
  system_config cfg;
  caf::actor_system sys{cfg};
  auto node = coopcache::node::start(sys, declared);
  const auto done = std::make_shared<work_done>();
  crowd who{all.found.files, open_cache(node, done, stop), stop};

  const auto began = clock::now();
  run_crowd(who, sys, asked.size, *done);
  all.with_cache = clock::now() - began;
  all.answers = who.answers();
  all.errors = who.errors_so_far();
  all.stats = who.cache.stats();
  all.bytes_hashed = done->bytes;
  if (!ctrl_c.happened())
    all.check = check(who);
  if (!ctrl_c.happened())
    all.without_cache = measure_without_cache(all.found.files,
                                              sampling_step(all.with_cache),
                                              asked.size.threads, stop);
  if (ctrl_c.happened())
    all.without_cache.reset();
  return all;
}

int run(const arguments& asked) {
  const interrupt ctrl_c;
  if (!std::filesystem::is_directory(asked.folder))
    throw usage_error(asked.folder + " is not a folder");
  const auto all = work(asked, ctrl_c);
  std::printf("%s\n%s", ctrl_c.happened() ? "Interrupted; so far:" : "Done:",
              summary(all).c_str());
  if (all.check && !all.check->differ.empty())
    return wrong_checksums;
  return ctrl_c.happened() ? interrupted_status : 0;
}

/// Adds an option that is a number between bounds.
void add_number(CLI::App& app, const char* name, std::size_t& value,
                std::size_t least, std::size_t most, const char* meaning) {
  auto in_bounds = CLI::Range(least, most);
  app.add_option(name, value, meaning)
    ->check(in_bounds.description(""))
    ->type_name("N")
    ->capture_default_str();
}

/// Adds to `app` what can be said on the command line.
void describe(CLI::App& app, arguments& asked) {
  constexpr std::size_t help_column = 34;
  app.get_formatter()->column_width(help_column);
  app.add_option("folder", asked.folder, "whose files to checksum")
    ->type_name("")
    ->capture_default_str();
  add_number(app, "--threads", asked.size.threads, 1, 1024,
             "threads that fetch");
  add_number(app, "--fetchers", asked.size.fetchers, 0, 10'000,
             "actors that fetch");
  add_number(app, "--messengers", asked.size.messengers, 0, 10'000,
             "actors that send messages to the cache");
  add_number(app, "--max-files", asked.most_files, 1, 100'000'000,
             "take no more files than these");
  app
    .add_option("--config", asked.config,
                "where the cache is declared; default: config/demo.json")
    ->type_name("FILE");
}

} // namespace

} // namespace demo

int main(int argc, char** argv) {
  demo::arguments asked;
  CLI::App app{"Checksums (SHA-256) of the files below a folder. Each is asked "
               "for by many\nthreads and actors at once, through the cache "
               "\"checksums\".",
               "coopcache-demo"};
  demo::describe(app, asked);
  try {
    app.parse(argc, argv);
    return demo::run(asked);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : demo::bad_arguments;
  } catch (const std::exception& e) {
    std::cerr << "coopcache-demo: " << e.what() << '\n';
    return demo::bad_arguments;
  }
}
