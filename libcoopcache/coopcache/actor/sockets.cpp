#include "coopcache/actor/sockets.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace coopcache::actor {

descriptor::~descriptor() {
  if (fd_ >= 0)
    ::close(fd_);
}

descriptor descriptor::duplicate() const noexcept {
  return descriptor{fd_ < 0 ? -1 : ::fcntl(fd_, F_DUPFD_CLOEXEC, 0)};
}

void descriptor::shut_down() const noexcept {
  if (fd_ >= 0)
    ::shutdown(fd_, SHUT_RDWR);
}

std::pair<std::string, std::uint16_t>
split_endpoint(std::string_view endpoint) {
  const auto colon = std::min(endpoint.rfind(':'), endpoint.size());
  auto host = endpoint.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[')
    host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const auto* const end = endpoint.data() + endpoint.size();
  if (colon < endpoint.size())
    std::from_chars(endpoint.data() + colon + 1, end, port);
  return {std::string{host}, port};
}

std::string join_endpoint(std::string_view host, std::uint16_t port) {
  std::string result{host};
  if (host.find(':') != std::string_view::npos) {
    result.insert(0, 1, '[');
    result += ']';
  }
  result += ':';
  result += std::to_string(port);
  return result;
}

std::string why_not_to_listen(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(),
                                     &hints, &found);
      code != 0)
    return ::gai_strerror(code);
  const descriptor fd{
    ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int on = 1;
  const bool good = fd
                    && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on,
                                    sizeof on)
                         == 0
                    && ::bind(fd.get(), found->ai_addr, found->ai_addrlen) == 0
                    && ::listen(fd.get(), 1) == 0;
  const int code = errno;
  ::freeaddrinfo(found);
  return good ? "it was in use a moment ago" : std::strerror(code);
}

} // namespace coopcache::actor
