#include "support.hpp"

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

using namespace coopcache;
namespace fs = std::filesystem;

namespace {

const fs::path source = COOPCACHE_SOURCE_DIR;

std::vector<config_fault> faults_of(const fs::path& file) {
  try {
    static_cast<void>(load_config(file));
    return {};
  } catch (const config_error& error) {
    return error.faults();
  }
}

/// A folder of its own that goes away with its test.
struct scratch {
  fs::path folder = fs::temp_directory_path()
                    / ("coopcache-config-" + std::to_string(getpid()));

  scratch() {
    fs::create_directories(folder);
  }

  ~scratch() {
    fs::remove_all(folder);
  }

  fs::path file(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name) << text;
    return folder / name;
  }
};

template <class Check>
std::size_t each_file(const fs::path& folder, Check check) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".json") {
      INFO(entry.path().string());
      check(entry.path());
      ++count;
    }
  return count;
}

} // namespace

TEST_CASE("every good example is accepted") {
  CHECK(each_file(source / "config/examples",
                  [](const fs::path& f) { CHECK(faults_of(f).empty()); })
        >= 4);
}

TEST_CASE("every bad example is refused at a line and column, if it has any") {
  const auto check = [](const fs::path& file) {
    const auto faults = faults_of(file);
    CHECK_FALSE(faults.empty());
    for (const auto& fault : faults) {
      CHECK(fault.file == file.string());
      CHECK((fault.line > 0) == (file.filename() != "empty.json"));
      CHECK((fault.column > 0) == (fault.line > 0));
    }
  };
  CHECK(each_file(source / "test/config/bad", check) >= 40);
  CHECK(each_file(source / "test/config/bad/beyond_schema", check) >= 20);
}

TEST_CASE("the demo's configuration is what its summary talks about") {
  const auto value = load_config(source / "config/demo.json");
  REQUIRE(value.caches.contains("checksums"));
  CHECK(value.caches.at("checksums").memory_limit == 64 << 20);
}

TEST_CASE("a file that cannot be read is a fault of its own") {
  const scratch files;
  const auto found = [](const fs::path& file) {
    const auto faults = faults_of(file);
    return faults.size() == 1 ? faults.front().found : "";
  };
  CHECK(found(files.folder / "missing.json") == "no such file");
  CHECK(found(files.folder) == "a directory, not a file");
  CHECK(found(files.file("empty.json", "")) == "the file is empty");
  CHECK(found(files.file("large.json", std::string((4 << 20) + 1, ' ')))
        == "file too large; allowed: at most 4 MiB");
  const auto secret = files.file("secret.json", "{}");
  fs::permissions(secret, fs::perms::none);
  if (geteuid() != 0)
    CHECK(found(secret) == "cannot be read: Permission denied");
  CHECK(found(secret / "below") != "");
}

TEST_CASE("what is no regular file is refused, not waited for") {
  const scratch files;
  const auto pipe = files.folder / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0); // nobody writes into it
  fs::create_symlink(pipe, files.folder / "to-pipe");
  struct {
    fs::path file;
    std::string found;
  } const table[] = {
    {pipe, "a pipe, not a file"},
    {files.folder / "to-pipe", "a pipe, not a file"},
    {"/dev/zero", "a device, not a file"},
  };
  for (const auto& row : table) {
    CAPTURE(row.file);
    const auto faults = faults_of(row.file);
    REQUIRE(faults.size() == 1);
    CHECK(faults.front().found == row.found);
  }
}

TEST_CASE("a link to a file is as good as the file") {
  const scratch files;
  fs::create_symlink(files.file("a.json", "{}"), files.folder / "link.json");
  CHECK(faults_of(files.folder / "link.json").empty());
}

TEST_CASE("a relative path that leads nowhere tells where it was looked for") {
  const auto faults = faults_of("no/such/file.json");
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].to_string()
        == "no/such/file.json: no such file; looked for in "
             + fs::current_path().string());
}

TEST_CASE("an error carries all faults and prints one a line") {
  const scratch files;
  const auto file = files.file("a.json", "{\"x\": 1,\n\"nodes\": 2}");
  try {
    static_cast<void>(load_config(file));
    FAIL("no error");
  } catch (const config_error& error) {
    const auto name = file.string();
    CHECK(error.what()
          == name
               + ":1:2: x: unknown key; known: $schema, node, cluster, nodes, "
                 "caches\n"
               + name + ":2:10: nodes: wrong type: 2; allowed: a list [...]");
    const config_error copy = error;
    CHECK(copy.faults() == error.faults());
  }
}
