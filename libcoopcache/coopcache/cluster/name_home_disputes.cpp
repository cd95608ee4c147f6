#include "coopcache/cluster/name_home.hpp"

#include <algorithm>
#include <utility>

// Names that two sides have both registered.

namespace coopcache::cluster {

// Who has ended, or was removed, wins nothing: that is carried out when the
// name is settled.
void name_home::drop_gone(dispute& about) const {
  const auto at = works_.find(about.name);
  if (at == works_.end())
    return;
  const auto is_gone = [&](const core::name_record& one) {
    return std::any_of(at->second.queue.begin(), at->second.queue.end(),
                       [&](const item& waiting) {
                         return waiting.what.action == name_action::remove
                                && waiting.what.owner == one.owner
                                && waiting.what.op == one.op;
                       });
  };
  std::erase_if(about.others, is_gone);
  if (about.first.owner.actor == 0 || !is_gone(about.first))
    return;
  if (about.others.empty()) {
    about.nobody_wins();
    return;
  }
  about.first = std::move(about.others.front());
  about.others.pop_front();
}

// Settles what the library's own resolvers decide; false if nothing is left.
bool name_home::needs_function(dispute& about) const {
  drop_gone(about);
  while (!about.others.empty()) {
    const auto& resolver = about.first.resolver;
    if (resolver.empty() || resolver == "exit") {
      about.cause = about.was_asked ? name_cause::clash
                                    : name_cause::clash_exit;
      about.others.pop_front();
    } else if (resolver == "notify") {
      about.cause = name_cause::clash;
      about.others.pop_front();
    } else if (resolver == "notify_all") {
      about.cause = name_cause::clash;
      about.nobody_wins();
    } else {
      return true;
    }
  }
  return false;
}

void name_home::apply(dispute& about, survivor who) {
  about.cause = name_cause::clash;
  about.was_asked = true;
  if (who == survivor::nobody) {
    about.nobody_wins();
    return;
  }
  if (who == survivor::second)
    about.first = about.others.front();
  about.others.pop_front();
}

// A resolver is called once for a clash, also if the view changes meanwhile.
name_home::inquiries::iterator name_home::ask(const dispute& about,
                                              core::instant now, wishes& out) {
  const auto& second = about.others.front();
  const auto asked = std::find_if(inquiries_.begin(), inquiries_.end(),
                                  [&](const auto& one) {
                                    return one.second.name == about.name
                                           && one.second.first == about.first
                                           && one.second.second == second;
                                  });
  if (asked != inquiries_.end())
    return asked;
  const auto made = ++last_question_;
  out.effects.emplace_back(ask_resolver{made, about.first.resolver, about.name,
                                        about.first.owner, second.owner});
  return inquiries_
    .emplace(made,
             inquiry{about.name, about.first, second, now + resolver_time})
    .first;
}

void name_home::settle_next(core::instant now, wishes& out) {
  asking_ = 0;
  while (!disputes_.empty()) {
    auto& about = disputes_.front();
    if (needs_function(about)) {
      const auto asked = ask(about, now, out);
      auto& [number, what] = *asked;
      if (!what.answer && now < what.ends) {
        asking_ = number;
        return;
      }
      if (!what.answer) {
        what.answer = survivor::nobody;
        out.effects.emplace_back(
          resolver_late{about.first.resolver, about.name});
      }
      apply(about, *what.answer);
      continue;
    }
    change(about.name, std::move(about.first), about.cause, out);
    disputes_.pop_front();
  }
}

void name_home::resolved(std::uint64_t question, survivor who,
                         core::instant now, wishes& out) {
  const auto asked = inquiries_.find(question);
  if (asked == inquiries_.end() || asked->second.answer
      || asked->second.ends < now)
    return;
  asked->second.answer = who;
  if (question == asking_)
    settle_next(now, out);
}

void name_home::tick(core::instant now, wishes& out) {
  std::erase_if(inquiries_, [&](const auto& one) {
    return one.first != asking_ && one.second.ends + inquiry_life <= now;
  });
  if (next_wake() <= now)
    settle_next(now, out);
}

core::instant name_home::next_wake() const noexcept {
  return asking_ == 0 ? core::never : inquiries_.at(asking_).ends;
}

} // namespace coopcache::cluster
