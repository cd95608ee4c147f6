#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace bench {

namespace {

using figure = std::optional<double>;

figure operator/(figure a, figure b) {
  return a && b ? figure{*a / *b} : std::nullopt;
}

std::string text(figure value, const char* unit, double scale = 1,
                 int digits = 1) {
  if (!value)
    return "-";
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f%s%s", digits, *value * scale,
                *unit != 0 ? " " : "", unit);
  return buffer;
}

std::string ns(figure seconds) {
  return text(seconds, "ns", 1e9);
}

std::string ms(figure seconds) {
  return text(seconds, "ms", 1e3, 2);
}

std::string us(figure seconds) {
  return text(seconds, "us", 1e6, 2);
}

std::string bytes(figure n) {
  return text(n, "B", 1, 0);
}

std::string fit(const std::string& cell, std::size_t width, bool left) {
  const std::string space(cell.size() < width ? width - cell.size() : 0, ' ');
  return left ? cell + space : space + cell;
}

/// A table of text: the first column left, the others right.
class table {
public:
  explicit table(std::string title) : title_(std::move(title)) {
  }

  void add(std::vector<std::string> row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths_.size() <= i)
        widths_.push_back(0);
      widths_[i] = std::max(widths_[i], row[i].size());
    }
    rows_.push_back(std::move(row));
  }

  void print(std::ostream& out) const {
    out << '\n' << title_ << '\n';
    for (const auto& row : rows_) {
      out << ' ';
      for (std::size_t i = 0; i < row.size(); ++i)
        out << ' ' << fit(row[i], widths_[i], i == 0) << ' ';
      out << '\n';
    }
  }

private:
  std::string title_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

std::string hit(const std::string& who, int keys, int size) {
  return "hit/" + who + "/keys:" + std::to_string(keys)
         + "/bytes:" + std::to_string(size);
}

std::string stampede(const std::string& who, int requests, int from,
                     const std::string& load) {
  return "stampede/" + who + "/requests:" + std::to_string(requests)
         + "/from:" + std::to_string(from) + "/load:" + load;
}

// -- all figures --------------------------------------------------------------

void print_hits(std::ostream& out, const results& all) {
  table t{"hit: ns each, by number of keys, bytes of a value, threads (two "
          "threads: of both together)"};
  std::vector<std::string> head{""};
  for (const auto* const keys : {"1 key", "10k"})
    for (const auto* const size : {"32 B", "1 KiB"})
      for (const auto* const threads : {"1 t", "2 t"})
        head.push_back(std::string{keys} + ' ' + size + ' ' + threads);
  t.add(head);
  for (const auto* const who :
       {"fetch", "fetch, a cache each", "fetch, cache_duration",
        "fetch, expires_at", "visit", "hot_table", "rculfhash",
        "concurrent_hash_map", "shared_mutex", "memoizer"}) {
    std::vector<std::string> row{who};
    for (const int keys : {1, 10'000})
      for (const int size : {32, 1024})
        for (const int threads : {1, 2})
          row.push_back(
            text(all.seconds(hit(who, keys, size), threads), "", 1e9));
    t.add(row);
  }
  t.print(out);
}

void print_readers(std::ostream& out, const results& all) {
  table t{"10 000 keys read by one thread, on a core of its own, beside one "
          "that writes other keys;\nsingle reads, two clock readings included"};
  t.add({"", "beside", "writes/s", "ns each", "p50", "p99", "p99.9", "clock"});
  for (const auto* const who : {"fetch", "hot_table"})
    for (const auto* const other : {"nothing", "put", "clear"}) {
      const auto name = std::string{"readers/"} + who + "/beside:" + other;
      const auto show = [&](const char* what) {
        return text(all.counter(name, what), "", 1, 0);
      };
      t.add({who, other, *other == 'n' ? "0" : show("writes_per_s"),
             text(all.seconds(name), "", 1e9), show("p50_ns"), show("p99_ns"),
             show("p99.9_ns"), show("clock_ns")});
    }
  t.print(out);
}

void print_stampedes(std::ostream& out, const results& all) {
  table t{"stampede on one cold key: ms until the last has his answer"};
  t.add(
    {"", "requests", "threads", "load of 0 ms", "of 50 ms", "until all wait"});
  const auto row = [&](const std::string& who, int requests, int from) {
    std::vector<std::string> cells{who, std::to_string(requests),
                                   std::to_string(from)};
    for (const auto* const load : {"0 ms", "50 ms", "until all wait"})
      cells.push_back(
        text(all.seconds(stampede(who, requests, from, load)), "", 1e3, 2));
    t.add(cells);
  };
  row("fetch_async", 10'000, 1);
  row("fetch_async", 10'000, 8);
  row("fetch_async", 40'000, 1);
  row("fetch_async", 40'000, 8);
  row("memoizer", 10'000, 8);
  row("fetch", 64, 64);
  row("memoizer", 64, 64);
  t.print(out);
}

void print_cold_keys(std::ostream& out, const results& all) {
  table t{"distinct cold keys, trivial loader in a worker: us each, by CAF's "
          "scheduler policy"};
  t.add({"", "stealing (CAF's default)", "sharing (ours)"});
  for (const auto* const how : {"64 outstanding", "one at a time"}) {
    const auto name = std::string{"cold keys/"} + how + "/policy:";
    t.add({how, text(all.seconds(name + "stealing"), "", 1e6, 2),
           text(all.seconds(name + "sharing"), "", 1e6, 2)});
  }
  t.print(out);
}

void print_bytes(std::ostream& out, const results& all) {
  table t{"bytes per entry of 100 000, keys of 16 bytes: what heap and process "
          "grow by, what the ledger says"};
  t.add({"", "value", "heap", "resident", "ledger"});
  for (const auto* const size : {"32", "1024"})
    for (const auto* const who :
         {"fetch", "concurrent_hash_map", "shared_mutex", "memoizer"}) {
      const auto name = std::string{"bytes/"} + who + "/bytes:" + size;
      const auto show = [&](const char* what) {
        return text(all.counter(name, what), "", 1, 0);
      };
      t.add({who, size, show("heap"), show("resident"), show("ledger")});
    }
  t.print(out);
}

void print_clusters(std::ostream& out, const results& all) {
  table t{"locks and names of clusters of processes on the loopback interface, "
          "medians; a round trip is\none of CAF's between two actors"};
  t.add({"nodes", "lock, own home", "lock, home elsewhere", "round trip",
         "registration", "whereis"});
  for (const auto* const size : {"1", "3", "5", "12", "16"}) {
    const auto show = [&](const char* what) {
      return us(all.counter(std::string{"cluster/nodes:"} + size, what));
    };
    t.add({size, show("home"), show("remote"), show("trip"), show("register"),
           ns(all.counter(std::string{"cluster/nodes:"} + size, "whereis"))});
  }
  t.print(out);
  table c{
    "a lock that is held for 10 ms, on 4 nodes, and two processes that pass "
    "each other\na message of CAF's after as long"};
  c.add({"clients", "grants/s", "longest wait", "share of the least served",
         "messages/s"});
  for (const auto* const clients : {"2", "8", "32"}) {
    const auto at = [&](const char* what) {
      return all.counter(std::string{"contended/clients:"} + clients, what);
    };
    c.add({clients, text(at("rate"), "", 1, 1), ms(at("longest")),
           text(at("fewest"), "%", 100, 0), text(at("bare"), "", 1, 1)});
  }
  c.print(out);
  table p{"the longest time without a grant while a node comes or goes, of 3, "
          "slowest of 10"};
  p.add({"names", "while one comes or goes", "else"});
  for (const auto* const names : {"0", "1000", "10000"}) {
    const auto name = std::string{"pause/names:"} + names;
    p.add(
      {names, ms(all.counter(name, "change")), ms(all.counter(name, "quiet"))});
  }
  p.print(out);
}

void print_start(std::ostream& out, const results& all) {
  const auto at = [&](const char* what) { return all.counter("start", what); };
  table t{"nodes that start together on the loopback interface"};
  t.add({"nodes", "in one view after", "processor time of all until then",
         "processor of each at rest"});
  t.add({text(at("nodes"), "", 1, 0), text(at("together"), "s"),
         text(at("processor"), "s"), text(at("rest"), "%", 1, 2)});
  t.print(out);
}

// -- the targets --------------------------------------------------------------

/// The closing table.
class targets {
public:
  /// Ours may be at most `limit` times the rival's.
  void at_most(const std::string& workload, const std::string& ours,
               const std::string& theirs, figure ratio, double limit) {
    add(workload, ours, theirs, ratio, "<= ", limit, ratio && *ratio <= limit);
  }

  /// Ours must be at least `limit` times the rival's.
  void at_least(const std::string& workload, const std::string& ours,
                const std::string& theirs, figure ratio, double limit) {
    add(workload, ours, theirs, ratio, ">= ", limit, ratio && *ratio >= limit);
  }

  void print(std::ostream& out) const {
    t_.print(out);
    out << "  " << reached_ << " of " << counted_ << " targets reached\n";
  }

private:
  void add(const std::string& workload, const std::string& ours,
           const std::string& theirs, figure ratio, const char* relation,
           double limit, bool reached) {
    if (!ratio)
      return; // not run: there is a filter
    ++counted_;
    reached_ += reached ? 1 : 0;
    t_.add({workload, ours, theirs, text(ratio, "", 1, 2),
            relation + text(limit, "", 1, 2), reached ? "reached" : "MISSED"});
  }

  table t_ = [] {
    table head{"the targets"};
    head.add({"workload", "ours", "against", "figure", "target", ""});
    return head;
  }();
  int counted_ = 0;
  int reached_ = 0;
};

void judge_hits(targets& t, const results& all, int size) {
  const auto at = [&](const char* who, int keys, int threads) {
    return all.seconds(hit(who, keys, size), threads);
  };
  const auto name = [size](const char* what) {
    return std::string{what} + (size == 32 ? ", 32 B" : ", 1 KiB");
  };
  const auto slower = [&](const std::string& what, int keys, int threads,
                          const char* who, double limit) {
    const auto ours = at("fetch", keys, threads);
    const auto theirs = at(who, keys, threads);
    t.at_most(what, ns(ours), std::string{who} + ' ' + ns(theirs),
              ours / theirs, limit);
  };
  const auto faster = [&](const std::string& what, int keys, figure theirs,
                          const std::string& who, double limit) {
    const auto ours = at("fetch", keys, 2);
    t.at_least(what, ns(ours), who + ' ' + ns(theirs), theirs / ours, limit);
  };
  slower(name("hit, 1 key, 1 thread"), 1, 1, "memoizer", 0.8);
  slower(name("hit, 1 key, 1 thread"), 1, 1, "rculfhash", 1.4);
  // One thread beside another that shares nothing with it.
  const auto one = [&](int keys) {
    return at("fetch, a cache each", keys, 2) / figure{0.5};
  };
  faster(name("hit, 1 key, 2 threads, throughput"), 1, one(1), "1 thread", 1.8);
  faster(name("hit, 1 key, 2 threads, throughput"), 1, at("memoizer", 1, 2),
         "memoizer", 6);
  slower(name("hit, 10 000 keys, 1 thread"), 10'000, 1, "concurrent_hash_map",
         0.8);
  slower(name("hit, 10 000 keys, 1 thread"), 10'000, 1, "rculfhash", 1);
  faster(name("hit, 10 000 keys, 2 threads, throughput"), 10'000, one(10'000),
         "1 thread", 1.8);
}

void judge_readers(targets& t, const results& all) {
  const std::string name = "readers/fetch/beside:";
  const auto quiet = all.seconds(name + "nothing");
  for (const std::string other : {"put", "clear"}) {
    const auto busy = all.seconds(name + other);
    t.at_least("readers beside "
                 + text(all.counter(name + other, "writes_per_s"), "", 1e-3, 0)
                 + " 000 " + other + "/s",
               ns(busy), "quiet " + ns(quiet), quiet / busy, 0.9);
  }
}

void judge_stampedes(targets& t, const results& all) {
  const auto at = [&](const char* who, int n, int from, const char* load) {
    return all.seconds(stampede(who, n, from, load));
  };
  const auto memoizer = at("memoizer", 10'000, 8, "0 ms");
  for (const int from : {1, 8}) {
    const auto ours = at("fetch_async", 10'000, from, "0 ms");
    t.at_most("stampede, 10 000 asynchronous from " + std::to_string(from),
              ms(ours), "memoizer " + ms(memoizer), ours / memoizer, 3);
  }
  for (const auto* const load : {"0 ms", "until all wait"})
    for (const int from : {1, 8}) {
      const auto few = at("fetch_async", 10'000, from, load);
      const auto many = at("fetch_async", 40'000, from, load);
      t.at_most("stampede, 40 000 from " + std::to_string(from) + ", load "
                  + load,
                ms(many), "10 000 " + ms(few), many / few, 5);
    }
  const auto ours = at("fetch", 64, 64, "0 ms");
  const auto theirs = at("memoizer", 64, 64, "0 ms");
  t.at_most("stampede, 64 blocking threads", ms(ours), "memoizer " + ms(theirs),
            ours / theirs, 1.5);
}

void judge_clusters(targets& t, const results& all) {
  for (const std::string size : {"3", "5", "12", "16"}) {
    const auto name = "cluster/nodes:" + size;
    const auto ours = all.counter(name, "remote");
    const auto trip = all.counter(name, "trip");
    if (ours && trip)
      t.at_most("lock from another node, " + size + " nodes", us(ours),
                "round trip " + us(trip), (*ours - *trip) * 1e6, 20);
  }
  const auto bare = text(all.counter("contended/clients:2", "bare"), "", 1, 1);
  for (const std::string clients : {"2", "8", "32"}) {
    const auto name = "contended/clients:" + clients;
    t.at_least("contended lock, " + clients + " clients, grants/s",
               text(all.counter(name, "rate"), "", 1, 1),
               "ideal 100, CAF's messages " + bare, all.counter(name, "rate"),
               97);
    t.at_least("contended lock, " + clients + " clients, least served",
               text(all.counter(name, "fewest"), "%", 100, 0), "mean",
               all.counter(name, "fewest"), 0.9);
  }
  const auto last = all.counter("once/clients:32", "last");
  t.at_most("32 one-shot waiters, last served", ms(last), "ideal 320 ms",
            last / figure{0.32}, 1.1);
  const auto frozen = all.counter("detection", "frozen");
  const auto killed = all.counter("detection", "killed");
  t.at_most("a frozen node has left the view", ms(frozen), "s", frozen, 2);
  t.at_most("a killed node has left the view, slowest of 5", ms(killed), "s",
            killed, 0.1);
  const auto unplugged = all.counter("detection/unplugged", "unplugged");
  t.at_most("an unplugged host has left the view, slowest of 4", ms(unplugged),
            "s", unplugged, 2); // with root only
  for (const std::string names : {"0", "1000"}) {
    const auto pause = all.counter("pause/names:" + names, "change");
    t.at_most("no grant while a node comes or goes, longest; " + names
                + " names",
              ms(pause),
              "quiet " + ms(all.counter("pause/names:" + names, "quiet"))
                + ", s",
              pause, 0.02);
  }
  for (const std::string sides : {"2+1", "2+2"}) { // with root only
    const auto longest = all.counter("heal/sides:" + sides, "longest");
    t.at_most("sides " + sides + " agree again, slowest of 5", ms(longest),
              "probe 100 ms + 300 ms", longest, 0.4);
  }
}

void judge_rest(targets& t, const results& all) {
  const auto cold = all.seconds("cold keys/64 outstanding/policy:sharing");
  t.at_most("distinct cold keys, 64 outstanding", us(cold), "us each",
            cold / figure{1e-6}, 5);
  const std::string small = "bytes/fetch/bytes:32";
  const auto heap = all.counter(small, "heap");
  const auto resident = all.counter(small, "resident");
  t.at_most("bytes per entry, value of 32 B", bytes(heap), "heap", heap, 240);
  t.at_most("bytes per entry, value of 32 B", bytes(resident), "resident",
            resident, 240);
  for (const auto* const size : {"32", "1024"}) {
    const auto name = std::string{"bytes/fetch/bytes:"} + size;
    const auto ledger = all.counter(name, "ledger");
    const auto grown = all.counter(name, "resident");
    const auto what = std::string{"ledger, value of "} + size + " B";
    t.at_most(what, bytes(ledger), "resident " + bytes(grown), grown / ledger,
              1.25);
    t.at_least(what, bytes(ledger), "resident " + bytes(grown), grown / ledger,
               0.75);
  }
  const auto idle = all.counter("idle node", "percent");
  t.at_most("idle node", text(idle, "%", 1, 2), "% of a core", idle, 0.5);
  const auto ours = all.counter("compile time", "ours");
  const auto caf = all.counter("compile time", "caf");
  if (ours && caf)
    t.at_most("compile time of our headers", text(ours, "s"),
              "CAF's own " + text(caf, "s"), *ours - *caf, 3);
}

} // namespace

void print_tables(std::ostream& out, const results& all) {
  const auto [told, disturbed] = all.disturbed();
  out << "\nMedians over short rounds in random order.";
  if (disturbed > 0)
    out << " Other programs took a core away in " << disturbed << " of " << told
        << " rounds;\nof each workload at least the quietest third "
        << "counts.";
  out << '\n';
  if (all.ran("hit/"))
    print_hits(out, all);
  if (all.ran("readers/"))
    print_readers(out, all);
  if (all.ran("stampede/"))
    print_stampedes(out, all);
  if (all.ran("cold keys/"))
    print_cold_keys(out, all);
  if (all.ran("bytes/"))
    print_bytes(out, all);
  if (all.ran("cluster/") || all.ran("contended/"))
    print_clusters(out, all);
  if (all.ran("start"))
    print_start(out, all);
  targets t;
  for (const int size : {32, 1024})
    judge_hits(t, all, size);
  judge_readers(t, all);
  judge_stampedes(t, all);
  judge_rest(t, all);
  judge_clusters(t, all);
  t.print(out);
  for (const auto& each : all.failed())
    out << "  did not run: " << each << '\n';
}

} // namespace bench
