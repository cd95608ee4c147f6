#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

/// @file
/// What a node's registry tells about itself: plain data.

namespace coopcache {

/// A node of the cluster. A restarted one has a greater incarnation, as long as
/// its wall clock does not go back.
struct member_info {
  std::string name;
  std::uint64_t incarnation = 0;

  friend bool operator==(const member_info&, const member_info&) = default;
};

/// For CAF.
template <class Inspector>
bool inspect(Inspector& f, member_info& x) {
  return f.object(x).fields(f.field("name", x.name),
                            f.field("incarnation", x.incarnation));
}

/// A node that this one is linked to, or should be.
struct link_info {
  std::string endpoint;
  std::string node; ///< its name; empty if it never said it
  bool configured = false;
  bool up = false;
  std::string trouble; ///< why there is no link; empty if there is one
};

/// For CAF.
template <class Inspector>
bool inspect(Inspector& f, link_info& x) {
  return f.object(x).fields(f.field("endpoint", x.endpoint),
                            f.field("node", x.node),
                            f.field("configured", x.configured),
                            f.field("up", x.up), f.field("trouble", x.trouble));
}

/// One who holds a lock or waits for it.
struct lock_client_info {
  std::string requester;
  std::string node;
  std::uint64_t token = 0; ///< 0: it waits
  /// For so long it has held or waited, as far as this node knows: after a view
  /// change the new home counts anew.
  std::chrono::milliseconds age{0};
  /// It was taken away, and not given back yet. Only its own node knows.
  bool lost = false;
  /// So many times it is to be given back. Only its own node knows; else 0.
  std::uint64_t holds = 0;
};

/// For CAF.
template <class Inspector>
bool inspect(Inspector& f, lock_client_info& x) {
  return f.object(x).fields(f.field("requester", x.requester),
                            f.field("node", x.node), f.field("token", x.token),
                            f.field("age", x.age), f.field("lost", x.lost),
                            f.field("holds", x.holds));
}

/// A lock, as its home knows it or as the node of its clients does.
struct lock_info {
  std::string resource;
  std::vector<lock_client_info> holders;
  std::vector<lock_client_info> queue; ///< who waits longest comes first
};

/// For CAF.
template <class Inspector>
bool inspect(Inspector& f, lock_info& x) {
  return f.object(x).fields(f.field("resource", x.resource),
                            f.field("holders", x.holders),
                            f.field("queue", x.queue));
}

/// A registered name.
struct name_info {
  std::string name;
  std::string node; ///< where its owner lives
};

/// For CAF.
template <class Inspector>
bool inspect(Inspector& f, name_info& x) {
  return f.object(x).fields(f.field("name", x.name), f.field("node", x.node));
}

/// The state of one node's registry at one moment.
struct registry_info {
  member_info self;
  std::string endpoint;             ///< where it can be dialled; empty: nowhere
  std::uint64_t view = 0;           ///< number of the view
  std::vector<member_info> members; ///< of the view, by rank
  bool serving = false;             ///< homes on this node may grant now
  bool synced = false;              ///< all names are known here
  std::vector<name_info> names;
  std::vector<lock_info> locks; ///< those whose home is this node
  /// What clients of this node hold or wait for, wherever the home is.
  std::vector<lock_info> own_locks;
  std::vector<lock_info> local_locks; ///< the same of `lock_scope::local`
  std::vector<link_info> links;
};

/// For CAF.
template <class Inspector>
bool inspect(Inspector& f, registry_info& x) {
  return f.object(x)
    .fields(f.field("self", x.self), f.field("endpoint", x.endpoint),
            f.field("view", x.view), f.field("members", x.members),
            f.field("serving", x.serving), f.field("synced", x.synced),
            f.field("names", x.names), f.field("locks", x.locks),
            f.field("own_locks", x.own_locks),
            f.field("local_locks", x.local_locks), f.field("links", x.links));
}

} // namespace coopcache
