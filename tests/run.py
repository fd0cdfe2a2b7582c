#!/usr/bin/env python3
"""Runs the tests and counts them, so that a run of any kind ends in `N passed, N failed`.

    run.py units RESULT BINARY...      cmocka programs, one after the other
    run.py pytest RESULT ARGUMENT...   pytest with these arguments
    run.py sum RESULT...               adds up what the two above wrote to RESULT

Exit status 1 when anything failed, or when there was nothing to run."""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

UNIT_TIMEOUT = 300  # seconds for one cmocka program


def write_result(path, passed, failed, skipped=0):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as f:
        f.write(f"{passed} {failed} {skipped}\n")
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{os.path.basename(path)}: {passed} passed, {failed} failed{tail}", flush=True)
    return 0 if failed == 0 and passed > 0 else 1


def units(result, binaries):
    passed = failed = skipped = 0
    for binary in binaries:
        start = time.monotonic()
        try:
            run = subprocess.run([binary], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 timeout=UNIT_TIMEOUT)
            text, code = run.stdout.decode("utf-8", "replace"), run.returncode
        except subprocess.TimeoutExpired as e:
            text, code = (e.stdout or b"").decode("utf-8", "replace") + "\n(timed out)\n", -1
        except OSError as e:
            text, code = f"{e}\n", -1
        # What cmocka prints behind its own "N test(s) run." is a second list of the same tests.
        ran = re.split(r"^\[==========\] .*test\(s\) run\.$", text, flags=re.M)
        ok = len(re.findall(r"^\[       OK \]", text, re.M))
        bad = sum(len(re.findall(r"^\[  FAILED  \] (?!\d+ test)", part, re.M))
                  for part in ran[:-1]) if len(ran) > 1 else 0
        skip = sum(len(re.findall(r"^\[  SKIPPED \] (?!\d+ test)", part, re.M))
                   for part in ran[:-1]) if len(ran) > 1 else 0
        if code != 0 and bad == 0:
            bad = 1  # it crashed, leaked or did not start
        passed, failed, skipped = passed + ok, failed + bad, skipped + skip
        name = os.path.join(*binary.split(os.sep)[-2:])
        print(f"  {'ok  ' if code == 0 else 'FAIL'} {name}: {ok} passed"
              f"{f', {bad} failed' if bad else ''} ({time.monotonic() - start:.1f} s)", flush=True)
        if code != 0:
            print(text, f"{name}: exit status {code}", sep="\n", flush=True)
        for line in re.findall(r"^\[  SKIPPED \] (?!\d+ test).*$", ran[0], re.M):
            print(f"       {line}")
    return write_result(result, passed, failed, skipped)


def pytest(result, arguments):
    os.makedirs(os.path.dirname(result) or ".", exist_ok=True)
    xml = result + ".xml"
    if os.path.exists(xml):
        os.remove(xml)
    # -rs: whoever skips says why.
    code = subprocess.call([sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                            f"--junitxml={xml}", *arguments])
    try:
        suite = ET.parse(xml).getroot().find("testsuite")
        total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
        # A test that passed and whose clean-up failed stands in both counts.
        failed = len({(c.get("classname"), c.get("name")) for c in suite.iter("testcase")
                      if c.find("failure") is not None or c.find("error") is not None})
        names = {(c.get("classname"), c.get("name")) for c in suite.iter("testcase")}
        passed = min(total, len(names)) - failed - skipped
    except (OSError, ET.ParseError, AttributeError):
        passed, failed, skipped = 0, 1, 0
    if code not in (0, 1) and failed == 0:
        failed = 1
    return write_result(result, max(passed, 0), failed, skipped)


def total(results):
    passed = failed = skipped = 0
    for path in results:
        try:
            with open(path) as f:
                p, n, s = (int(w) for w in f.read().split())
        except (OSError, ValueError):
            print(f"{path}: no result")
            p, n, s = 0, 1, 0
        passed, failed, skipped = passed + p, failed + n, skipped + s
    if skipped:
        print(f"({skipped} skipped, named above)")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 and passed > 0 else 1


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("units", "pytest", "sum"):
        print(__doc__, file=sys.stderr)
        return 2
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "sum":
        return total(rest)
    return (units if what == "units" else pytest)(rest[0], rest[1:])


sys.exit(main())
