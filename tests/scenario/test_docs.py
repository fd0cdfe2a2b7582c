"""What the documents say is what the program has."""

import os
import re
import subprocess

from harness import ROOT, SLUICE, reasons


def read(*path):
    with open(os.path.join(ROOT, *path)) as f:
        return f.read()


def test_reasons_table():
    """docs/guide/reasons.md has each word of sidecar/base/outcome.h once, with its status."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+|-) \| (.+) \| (.+) \|$", read("docs/guide/reasons.md"), re.M)
    words = [word for word, *_ in rows]
    assert len(words) == len(set(words))
    table = {word: status for word, (status, _) in reasons().items() if word != "none"}
    assert set(words) == set(table), set(words) ^ set(table)
    for word, status, meaning, action in rows:
        assert (int(status) if status != "-" else 0) == table[word], word
        assert len(meaning) > 10 and len(action) > 8, word


def test_example_is_valid():
    run = subprocess.run([SLUICE, "validate", "--strict", os.path.join(ROOT, "docs/guide/examples/sluice.yaml")],
                         capture_output=True)
    assert run.returncode == 0, run.stderr.decode()


def test_yaml_in_the_documents_is_valid(tmp_path):
    """Each block that begins with `version: 1`."""
    found = 0
    for name in ["README.md", *(f"docs/guide/{n}" for n in os.listdir(os.path.join(ROOT, "docs/guide"))
                                if n.endswith(".md"))]:
        for block in re.findall(r"^```yaml\n(version: 1\n.*?)^```$", read(name), re.M | re.S):
            path = tmp_path / "block.yaml"
            path.write_text(block)
            run = subprocess.run([SLUICE, "validate", "--strict", "--no-files", str(path)], capture_output=True)
            assert run.returncode == 0, f"{name}: {run.stderr.decode()}\n{block}"
            found += 1
    assert found >= 1


def test_the_configuration_in_the_pod_is_valid(tmp_path):
    """That of docs/guide/kubernetes.md, within the ConfigMap."""
    block = re.search(r"^  sluice\.yaml: \|\n((?:    .*\n)+)", read("docs/guide/kubernetes.md"), re.M).group(1)
    path = tmp_path / "sluice.yaml"
    path.write_text(re.sub("^    ", "", block, flags=re.M))
    run = subprocess.run([SLUICE, "validate", "--strict", str(path)], capture_output=True)
    assert run.returncode == 0, run.stderr.decode()


def test_every_key_is_documented():
    keys = set(re.findall(r'^\s+\{"(\w+)",\s+"', read("sidecar/config/schema.c") +
                          read("sidecar/config/schema_tls.c"), re.M))
    assert len(keys) > 60
    text = read("docs/guide/configuration.md")
    missing = sorted(k for k in keys if not re.search(rf"`(?:\w+\.)*{k}`", text))
    assert not missing, missing


def test_every_tls_key_is_in_its_table():
    """Of clients and of upstreams: the two have keys of the same name."""
    schema, text = read("sidecar/config/schema_tls.c"), read("docs/guide/tls.md")
    for array, section in (("listener_keys", "From clients"), ("upstream_keys", "To upstreams")):
        body = schema.split(f"schema_key {array}[] = {{\n")[1].split("\n};\n")[0]
        keys = re.findall(r'^    \{"(\w+)",', body, re.M)
        table = text.split(f"## {section}\n")[1].split("\n## ")[0]
        first = " ".join(line.split("|")[1] for line in table.split("\n") if line.startswith("| `"))
        assert len(keys) >= 5
        assert sorted(keys) == sorted(re.findall(r"`(\w+)`", first)), section


def test_every_key_of_cleanups_is_documented():
    keys = set(re.findall(r'^\s+\{"(\w+)",\s+"', read("sidecar/config/schema_cleanup.c"), re.M))
    assert len(keys) > 20
    text = read("docs/guide/cleanup.md") + read("docs/guide/configuration.md")
    missing = sorted(k for k in keys if not re.search(rf"`(?:\w+\.)*{k}`", text))
    assert not missing, missing


def test_every_key_of_breakers_is_documented():
    keys = re.findall(r'^\s+\{"(\w+)",\s+"', read("sidecar/config/schema_breaker.c"), re.M)
    assert len(keys) > 10
    table = read("docs/guide/breakers.md") + read("docs/guide/configuration.md")
    assert not [k for k in keys if not re.search(rf"^\| `(?:circuitBreaker\.)?{k}` \|", table, re.M)]


def test_every_key_of_retries_is_documented():
    keys = set(re.findall(r'^\s+\{"(\w+)",\s+"', read("sidecar/config/schema_retry.c"), re.M))
    assert len(keys) >= 10
    text = read("docs/guide/retries.md")
    missing = sorted(k for k in keys if not re.search(rf"`(?:\w+\.)*{k}`", text))
    assert not missing, missing
    on = re.findall(r'X\(\w+, "([\w-]+)"\)', read("policies/retry.h").split("RETRY_VERDICT_TABLE")[0])
    assert len(on) == 11 and not [w for w in on if f"`{w}`" not in text.split("| `on` | what")[1]]


def test_every_metric_of_the_sources_is_documented():
    """Those too that a proxy tells only when it has what they count."""
    names = set()
    for name in os.listdir(os.path.join(ROOT, "sidecar/admin")):
        if name.endswith(".c"):
            names |= set(re.findall(r'(?:metric_family|put_one)\(\s*\w+,\s*"(\w+)"', read(f"sidecar/admin/{name}")))
    assert len(names) > 30
    text = read("docs/guide/operations.md")
    missing = sorted(n for n in names if f"`sluice_{n}`" not in text)
    assert not missing, missing


def test_every_metric_is_documented(sc):
    sc.proxy()
    sc.ask()
    text = read("docs/guide/operations.md")
    missing = sorted(n for n in sc.s.metrics().types if f"`{n}`" not in text)
    assert not missing, missing


def test_links_lead_somewhere():
    for name in ["README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md",
                 *(f"docs/guide/{n}" for n in os.listdir(os.path.join(ROOT, "docs/guide")) if n.endswith(".md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", read(name)):
            if not target.startswith("http"):
                path = os.path.join(ROOT, os.path.dirname(name), target)
                assert os.path.exists(path), f"{name}: {target}"


def test_lint_rules_are_listed():
    """The table in the guide names every rule of sidecar/config/lint.c, and no other."""
    rules = set(re.findall(r'^    \{"([a-z-]+)", \w+\},$', read("sidecar/config/lint.c"), re.M))
    section = read("docs/guide/configuration.md").split("## What can never take effect")[1]
    assert len(rules) > 10
    assert rules == set(re.findall(r"^\| `([a-z-]+)` \|", section.split("\n## ")[0], re.M))
