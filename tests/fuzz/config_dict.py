#!/usr/bin/env python3
"""Prints tests/fuzz/config.dict: the words that a configuration is made of, from its schema.

    build/sluice schema | tests/fuzz/config_dict.py >tests/fuzz/config.dict"""

import json
import sys

VALUES = """true false off 0 1 65536 4294967296 18446744073709551616 -1 5s 250ms 0.5m 168h 169h 64KiB
1GiB 0660 127.0.0.1:80 [::1]:80 unix:/run/x 0.0.0.0:0 app.example:80 srv:_http._tcp.a.example
169.254.169.254:80 10.0.0.0/8 fd00::/8 / /a /a/b /a/ *.example.com example.com GET POST null ~
${SET} ${EMPTY} ${ABSENT:-5s} ${ABSENT} $${ ${ & * ! | > %YAML --- ... << #""".split()
STRUCTURE = ["- ", ": ", "{", "}", "[", "]", ", ", "? ", "\n  ", "\n- ", "\n\t", "\r\n", "'", '"',
             "\u0085", "\u2028", "\ufeff", "\0"]


def words(node, out):
    if isinstance(node, dict):
        out.update(node.get("properties", {}))
        out.update(str(v) for v in node.get("enum", []))
        if "const" in node:
            out.add(str(node["const"]))
        for value in node.values():
            words(value, out)
    elif isinstance(node, list):
        for value in node:
            words(value, out)


def quoted(word):
    return '"%s"' % "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else "\\x%02x" % b
                            for b in word.encode())


def main():
    found = set()
    words(json.load(sys.stdin), found)
    print("# config.dict - words of a configuration, by config_dict.py")
    for word in sorted(found):
        print(quoted(word + ": "))
    for word in VALUES + STRUCTURE:
        print(quoted(word))


main()
