"""Compares config/coopcache.schema.json with what the library accepts.

Usage: schema_test.py PATH-OF-CONFIG-CHECK

Every good example is accepted by both, every bad one refused by both (those in
bad/beyond_schema only by the program), and whatever value the program accepts
for a setting, the schema accepts too. Of plain numbers the reverse holds, too.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:
    print(f"skipped: {sys.executable} has no jsonschema")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAD = ROOT / "test/config/bad"
SCHEMA = json.loads((ROOT / "config/coopcache.schema.json").read_text())
CANDIDATES = [
    None, True, False, [], {}, {"before_expiry": "1 s"}, {"before_expiry": 1},
    {"before_expiry": "none"}, -1, -0.5, -0.0004, -0.0, 0, 0.0004, 0.0006,
    0.0009999, 0.001, 0.0014, 0.25, 1, 1.0, 1.5, 2, 255, 1024, 1025, 65536,
    65537, 86400, 86400.0, 86400.0004, 86400.001, 10**6, 315360000,
    315360000.0002, 315360000.001, 10**9, 10**9 + 1, 2**50, 2**50 + 1, 2**63,
    2**64, 1e300, "", "x", "a b", "none", "never", "None", "0 s", "0.0 s",
    "1 s", "1s", "1  s", " 1 s", "1 s ", "1.5 s", ".5 s", "1. s", "-1 s",
    "1e3 s", "5 min", "6 min", "2 h", "3650 d", "3651 d", "1 week", "1 S",
    "0 B", "0.0 KiB", "1 B", "1.5 B", "1kB", "1 KB", "1 MB", "1 GB", "1 TB", "1 KiB",
    "1.5 MiB",
    "1 GiB", "1 TiB", "9999 TiB", "1 mib", "1", "cooperative", "global",
    "refuse", "evict", "Evict", "host:1", "host:0", "host:99999", "host:123456",
    "host:01", "host:00", "h:00007601", "h:65535",
    "host", ":1", "127.0.0.1:7601", "[::1]:7601", "::1:7601", "[x]:1",
    "a\u0007b", "gr\u00fc\u00df", "x" * 255, "x" * 256,
]


def fits_schema(value):
    return jsonschema.Draft7Validator(SCHEMA).is_valid(value)


def verdicts(program, files):
    """Which of the files the program accepts."""
    run = subprocess.run([program, *map(str, files)], stdout=subprocess.PIPE)
    lines = run.stdout.decode("utf-8").splitlines()
    told = [line for line in lines if line.startswith(("ok ", "faulty "))]
    assert len(told) == len(files), f"{program} told {len(told)} verdicts"
    return [line.startswith("ok ") for line in told]


def examples(program):
    good = [*(ROOT / "config/examples").glob("*.json")]
    good.append(ROOT / "config/demo.json")
    bad = sorted(BAD.glob("*.json"))
    beyond = sorted((BAD / "beyond_schema").glob("*.json"))
    for file, ok in zip(good, verdicts(program, good)):
        yield file, ok and fits_schema(json.loads(file.read_text()))
    for file, ok in zip(bad, verdicts(program, bad)):
        yield file, not ok and not fits_schema(json.loads(file.read_text()))
    for file, ok in zip(beyond, verdicts(program, beyond)):
        yield file, not ok


def documents():
    """Small configurations, each with one value of the candidates."""
    for value in CANDIDATES:
        yield value
        yield {"nodes": value}
        yield {"nodes": [value]}
        yield {"nodes": [value, "host:1"]}
        for key in SCHEMA["properties"]:
            yield {key: value}
        for key in SCHEMA["definitions"]["node"]["properties"]:
            yield {"node": {key: value}}
        for key in SCHEMA["definitions"]["cluster"]["properties"]:
            yield {"cluster": {key: value}}
        for key in SCHEMA["definitions"]["cache"]["properties"]:
            yield {"caches": {"a": {key: value}}}
            yield {"caches": {"a": {"kind": "global", key: value}}}
        if isinstance(value, str):
            yield {"caches": {value: {}}}
            yield {value: {}}


def is_judged_alone(document):
    """Whether it is one plain number, which no other setting can forbid."""
    while isinstance(document, dict) and len(document) == 1:
        (key, document), = document.items()
        if key == "load_soft_limit":  # has to be below load_hard_limit
            return False
    return isinstance(document, (int, float))


def guesses(program):
    with tempfile.TemporaryDirectory() as folder:
        values, files = list(documents()), []
        for number, value in enumerate(values):
            file = pathlib.Path(folder) / f"{number}.json"
            file.write_text(json.dumps(value))
            files.append(file)
        accepted = verdicts(program, files)
    for value, ok in zip(values, accepted):
        fits = fits_schema(value)
        yield value, fits or not ok
        yield value, ok or not fits or not is_judged_alone(value)
    yield "some guesses are accepted", 50 < sum(accepted) < len(accepted)


def main():
    program = sys.argv[1]
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    results = [*examples(program), *guesses(program)]
    failed = [what for what, ok in results if not ok]
    for what in failed:
        print(f"FAILED: {what}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
