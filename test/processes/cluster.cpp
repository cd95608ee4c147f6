#include "cluster.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace coopcache::test {

using clock = std::chrono::steady_clock;

namespace {

std::string numbered(std::string text, std::size_t number) {
  text += std::to_string(number);
  return text;
}

} // namespace

// -- one process --------------------------------------------------------------

process::process(const std::vector<std::string>& command,
                 const std::string& log)
  : log_(log) {
  int to_it[2], from_it[2];
  if (::pipe2(to_it, O_CLOEXEC) != 0 || ::pipe2(from_it, O_CLOEXEC) != 0)
    throw std::runtime_error("no pipe");
  std::vector<char*> arguments;
  for (const auto& each : command)
    arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(to_it[0], 0);
    ::dup2(from_it[1], 1);
    ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(to_it[0]);
  ::close(from_it[1]);
  in_ = to_it[1];
  out_ = from_it[0];
}

process::~process() {
  if (pid_ != 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(in_);
  ::close(out_);
}

void process::say(const std::string& line) {
  const std::string text = line + '\n';
  if (::write(in_, text.data(), text.size())
      != static_cast<ssize_t>(text.size()))
    throw std::runtime_error("a node does not listen to: " + line);
}

bool process::read_some(clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
    end - clock::now());
  pollfd watched{out_, POLLIN, 0};
  if (left.count() <= 0
      || ::poll(&watched, 1, static_cast<int>(left.count())) <= 0)
    return false;
  char bytes[4096];
  const auto size = ::read(out_, bytes, sizeof bytes);
  if (size <= 0) {
    std::ifstream log{log_};
    throw std::runtime_error(
      "a node has ended: "
      + std::string{std::istreambuf_iterator<char>(log), {}});
  }
  buffer_.append(bytes, static_cast<std::size_t>(size));
  for (auto at = buffer_.find('\n'); at != buffer_.npos;
       at = buffer_.find('\n')) {
    lines_.push_back(buffer_.substr(0, at));
    buffer_.erase(0, at + 1);
  }
  return true;
}

std::string process::hear(const std::string& tag,
                          std::chrono::milliseconds patience) {
  const auto end = clock::now() + patience;
  for (;;) {
    const auto at = std::find_if(lines_.begin(), lines_.end(),
                                 [&](const auto& line) {
                                   return line.starts_with(tag);
                                 });
    if (at != lines_.end()) {
      auto rest = at->substr(tag.size());
      lines_.erase(at);
      return rest.starts_with(' ') ? rest.substr(1) : rest;
    }
    if (!read_some(end)) {
      std::string text = "no line with " + tag + "; got:";
      for (const auto& line : lines_)
        text += " [" + line + ']';
      throw std::runtime_error(text);
    }
  }
}

// Answers to commands begin with "= ".
std::string process::ask(const std::string& line) {
  say(line);
  return hear("=");
}

// Until one of its threads has seen the signal the others go on.
void process::signal(int number) {
  ::kill(pid_, number);
  siginfo_t unused;
  if (number == SIGSTOP)
    ::waitid(P_PID, static_cast<id_t>(pid_), &unused,
             WSTOPPED | WEXITED | WNOWAIT);
}

void process::close_input() {
  if (in_ >= 0)
    ::close(std::exchange(in_, -1));
}

int process::finish() {
  close_input();
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// -- several ------------------------------------------------------------------

namespace {

/// Ports that nobody listens on, outside of the range from which the system
/// takes those of outgoing connections.
std::vector<std::size_t> free_ports(std::size_t count) {
  static auto next = 20'000 + static_cast<std::size_t>(::getpid() % 500) * 20;
  std::vector<std::size_t> result;
  while (result.size() < count) {
    const auto port = next++;
    if (next >= 32'000)
      next = 20'000;
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      result.push_back(port);
    ::close(fd);
  }
  return result;
}

} // namespace

bool within(std::chrono::milliseconds patience,
            const std::function<bool()>& holds) {
  const auto end = clock::now() + patience;
  while (!holds()) {
    if (clock::now() > end)
      return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

bool logs(const cluster& all, std::size_t i, const std::string& text) {
  return within(10s,
                [&] { return all.log(i).find(text) != std::string::npos; });
}

cluster::cluster(const plan& how) : how_(how), nodes_(how.nodes) {
  ::signal(SIGPIPE, SIG_IGN);
  std::string pattern = std::filesystem::temp_directory_path()
                        / "coopcache-cluster-XXXXXX";
  folder_ = ::mkdtemp(pattern.data());
  ports_ = free_ports(how.nodes);
}

cluster::~cluster() {
  nodes_.clear();
  std::filesystem::remove_all(folder_);
}

std::filesystem::path cluster::file(std::size_t i,
                                    const std::string& ending) const {
  return folder_ / (numbered("n", i) + ending);
}

std::string cluster::endpoint(std::size_t i) const {
  std::string result = how_.host ? how_.host(i) : "127.0.0.1";
  return numbered(result += ':', ports_[i]);
}

void cluster::start(std::size_t i) {
  std::ofstream out{file(i, ".json")};
  const auto own = own_settings_.find(i);
  out << "{\"node\": {\"name\": \""
      << (how_.name ? how_.name(i) : numbered("n", i)) << "\", \"listen\": \""
      << endpoint(i) << "\", \"advertise\": \""
      << endpoint(how_.poses_as ? how_.poses_as(i) : i) << "\"}, \"cluster\": {"
      << (own == own_settings_.end() ? how_.settings : own->second)
      << "}, \"nodes\": [";
  bool first = true;
  for (std::size_t j = 0; j < ports_.size(); ++j)
    if (!how_.knows || how_.knows(i, j)) {
      out << (first ? "" : ", ") << '"' << endpoint(j) << '"';
      first = false;
    }
  out << "]}";
  out.close();
  auto command = how_.prefix ? how_.prefix(i) : std::vector<std::string>{};
  command.emplace_back(COOPCACHE_PEER);
  command.push_back(file(i, ".json").string());
  nodes_[i] = std::make_unique<process>(command, file(i, ".log").string());
}

void cluster::await_ready(std::size_t i) {
  nodes_[i]->hear("ready");
}

void cluster::gather() {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    all.push_back(i);
    if (runs(i))
      continue;
    start(i);
    await_ready(i);
  }
  await_view(all);
}

void cluster::kill(std::size_t i) {
  nodes_[i].reset();
}

bool cluster::is_in(std::size_t i, const std::vector<std::size_t>& view) {
  std::istringstream in{nodes_[i]->ask("view")};
  std::string state, name;
  in >> state;
  std::vector<std::string> members, wanted;
  while (in >> name)
    members.push_back(name);
  for (const auto j : view)
    wanted.push_back(numbered("n", j));
  std::sort(members.begin(), members.end());
  std::sort(wanted.begin(), wanted.end());
  return state == "serving" && members == wanted;
}

std::chrono::milliseconds
cluster::await_view(const std::vector<std::size_t>& view,
                    std::chrono::milliseconds patience) {
  const auto begin = clock::now();
  const bool good = within(patience, [&] {
    return std::all_of(view.begin(), view.end(),
                       [&](auto i) { return is_in(i, view); });
  });
  if (!good) {
    std::string text = "no common view of";
    for (const auto i : view)
      text += numbered(" n", i) + " (" + nodes_[i]->ask("view") + ")\n"
              + log(i);
    throw std::runtime_error(text);
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now()
                                                               - begin);
}

std::string cluster::resource_at(std::size_t i) {
  static std::size_t last = 0;
  for (;;) {
    const auto resource = numbered("r", ++last);
    auto& node = *nodes_[i];
    if (node.ask("home " + resource) == "here")
      return resource;
  }
}

std::string cluster::log(std::size_t i) const {
  std::ifstream in{file(i, ".log")};
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace coopcache::test
