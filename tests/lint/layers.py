#!/usr/bin/env python3
"""Who may include whom, downwards only; and are the deciding layers pure?

    layers.py [OBJECTS]     OBJECTS: a directory of built objects (build/obj), where the pure
                            layers are also searched for variables that are not constant

Each layer may include itself and those named for it; docs/ARCHITECTURE.md draws the same."""

import os
import re
import subprocess
import sys

# From the bottom. "top": sidecar/*.c, the program and its subcommands; nobody includes them.
LAYERS = {
    "base": [],
    "io": ["base"],
    "http": ["base"],
    "policies": ["base"],
    "canary": ["base"],
    "healthcheck": ["base", "io", "http"],
    "config": ["base", "io", "http", "policies", "canary", "healthcheck"],
    "lifecycle": ["base", "io", "http", "policies", "canary", "healthcheck", "config"],
    "proxy": ["base", "io", "http", "policies", "canary", "healthcheck", "config", "lifecycle"],
    "admin": ["base", "io", "http", "policies", "canary", "healthcheck", "config", "lifecycle",
              "proxy"],
}
LAYERS["kube"] = LAYERS["lifecycle"]
LAYERS["top"] = sorted(LAYERS)

ROOTS = ("sidecar", "policies", "canary", "healthcheck")
PURE = ("policies", "canary")
PURE_HEADERS = {  # what is not here needs a reason
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "math.h", "pcre2.h", "pthread.h", "stdalign.h",
    "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h",
    "string.h", "strings.h", "uthash.h",
    # Computation only, on what the caller gives: JSON (jwt*.c), signatures and digests (EVP).
    "jansson.h", "openssl/core_names.h", "openssl/ecdsa.h", "openssl/err.h", "openssl/evp.h",
    "openssl/hmac.h", "openssl/param_build.h", "openssl/rsa.h",
}
# base/clock.h and base/rng.h come with functions that only their callers above may call.
PURE_CALLS = re.compile(
    r"(?<![\w.>])(clock_gettime|gettimeofday|time|clock|clock_mono|clock_wall|rng_init_random|"
    r"getrandom|rand|random|getenv|open|fopen|read|write|socket|printf|puts|log_line|"
    r"log_(?:error|warn|info|debug))\s*\(")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.M)
COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.S)
LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')


def without_comments(text):
    return COMMENT.sub(
        lambda m: m.group(0) if m.group(0)[0] == '"' else re.sub(r"[^\n]", " ", m.group(0)), text)


def layer_of(path):
    """Of a file in the repository; None: not one of ours."""
    parts = path.split("/")
    if parts[0] == "sidecar":
        return parts[1] if len(parts) > 2 else "top"
    return parts[0] if parts[0] in ROOTS else None


def resolve(path, name):
    """The included file, as the compiler finds it (-Isidecar -I.); None: it is not there."""
    for base in (os.path.dirname(path), "sidecar", "."):
        found = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(found):
            return found
    return None


def check_includes(path, text):
    mine = layer_of(path)
    if mine not in LAYERS:
        yield f"{path}:1: the layer {mine} is not in {os.path.relpath(__file__)}"
        return
    for m in INCLUDE.finditer(text):
        where = f"{path}:{text.count(chr(10), 0, m.start()) + 1}"
        if m.group(2):
            if mine in PURE and m.group(2) not in PURE_HEADERS:
                yield f"{where}: {mine} is pure and may not include <{m.group(2)}>"
            continue
        found = resolve(path, m.group(1))
        if not found:
            yield f"{where}: \"{m.group(1)}\" is not there"
            continue
        theirs = layer_of(found)
        if theirs is None or (theirs == "top" and mine != "top"):
            yield f"{where}: {mine} may not include {found}"
        elif theirs != mine and theirs not in LAYERS[mine]:
            yield f"{where}: {mine} may not include {theirs} ({found}): it includes " + \
                (", ".join(LAYERS[mine]) or "nothing of ours")


def check_pure_calls(path, text):
    if layer_of(path) not in PURE:
        return
    code = LITERAL.sub(lambda m: " " * len(m.group(0)), text)
    for m in PURE_CALLS.finditer(code):
        line = code.count("\n", 0, m.start()) + 1
        yield f"{path}:{line}: {layer_of(path)} is pure and may not call {m.group(1)}()"


def check_objects(objects, sources):
    """No variables but constants. Each source has its object there: what was not built was not
    looked at."""
    checked, bad = 0, []
    for source in sources:
        path = os.path.join(objects, source[:-2] + ".o")
        if not os.path.exists(path):
            bad.append(f"{path}: is not there, so nobody knows whether {source} has variables")
            continue
        checked += 1
        bad += [f"{path}: {symbol} ({section}): a pure layer has no variables"
                for symbol, section in variables(path)]
    return checked, bad


OF_TOOLS = ("__gcov", "__asan", "__odr_asan", "__san")


def variables(path):
    """(name, section) of what can be written, static or not. By readelf, which sees the ordinary
    half of an object; nm asks the linker's plugin for the other half, where nothing is const."""
    def readelf(what):
        return subprocess.run(["readelf", what, "--wide", path], capture_output=True, text=True,
                              check=True).stdout.splitlines()
    # "  [ 3] .data  PROGBITS  address offset size entry flags link info align"; no flags: shorter
    writable = {}
    for line in readelf("--section-headers"):
        number, bracket, rest = line.strip().removeprefix("[").partition("]")
        fields = rest.split()
        # const data with addresses in it is relocated once, and read-only then
        if bracket and number.strip().isdigit() and len(fields) == 10 and "W" in fields[6] and \
                not fields[0].startswith(".data.rel.ro"):
            writable[number.strip()] = fields[0]
    writable["COM"] = "COMMON"
    # "    23: value size OBJECT GLOBAL DEFAULT section name"
    for line in readelf("--symbols"):
        fields = line.split()
        if len(fields) == 8 and fields[3] in ("OBJECT", "TLS", "COMMON") and \
                fields[6] in writable and not fields[7].startswith(OF_TOOLS):
            yield fields[7], writable[fields[6]]


def main():
    objects = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    seen, bad, pure = 0, [], []
    for root in ROOTS:
        for at, dirs, names in os.walk(root):
            dirs.sort()
            for name in sorted(n for n in names if n.endswith((".c", ".h"))):
                path = os.path.join(at, name)
                with open(path, encoding="utf-8", errors="replace") as f:
                    text = without_comments(f.read())
                bad += check_includes(path, text)
                bad += check_pure_calls(path, text)
                if layer_of(path) in PURE and path.endswith(".c"):
                    pure.append(path)
                seen += 1
    tail = ""
    if objects:
        checked, more = check_objects(objects, pure)
        bad += more
        tail = f", {checked} pure objects"
    for line in bad:
        print(line)
    if bad:
        sys.exit(1)
    print(f"layers: {seen} files{tail}, every include looks down")


if __name__ == "__main__":
    main()
