#!/usr/bin/env python3
"""Functions that are not used here, with file:line. Comments and strings do not count.

    banned.py [DIRECTORY...]      by default sidecar policies canary healthcheck tests

Allocation goes through base/mem.h, so that a test can make each one fail; tests, which have
nothing to lose, may call malloc."""

import os
import re
import sys

BANNED = {
    "strcpy": "copy by length",
    "stpcpy": "copy by length",
    "strcat": "copy by length",
    "strncat": "copy by length",
    "strncpy": "memcpy, or snprintf",
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "gets": "it has no bound",
    "strtok": "str_list_next",
    "strtok_r": "str_list_next",
    "atoi": "str_to_u64",
    "atol": "str_to_u64",
    "atoll": "str_to_u64",
    "atof": "strtod",
    "alloca": "the stack is small",
    "tmpnam": "mkstemp",
    "mktemp": "mkstemp",
}
HEAP = {"malloc": "mem_alloc", "calloc": "mem_zalloc", "realloc": "mem_realloc",
        "reallocarray": "mem_realloc", "strdup": "mem_strndup", "strndup": "mem_strndup",
        "asprintf": "snprintf", "vasprintf": "vsnprintf"}
HEAP_ALLOWED = ("sidecar/base/mem.c",)
SCANF = ("scanf", "fscanf", "sscanf", "vscanf", "vsscanf", "vfscanf")

TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
CALL = re.compile(r"(?<![\w.>])([A-Za-z_]\w*)\s*\(")


def blank(text, strings):
    """The same length and lines, without comments and, if asked, without what is in strings."""
    def one(m):
        t = m.group(0)
        if t[0] in "\"'" and not strings:
            return t
        return re.sub(r"[^\n]", " ", t)
    return TOKENS.sub(one, text)


def check(path, text):
    code = blank(text, strings=True)
    with_strings = blank(text, strings=False)
    own = not path.startswith("tests/")
    for m in CALL.finditer(code):
        name, line = m.group(1), code.count("\n", 0, m.start()) + 1
        if name in BANNED:
            yield f"{path}:{line}: {name}: {BANNED[name]}"
        elif name in HEAP and own and path not in HEAP_ALLOWED:
            yield f"{path}:{line}: {name}: {HEAP[name]} (base/mem.h)"
        elif name in SCANF:
            # up to the call's end, as far as strings and nesting matter here
            rest = with_strings[m.end():with_strings.find(";", m.end())]
            if re.search(r"%\*?[hlLjzt]*(s|\[|ms)", rest):
                yield f"{path}:{line}: {name}: %s without a width"


def files(roots):
    for root in roots:
        for at, dirs, names in os.walk(root):
            dirs.sort()
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(at, name))


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    roots = sys.argv[1:] or ["sidecar", "policies", "canary", "healthcheck", "tests"]
    seen, bad = 0, []
    for path in files(roots):
        with open(path, encoding="utf-8", errors="replace") as f:
            bad += check(path, f.read())
        seen += 1
    for line in bad:
        print(line)
    if bad:
        sys.exit(1)
    print(f"banned: {seen} files, nothing banned")


if __name__ == "__main__":
    main()
