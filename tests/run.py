#!/usr/bin/env python3
"""Runs the tests and counts them, so that a run of any kind ends in `N passed, N failed`.

    run.py units RESULT BINARY...      cmocka programs, JOBS of them at a time
    run.py pytest RESULT ARGUMENT...   one pytest with these arguments
    run.py shards RESULT DIRECTORY     pytest for each file there (long ones in parts), SHARDS of them at
                                       a time; then the tests marked `alone`, which want the machine,
                                       one by one
    run.py sum RESULT...               adds up what the others wrote to RESULT, and says again
                                       what failed (RESULT.failed), shortly

JOBS (2) and SHARDS (8) come from the environment. Exit status 1 when anything failed, or when
there was nothing to run."""

import collections
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET

import failures

UNIT_TIMEOUT = 300   # seconds for one cmocka program
SHARD_TIMEOUT = 1500  # seconds for one pytest; each test has a shorter time of its own (conftest.py)

# Begun first, so that no long one is left for the end, and those that wait (websocket, prestop) beside
# those that work (inputs, reload); and in how many parts each, by every n-th test.
LONG_FIRST = {"test_websocket.py": 4, "test_reload.py": 1, "test_reload_listeners.py": 1,
              "test_reload_faults.py": 1, "test_inputs_h1.py": 1, "test_prestop.py": 3,
              "test_prestop_crash.py": 1, "test_inputs_h2.py": 1, "test_inputs_h2_conn.py": 1, "test_dns.py": 1,
              "test_upstream_h2.py": 1, "test_overload.py": 1, "test_drain.py": 1, "test_matrix.py": 1,
              "test_websocket_ends.py": 1, "test_learn.py": 1, "test_systemd.py": 1, "test_leases.py": 1,
              "test_websocket_drain.py": 1, "test_h2.py": 1, "test_review.py": 1, "test_leaks.py": 1,
              "test_retries.py": 1, "test_grpc.py": 1, "test_health.py": 1, "test_jwks_url.py": 1,
              "test_faults.py": 1}

# The same of unit tests.
LONG_UNITS = ("config/test_broken", "config/test_watch", "lifecycle/test_app", "proxy/test_discovery",
              "canary/test_split", "io/test_resolver", "io/test_tls_memory", "lifecycle/test_journal_two")

running = set()  # process groups; they end with us

Counts = collections.namedtuple("Counts", "passed failed skipped", defaults=(0, 0, 0))


def add(counts):
    return Counts(*(sum(column) for column in zip(Counts(), *counts)))


def write_result(path, counts, failed):
    """`failed`: the text that the sum repeats, from failures.entry()."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as f:
        f.write(f"{counts.passed} {counts.failed} {counts.skipped}\n")
    with open(path + ".failed", "w") as f:
        f.write("".join(failed))
    tail = f", {counts.skipped} skipped" if counts.skipped else ""
    print(f"{os.path.basename(path)}: {counts.passed} passed, {counts.failed} failed{tail}",
          flush=True)
    return 0 if counts.failed == 0 and counts.passed > 0 else 1


def end(_number, _frame):
    for group in list(running):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os._exit(1)


def run(command, timeout, env=None):
    """(what it printed, exit status), -1 when its time was over: its whole group is killed then."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=env, process_group=0)
    except OSError as e:
        return f"{e}\n", -1
    running.add(process.pid)
    try:
        out, code = process.communicate(timeout=timeout)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, code = process.communicate()[0] + b"\n(timed out)\n", -1
    running.discard(process.pid)
    return out.decode("utf-8", "replace"), code


def in_parallel(work, items, workers):
    """work(item) for each, `workers` at a time, from one queue; the results in whatever order.
    work() returns (text to print whole, result)."""
    waiting, results, lock = queue.SimpleQueue(), [], threading.Lock()
    for item in items:
        waiting.put(item)

    def serve():
        while True:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            text, result = work(item)
            with lock:
                print(text, end="", flush=True)
                results.append(result)
    threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- cmocka -----------------------------------------------------------------------------------

def unit(binary):
    start = time.monotonic()
    text, code = run([binary], UNIT_TIMEOUT)
    # What cmocka prints behind its own "N test(s) run." is a second list of the same tests.
    ran = re.split(r"^\[==========\] .*test\(s\) run\.$", text, flags=re.M)
    first = "".join(ran[:-1])
    ok = len(re.findall(r"^\[       OK \]", text, re.M))
    bad = len(re.findall(r"^\[  FAILED  \] (?!\d+ test)", first, re.M))
    skipped = re.findall(r"^\[  SKIPPED \] (?!\d+ test).*$", first, re.M)
    if code != 0 and bad == 0:
        bad = 1  # it crashed, leaked or did not start
    name = os.path.join(*binary.split(os.sep)[-2:])
    out = (f"  {'ok  ' if code == 0 else 'FAIL'} {name}: {ok} passed"
           f"{f', {bad} failed' if bad else ''} ({time.monotonic() - start:.1f} s)\n")
    if code != 0:
        out += f"{text}\n{name}: exit status {code}\n"
    out += "".join(f"       {line}\n" for line in skipped)
    failed = failures.of_cmocka(name, text, code) if bad else ""
    return out, (Counts(ok, bad, len(skipped)), failed)


def units(result, binaries):
    binaries = sorted(binaries, key=lambda b: not b.endswith(LONG_UNITS))
    results = in_parallel(unit, binaries, int(os.environ.get("JOBS") or 2))
    return write_result(result, add(r[0] for r in results), [r[1] for r in results])


# --- pytest -----------------------------------------------------------------------------------

def read_xml(xml, name, code, text=""):
    """(counts, failures) of one pytest that ended with `code`."""
    nothing = 5  # pytest's exit status when no test was selected
    if code == nothing:
        return Counts(), ""
    try:
        cases = list(ET.parse(xml).getroot().find("testsuite").iter("testcase"))
    except (OSError, ET.ParseError, AttributeError):
        lines = text.splitlines()
        return Counts(failed=1), failures.entry(f"{name}: pytest, exit status {code}", lines[-8:])
    # A test that passed and whose clean-up failed stands there twice.
    names, bad, skipped, failed = set(), set(), set(), []
    for case in cases:
        test = (case.get("classname"), case.get("name"))
        names.add(test)
        wrong = [e for kind in ("failure", "error") for e in case.findall(kind)]
        if wrong:
            bad.add(test)
            failed.append(failures.of_pytest(*test, wrong[0]))
        elif case.find("skipped") is not None:
            skipped.add(test)
    skipped -= bad
    if code not in (0, 1) and not bad:
        bad.add((name, code))
        failed.append(failures.entry(f"{name}: pytest, exit status {code}", text.splitlines()[-8:]))
    return Counts(len(names - bad - skipped), len(bad), len(skipped)), "".join(failed)


def command(xml, arguments):
    os.makedirs(os.path.dirname(xml) or ".", exist_ok=True)
    if os.path.exists(xml):
        os.remove(xml)
    # -rs: whoever skips says why.
    return [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
            f"--junitxml={xml}", *arguments]


def pytest(result, arguments):
    xml = result + ".xml"
    code = subprocess.call(command(xml, arguments))
    if code == 5:
        print("no test was selected")
    counts, failed = read_xml(xml, "scenario", code)
    return write_result(result, counts, [failed])


def shards(result, directory):
    files = [f for f in sorted(os.listdir(directory)) if re.fullmatch(r"test_\w+\.py", f)]
    first = list(LONG_FIRST)
    files.sort(key=lambda f: first.index(f) if f in LONG_FIRST else len(first))

    def shard(what):
        name, part, *arguments = what
        start = time.monotonic()
        xml = f"{result}-{name}.xml"
        text, code = run(command(xml, arguments), SHARD_TIMEOUT, {**os.environ, "TEST_PART": part})
        counts, failed = read_xml(xml, name, code, text)
        out = "" if code == 5 else (
            f"  {'FAIL' if counts.failed else 'ok  '} {name}: {counts.passed} passed"
            f"{f', {counts.failed} failed' if counts.failed else ''}"
            f" ({time.monotonic() - start:.1f} s)\n")
        if counts.failed:
            out += text
        else:
            out += "".join(f"       {line}\n" for line in re.findall(r"^SKIPPED.*$", text, re.M))
        return out, (counts, failed)

    work = []
    for f in files:
        n = LONG_FIRST.get(f, 1)
        for i in range(n):
            name = f if n == 1 else f"{f}-{i + 1}"
            work.append((name, f"{i}/{n}", "-m", "not alone", os.path.join(directory, f)))
    results = in_parallel(shard, work, int(os.environ.get("SHARDS") or 8))
    results += in_parallel(shard, [("alone", "", "-m", "alone", directory)], 1)
    return write_result(result, add(r[0] for r in results), [r[1] for r in results])


# --- the sum ----------------------------------------------------------------------------------

def total(results):
    counts, failed = [], ""
    for path in results:
        try:
            with open(path) as f:
                counts.append(Counts(*(int(w) for w in f.read().split())))
            with open(path + ".failed") as f:
                failed += f.read()
        except (OSError, ValueError, TypeError):
            failed += failures.entry(f"{path}: no result", [])
            counts.append(Counts(failed=1))
    sums = add(counts)
    print(failed, end="")
    if sums.skipped:
        print(f"({sums.skipped} skipped, named above)")
    print(f"{sums.passed} passed, {sums.failed} failed", flush=True)
    return 0 if sums.failed == 0 and sums.passed > 0 else 1


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("units", "pytest", "shards", "sum"):
        print(__doc__, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "sum":
        return total(rest)
    if what == "shards":
        return shards(*rest)
    return (units if what == "units" else pytest)(rest[0], rest[1:])


sys.exit(main())
