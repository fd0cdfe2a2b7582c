#!/usr/bin/env python3
"""The map of the tree: docs/FILES.md has every file with its job, as its own first line says it.

    map.py           fails where a file does not say it, or has more than one job by its length; where
                     two modules of the tests have one name; where docs/FILES.md is not what the files
                     say (`make docs` writes it); and where docs/ARCHITECTURE.md names what is not there
    map.py write     writes docs/FILES.md

A header and its source are one noun, and the header says what it is."""

import ast
import fnmatch
import os
import re
import sys

PROGRAM = ("sidecar", "policies", "canary", "healthcheck")
TOOLS = ("tests", "demo", "packaging")
LINES_MAX = 700
FILES, ARCHITECTURE = "docs/FILES.md", "docs/ARCHITECTURE.md"
INTRO = """# Files

Every file with its job, as its first line says it. Made from these by `make docs`; `make lint` fails where it is not
what they say. [ARCHITECTURE.md](ARCHITECTURE.md) has how they work together. Tests (`test_*`) and fuzzers (`fuzz_*`)
bear the names of what they look at.
"""

HEAD = re.compile(r"/\* (\S+) - (.*?)\*/", re.S)
NAMED = re.compile(r"`([\w*/.-]+)`")


def first_sentence(text):
    """On one line, as far as the first end of a sentence, or a blank line."""
    text = re.split(r"\n[ *#]*\n", text)[0]
    text = re.sub(r"\s*\n[ *#]*", " ", text).strip()
    return re.split(r"\.(?:\s|$)", text)[0].rstrip(".:;")


def job_of(path):
    """(job, None) of a file, or (None, what is wrong)."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if path.endswith(".py"):
        found = ast.get_docstring(ast.parse(text))
        return (first_sentence(found), None) if found else (None, "does not say its job")
    m = HEAD.match(text)
    if not m:
        return None, "does not begin with /* NAME - its job */"
    if m.group(1) != os.path.basename(path):
        return None, f"calls itself {m.group(1)}"
    return first_sentence(m.group(2)), None


def is_told(path):
    return not os.path.basename(path).startswith(("test_", "fuzz_"))


def walk(roots):
    for root in roots:
        for at, dirs, names in os.walk(root):
            dirs[:] = sorted(d for d in dirs if d not in ("__pycache__", "modules"))
            yield from (os.path.join(at, n) for n in sorted(names) if n.endswith((".c", ".h", ".py")))


def nouns(bad):
    """{directory: {noun: job}}."""
    found = {}
    for path in filter(is_told, walk(PROGRAM + TOOLS)):
        at, name = os.path.split(path)
        job, wrong = job_of(path)
        if wrong:
            bad.append(f"{path}:1: {wrong}")
            continue
        c = name.endswith((".c", ".h")) and at.startswith(PROGRAM)
        noun = name.rpartition(".")[0] if c else name
        if name.endswith(".h") or noun not in found.get(at, {}):
            found.setdefault(at, {})[noun] = job
    return found


def check_lengths():
    for path in walk(PROGRAM + TOOLS):
        with open(path, "rb") as f:
            n = sum(1 for _ in f)
        if n > LINES_MAX:
            yield f"{path}:{n}: more than {LINES_MAX} lines: look for the second noun in it"


def check_modules():
    """Directories of tests take modules from each other, so a name is one file's."""
    found = {}
    for path in walk(["tests"]):
        name = os.path.basename(path)
        if not name.endswith(".py") or name in ("conftest.py", "run.py"):
            continue
        if name in found:
            yield f"{path}:1: has the name of {found[name]}: who imports it gets either"
        found[name] = path


def listing(found):
    parts = [INTRO]
    for at in sorted(found, key=lambda d: (d.partition("/")[0] in TOOLS, d)):
        parts.append(f"\n## {at}\n\n" + "".join(f"- `{n}`: {job}\n"
                                                 for n, job in sorted(found[at].items())))
    return "".join(parts)


def check_architecture(found):
    """Of what stands in backticks: paths, and words that look like files' names."""
    known = {n.rpartition(".")[0] or n for names in found.values() for n in names}
    known |= {n for names in found.values() for n in names}
    code = "\n".join(open(p, encoding="utf-8").read() for p in walk(PROGRAM + TOOLS))
    words = set(re.findall(r"\w+", code))
    for number, line in enumerate(open(ARCHITECTURE, encoding="utf-8"), 1):
        for name in NAMED.findall(line):
            where = f"{ARCHITECTURE}:{number}: `{name}`"
            if "/" in name and re.fullmatch(r"[\w*-]+(/[\w*-]+)+/?(\.\w+)?", name):
                if name.startswith(("v1/",)):
                    continue
                places = [os.path.join(p, name) for p in ("", "sidecar")]
                if not any(os.path.exists(p) for p in places) and not any(
                        fnmatch.fnmatch(f"{at}/{n}", pattern) or
                        fnmatch.fnmatch(f"{at}/{n}.c", pattern) or fnmatch.fnmatch(f"{at}/{n}.h", pattern)
                        for pattern in places for at, names in found.items() for n in names):
                    yield f"{where} is not there"
            elif re.fullmatch(r"[a-z0-9]+(_[a-z0-9*]+)+\*?", name):
                # of an option of a library's, the end of its setter's name
                if not any(fnmatch.filter(*where_to) for where_to in
                           ((known, name), (words, name), (words, f"*_{name}"))):
                    yield f"{where} is nowhere in the code"


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    bad = []
    found = nouns(bad)
    text = listing(found)
    if sys.argv[1:] == ["write"]:
        with open(FILES, "w", encoding="utf-8") as f:
            f.write(text)
        return
    with open(FILES, encoding="utf-8") as f:
        was = f.read()
    if was != text:
        differ = sorted(set(was.splitlines()) ^ set(text.splitlines()))
        bad += [f"{FILES}: is not what the files say (make docs): {line}" for line in differ]
    bad += check_lengths()
    bad += check_modules()
    bad += check_architecture(found)
    for line in bad:
        print(line)
    if bad:
        sys.exit(1)
    print(f"map: {sum(map(len, found.values()))} files say their job, and are told")


if __name__ == "__main__":
    main()
