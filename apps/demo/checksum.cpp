#include "checksum.hpp"

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace demo {

namespace {

constexpr std::size_t piece = 256 << 10;

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

class open_file {
public:
  /// Does not block where the file has become a fifo since it was listed.
  explicit open_file(const std::string& path)
    : fd_(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)) {
    if (fd_ < 0)
      fail("cannot open");
  }

  ~open_file() {
    ::close(fd_);
  }

  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;

  [[nodiscard]] bool is_regular() const {
    struct stat info {};
    return ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
  }

  /// 0 at the end.
  std::size_t read(std::vector<unsigned char>& into) const {
    ssize_t n = 0;
    do
      n = ::read(fd_, into.data(), into.size());
    while (n < 0 && errno == EINTR);
    if (n < 0)
      fail("cannot read");
    return static_cast<std::size_t>(n);
  }

private:
  int fd_;
};

/// OpenSSL's state of one checksum, used again for the next.
class hasher {
public:
  void begin() {
    check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
  }

  void add(const unsigned char* data, std::size_t n) {
    check(EVP_DigestUpdate(context_.get(), data, n));
  }

  digest end() {
    digest sum{};
    check(EVP_DigestFinal_ex(context_.get(), sum.data(), nullptr));
    return sum;
  }

private:
  struct freed {
    void operator()(EVP_MD_CTX* context) const noexcept {
      EVP_MD_CTX_free(context);
    }
  };

  static void check(int ok) {
    if (ok != 1)
      throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }

  std::unique_ptr<EVP_MD_CTX, freed> context_{EVP_MD_CTX_new()};
};

} // namespace

std::string to_hex(const digest& d) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : d) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

hashed hash_file(const std::string& path, const std::stop_token& stop) {
  thread_local std::vector<unsigned char> buffer(piece);
  thread_local hasher sha256;
  const open_file in{path};
  if (!in.is_regular())
    throw std::runtime_error("not a regular file any more");
  std::uint64_t bytes = 0;
  sha256.begin();
  while (const auto n = in.read(buffer)) {
    sha256.add(buffer.data(), n);
    bytes += n;
    if (stop.stop_requested())
      throw stopped{};
  }
  return {sha256.end(), bytes};
}

} // namespace demo
