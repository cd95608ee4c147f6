#pragma once

#include "coopcache/cluster/effects.hpp"
#include "coopcache/core/names.hpp"
#include "coopcache/core/time.hpp"
#include "coopcache/core/view.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace coopcache::cluster {

/// Who wins a clash.
enum class survivor : std::uint8_t { first, second, nobody };

/// The home of names: decides about those that fall to this node, one request
/// after the other for each name.
///
/// A pure machine. With each view it begins empty; the owners' nodes tell it
/// who has which name, or that it is what this node's replica has; it settles
/// what clashes, tells the result to members that have something else, and only
/// then carries out requests.
///
/// Invariants:
/// 1. A request is answered only after every member of the view has applied it.
/// 2. Of one name at most one change is on its way.
/// 3. Versions of a name grow.
class name_home {
public:
  explicit name_home(const numbers& versions) : versions_(versions) {
  }

  /// The wall clock, which registrations are stamped with.
  void note_wall(std::uint64_t wall) noexcept {
    wall_ = wall;
  }

  /// Forgets everything, and waits for the claims of all members.
  void enter(const core::view& current);

  void on(const core::node_id& from, const name_claim& what);
  void on(const core::node_id& from, const name_request& what, wishes& out);
  void on(const core::node_id& from, const name_cancel& what, wishes& out);
  void on(const core::node_id& from, const name_ack& what, wishes& out);
  void on(const core::node_id& from, const states_ack& what, wishes& out);

  /// `known` is what `from` claims as far as this node's replica knows.
  void on(const core::node_id& from, const names_end& what,
          std::vector<name_claim> known, core::instant now, wishes& out);

  /// The answer to `ask_resolver`; one that comes too late has no effect. One
  /// that comes after a view change counts if the same two still clash here.
  void resolved(std::uint64_t question, survivor who, core::instant now,
                wishes& out);

  /// Whether the node may carry out requests now.
  void grants(bool may, wishes& out);

  /// Ends questions that no resolver answers.
  void tick(core::instant now, wishes& out);

  [[nodiscard]] core::instant next_wake() const noexcept;

  [[nodiscard]] bool used_up() const noexcept {
    return versions_.used_up();
  }

  /// Whether every member has our names.
  [[nodiscard]] bool told_all() const noexcept {
    return expected_.empty() && unacknowledged_.empty();
  }

  /// A resolver has so long; then nobody wins. They are asked one after the
  /// other, so that none waits for its turn in that time.
  static constexpr std::chrono::seconds resolver_time{1};

  /// Names at which something is to be done.
  [[nodiscard]] std::size_t pending() const noexcept {
    return claims_.size() + works_.size() + disputes_.size();
  }

private:
  struct item {
    core::node_id from;
    name_request what;
  };

  /// A name at which something is to be done.
  struct work {
    std::deque<item> queue;
    bool busy = false;               ///< a change, or a dispute
    std::uint64_t version = 0;       ///< of the change on its way
    std::set<core::node_id> missing; ///< have not applied it
    std::optional<item> current;     ///< whom to answer then
  };

  struct dispute {
    std::string name;
    core::name_record first;
    std::deque<core::name_record> others;
    name_cause cause = name_cause::clash;
    bool was_asked = false; ///< a function may have spared a loser

    void nobody_wins() {
      first = {};
      others.clear();
    }
  };

  /// What a resolver was asked, in this view or an earlier one.
  struct inquiry {
    std::string name;
    core::name_record first, second;
    core::instant ends;
    std::optional<survivor> answer{};
  };

  using inquiries = std::map<std::uint64_t, inquiry>;

  /// So long an answer is of use to a later view.
  static constexpr std::chrono::seconds inquiry_life{60};

  [[nodiscard]] bool open() const noexcept {
    return may_ && told_all();
  }

  void merge(core::instant now, wishes& out);
  void settle(const std::string& name, std::vector<core::name_record> claims,
              std::vector<dispute>& clashes);
  void tell_states(bool clash, wishes& out);
  void settle_next(core::instant now, wishes& out);
  [[nodiscard]] bool needs_function(dispute& about) const;
  static void apply(dispute& about, survivor who);
  void drop_gone(dispute& about) const;
  inquiries::iterator ask(const dispute& about, core::instant now, wishes& out);
  void change(const std::string& name, core::name_record record,
              name_cause cause, wishes& out);
  void carry_out(const std::string& name, wishes& out);
  void carry_out_all(wishes& out);
  bool cancels_out(const std::string& name, const item& mine, wishes& out);
  void start(const std::string& name, item next, wishes& out);
  static void reply(const item& to, bool done, wishes& out);

  core::view view_;
  numbers versions_;
  std::set<core::node_id> expected_;       ///< have not told all claims
  std::set<core::node_id> unacknowledged_; ///< have not taken our names over
  std::map<core::node_id, core::names_digest> digests_;
  std::vector<name_claim> claims_;
  core::names::table names_; ///< what is, without what is disputed
  std::map<std::string, work> works_;
  std::deque<dispute> disputes_; ///< about the first one a resolver is asked
  std::uint64_t asking_ = 0;     ///< that question
  inquiries inquiries_;
  std::uint64_t last_question_ = 0;
  std::uint64_t wall_ = 0;
  bool may_ = false;
};

} // namespace coopcache::cluster
