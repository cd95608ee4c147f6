#include "support.hpp"

#include <cstdlib>
#include <vector>

using namespace coopcache;

namespace {

/// Sets a variable of the environment for its life.
class variable {
public:
  variable(const char* name, const char* text) : name_(name) {
    ::setenv(name, text, 1);
  }

  ~variable() {
    ::unsetenv(name_);
  }

  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;

private:
  const char* name_;
};

node_options result_of(std::vector<const char*> arguments,
                       const config& base = {}) {
  arguments.insert(arguments.begin(), "program");
  return overridden(base, static_cast<int>(arguments.size()), arguments.data())
    .node;
}

std::string faults_of(const std::vector<const char*>& arguments) {
  try {
    static_cast<void>(result_of(arguments));
    return "none";
  } catch (const config_error& e) {
    return e.what();
  }
}

} // namespace

TEST_CASE("without environment and arguments a configuration stays as it is") {
  config base;
  base.node.name = "a";
  base.node.listen = "127.0.0.1:1";
  CHECK(overridden(base) == base);
  CHECK(result_of({"--other", "x", "-y"}, base) == base.node);
}

TEST_CASE("the environment goes before the file, arguments before both") {
  config base;
  base.node.name = "file";
  base.node.advertise = "file:1";
  const variable name{"COOPCACHE_NAME", "variable"};
  const variable listen{"COOPCACHE_LISTEN", "127.0.0.1:2"};
  const variable advertise{"COOPCACHE_ADVERTISE", ""};
  const auto some = result_of({}, base);
  CHECK(some.name == "variable");
  CHECK(some.listen == "127.0.0.1:2");
  CHECK(some.advertise == "file:1");
  const auto all = result_of({"--coopcache-name=argument", "file.txt",
                              "--coopcache-listen", "127.0.0.1:3",
                              "--coopcache-advertise=host:4"},
                             base);
  CHECK(all.name == "argument");
  CHECK(all.listen == "127.0.0.1:3");
  CHECK(all.advertise == "host:4");
  CHECK(result_of({"--", "--coopcache-name=x"}, base).name == "variable");
}

TEST_CASE("faults say where they came from") {
  const variable name{"COOPCACHE_LISTEN", "nowhere"};
  CHECK(faults_of(
          {"--coopcache-nam=x", "--coopcache-advertise=:1", "--coopcache-name"})
        == "arguments: --coopcache-nam: unknown argument; did you mean "
           "\"--coopcache-name\"?\n"
           "arguments: --coopcache-name: no value; write "
           "--coopcache-name=VALUE\n"
           "environment COOPCACHE_LISTEN: node.listen: port missing: "
           "\"nowhere\"; allowed: \"host:port\"; write \"host:7601\"\n"
           "arguments: node.advertise: host missing: \":1\"; allowed: "
           "\"host:port\"");
}
