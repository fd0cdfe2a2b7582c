#!/usr/bin/env python3
"""clang-tidy over the files that are named, some at a time, each once: the static analyzer takes seconds
for a file, and says the same of the same text.

    tidy.py FLAGS-DIRECTORY FILE...     FLAGS-DIRECTORY: where compile_flags.txt is

What was found clean is remembered by the file's text as the compiler sees it, headers and comments
(NOLINT) with it, by .clang-tidy and by clang-tidy's version: in $XDG_CACHE_HOME/sluice-tidy
(~/.cache/sluice-tidy; TIDY_CACHE= for none). JOBS (2) comes from the environment. Exit status 1 when
anything was found."""

import concurrent.futures
import hashlib
import os
import subprocess
import sys
import time

HOME_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
CACHE = os.environ.get("TIDY_CACHE", os.path.join(HOME_CACHE, "sluice-tidy"))
KEEP = 30 * 86400  # s without a use

# The static analyzer gives up a function after so many states, by default after 225,000: in a few
# functions with many calls that took three quarters of all the time. Mistakes put there on purpose
# (memory used when it is freed, values never set, each through a call) are found as before; they
# are not by its mode "shallow", which hardly looks into calls.
DEPTH = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=20000")]


def output(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)


class Tidy:
    def __init__(self, flags_directory):
        self.directory = flags_directory
        with open(os.path.join(flags_directory, "compile_flags.txt")) as f:
            self.flags = f.read().split("\n")[:-1]
        with open(".clang-tidy", "rb") as f:
            self.base = hashlib.sha256(output("clang-tidy", "--version").stdout + f.read() +
                                       " ".join(DEPTH).encode())

    def mark(self, file):
        """The path of what says that it is clean; None: it cannot be known."""
        done = output("clang", "-E", "-C", "-D__clang_analyzer__", *self.flags, file)
        if not CACHE or done.returncode != 0:
            return None
        key = self.base.copy()
        # Another checkout's is as good.
        text = "\n".join([file, *self.flags]).encode() + done.stdout
        key.update(text.replace(os.getcwd().encode(), b"."))
        return os.path.join(CACHE, key.hexdigest())

    def look(self, file):
        """(what was found, whether it was known before)"""
        mark = self.mark(file)
        if mark and os.path.exists(mark):
            os.utime(mark)
            return "", True
        done = output("clang-tidy", "--quiet", *DEPTH, "-p", self.directory, file)
        found = done.stdout.decode()
        if done.returncode != 0 and not found:
            found = f"{file}: clang-tidy, exit status {done.returncode}: {done.stderr.decode()}\n"
        if mark and not found:
            open(mark, "w").close()
        return found, False


def forget_old():
    for entry in os.scandir(CACHE):
        if entry.stat().st_mtime < time.time() - KEEP:
            os.unlink(entry.path)


def main():
    tidy, files = Tidy(sys.argv[1]), sys.argv[2:]
    if CACHE:
        os.makedirs(CACHE, exist_ok=True)
        forget_old()
    known, bad = 0, 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or 2)) as pool:
        for found, was_known in pool.map(tidy.look, files):
            known += was_known
            bad += found != ""
            print(found, end="", flush=True)
    print(f"clang-tidy: {len(files)} files, {known} of them known to be clean")
    return 1 if bad else 0


sys.exit(main())
