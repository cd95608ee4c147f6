#include "coopcache/actor/wire.hpp"

#include "core/random.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

using namespace coopcache;
using namespace coopcache::cluster;
using actor::decode;
using actor::encode;

namespace {

const core::node_id one{"one", 11};
const core::node_id two{"two", 22};

core::view make_view() {
  core::view result;
  result.id.number = 33;
  result.id.proposer = one;
  result.members = {one, two};
  return result;
}

const core::view a_view = make_view();

core::name_record a_record() {
  core::name_record result;
  result.owner = {two, 44};
  result.version = 55;
  result.op = 66;
  result.replaced = 77;
  result.since = 88;
  result.resolver = "mine";
  return result;
}

/// Each body once, no field with its default.
std::vector<body> all_bodies() {
  return {
    lock_request{1, "r", "me", 2, true},
    lock_claim{3, "r", "me", 4},
    lock_release{5, true},
    lock_queued{7, 8},
    lock_granted{9, 10, true},
    lock_next{6, {"a", 1}, 7, 8},
    lock_taken{6, "r", 8},
    lock_keep{6, 8},
    lock_kept{6, "r", 8},
    lock_refused{11},
    lock_revoked{12},
    lock_check{{{3, "r", "me", 4}}},
    lock_checked{{3}},
    name_request{13, name_action::remove, "n", a_record().owner, 14, "x",
                 false},
    name_cancel{15, "n"},
    name_reply{16, true},
    name_update{"n", a_record(), name_cause::clash_exit},
    name_ack{"n", 17},
    name_gone{"n", 18, 19},
    name_claim{"n", a_record()},
    claims_end{18},
    names_end{{19, 20}, {21, 22}, true},
    names_wanted{},
    name_state{"n", a_record(), true},
    states_end{true},
    states_ack{},
  };
}

greeting a_greeting() {
  greeting result;
  result.is = greeting::step::refuse;
  result.self = two;
  result.endpoint = "h:1";
  result.cluster = 'c';
  result.detection_ms = 2;
  result.strict = {"h1:1", "h3:1"};
  result.first_type_id = 4;
  result.refusal = "no";
  result.peers = {"h:5"};
  return result;
}

/// Each message of the machines once, no field with its default.
std::vector<message> all_messages() {
  beat sign;
  sign.sent = 1;
  sign.echo = 2;
  sign.installed = a_view;
  sign.promised = {34, two};
  sign.links = {two, one};
  sign.leaving = true;
  sign.starting = true;
  sign.forming = true;
  return {
    sign,
    propose{a_view, {two}, {one}},
    accept{a_view.id, 3},
    refuse{a_view.id, {35, two}},
    install{a_view},
    packet{a_view.id, 4, 5, all_bodies()},
  };
}

/// Everything that goes over a link.
std::vector<link_message> all_link_messages() {
  std::vector<link_message> result{a_greeting(), acquaintance{"h:6"}};
  for (const auto& each : all_messages())
    result.emplace_back(each);
  return result;
}

template <std::size_t... I>
bool has_each(const std::vector<body>& all, std::index_sequence<I...>) {
  return all.size() == sizeof...(I) && ((all[I].index() == I) && ...);
}

} // namespace

TEST_CASE("every message arrives as it was sent") {
  // Who adds a message, adds it here.
  REQUIRE(has_each(all_bodies(),
                   std::make_index_sequence<std::variant_size_v<body>>{}));
  REQUIRE(all_messages().size() == std::variant_size_v<message>);
  REQUIRE(std::variant_size_v<link_message> == 3);
  for (const auto& sent : all_link_messages()) {
    CAPTURE(sent.index());
    const auto got = decode(encode(sent));
    REQUIRE(got);
    CHECK(*got == sent);
  }
  for (const auto& each : all_bodies()) {
    CAPTURE(each.index());
    const link_message sent = message{packet{a_view.id, 1, 2, {each}}};
    const auto got = decode(encode(sent));
    REQUIRE(got);
    CHECK(*got == sent);
  }
}

TEST_CASE("of a greeting of another version there is only the version") {
  auto bytes = encode(a_greeting());
  ++bytes[4]; // one for the kind of message; the greatest byte comes first
  bytes.resize(bytes.size() + 9, 'x'); // whatever they say there
  const auto got = decode(bytes);
  REQUIRE(got);
  const auto& other = std::get<greeting>(*got);
  CHECK(other.protocol == protocol_version + 1);
  CHECK(other.self == core::node_id{});
  const auto why = mismatch(a_greeting(), other);
  CHECK(why == "another version of the protocol: 2 there, 1 here");
}

TEST_CASE("what is cut short or goes on is no message") {
  for (const auto& sent : all_link_messages()) {
    const auto bytes = encode(sent);
    for (std::size_t n = 0; n < bytes.size(); ++n)
      CHECK_FALSE(decode(std::string_view{bytes}.substr(0, n)));
    CHECK_FALSE(decode(bytes + '\0'));
  }
}

TEST_CASE("a packet has at most so many bodies as are sent in one") {
  packet full;
  full.bodies.resize(most_in_packet, states_ack{});
  CHECK(decode(encode(message{full})));
  full.bodies.emplace_back(states_ack{});
  CHECK_FALSE(decode(encode(message{full})));
}

TEST_CASE("any bytes are safe, and what is understood is understood again") {
  for (const auto seed : test::seeds(20)) {
    CAPTURE(seed);
    test::dice dice{seed};
    for (const auto& sent : all_link_messages())
      for (int i = 0; i < 200; ++i) {
        auto bytes = encode(sent);
        for (auto n = 1 + dice.below(4); n > 0; --n)
          bytes[dice.below(bytes.size())] = static_cast<char>(dice.below(256));
        if (const auto got = decode(bytes))
          CHECK(decode(encode(*got)) == got);
      }
  }
}
