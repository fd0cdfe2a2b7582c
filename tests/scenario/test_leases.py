"""Leases: held until they are renewed no more, released, or their holder is gone; over restarts too."""

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import threading
import time

import pytest

from harness import SLUICE, free_port
from releases import Registry, cleanup, configuration, drain_report, lease, leases
from wire import SLOW, wait_for

SECRET = "Zq7-secret-4711"


def start(sc, journal=None, leases=None, how=None, **more):
    config = configuration(sc.directory, **more)
    config["leases"].update(leases or {})
    config["leases"]["journal"].update(journal or {})
    return sc.proxy(more=config, **(how or {}))


def sluice_lease(sc, *args, code=0):
    run = subprocess.run([SLUICE, "lease", "--admin", sc.s.socket_path, *args], capture_output=True, text=True)
    assert run.returncode == code, (run.stdout, run.stderr)
    return run.stdout + run.stderr


def held(sc):
    return [x["name"] for x in leases(sc.s)["leases"]]


def wait_gone(sc, name):
    wait_for(lambda: name not in held(sc), lambda: f"{name} is gone: {leases(sc.s)}")


def results(sc):
    metrics = sc.s.metrics()
    return {r: metrics.get("sluice_releases_total", kind="leased", result=r)
            for r in ("released", "already_gone", "failed")}


# --- the life of one --------------------------------------------------------------------------

def test_expires_unless_renewed(sc):
    with Registry() as registry:
        start(sc)
        short = lease(sc.s, registry, "short", ttl="300ms")
        kept = lease(sc.s, registry, "kept", ttl="3s")
        began = time.monotonic()
        assert re.fullmatch("[0-9a-f]{16}", short["id"]) and short["state"] == "held"
        while time.monotonic() - began < 4:
            code, response = sc.s.admin("PUT", f"/v1/leases/{kept['id']}")
            assert code == 200 and json.loads(response.body)["expires_in_ms"] > 0
            time.sleep(0.1)
        registry.wait("/short")
        assert registry.paths() == ["/short"], "what is renewed is not released"
        assert sc.s.admin("POST", f"/v1/leases/{kept['id']}/renew", body=b'{"ttl": "200ms"}')[0] == 200
        registry.wait("/kept")
        wait_gone(sc, "kept")
        assert sc.s.admin("PUT", f"/v1/leases/{kept['id']}")[0] == 404
        assert sc.s.metrics().get("sluice_leases_expired_total") == 2


def test_what_is_sent(sc):
    with Registry() as registry:
        start(sc)
        body = {"session": SECRET, "n": 1}
        one = lease(sc.s, registry, "one", release={"method": "DELETE", "url": registry.url(f"/one/{SECRET}?a=%20b"),
                                                    "headers": {"X-Token": SECRET, "X-Empty": ""}, "body": body})
        two = lease(sc.s, registry, "two", release={"method": "PUT", "url": registry.url("/two"), "body": "text",
                                                    "headers": {"Content-Type": "text/plain"}})
        for x in (one, two):
            assert sc.s.admin("DELETE", f"/v1/leases/{x['id']}")[0] == 200
        first, second = registry.calls
        assert (first.method, first.path) == ("DELETE", f"/one/{SECRET}?a=%20b")
        assert json.loads(first.body) == body and first.headers["content-type"] == "application/json"
        assert first.headers["x-token"] == SECRET and first.headers["x-empty"] == ""
        assert "expect" not in first.headers and re.fullmatch("[0-9a-f]{32}", first.key)
        assert second.body == b"text" and second.headers["content-type"] == "text/plain"
        assert first.key != second.key


def test_released_by_an_operator(sc):
    answers = {"/gone": 404, "/bad": 400, "/slow": [503, 204]}
    with Registry(answers) as registry:
        start(sc)
        for name in ("ok", "gone", "bad", "slow", "forgotten"):
            lease(sc.s, registry, name)
        ids = {x["name"]: x["id"] for x in leases(sc.s)["leases"]}
        assert "released after 1 tries" in sluice_lease(sc, "release", ids["ok"])
        assert "already_gone" in sluice_lease(sc, "release", ids["gone"])
        assert "released after 2 tries" in sluice_lease(sc, "release", ids["slow"])
        assert "release_failed" in sluice_lease(sc, "release", ids["bad"], code=1)
        sluice_lease(sc, "release", "--forget", ids["forgotten"])
        assert "no_lease" in sluice_lease(sc, "release", ids["forgotten"], code=1)
        assert not registry.of("/forgotten")
        left, = leases(sc.s)["leases"]
        assert (left["name"], left["state"], left["failed_runs"], left["status"]) == ("bad", "retrying", 1, 400)
        assert "retrying" in sluice_lease(sc) and "bad" in sluice_lease(sc, "list")
        assert json.loads(sluice_lease(sc, "list", "-o", "json"))["held"] == 1
        assert results(sc) == {"released": 2, "already_gone": 1, "failed": 1}
        registry.answers["/bad"] = 200
        sc.s.stop()  # the drain tries once more
        assert len(registry.of("/bad")) == 2 and len({c.key for c in registry.of("/bad")}) == 1
        assert drain_report(sc.s)["cleanups"]["released"] >= 1


def test_command_line_mistakes(sc):
    start(sc)
    for args in (["nothing"], ["release"], ["release", "xyz"], ["list", "0123456789abcdef"], ["renew", "--ttl", "x", "0" * 16],
                 ["release", "--ttl", "1s", "0" * 16], ["renew", "--forget", "0" * 16]):
        sluice_lease(sc, *args, code=2)
    with Registry() as registry:
        one = lease(sc.s, registry, ttl="1h")
        assert "renewed" in sluice_lease(sc, "renew", one["id"], "--ttl", "2h")
        assert leases(sc.s)["leases"][0]["expires_in_ms"] > 3600_000
        sluice_lease(sc, "release", "--forget", one["id"])


@pytest.mark.parametrize("how, calls, left", [("replace", 1, 1), ("add", 3, 3), ("count", 1, 1)])
def test_duplicates(sc, how, calls, left):
    with Registry() as registry:
        start(sc)
        for i in range(3):
            lease(sc.s, registry, "d", key="same", onDuplicate=how,
                  release={"url": registry.url(f"/d{i}")})
        assert len(held(sc)) == left
        assert leases(sc.s)["leases"][0]["references"] == (3 if how == "count" else 1)
        sc.s.stop()
        # of those that were replaced nothing runs; one that is counted keeps its first release
        assert sorted(registry.paths()) == {"replace": ["/d2"], "add": ["/d0", "/d1", "/d2"], "count": ["/d0"]}[how]
        assert len(registry.calls) == calls


def test_drain_last_in_first_out_with_after(sc):
    with Registry() as registry:
        start(sc, leases={"concurrency": 1}, cleanups=[cleanup(registry, "static")])
        lease(sc.s, registry, "first")
        lease(sc.s, registry, "second")
        lease(sc.s, registry, "third", after=["first"])
        sc.s.stop()
        assert registry.paths() == ["/second", "/first", "/third", "/static"]


def test_names_that_wait_for_each_other_run_all_the_same(sc):
    with Registry() as registry:
        start(sc)
        lease(sc.s, registry, "a", after=["b"])
        lease(sc.s, registry, "b", after=["a"])
        sc.s.stop()
        assert sorted(registry.paths()) == ["/a", "/b"]


def test_page_by_page(sc):
    """Each is told once, also when those at a page's end go while it is read."""
    with Registry() as registry:
        start(sc, cleanups=[cleanup(registry, "static")])
        for i in range(5):
            lease(sc.s, registry, f"l{i}")
        names, after, pages = [], "", 0
        while True:
            code, response = sc.s.admin("GET", f"/v1/leases?limit=2{after}")
            page = json.loads(response.body)
            assert code == 200 and page["held"] == 5 - pages and len(page["leases"]) <= 2
            names += [x["name"] for x in page["leases"]]
            if "next" not in page:
                break
            sluice_lease(sc, "release", "--forget", page["leases"][-1]["id"])
            pages, after = pages + 1, f"&after={page['next']}"
        assert names == ["static", "l0", "l1", "l2", "l3", "l4"] and pages == 2
        for wrong in ("limit=0", "limit=10001", "limit=x", "after=x", "after=-1"):
            code, response = sc.s.admin("GET", f"/v1/leases?{wrong}")
            assert code == 400 and json.loads(response.body)["code"] == "bad_request", wrong


# --- over TCP, bounds and mistakes --------------------------------------------------------------

def test_over_loopback_with_the_token(sc):
    """What an application in the same pod does."""
    token, port = os.path.join(sc.directory, "token"), free_port()
    with open(token, "w") as f:
        f.write("s3cret\n")
    with Registry() as registry:
        start(sc, admin={"address": f"127.0.0.1:{port}", "tokenFile": token})
        body = json.dumps({"name": "tcp", "release": {"url": registry.url("/tcp")}}).encode()
        there = f"127.0.0.1:{port}"
        assert sc.s.http(there, "POST", "/v1/leases", body=body)[0] == 401
        assert sc.s.http(there, "POST", "/v1/leases", body=body, headers=[("Authorization", "Bearer wrong")])[0] == 401
        status, response = sc.s.http(there, "POST", "/v1/leases", body=body,
                                     headers=[("Authorization", "Bearer s3cret")])
        assert status == 201, response
        where = response.get("location")
        assert sc.s.http(there, "GET", where)[0] == 200
        assert sc.s.http(there, "DELETE", where)[0] == 401
        assert sc.s.http(there, "DELETE", where, headers=[("Authorization", "Bearer s3cret")])[0] == 200
        assert registry.paths() == ["/tcp"]


@pytest.mark.parametrize("body, said", [
    ("", "no JSON"), ("[]", "the body is"), ("{", "no JSON: line 1"), ('{"name": "a", "name": "b"}', "no JSON"),
    ('{"nam": "a"}', 'unknown member "nam"'), ("{}", "name: expected"), ('{"name": "a b"}', "name: expected"),
    ('{"name": "a"}', "release: expected"), ('{"name": "a", "release": {}}', "release.url: expected"),
    ('{"name": "a", "release": {"url": "ftp://x"}}', "http://"), ('{"name": "a", "release": {"url": "http://u:p@x/"}}', "without user"),
    ('{"name": "a", "release": {"url": "http://x/a b"}}', "URL characters"),
    ('{"name": "a", "release": {"url": "http://x/\\u0000"}}', "no JSON"),
    ('{"name": "a", "release": {"url": "http://x", "method": "get"}}', "method"),
    ('{"name": "a", "release": {"url": "http://x", "command": ["sh"]}}', 'unknown member "command"'),
    ('{"name": "a", "release": {"url": "http://x", "headers": {"A": "b\\r\\nc: d"}}}', "control characters"),
    ('{"name": "a", "release": {"url": "http://x", "headers": {"Content-Length": "3"}}}', "sluice sets itself"),
    ('{"name": "a", "release": {"url": "http://x", "headers": {"a b": "3"}}}', "release.headers"),
    ('{"name": "a", "release": {"url": "http://x", "body": 3}}', "release.body"),
    ('{"name": "a", "release": {"url": "http://x"}, "ttl": "25h"}', "10ms to 24h"),
    ('{"name": "a", "release": {"url": "http://x"}, "ttl": 30}', "a duration such as"),
    ('{"name": "a", "release": {"url": "http://x"}, "ttl": "0"}', "10ms to 24h"),
    ('{"name": "a", "release": {"url": "http://x"}, "retries": 21}', "from 0 to 20"),
    ('{"name": "a", "release": {"url": "http://x"}, "onDuplicate": "no"}', "replace"),
    ('{"name": "a", "release": {"url": "http://x"}, "after": "b"}', "at most 8 names"),
    ('{"name": "a", "release": {"url": "http://x"}, "key": "%s"}' % ("k" * 5000), "4096 bytes"),
    ('{"name": "a", "release": {"url": "http://x/%s"}}' % ("u" * 9000), "8192"),
    ('{"name": "a", "release": {"url": "http://x", "body": "%s"}}' % ("b" * 33000), "32 KiB"),
])
def test_mistakes_are_told(sc, body, said):
    start(sc)
    status, response = sc.s.admin("POST", "/v1/leases", body=body.encode())
    assert status == 400 and response.get("content-type") == "application/problem+json", response
    answer = json.loads(response.body)
    assert answer["code"] == "bad_lease" and said in answer["detail"], answer
    assert not held(sc)


def test_bounds(sc):
    with Registry() as registry:
        start(sc, leases={"max": 3})
        for i in range(3):
            lease(sc.s, registry, f"l{i}", key=f"k{i}")
        assert lease(sc.s, registry, "more", expect=503)["code"] == "too_many_leases"
        lease(sc.s, registry, "l1", key="k1")  # stands for the one that is there
        assert len(held(sc)) == 3
        # What JSON makes of it is more than a record of the journal holds.
        big = lease(sc.s, registry, "l2", key="k2", release={"url": registry.url(), "body": "\u0001" * 10880}, expect=413)
        assert big["code"] == "lease_too_large" and len(held(sc)) == 3
        assert sc.s.metrics().get("sluice_leases_refused_total") == 1


# --- secrets ----------------------------------------------------------------------------------

def test_nothing_tells_a_secret(sc):
    """Log, state, metrics and errors, while it is held, released and failed; and the journal with a key."""
    key = os.path.join(sc.directory, "key")
    with open(key, "wb") as f:
        f.write(os.urandom(32))
    with Registry({f"/x/{SECRET}": 500}) as registry:
        start(sc, journal={"keyFile": key}, cleanups=[cleanup(registry, "static", path=f"/s?{SECRET}", request={
            "headers": [{"name": "Authorization", "value": "${TOKEN}"}], "body": SECRET})],
            how={"env": {"TOKEN": SECRET}})
        secret = {"url": registry.url(f"/x/{SECRET}?s={SECRET}"), "headers": {"Authorization": SECRET, "Cookie": SECRET},
                  "body": {"session": SECRET}}
        seen = []

        def look():
            for path in ("/v1/leases", "/v1/status", "/v1/config", "/v1/drain", "/metrics"):
                seen.append(sc.s.admin("GET", path)[1].raw.decode() + sc.s.admin("GET", path)[1].body.decode())
            seen.append(sluice_lease(sc, "list"))
        one = lease(sc.s, registry, "device", key=SECRET, release=secret, retries=0)
        seen.append(json.dumps(one))
        look()
        seen.append(sc.s.admin("DELETE", f"/v1/leases/{one['id']}")[1].body.decode())
        refused = {"url": f"http://127.0.0.1:{free_port()}/{SECRET}"}
        lost = lease(sc.s, registry, "lost", key=SECRET, release=refused, retries=0)
        seen.append(sc.s.admin("DELETE", f"/v1/leases/{lost['id']}")[1].body.decode())
        look()
        seen.append(json.dumps(lease(sc.s, registry, "bad", key=SECRET, raw=json.dumps(
            {"name": "x", "key": SECRET, "release": {"url": "http://x", "headers": {"A": SECRET + "\n"}}}), expect=400)))
        with open(f"{sc.directory}/leases.journal", "rb") as f:
            journal = f.read()
        sc.s.stop()
        seen.append(sc.s.log())
        assert any(SECRET in c.path and c.headers["authorization"] == SECRET for c in registry.calls), "it was sent"
        assert not [s for s in seen if SECRET in s]
        assert len(journal) > 200 and SECRET.encode() not in journal and b"device" not in journal


def test_the_same_key_is_known_by_its_hash(sc):
    with Registry() as registry:
        start(sc)
        a, b, c = (lease(sc.s, registry, "d", key=k, onDuplicate="add")["key_hash"] for k in ("x", "x", "y"))
        assert a == b != c


# --- over restarts ----------------------------------------------------------------------------

def crash(sc):
    pid = sc.s.pid
    sc.s.expect_faults = True
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: sc.s.pid != pid, "another serving process")
    sc.s.wait_ready()


def test_held_again_after_a_crash(sc):
    with Registry() as registry:
        start(sc)
        lease(sc.s, registry, "short", ttl="8s")
        lease(sc.s, registry, "long", key="k", ttl="1h", onDuplicate="count")
        lease(sc.s, registry, "long", key="k", ttl="1h", onDuplicate="count")
        before = {x["name"]: x for x in leases(sc.s)["leases"]}
        crash(sc)
        after = wait_for(lambda: {x["name"]: x for x in leases(sc.s)["leases"]}, "they are held again")
        assert after.keys() == before.keys() and not registry.calls
        assert after["long"]["id"] == before["long"]["id"] and after["long"]["references"] == 2
        assert after["short"]["expires_in_ms"] < 8000, "the TTL goes on"
        registry.wait("/short")
        sc.s.stop(20 * SLOW)
        assert sorted(registry.paths()) == ["/long", "/short"]
        sc.s.ended = True


def test_a_release_that_was_under_way_is_repeated_with_its_key(sc):
    with Registry({"/device": ["hang", 204]}) as registry:
        start(sc)
        lease(sc.s, registry, ttl="100ms", timeout="30s")
        registry.wait("/device")
        crash(sc)
        first, second = registry.wait("/device", 2)
        assert first.key == second.key
        wait_gone(sc, "device")
        wait_for(lambda: sc.s.metrics().get("sluice_lease_journal_written_total") >= 1, "that is on disk, too")
        crash(sc)
        assert held(sc) == [] and len(registry.calls) == 2, "what is released does not come back"


def test_in_memory_without_a_journal(sc):
    with Registry() as registry:
        start(sc, journal={"path": "off"})
        lease(sc.s, registry, "one")
        assert leases(sc.s)["journal"] is None
        sc.s.stop()
        assert registry.paths() == ["/one"]


def test_default_journal_is_made_when_it_is_needed(sc):
    with Registry() as registry:
        sc.proxy(more={"lifecycle": {"appCleanup": "3s"}})
        where = sc.s.socket_path.replace(".sock", ".leases")
        assert not os.path.exists(where)
        lease(sc.s, registry, "one")
        assert os.stat(where).st_mode & 0o777 == 0o600
        sc.s.stop()
        assert registry.paths() == ["/one"]


@pytest.mark.parametrize("how, status", [("refuse", 503), ("allow", 201)])
def test_journal_that_cannot_be_opened(sc, how, status):
    with Registry() as registry:
        start(sc, journal={"path": f"{sc.directory}/not/there", "onFailure": how})
        answer = lease(sc.s, registry, "one", expect=status)
        if how == "refuse":
            assert answer["code"] == "journal_failed" and held(sc) == []
        else:
            assert held(sc) == ["one"]
        assert sc.s.metrics().get("sluice_leases_journal_refused_total") == 1
        sc.s.stop()
        assert registry.paths() == ([] if how == "refuse" else ["/one"])


def test_journal_that_another_process_holds(sc):
    """Nobody waits for it: acquisitions are told at once, and what is in it is held when it is free."""
    with Registry() as registry:
        start(sc, leases={"maxTtl": "1h"})
        lease(sc.s, registry, "before")
        pid = sc.s.pid
        path = f"{sc.directory}/leases.journal"
        whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        sc.s.expect_faults = True
        with open(path, "r+b") as f:
            waiter = threading.Thread(target=fcntl.fcntl, args=(f, fcntl.F_OFD_SETLKW, whole))
            waiter.start()  # queued for it before its holder dies: the next process comes too late
            wait_for(lambda: is_waited_for(f), "we are next")
            os.kill(pid, signal.SIGKILL)
            waiter.join()
            wait_for(lambda: sc.s.pid != pid, "another serving process")
            sc.s.wait_ready()
            began = time.monotonic()
            assert lease(sc.s, registry, "during", expect=503)["code"] == "journal_failed"
            assert held(sc) == []
            assert time.monotonic() - began < 4, "of the 5 s that its opening waits"
        wait_for(lambda: held(sc) == ["before"], "it is held again")
        lease(sc.s, registry, "behind")
        sc.s.stop(20 * SLOW)
        assert sorted(registry.paths()) == ["/before", "/behind"]
        sc.s.ended = True


def is_waited_for(f):
    """Whether someone waits for a lock on this file (proc(5), /proc/locks)."""
    inode = f":{os.fstat(f.fileno()).st_ino} "
    with open("/proc/locks", encoding="ascii") as locks:
        return any("->" in line and inode in line for line in locks)


def test_upgrade_hands_them_over(sc):
    """SIGUSR2: the new process holds them, the old one releases nothing; each is released once."""
    with Registry() as registry:
        start(sc)
        lease(sc.s, registry, "one", key="1", ttl="1h")
        pid = sc.s.pid
        sc.s.signal(signal.SIGUSR2)
        wait_for(lambda: pid not in sc.s.children(), "the old process has ended")
        assert held(sc) == ["one"] and not registry.calls
        lease(sc.s, registry, "two")
        sc.s.stop(20 * SLOW)
        assert sorted(registry.paths()) == ["/one", "/two"]


def test_many(sc):
    """A thousand, released within the drain; one sync of the disk serves many at once."""
    with Registry() as registry:
        start(sc, app="60s")

        def take(part):
            for i in range(125):
                lease(sc.s, registry, "m", path=f"/m{part}-{i}", timeout="20s")
        threads = [threading.Thread(target=take, args=(p,)) for p in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        first = leases(sc.s)
        assert first["held"] == 1000 and len(first["leases"]) == 1000 and "next" not in first
        metrics = sc.s.metrics()
        written = metrics.get("sluice_lease_journal_written_total")
        assert written == 1000 and metrics.get("sluice_lease_journal_syncs_total") <= written
        lease(sc.s, registry, "last")
        assert "next" in leases(sc.s)
        assert len(sluice_lease(sc, "list").splitlines()) == 1 + 1001
        listed = json.loads(sluice_lease(sc, "list", "-o", "json"))
        assert len({x["id"] for x in listed["leases"]}) == 1001 and "next" not in listed
        assert sc.s.admin("DELETE", f"/v1/leases/{listed['leases'][-1]['id']}?run=0")[0] == 204
        sc.s.stop(60 * SLOW)
        done = drain_report(sc.s)["cleanups"]
        assert done["released"] + done["failed"] == 1000
        assert done["released"] == len(set(registry.paths())) == 1000, done["failed"]
