#!/usr/bin/env python3
"""What the tests that ran reached of the directories that are named, by gcov: lines and branches.

    coverage.py BUILD DIRECTORY... [--lines PERCENT] [--branches PERCENT]

BUILD was compiled with --coverage; its counts are added up over all objects and test programs, so
that an inline function of a header counts wherever it was called. A branch is one outcome of one
condition, as gcc compiled it without optimisation: `a && b` has four of them, a switch one for each
label. Those of CHECK are left out, for their other outcome is the end of the process; nothing else
is. Exit status 1 when all files together are below what is asked for."""

import argparse
import collections
import glob
import json
import os
import re
import subprocess
import sys

CHECK = re.compile(r"\bCHECK(_OBJ)?\(")


def gcov(build):
    """Each file of each object, as gcov tells it."""
    counts = sorted(glob.glob(os.path.join(build, "**/*.gcda"), recursive=True))
    if not counts:
        sys.exit(f"{build}: no test has run")
    out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", *counts],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if out.returncode != 0:
        sys.exit(out.stderr)
    for line in out.stdout.splitlines():
        yield from json.loads(line)["files"]


class File:
    def __init__(self, name):
        self.lines = collections.Counter()     # number: how often
        self.branches = collections.Counter()  # (number, function, which of them): how often
        with open(name) as f:
            self.checks = {n for n, text in enumerate(f, 1) if CHECK.search(text)}

    def add(self, lines):
        for line in lines:
            n = line["line_number"]
            self.lines[n] += line["count"]
            if n not in self.checks:
                for i, branch in enumerate(line["branches"]):
                    self.branches[n, line.get("function_name"), i] += branch["count"]

    def missing(self):
        """Lines, and behind a * those of which a branch was never taken."""
        lines = {n for n, count in self.lines.items() if count == 0}
        partly = {key[0] for key, count in self.branches.items() if count == 0} - lines
        return " ".join([*map(str, sorted(lines)), *(f"*{n}" for n in sorted(partly))])


def share(counts):
    """(reached, of how many)"""
    return sum(count > 0 for count in counts.values()), len(counts)


def percent(reached, of):
    return 100 * reached / of if of else 100.0


def row(name, lines, branches, missing=""):
    print(f"{name:34} {percent(*lines):6.1f} % {lines[0]:5}/{lines[1]:<5} "
          f"{percent(*branches):6.1f} % {branches[0]:5}/{branches[1]:<5} {missing}".rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("directory", nargs="+")
    parser.add_argument("--lines", type=float, default=0)
    parser.add_argument("--branches", type=float, default=0)
    asked = parser.parse_args()
    files = {}
    for found in gcov(asked.build):
        name = os.path.normpath(found["file"])
        if name.split(os.sep)[0] in asked.directory:
            if name not in files:
                files[name] = File(name)
            files[name].add(found["lines"])
    print(f"{'':34} {'lines':>20} {'branches':>20}   never reached; * in part")
    for name, file in sorted(files.items()):
        row(name, share(file.lines), share(file.branches), file.missing())
    lines = [sum(column) for column in zip(*(share(f.lines) for f in files.values()))]
    branches = [sum(column) for column in zip(*(share(f.branches) for f in files.values()))]
    row("all", lines, branches)
    low = [f"{percent(*have):.1f} % of {what}, where {least:g} % is asked for"
           for what, have, least in (("lines", lines, asked.lines), ("branches", branches, asked.branches))
           if percent(*have) < least]
    print("".join(f"coverage: {text}\n" for text in low), end="")
    return 1 if low else 0


sys.exit(main())
