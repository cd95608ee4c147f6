#include "coopcache/actor/registry_core.hpp"

#include "coopcache/core/exception_text.hpp"
#include "coopcache/core/text.hpp"
#include "coopcache/table/clock.hpp"

#include <utility>

namespace coopcache::actor {

namespace {

bool is_own_resolver(const std::string& name) {
  return name.empty() || name == "exit" || name == "notify"
         || name == "notify_all";
}

} // namespace

bool registry_core::knows_resolver(const std::string& name) const {
  const std::lock_guard guard{tables_mutex_};
  return is_own_resolver(name) || resolvers_.contains(name);
}

void registry_core::add_resolver(const std::string& name, resolver_function f) {
  if (is_own_resolver(name)) {
    std::string
      line = "add_resolver has no effect: the library has a resolver ";
    line += core::quoted(name);
    log(log_level::error, line);
    return;
  }
  auto made = std::make_shared<const resolver_function>(std::move(f));
  const std::lock_guard guard{tables_mutex_};
  if (!stopping_)
    resolvers_[name].swap(made); // an earlier one is let go after the lock
}

namespace {

template <class T>
std::string resolver_failed(const T& what, std::string_view why) {
  std::string line = "the resolver ";
  line += core::quoted(what.resolver);
  line += ' ';
  line += why;
  line += ": nobody keeps the name ";
  line += core::quoted(what.name);
  return line;
}

} // namespace

void registry_core::perform(const cluster::ask_resolver& what) {
  std::shared_ptr<const resolver_function> f;
  {
    const std::lock_guard guard{tables_mutex_};
    if (const auto at = resolvers_.find(what.resolver); at != resolvers_.end())
      f = at->second;
  }
  const auto answer =
    [question = what.question](const std::shared_ptr<registry_core>& core,
                               cluster::survivor who) {
      core->turn([&](auto& machine, const auto& at) {
        return machine.resolved(question, who, at);
      });
    };
  if (f == nullptr) {
    log(log_level::error, resolver_failed(what, "is not known here"));
    answer(shared_from_this(), cluster::survivor::nobody);
    return;
  }
  std::string job = "the resolver ";
  job += core::quoted(what.resolver);
  const bool runs = aside_(job, [self = weak_from_this(), f, answer, what,
                                 first = handle_of(what.first),
                                 second = handle_of(what.second),
                                 end = table::boot_now()
                                       + cluster::name_home::resolver_time] {
    if (table::boot_now() >= end)
      return; // it has waited for those that hang
    auto who = cluster::survivor::nobody;
    std::string thrown;
    try {
      who = (*f)(what.name, first, second);
    } catch (...) {
      thrown = core::exception_text();
    }
    const auto core = self.lock();
    if (core == nullptr)
      return;
    if (!thrown.empty())
      core->log(log_level::error,
                resolver_failed(what, "has thrown") + ": " + thrown);
    answer(core, who);
  });
  if (runs)
    return;
  log(log_level::error,
      resolver_failed(what, "finds no thread: too many have not come back"));
  answer(shared_from_this(), cluster::survivor::nobody);
}

void registry_core::perform(const cluster::resolver_late& what) {
  log(log_level::error, resolver_failed(what, "took more than a second"));
}

} // namespace coopcache::actor
