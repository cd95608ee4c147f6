#include "coopcache/config_endpoint.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace coopcache::detail {

namespace {

struct host_and_port {
  std::string host, port;
  bool bracketed = false;
};

std::optional<host_and_port> split(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return std::nullopt;
  host_and_port parts{std::string(text.substr(0, colon)),
                      std::string(text.substr(colon + 1)), false};
  std::string& host = parts.host;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    parts.bracketed = true;
    host = host.substr(1, host.size() - 2);
  }
  return parts;
}

template <class Address>
std::optional<Address> numeric(int family, const std::string& host) {
  Address address{};
  if (host.find('\0') != std::string::npos
      || inet_pton(family, host.c_str(), &address) != 1)
    return std::nullopt;
  return address;
}

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
         || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

bool is_host_name(std::string_view host) {
  return !host.empty() && host.size() <= 253
         && std::all_of(host.begin(), host.end(), is_host_char)
         && host.front() != '.' && host.front() != '-'
         && host.find("..") == std::string_view::npos;
}

bool looks_like_ipv4(std::string_view host) {
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

endpoint_fault check_host(const host_and_port& at, endpoint_use use) {
  const bool dial = use == endpoint_use::dial;
  constexpr auto everywhere = "not an address that can be dialled";
  if (at.bracketed) {
    const auto address = numeric<in6_addr>(AF_INET6, at.host);
    if (!address)
      return {"not an IPv6 address", {}};
    if (dial && IN6_IS_ADDR_UNSPECIFIED(&*address))
      return {everywhere, {}};
    return {};
  }
  if (at.host.find(':') != std::string::npos)
    return {"not a host", "an IPv6 address stands in brackets: [::1]:7601"};
  if (at.host.empty())
    return {"host missing", {}};
  if (!looks_like_ipv4(at.host))
    return is_host_name(at.host) ? endpoint_fault{}
                                 : endpoint_fault{"not a host", {}};
  const auto address = numeric<in_addr>(AF_INET, at.host);
  if (!address)
    return {"not an IPv4 address", {}};
  if (dial && address->s_addr == htonl(INADDR_ANY))
    return {everywhere, {}};
  return {};
}

endpoint_fault check_port(const std::string& port, endpoint_use use) {
  unsigned number = 0;
  const char* end = port.data() + port.size();
  const auto [stop, error] = std::from_chars(port.data(), end, number);
  if (port.empty())
    return {"port missing", {}};
  if (error != std::errc{} || stop != end || number > 65'535)
    return {"not a port", {}};
  if (port.size() > 1 && port.front() == '0')
    return {"not a port", "write it without leading zeros"};
  if (number == 0 && use == endpoint_use::dial)
    return {"port 0 cannot be dialled", {}};
  return {};
}

} // namespace

endpoint_fault check_endpoint(std::string_view text, endpoint_use use) {
  const auto parts = split(text);
  if (!parts)
    return {"port missing", "write \"host:7601\""};
  endpoint_fault fault = check_host(*parts, use);
  return fault.found.empty() ? check_port(parts->port, use) : fault;
}

} // namespace coopcache::detail
