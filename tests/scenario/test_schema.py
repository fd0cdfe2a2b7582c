"""What is printed from the table of keys and the table of commands: the JSON Schema agrees with
`sluice validate`, the pages are current, and help tells of each option that there is."""

import copy
import glob
import json
import os
import re
import subprocess
import sys

import pytest

from harness import BUILD, ROOT, SANITIZE, SLUICE

CORPUS = os.path.join(ROOT, "tests/fuzz/corpus/config")


def sluice(*arguments, check=True):
    run = subprocess.run([SLUICE, *arguments], capture_output=True, text=True, timeout=60)
    assert not check or run.returncode == 0, run.stderr
    return run


# ---- the JSON Schema ----


@pytest.fixture(scope="module")
def validator():
    """jsonschema, of this Python or of build/venv (`make venv`)."""
    for path in glob.glob(os.path.join(ROOT, "build/venv/lib/python*/site-packages")):
        sys.path.append(path)
    from jsonschema import Draft202012Validator, validators  # must fail, not skip, where it cannot be had
    schema = json.loads(sluice("schema").stdout)
    Draft202012Validator.check_schema(schema)

    def definition(validator, reference, node, _schema):
        """jsonschema would make a URI of it, and take that apart, each time."""
        yield from errors_of_part(validator, node, schema["$defs"][reference.removeprefix("#/$defs/")])

    return validators.extend(Draft202012Validator, {"properties": properties, "items": items,
                                                    "$ref": definition})(schema)


# Documents here differ from one another in one place, and share all other parts (`changed`). A part that
# fits what the schema says of it is not looked at again: jsonschema would take ten times as long.
fitting = {}  # (id of the schema's part, id of the document's): the latter, or its id could come again


def errors_of_part(validator, part, schema, **where):
    key = id(schema), id(part)
    if key not in fitting:
        fits = True
        for error in validator.descend(part, schema, **where):
            fits = False
            yield error
        if fits:
            fitting[key] = part


def properties(validator, schemas, node, _schema):
    if validator.is_type(node, "object"):
        for name, schema in schemas.items():
            if name in node:
                yield from errors_of_part(validator, node[name], schema, path=name, schema_path=name)


def items(validator, schema, node, _schema):
    if validator.is_type(node, "array"):
        for i, item in enumerate(node):
            yield from errors_of_part(validator, item, schema, path=i)


def load_yaml(text):
    """As the core schema of YAML 1.2 has it (an editor's view): `off` and 0660 are no surprises."""
    import yaml

    class Core(yaml.SafeLoader):
        yaml_implicit_resolvers = {}

    for tag, pattern, first in (
            ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
            ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
            ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
            ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789"))):
        Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
    Core.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value, 10))
    return yaml.load(text, Core)


def problems_of(tmp_path, documents):
    """For each document (a text), the errors that `sluice validate` tells of; [] where it is valid."""
    names = []
    for i, text in enumerate(documents):
        path = tmp_path / f"{i}.yaml"
        path.write_text(text)
        names.append(str(path))
    found = {name: [] for name in names}
    for i in range(0, len(names), 500):
        out = sluice("validate", "--no-files", "-o", "json", *names[i:i + 500], check=False).stdout
        for problem in json.loads(out):
            if problem["severity"] == "error":
                found[problem["file"]].append(f"{problem['path']}: {problem['message']}")
    return [found[name] for name in names]


def test_what_is_valid_fits_the_schema(validator, tmp_path):
    texts = {}
    for path in [*glob.glob(os.path.join(ROOT, "docs/guide/examples/*.yaml")),
                 *glob.glob(os.path.join(ROOT, "demo/*.yaml")), *glob.glob(os.path.join(CORPUS, "*.yaml"))]:
        with open(path, errors="surrogateescape") as f:
            texts[path] = f.read()
    for path in [os.path.join(ROOT, "README.md"), *glob.glob(os.path.join(ROOT, "docs/guide/*.md"))]:
        with open(path) as f:
            for i, block in enumerate(re.findall(r"^```yaml\n(version: 1\n.*?)^```$", f.read(), re.M | re.S)):
                texts[f"{path}#{i}"] = block
    valid = 0
    for (name, text), problems in zip(texts.items(), problems_of(tmp_path, texts.values())):
        if not problems:
            valid += 1
            errors = [f"{e.json_path}: {e.message}" for e in validator.iter_errors(load_yaml(text))]
            assert not errors, (name, errors)
    assert valid >= 10


# What `validate` refuses and JSON Schema cannot: it compares values with each other, with the
# environment, or in a unit that is written with them.
BEYOND_JSON_SCHEMA = re.compile("|".join((
    r"there is no (upstream|variable|cleanup|issuer)|wait for each other in a circle|after itself|set by sluice itself|has the same (name|address|header)|is the same address|is (there|in this list) twice",
    r"expected (a duration|a size).* from \S+ to \S+, got",           # the range of what has a unit
    r"is more than|or more, or 0|is the end of drainTimeout|has no body|all weights are 0",
    r"not a regular expression",
    # texts with values in them, and the names of these
    r"there is no value \{|at character \d+: |has a value of that name|the key needs \{|needs the key's values",
    r"expected a path, which begins|expected a class such as 2xx|expected a letter or _|can be put in JSON, a form or XML",
    r"at most 8 values|is set by sluice",
    r"link-local",
    r"a window is from",
    # tokens and authorization
    r"a header that has a meaning of its own|names all claims|without \"jwt\" no claim|"
    r"expected a path in its normal form|no client of this listener has a certificate",
    r"expected one value, got|expected true or false, got \"(True|TRUE|False|FALSE)\"",
    r"bytes; at most",
    r"expected a file mode .*, got \"[0-9]\"",                         # 0007 is the number 7 too
)))


def disagreements(validator, tmp_path, cases):
    """cases: (what, document). What one of the two takes and the other does not."""
    bad = []
    texts = [json.dumps(document) for _, document in cases]
    found = list(zip(cases, problems_of(tmp_path, texts)))
    refused = sum(bool(problems) for _, problems in found)
    for (what, document), problems in found:
        fits = validator.is_valid(document)
        if not problems and not fits:
            errors = [f"{e.json_path}: {e.message[:200]}" for e in validator.iter_errors(document)]
            bad.append(f"{what}: sluice takes it, the schema does not: {errors}")
        elif problems and fits and not any(BEYOND_JSON_SCHEMA.search(p) for p in problems):
            bad.append(f"{what}: the schema takes it, sluice does not: {problems}")
    return bad, refused


def places(node, path=()):
    """Each key of a map and each item of a list."""
    for key, value in (node.items() if isinstance(node, dict) else enumerate(node)):
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def changed(document, path, change):
    """Another document, in which change(parent, key) was done at the path. All else is shared."""
    document = parent = copy.copy(document)
    for key in path[:-1]:
        parent[key] = copy.copy(parent[key])
        parent = parent[key]
    change(parent, path[-1])
    return document


def set_to(value):
    return lambda parent, key: parent.__setitem__(key, value)


def rename(parent, key):
    if isinstance(parent, dict):
        parent[key + "x"] = parent.pop(key)
    else:
        parent.append(parent[key])


OTHER_VALUES = [
    None, True, False, 0, 1, -1, 2.5, 10**12, 2**63, [], {}, [1], {"a": 1}, [None], [{}], "", " ", "a", "A", "GET", "TRACE",
    "true", "off", "0", "5", "5s", "1.5s", "1.5us", "1.0005ms", "1.0000005s", "0.5m", "5x", "s", "-5s", "1e3s", "200h", "1us",
    "4KiB", "1.5KiB", "4kb", "1GiB", "300B", "007", "0660", "0888", "660", "99", "308", "309", "/", "/a", "/a/../b", "/a/.", "/.a",
    "/%2f", "/%2F", "/a b", "/a?b", "//", "a/b", "text/plain", " text/x", "*", "*.example.com", "*.*", "example.com", "example.com:80",
    "example.com:0", "-a", "a-", "a_b", "a.b", "a b", "a\tb", "a\u0001", "\u00e4", "x" * 64, "x" * 300, "127.0.0.1:80",
    "127.0.0.1:0080", "127.0.0.1:0", "127.0.0.1:65535", "127.0.0.1:65536", "127.0.0.1", "127.0.0.256:80", "127.0.0.01:80", "[::1]:80",
    "::1:80", "[::1]", "[1:2:3:4:5:6:7:8]:1", "[1:2:3:4:5:6:7::]:1", "[1::2::3]:1", "[::1.2.3.4]:1", "[1:2:3:4:5:6:1.2.3.4]:1",
    "[1:2:3:4:5:6:7:1.2.3.4]:1", "[12345::]:1", "[::1]", "[fe80::1%eth0]:1", "unix:/x", "unix:x", "unix:", "unix:/" + "x" * 107,
    "localhost:80", "app.example.:80", "app..example:80", "1.2.3:80", "app.1:80", "app.0x1:80", "-app:80", "app-:80",
    "srv:_http._tcp.app", "srv:http._tcp.app", "srv:_http._tcp", "srv:_http._tcp.", "srv:80", "10.0.0.0/8", "10.0.0.0/33", "fd00::/8",
    "fd00::/129", "10.0.0.1", "10.0.0.0/", "normalize", "http", "tcp", "websocket", "ipv4",
]


def every_key():
    """The configuration of tests/unit/config/rich.h."""
    with open(os.path.join(ROOT, "tests/unit/config/rich.h")) as f:
        text = f.read().partition("rich[]")[2].partition(";\n")[0]
    return load_yaml("".join(json.loads(literal) for literal in re.findall(r'"(?:\\.|[^"\\])*"', text)))


def test_each_key_is_in_the_rich_configuration(validator):
    """Or what is below would not look at it."""
    def keys(schema):
        for name, inner in schema.get("properties", {}).items():
            yield name
            yield from keys(inner)
        if "items" in schema:
            yield from keys(schema["items"])

    def used(node):
        for key, value in (node.items() if isinstance(node, dict) else enumerate(node)):
            yield key
            if isinstance(value, (dict, list)):
                yield from used(value)

    missing = set(keys(validator.schema)) - set(used(every_key()))
    assert not missing, missing


BASE = {"version": 1, "listeners": [{"name": "in", "address": "127.0.0.1:1", "routes": [{"upstream": "a"}]}],
        "upstreams": [{"name": "a", "endpoints": ["127.0.0.1:9"]}, {"name": "b", "endpoints": ["127.0.0.1:8"]}]}


def schema_at(schema, path):
    """What the schema says of a key, without its description and the like, and without numbers."""
    for key in path:
        if isinstance(key, str) and "anyOf" in schema:  # a word, or a map
            schema = next(s for s in schema["anyOf"] if "properties" in s)
        schema = schema["items"] if isinstance(key, int) else schema["properties"][key]
    return re.sub(r"\d+", "", json.dumps({k: v for k, v in schema.items()
                                          if k not in ("description", "default") and k[:2] != "x-"}))


def around(document, path):
    """The part of the document that matters for a path (of several routes one), and the path in it."""
    small = {"version": 1, "listeners": BASE["listeners"], "allowLinkLocal": True,
             "upstreams": [{"name": u["name"], "endpoints": u["endpoints"][:1]} for u in document["upstreams"]] +
             [{"name": "a", "endpoints": ["127.0.0.1:9"]}]}
    path = list(path)
    small[path[0]] = document[path[0]]
    if path[0] == "listeners" and len(path) > 1:
        listener = document["listeners"][path[1]]
        path[1] = 0
        if len(path) > 3 and path[2] == "routes":
            listener = {**listener, "routes": [listener["routes"][path[3]]]}
            path[3] = 0
        small["listeners"] = [listener]
    return small, tuple(path)


def test_schema_and_validate_agree(validator, tmp_path):
    """Each key removed, renamed and given values of every kind."""
    document = every_key()
    cases = [("as it is", document)]
    seen, types = set(), set()
    for path in places(document):
        kind = tuple("[]" if isinstance(key, int) else key for key in path)
        if kind in seen:
            continue
        seen.add(kind)
        small, path = around(document, path)
        what = ".".join(map(str, path))
        cases.append((f"{what} removed", changed(small, path, lambda parent, key: parent.pop(key))))
        cases.append((f"{what} renamed", changed(small, path, rename)))
        # All of them for the first key of a type, some for each that is like it.
        schema = schema_at(validator.schema, path)
        values = OTHER_VALUES[::6] if schema in types or '"properties"' in schema else OTHER_VALUES
        types.add(schema)
        for value in values:
            cases.append((f"{what} = {value!r:.60}", changed(small, path, set_to(value))))
    if SANITIZE:
        # Where all keys get all values is the plain build. Each value still comes to some key.
        cases = cases[::7]
    bad, refused = disagreements(validator, tmp_path, cases)
    assert not bad, "\n".join(bad[:40]) + f"\n{len(bad)} of {len(cases)}"
    assert refused > len(cases) / 2


ROUTE = ("listeners", 0, "routes", 0)


@pytest.mark.parametrize("path, value", [
    (("listeners", 0, "protocol"), "tcp"),
    (("listeners", 0, "backends"), [{"upstream": "a"}]),
    (("listeners", 0, "idleTimeout"), "1h"),
    (("listeners", 0), {"name": "in", "address": "127.0.0.1:1"}),
    (("listeners", 0), {"name": "in", "address": "127.0.0.1:1", "protocol": "tcp"}),
    (("listeners", 0), {"name": "in", "address": "127.0.0.1:1", "protocol": "tcp", "http": {}, "backends": [{"upstream": "a"}]}),
    (ROUTE, {}),
    (ROUTE, {"upstream": "a", "backends": [{"upstream": "b"}]}),
    (ROUTE, {"backends": [{"upstream": "a"}, {"upstream": "b", "weight": 1}]}),
    (ROUTE, {"backends": []}),
    (ROUTE, {"redirect": {}}),
    (ROUTE, {"redirect": {"status": 302}}),
    (ROUTE, {"redirect": {"path": "/a", "prefix": "/b"}}),
    (ROUTE, {"redirect": {"prefix": "/b"}}),
    (ROUTE, {"redirect": {"path": "/b"}, "rewrite": {"path": "/c"}}),
    (ROUTE, {"directResponse": {}, "rewrite": {"path": "/c"}}),
    (ROUTE, {"upstream": "a", "rewrite": {"prefix": "/c"}}),
    (ROUTE, {"upstream": "a", "rewrite": {"prefix": "/c"}, "match": {"path": "/d"}}),
    (ROUTE, {"upstream": "a", "match": {"path": "/", "pathPrefix": "/"}}),
    (ROUTE, {"upstream": "a", "match": {"host": "a", "hosts": ["b"]}}),
    (ROUTE, {"upstream": "a", "match": {"headers": [{"name": "a"}]}}),
    (ROUTE, {"upstream": "a", "match": {"headers": [{"name": "a", "exact": "b", "prefix": "c"}]}}),
    (ROUTE, {"upstream": "a", "match": {"headers": [{"name": "a", "present": False}]}}),
    (ROUTE, {"upstream": "a", "match": {"headers": [{"exact": "b"}]}}),
    (("upstreams", 0, "endpoints"), []),
    (("version",), 2),
    (("accessLog",), None),
])
def test_mistakes_are_refused_by_both(validator, tmp_path, path, value):
    document = changed(BASE, path, set_to(value))
    assert problems_of(tmp_path, [json.dumps(document)]) != [[]]
    assert not validator.is_valid(document)


@pytest.mark.parametrize("path, value", [
    (("listeners", 0), {"name": "in", "address": "127.0.0.1:1", "protocol": "tcp", "backends": [{"upstream": "a"}]}),
    (ROUTE, {"backends": [{"upstream": "a", "weight": 1}, {"upstream": "b", "weight": 0}]}),
    (ROUTE, {"backends": [{"upstream": "a"}]}),
    (ROUTE, {"redirect": {"prefix": "/b", "status": "301"}, "match": {"pathPrefix": "/a"}}),
    (ROUTE, {"upstream": "a", "rewrite": {"prefix": "/c"}, "match": {"pathPrefix": "/d"}}),
    (ROUTE, {"upstream": "a", "match": {"headers": [{"name": "a", "exact": 1}]}}),
    (ROUTE, {"directResponse": {"body": 5}}),
    (("listeners", 0, "http"), {"pathPolicy": "normalize", "via": "off", "maxRequestLine": 4096}),
    (("accessLog",), {}),
])
def test_what_is_right_is_taken_by_both(validator, tmp_path, path, value):
    document = changed(BASE, path, set_to(value))
    assert problems_of(tmp_path, [json.dumps(document)]) == [[]]
    assert not list(validator.iter_errors(document))


def test_a_variable_may_stand_for_any_scalar(validator):
    """Whatever its type: an editor cannot know what is in the environment."""
    document = every_key()
    for path in places(document):
        parent = document
        for key in path:
            parent = parent[key]
        if not isinstance(parent, (dict, list)):
            for text in ("${NAME}", "${NAME:-5}"):
                variable = changed(document, path, set_to(text))
                assert validator.is_valid(variable), (path, text)


def test_what_waits_for_a_restart_is_marked(validator):
    properties = validator.schema["properties"]
    assert properties["workers"]["x-reload"] == "restart"
    assert {p["x-reload"] for p in properties["admin"]["properties"].values()} == {"restart"}
    listener = properties["listeners"]["items"]["properties"]
    assert listener["socketMode"]["x-reload"] == "restart"
    assert listener["address"]["x-reload"] == "live"
    timeout = listener["http"]["properties"]["headerTimeout"]
    assert (timeout["x-minimum"], timeout["x-maximum"], timeout["default"]) == ("1ms", "168h", "10s")


# ---- pages ----


def test_reference_is_current():
    with open(os.path.join(ROOT, "docs/guide/reference.md")) as f:
        assert f.read() == sluice("schema", "--reference").stdout, "make docs"


@pytest.mark.parametrize("arguments", [("help", "--man"), ("schema", "--man")])
def test_manual_pages_are_well_formed(tmp_path, arguments):
    page = tmp_path / "page"
    page.write_text(sluice(*arguments).stdout)
    run = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page], capture_output=True,
                         text=True, env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
    assert run.returncode == 0 and not run.stderr, run.stderr


def words_of_man(page):
    """The page as a reader sees its words."""
    return re.sub(r"\\f[BIR]|\\&", "", page).replace("\\-", "-").replace("\\(aq", "'").replace("\\(ga", "`") \
        .replace("\\ ", " ")


def commands():
    return re.findall(r"^  (\S+) +\S", sluice("help").stdout, re.M)


def test_manual_page_says_what_help_says():
    page = words_of_man(sluice("help", "--man").stdout)
    for command in commands():
        text = sluice("help", command).stdout
        assert text == sluice(command, "--help").stdout == sluice(command, "-h").stdout
        section = re.search(rf"^\.SS sluice {command}\n(.*?)(?=^\.S[SH])", page, re.M | re.S)
        assert section, command
        for option in re.findall(r"^  .*(--[a-z-]+)", text, re.M):
            assert option == "--help" or option in section.group(1), (command, option)
    keys = set(re.findall(r"^\| `(\w+)` ", sluice("schema", "--reference").stdout, re.M))
    page = words_of_man(sluice("schema", "--man").stdout)
    assert len(keys) > 60
    assert not [k for k in keys if f"\n{k} (" not in page]


def test_each_option_is_known_and_no_other():
    """An option with an argument wants it, one without refuses one; neither is "no option"."""
    for command in commands():
        text = sluice("help", command).stdout
        options = re.findall(r"^  (?:-(\w), |    )--([a-z-]+)( \S+)?", text, re.M)
        assert ("h", "help", "") in options
        for letter, name, argument in options:
            if name == "help":
                continue
            run = sluice(command, f"--{name}" if argument else f"--{name}=x", check=False)
            assert run.returncode == 2, run
            assert ("needs its" if argument else "takes no argument") in run.stderr, run.stderr
            if letter and argument:
                assert "needs its" in sluice(command, f"-{letter}", check=False).stderr
        for wrong in ("--no-such-option", "-Q"):
            run = sluice(command, wrong, check=False)
            assert run.returncode == 2 and "there is no option" in run.stderr, run
            assert text.splitlines()[0] in run.stderr


def test_completion(tmp_path):
    script = tmp_path / "completion"
    script.write_text(sluice("help", "--bash-completion").stdout)

    def complete(*words):
        run = subprocess.run(["bash", "-c", f"source {script}; COMP_WORDS=({' '.join(repr(w) for w in words)}); "
                              f"COMP_CWORD={len(words) - 1}; _sluice; printf '%s\\n' \"${{COMPREPLY[@]}}\""],
                             capture_output=True, text=True, timeout=30)
        assert run.returncode == 0 and not run.stderr, run
        return run.stdout.split()

    assert complete("sluice", "dr") == ["drain"]
    assert set(complete("sluice", "")) == set(commands())
    assert "--deadline" in complete("sluice", "drain", "--")
    assert complete("sluice", "help", "val") == ["validate"]
