#!/usr/bin/env python3
"""What failed, in few lines: the name of each test and the lines that decide.

    failures.py LOG...    for each log of a CI step that failed, `STEP: what failed` with its lines;
                          names always, lines as long as there is room

tests/run.py writes entries into its output, each a line that begins with MARK and lines indented
below it; in the logs of other steps, the compilers', linters' and sanitizers' own lines are
looked for."""

import os
import re
import sys
import textwrap

MARK = "=== failed: "
LINES = 8            # of a failure
REPORT_LINES = 40    # of a sanitizer's report: both stacks of a race
WIDTH = 170
ROOM = 8000          # characters for all of it: what keeps CI's output keeps its end

REPORT = re.compile(r"(WARNING|ERROR|FATAL): \w+Sanitizer|runtime error:|ERROR: libFuzzer")
TELLING = re.compile(r"error:|warning:|^\s*FAILED|Error \d+$|\*\*\*|rror: |No space|timed out|"
                     r"not found|No such file|CHECK|check failed|Would reformat|banned")


def entry(name, lines):
    return "".join([f"{MARK}{name}\n", *(f"    {line[:WIDTH]}\n" for line in lines)])


def report(lines):
    """A sanitizer's report, its first lines, if there is one among these."""
    for n, line in enumerate(lines):
        if REPORT.search(line):
            return [part for part in lines[n:n + REPORT_LINES + 10]
                    if part.strip(" E=")][:REPORT_LINES]
    return []


def of_pytest(module, name, element):
    """`element`: <failure> or <error> of a JUnit file."""
    lines = (element.text or element.get("message") or "").splitlines()
    decisive = textwrap.dedent("\n".join(
        line[1:] for line in lines if line.startswith("E  "))).splitlines()
    found = report(decisive)
    where = [line for line in lines if re.match(r"\S+\.py:\d+: ", line)]
    place = next((line for line in where if "/test_" in line), None)
    text = decisive[:1] if found else decisive[:LINES - 1] or lines[-LINES:]
    if place:
        text.append(place)
    what = "" if element.tag == "failure" else " (before or after the test)"
    # A file that could not be read has no test's name.
    test = f"{module.rpartition('.')[2]}.py::{name}" if module else name
    return entry(test + what, text + found)


def of_cmocka(name, text, code):
    """One entry for each test that failed; one for the program if it ended in the midst of one."""
    out = ""
    tests = re.split(r"^\[ RUN      \] ", text, flags=re.M)
    for test in tests[1:]:
        lines = test.splitlines()
        for n, line in enumerate(lines):
            if line.startswith("[  FAILED  ] " + lines[0]):
                out += entry(f"{name} {lines[0]}", lines[max(1, n - LINES):n])
                break
    if not out:
        lines = text.splitlines()
        last = tests[-1].splitlines()[0] if len(tests) > 1 else ""
        out = entry(f"{name} {last}: exit status {code}", report(lines) or lines[-LINES:])
    return out


def of_log(text):
    """The entries in a step's log, [[name, lines]]; made from its telling lines if it has none."""
    lines = text.splitlines()
    entries = []
    for n, line in enumerate(lines):
        if line.startswith(MARK):
            found = [line[len(MARK):], []]
            for more in lines[n + 1:]:
                if not more.startswith("    "):
                    break
                found[1].append(more)
            entries.append(found)
    if entries:
        return entries
    found = report(lines)
    if not found:
        # What make says of a failure is no more than that there was one.
        telling = [line for line in lines if TELLING.search(line)]
        best = [line for line in telling if not re.match(r"make(\[\d+\])?: ", line)]
        found = (best or telling)[:LINES] or lines[-LINES:]
        if lines and lines[-1] not in found:
            found.append(lines[-1])
    return [["", ["    " + line[:WIDTH] for line in found]]]


def main():
    steps = []
    for path in sys.argv[1:]:
        with open(path, errors="replace") as f:
            step = os.path.splitext(os.path.basename(path))[0]
            steps += [(step, name, lines) for name, lines in of_log(f.read())]
    room = ROOM - sum(min(len(step) + len(name), WIDTH) + 3 for step, name, _ in steps)
    left = len(steps)
    for step, name, lines in steps:
        print(f"{step}: {name}"[:WIDTH])
        # Each gets its share of the room that is left, so that the first takes not all.
        share = max(room, 0) // left if left > 4 else max(room, 0) // max(1, left - 1)
        left -= 1
        for line in lines:
            if len(line) + 1 > share:
                break
            print(line)
            share -= len(line) + 1
            room -= len(line) + 1


if __name__ == "__main__":
    main()
