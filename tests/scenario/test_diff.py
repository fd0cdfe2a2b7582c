"""sluice diff OLD NEW."""

import json
import subprocess

import pytest

from harness import SLUICE

OLD = """\
version: 1
workers: 1
lifecycle: { noticePeriod: 2s, drainTimeout: 20000ms }
accessLog: {}
listeners:
  - name: in
    address: 127.0.0.1:15080
    routes:
      - { name: a, match: { path: /a }, upstream: app }
      - { name: b, match: { path: /b }, upstream: app }
      - { name: c, match: { path: /c }, upstream: app }
upstreams:
  - { name: app, endpoints: ["127.0.0.1:8080", "127.0.0.1:8081"] }
"""

NEW = """\
version: 1
workers: 2
lifecycle: { drainTimeout: 20s }
admin: { tokenFile: "${TOKENS:-/run}/token" }
listeners:
  - name: in
    address: 127.0.0.1:15080
    routes:
      - { name: c, match: { path: /c }, upstream: app }
      - { name: new, match: { path: /new }, timeout: 1s, upstream: app }
      - { name: a, match: { path: /a }, upstream: app }
upstreams:
  - { name: app, endpoints: ["127.0.0.1:8081", "127.0.0.1:8082"] }
"""

TEXT = """\
live:
  - listeners[in].routes[b]
  - upstreams[app].endpoints[127.0.0.1:8080]
  ~ lifecycle.noticePeriod: 2s -> 5s (default)
  ~ listeners[in].routes in another order: a, b, c -> c, new, a
  + listeners[in].routes[new]
      .match.path: /new
      .upstream: app
      .timeout: 1s
  + upstreams[app].endpoints[127.0.0.1:8082]
restart:
  - accessLog
  ~ workers: 1 -> 2
  + admin.tokenFile: ${TOKENS:-/run}/token
"""


@pytest.fixture
def files(tmp_path):
    def write(*texts):
        names = []
        for i, text in enumerate(texts):
            path = tmp_path / f"{i}.yaml"
            path.write_text(text)
            names.append(str(path))
        return names
    return write


def diff(*arguments, env=None):
    return subprocess.run([SLUICE, "diff", *arguments], capture_output=True, text=True, timeout=30, env=env)


def test_text(files):
    run = diff(*files(OLD, NEW), env={"TOKENS": "/a/secret/place"})
    assert run.returncode == 0 and not run.stderr
    text, _, last = run.stdout.rstrip("\n").rpartition("\n")
    assert text + "\n" == TEXT
    assert last.endswith(" unchanged") and int(last.split()[0]) > 50


def test_json(files):
    run = diff("-o", "json", *files(OLD, NEW))
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    live = {c["path"]: c for c in answer["live"]}
    assert live["lifecycle.noticePeriod"] == {
        "path": "lifecycle.noticePeriod", "change": "changed",
        "old": {"value": "2s", "default": False}, "new": {"value": "5s", "default": True}}
    assert live["listeners[in].routes"]["change"] == "reordered"
    assert live["listeners[in].routes[new].timeout"]["in"] == "listeners[in].routes[new]"
    assert [c["path"] for c in answer["restart"]] == ["accessLog", "workers", "admin.tokenFile"]
    assert answer["unchanged"] > 50


def test_exit_codes(files):
    old, new, bad = files(OLD, NEW, OLD.replace("workers", "wrokers"))
    assert diff(old, new).returncode == 0
    assert diff("--exit-code", old, new).returncode == 1
    same = diff("--exit-code", old, old)
    assert same.returncode == 0 and same.stdout.endswith(" unchanged\n") and same.stdout.count("\n") == 1
    run = diff(old, bad)
    assert run.returncode == 1 and f"{bad}:2:1: wrokers: unknown key" in run.stderr and not run.stdout
    assert diff(old).returncode == 2
    assert diff(old, new, bad).returncode == 2
    assert diff(old, "/nowhere").returncode == 1
