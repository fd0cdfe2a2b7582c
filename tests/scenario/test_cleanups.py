"""Cleanups run at the end of a drain, in their order, each to a result, all by the drain's deadline."""

import json
import os
import signal
import subprocess
import time

import pytest

import tls
from harness import SLUICE, free_port
from releases import Registry, cleanup, configuration, drain_report, lease
from wire import SLOW, SPARE, wait_for


def results(sluice):
    cleanups = drain_report(sluice)["cleanups"]
    return {r["name"]: r["result"] for r in cleanups["runs"]}, cleanups


def order(sc, registry, cleanups, **how):
    sc.proxy(more=configuration(sc.directory, cleanups=cleanups, **how))
    sc.s.stop()
    return [p.strip("/") for p in registry.paths()]


def test_last_in_first_out(sc):
    with Registry() as registry:
        names = [f"c{i}" for i in range(6)]
        sc.proxy(more={**configuration(sc.directory, cleanups=[cleanup(registry, n) for n in names]),
                       "leases": {"concurrency": 1}})
        sc.s.stop()
        assert [p.strip("/") for p in registry.paths()] == names[::-1]
        found, cleanups = results(sc.s)
        assert found == dict.fromkeys(names, "released") and cleanups["released"] == 6
        assert all(c.method == "POST" and c.key and c.headers["content-length"] == "0" for c in registry.calls)
        assert len({c.key for c in registry.calls}) == 6


def test_after(sc):
    """a waits for the end of b and c, whatever it was; b for d."""
    with Registry({"/c": 500, "/d": [503, 204]}) as registry:
        cleanups = [cleanup(registry, "b", after=["d"]), cleanup(registry, "d"), cleanup(registry, "c", retries=1),
                    cleanup(registry, "a", after=["b", "c"])]
        paths = order(sc, registry, cleanups)
        assert paths[-1] == "a" and paths.count("c") == 2 and paths.count("d") == 2
        assert paths.index("b") > max(i for i, p in enumerate(paths) if p == "d")
        assert results(sc.s)[0] == {"a": "released", "b": "released", "c": "failed", "d": "released"}


def test_results(sc):
    answers = {"/ok": 200, "/gone": 404, "/gone2": 410, "/no": 403, "/moved": (302, {"Location": "/elsewhere"}),
               "/later": [(503, {"Retry-After": "1"}), 200], "/busy": [429, 408, 204]}
    with Registry(answers) as registry:
        nobody = free_port()
        cleanups = [cleanup(registry, p.strip("/")) for p in answers]
        cleanups.append({"name": "refused", "retries": 1, "request": {"url": f"http://127.0.0.1:{nobody}/"}})
        order(sc, registry, cleanups)
        found, report = results(sc.s)
        assert found == {"ok": "released", "gone": "already_gone", "gone2": "already_gone", "no": "failed",
                         "moved": "failed", "later": "released", "busy": "released", "refused": "failed"}
        assert (report["released"], report["already_gone"], report["failed"]) == (3, 2, 3)
        runs = {r["name"]: r for r in report["runs"]}
        assert runs["no"]["tries"] == 1 and runs["no"]["status"] == 403
        assert runs["refused"]["tries"] == 2 and "connect" in runs["refused"]["error"].lower()
        assert not registry.of("/elsewhere"), "no redirect is followed"
        first, second = registry.of("/later")
        assert second.at - first.at > 0.9, "Retry-After"
        for path in ("/later", "/busy"):
            assert len({c.key for c in registry.of(path)}) == 1, "one idempotency key for all tries"


def test_one_that_hangs_keeps_none_from_running(sc):
    with Registry({"/hang": "hang"}) as registry:
        cleanups = [cleanup(registry, f"c{i}") for i in range(8)] + [cleanup(registry, "hang", timeout="1h")]
        sc.proxy(more={**configuration(sc.directory, cleanups=cleanups, app="3s"), "leases": {"concurrency": 2}})
        start = time.monotonic()
        sc.s.stop(20 * SLOW)
        assert time.monotonic() - start < 5 + SPARE
        found, report = results(sc.s)
        assert found.pop("hang") == "failed"
        assert found == {f"c{i}": "released" for i in range(8)}


@pytest.mark.parametrize("most", [1, 3])
def test_all_hang_and_each_has_its_turn(sc, most):
    """By the deadline, with as many tries as there was time for."""
    names = [f"h{i}" for i in range(6)]
    with Registry({f"/{n}": "hang" for n in names}) as registry:
        cleanups = [cleanup(registry, n, timeout="1m") for n in names]
        sc.proxy(more={**configuration(sc.directory, cleanups=cleanups, app="4s"), "leases": {"concurrency": most}})
        start = time.monotonic()
        sc.s.stop(20 * SLOW)
        assert time.monotonic() - start < 6 + SPARE
        assert sorted(p.strip("/") for p in set(registry.paths())) == names
        assert results(sc.s)[0] == dict.fromkeys(names, "failed")


def test_over_tls_with_a_private_authority(sc):
    context = tls.server_context(clients=tls.CA)
    pair = tls.client_pair()
    with Registry(context=context) as registry:
        ours = {"caFile": tls.CA.cert, "certFile": pair.cert, "keyFile": pair.key}
        cleanups = [cleanup(registry, "ours", request=ours, retries=0),
                    cleanup(registry, "unknown-ca", request={}, retries=0),
                    cleanup(registry, "no-certificate", request={"caFile": tls.CA.cert}, retries=0)]
        order(sc, registry, cleanups)
        found, report = results(sc.s)
        assert found == {"ours": "released", "unknown-ca": "failed", "no-certificate": "failed"}
        assert [p for p in registry.paths()] == ["/ours"]


def test_commands(sc):
    out = os.path.join(sc.directory, "out")
    cleanups = [{"name": "good", "command": ["/bin/sh", "-c", f"cat; echo good >>{out}"]},
                {"name": "bad", "command": ["/bin/sh", "-c", f"echo bad >>{out}; exit 3"], "retries": 2},
                {"name": "missing", "command": ["/nowhere/at/all"], "retries": 0},
                {"name": "slow", "command": ["/bin/sh", "-c", "sleep 600 & sleep 600"], "timeout": "200ms", "retries": 0}]
    sc.proxy(more=configuration(sc.directory, cleanups=cleanups))
    sc.s.stop()  # and no process is left behind
    found, report = results(sc.s)
    assert found == {"good": "released", "bad": "failed", "missing": "failed", "slow": "failed"}
    with open(out) as f:
        assert sorted(f.read().split()) == ["bad", "bad", "bad", "good"]
    runs = {r["name"]: r for r in report["runs"]}
    assert runs["bad"]["error"] == "exit code 3" and runs["slow"]["error"] == "killed after its timeout"
    assert runs["missing"]["error"] == "cannot be started: No such file or directory"


def test_a_killed_command_leaves_no_zombie(sc):
    """Nobody waits for its end, and yet it is seen."""
    slow = {"name": "slow", "command": ["/bin/sh", "-c", "sleep 600 & sleep 600"], "timeout": "200ms", "retries": 1}
    sc.proxy(more=configuration(sc.directory, cleanups=[slow]))
    assert sc.s.admin("POST", "/v1/drain")[0] == 200
    wait_for(lambda: "release failed" in sc.s.log(), "it was killed")
    wait_for(lambda: not children(sc.s.pid), lambda: f"none is left: {children(sc.s.pid)}")


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            found += f.read().split()
    return found


def test_link_local_addresses_are_not_connected_to(sc):
    cleanups = [{"name": "metadata", "retries": 0, "request": {"url": "http://169.254.169.254/latest"}}]
    sc.proxy(more=configuration(sc.directory, cleanups=cleanups))
    sc.s.stop()
    run, = results(sc.s)[1]["runs"]
    assert run["result"] == "failed" and "link-local" in run["error"]


def test_no_proxy_of_the_environment(sc):
    with Registry() as registry, Registry() as proxy:
        sc.proxy(more=configuration(sc.directory, cleanups=[cleanup(registry, "c")]),
                 env={"http_proxy": proxy.url(), "ALL_PROXY": proxy.url(), "all_proxy": proxy.url()})
        sc.s.stop()
        assert registry.paths() == ["/c"] and not proxy.calls


def test_a_reload_changes_them(sc):
    with Registry() as registry:
        config = configuration(sc.directory, cleanups=[cleanup(registry, "old"), cleanup(registry, "both")])
        sc.proxy(more=config)
        sc.s.config["cleanups"] = [cleanup(registry, "both", path="/both2"), cleanup(registry, "new")]
        with open(sc.s.config_path, "w") as f:
            json.dump(sc.s.config, f)
        assert sc.s.admin("POST", "/v1/reload")[0] == 200
        sc.s.stop()
        assert sorted(registry.paths()) == ["/both2", "/new"]


def test_a_crash_in_the_middle_repeats_with_the_same_key(sc):
    """The serving process is killed while a cleanup hangs: the next one goes on with the drain."""
    with Registry({"/hang": ["hang", 204]}) as registry:
        sc.proxy(more=configuration(sc.directory, cleanups=[cleanup(registry, "hang")], app="20s"))
        pid = sc.s.pid
        sc.s.expect_faults = True
        sc.s.signal(signal.SIGTERM)
        registry.wait("/hang")
        os.kill(pid, signal.SIGKILL)
        assert sc.s.wait_exit(20 * SLOW) == 0
        calls = registry.of("/hang")
        assert len(calls) == 2 and calls[0].key == calls[1].key
        sc.s.ended = True


def test_admin_drain_releases_and_stays(sc):
    with Registry() as registry:
        sc.proxy(more=configuration(sc.directory, cleanups=[cleanup(registry, "c")], app="1s"))
        lease(sc.s, registry, "l")
        sc.s.admin("POST", "/v1/drain")
        wait_for(lambda: json.loads(sc.s.admin("GET", "/v1/drain")[1].body)["phase"] == "exit", "drained")
        assert sorted(registry.paths()) == ["/c", "/l"]
        assert lease(sc.s, registry, "late", expect=503)["code"] == "draining"
        assert "l" not in [x["name"] for x in json.loads(sc.s.admin("GET", "/v1/leases")[1].body)["leases"]]


def test_drain_wait_shows_them(sc):
    with Registry({"/bad": 403}) as registry:
        sc.proxy(more=configuration(sc.directory, cleanups=[cleanup(registry, "good"), cleanup(registry, "bad")], app="1s"))
        run = subprocess.run([SLUICE, "drain", "--wait", "--admin", sc.s.socket_path], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        bad, good = run.stdout.split("CLEANUP ")[1].split("\n")[1:3]
        assert bad.split()[:3] == ["bad", "failed", "1"] and good.split()[:3] == ["good", "released", "1"]


# --- hooks ------------------------------------------------------------------------------------

def test_hooks(sc):
    """onReady until it succeeds, heartbeats, onReady again when the registry has forgotten us, onDrain."""
    with Registry({"/ready": [503, 500, 200], "/beat": [200, 404, 200]}) as registry:
        hooks = [{"name": "registry", "onReady": {"method": "PUT", "url": registry.url("/ready"), "body": "{}"},
                  "heartbeat": {"interval": "100ms", "request": {"url": registry.url("/beat")}},
                  "onDrain": {"method": "DELETE", "url": registry.url("/gone")}}]
        sc.proxy(more=configuration(sc.directory, hooks=hooks))
        assert len(registry.wait("/ready", 3)) >= 3
        registry.wait("/beat", 5)
        assert len(registry.of("/ready")) == 4
        first_beat = registry.of("/beat")[0]
        assert first_beat.at > registry.of("/ready")[2].at
        sc.s.stop()
        assert len(registry.of("/gone")) == 1
        assert registry.paths()[-1] == "/gone"
        assert registry.of("/ready")[0].body == b"{}"


def test_hooks_and_reload(sc):
    with Registry() as registry:
        def hook(name, path="/ready"):
            return {"name": name, "onReady": {"url": registry.url(f"{path}-{name}")},
                    "onDrain": {"url": registry.url(f"/drain-{name}")}}
        sc.proxy(more=configuration(sc.directory, hooks=[hook("same"), hook("changed"), hook("removed")]))
        registry.wait("/ready-removed")
        sc.s.config["hooks"] = [hook("same"), hook("changed", "/again"), hook("new")]
        with open(sc.s.config_path, "w") as f:
            json.dump(sc.s.config, f)
        assert sc.s.admin("POST", "/v1/reload")[0] == 200
        for path in ("/again-changed", "/ready-new", "/drain-removed"):
            registry.wait(path)
        sc.s.stop()
        assert sorted(registry.paths()) == sorted(
            ["/ready-same", "/ready-changed", "/ready-removed", "/again-changed", "/ready-new", "/drain-removed",
             "/drain-same", "/drain-changed", "/drain-new"])
