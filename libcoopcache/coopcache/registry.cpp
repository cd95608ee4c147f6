#include "coopcache/registry.hpp"

#include "coopcache/actor/registry_core.hpp"

#include <utility>

namespace coopcache {

namespace {

using cluster::verdict;

/// One answer, for a thread that waits for it.
template <class X>
class mailbox {
public:
  void put(X what) {
    {
      const std::lock_guard guard{mutex_};
      what_.emplace(std::move(what));
    }
    filled_.notify_one();
  }

  X take() {
    std::unique_lock guard{mutex_};
    filled_.wait(guard, [this] { return what_.has_value(); });
    return std::move(*what_);
  }

private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::optional<X> what_;
};

/// Has `start` begin something with a function that takes the answer, and waits
/// for it: the registry answers by the deadline.
template <class X, class Start>
X wait_for(Start start) {
  const auto box = std::make_shared<mailbox<X>>();
  start([box](X what) { box->put(std::move(what)); });
  return box->take();
}

error would_block(const actor::registry_core& core, std::string_view subject) {
  return core.make_error(errc::would_block,
                         "a blocking call on a thread of CAF: use the form "
                         "that takes self",
                         subject);
}

status failed(error what) {
  return status{std::make_shared<const error>(std::move(what))};
}

status status_of(std::optional<error> failure) {
  return failure ? failed(std::move(*failure)) : status{};
}

/// What tells that a name is gone.
auto removal(std::shared_ptr<actor::registry_core> core, std::string name,
             std::function<void(status)> done) {
  return [core = std::move(core), name = std::move(name),
          done = std::move(done)](verdict how) {
    done(status_of(core->error_of(how, name, errc::unknown_name)));
  };
}

} // namespace

// -- held_lock ----------------------------------------------------------------

held_lock::held_lock(std::weak_ptr<actor::registry_core> from,
                     std::string resource, std::string requester,
                     std::shared_ptr<const actor::lock_state> state) noexcept
  : from_(std::move(from)), resource_(std::move(resource)),
    requester_(std::move(requester)), state_(std::move(state)) {
}

held_lock& held_lock::operator=(held_lock&& other) noexcept {
  if (this != &other) {
    unlock();
    from_ = std::move(other.from_);
    resource_ = std::move(other.resource_);
    requester_ = std::move(other.requester_);
    state_ = std::move(other.state_);
    is_kept_ = other.is_kept_;
  }
  return *this;
}

held_lock::~held_lock() {
  unlock();
}

std::uint64_t held_lock::token() const noexcept {
  return state_ == nullptr ? 0 : state_->token;
}

bool held_lock::lost() const noexcept {
  return state_ == nullptr || state_->is_lost();
}

void held_lock::keep() noexcept {
  const auto core = from_.lock();
  if (state_ != nullptr && core != nullptr && !is_kept_)
    core->keep(state_->request);
  is_kept_ = true;
}

bool held_lock::unlock() noexcept {
  if (is_kept_)
    return false;
  const auto state = std::move(state_);
  const auto core = from_.lock();
  if (state == nullptr || core == nullptr)
    return false;
  const auto how = core->unlock(state->request);
  return how == cluster::unlocked::released
         || how == cluster::unlocked::counted;
}

// -- names --------------------------------------------------------------------

void registry::start_put(const std::string& name,
                         const caf::strong_actor_ptr& who, bool replace,
                         const name_options& options, status_done done) const {
  core_->put_anywhere({name, who, options.resolver, replace, options.deadline},
                      [done = std::move(done)](std::optional<error> failure) {
                        done(status_of(std::move(failure)));
                      });
}

void registry::start_remove(const std::string& name, status_done done) const {
  core_->remove(name, name_options{}.deadline,
                removal(core_, name, std::move(done)));
}

void registry::start_remove_from(const std::string& name,
                                 const caf::strong_actor_ptr& who,
                                 status_done done) const {
  core_->remove_from(name, who, name_options{}.deadline,
                     removal(core_, name, std::move(done)));
}

status registry::put(std::string_view name, const caf::strong_actor_ptr& who,
                     bool replace, name_options options) const {
  if (core_->must_not_wait())
    return failed(would_block(*core_, name));
  return wait_for<status>([&](auto done) {
    start_put(std::string{name}, who, replace, options, std::move(done));
  });
}

status registry::unregister_name(std::string_view name) const {
  if (core_->must_not_wait())
    return failed(would_block(*core_, name));
  return wait_for<status>(
    [&](auto done) { start_remove(std::string{name}, std::move(done)); });
}

status registry::remove_from(std::string_view name,
                             const caf::strong_actor_ptr& who) const {
  if (core_->must_not_wait())
    return failed(would_block(*core_, name));
  return wait_for<status>([&](auto done) {
    start_remove_from(std::string{name}, who, std::move(done));
  });
}

bool registry::synced() const noexcept {
  return core_->synced();
}

std::vector<std::string> registry::names() const {
  return core_->names();
}

caf::actor_system* registry::system() const noexcept {
  return core_->stopped() ? nullptr : &core_->sys;
}

error registry::gone(std::string_view name) const {
  return core_->make_error(errc::shutting_down, "the node has shut down", name);
}

caf::strong_actor_ptr registry::find(std::string_view name) const {
  return core_->find(name);
}

error registry::unknown(std::string_view name, bool was_synced) const {
  return core_->unknown(name, was_synced);
}

void registry::add_resolver(
  std::string name, std::function<survivor(const std::string& name,
                                           const caf::strong_actor_ptr& first,
                                           const caf::strong_actor_ptr& second)>
                      f) const {
  core_->add_resolver(name, [f = std::move(f)](const auto& what,
                                               const auto& first,
                                               const auto& second) {
    return static_cast<cluster::survivor>(f(what, first, second));
  });
}

// -- locks --------------------------------------------------------------------

std::function<void()> registry::start_lock(const std::string& resource,
                                           lock_options options,
                                           const caf::strong_actor_ptr& client,
                                           lock_done done) const {
  const auto core = options.scope == lock_scope::local ? core_->local() : core_;
  if (options.requester.empty())
    options.requester = core_->fresh_requester();
  if (options.deadline && options.deadline->count() <= 0) {
    options.wait = false;
    options.deadline = lock_options{}.deadline;
  }
  const auto number = client == nullptr ? actor::registry_core::this_process
                                        : core->client_of(client);
  const auto request =
    core->lock({resource, options.requester, number, options.deadline,
                !options.wait, true},
               [core, resource, requester = options.requester,
                done = std::move(done)](verdict how, auto state) {
                 if (how == verdict::done)
                   done(held_lock{core, resource, requester, std::move(state)});
                 else
                   done(*core->error_of(how, resource, errc::lock_taken));
               });
  return [weak = std::weak_ptr{core}, request] {
    if (const auto alive = weak.lock())
      alive->cancel(request);
  };
}

reply<held_lock> registry::lock(std::string_view resource,
                                lock_options options) const {
  if (core_->must_not_wait())
    return would_block(*core_, resource);
  std::optional<on_stop> stop;
  return wait_for<reply<held_lock>>([&](auto done) {
    const auto token = options.stop;
    stop.emplace(token, start_lock(std::string{resource}, std::move(options),
                                   nullptr, std::move(done)));
  });
}

std::string registry::requester_of(std::uint64_t client,
                                   std::string_view said) const {
  return said.empty() ? core_->requester_of(client) : std::string{said};
}

status registry::set_lock(std::string_view resource, std::string_view requester,
                          lock_options options) const {
  options.requester = requester_of(actor::registry_core::this_process,
                                   requester);
  auto got = lock(resource, std::move(options));
  if (!got)
    return failed(got.error());
  got->keep();
  return {};
}

status registry::del_lock(std::string_view resource, std::string_view requester,
                          lock_scope scope) const {
  return give_back(nullptr, resource, requester, scope);
}

status registry::give_back(const caf::strong_actor_ptr& client,
                           std::string_view resource,
                           std::string_view requester, lock_scope scope) const {
  const auto core = scope == lock_scope::local ? core_->local() : core_;
  const auto number = client == nullptr ? actor::registry_core::this_process
                                        : core->client_of(client);
  return status_of(core->error_of(core->unlock(number, std::string{resource},
                                               requester_of(number, requester)),
                                  resource));
}

// -- the cluster --------------------------------------------------------------

status registry::sync(std::chrono::milliseconds deadline) const {
  if (core_->must_not_wait())
    return failed(would_block(*core_, {}));
  return wait_for<status>(
    [&](auto done) { start_sync(deadline, std::move(done)); });
}

void registry::start_sync(std::chrono::milliseconds deadline,
                          status_done done) const {
  core_->sync(deadline, [done = std::move(done)](auto failure) {
    done(status_of(std::move(failure)));
  });
}

registry_info registry::info() const {
  return core_->info();
}

status registry::add_peer(const std::string& endpoint) const {
  return status_of(core_->add_peer(endpoint));
}

status registry::disconnect(std::string_view node) const {
  return status_of(core_->disconnect(node));
}

registry_actor registry::actor() const {
  return core_->shell();
}

std::string registry::endpoint() const {
  return core_->endpoint();
}

} // namespace coopcache
