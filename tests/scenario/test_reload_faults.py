"""Reloads that meet a drain, load, a crash, or no memory; and what waits for a restart."""

import copy
import os
import re
import signal
import threading
import time

import pytest

from harness import SANITIZE, forward, free_port
from reload_rig import Knocker, held, is_refused, live, named, second_listener, weigh, word  # noqa: F401
from test_supervisor import kill_serving
from wire import SLOW, Client, wait_for


# --- what cannot change while it runs ------------------------------------------------------------

def test_pending_restart(live):
    live.start()
    before = copy.deepcopy(live.config)

    def change(config):
        config["workers"] = 2
        config["health"]["address"] = f"127.0.0.1:{free_port()}"
        config["admin"]["socket"] += "2"
        live.route["directResponse"] = {"body": "new"}
        del live.route["upstream"]
    told = live.apply(change)
    assert sorted(told["pending_restart"]) == ["admin.socket", "health.address", "workers"]
    assert live.s.metrics().get("sluice_config_pending_restart") == 3
    assert live.sc.ask().body == b"new"  # the rest is in force
    assert len(live.s.status()["workers"]) == 1
    live.config = before
    told = live.apply()
    assert told["pending_restart"] == []
    assert live.s.metrics().get("sluice_config_pending_restart") == 0


def test_during_a_drain(live):
    go = threading.Event()
    live.start(script=held(go), more={"lifecycle": {"drainTimeout": "8s"}})
    client = live.sc.client().request()
    live.sc.app.wait_requests(1)
    before = live.told()
    live.s.signal(signal.SIGTERM)
    wait_for(lambda: live.s.status()["phase"] != "serving", "it drains")
    live.touch()
    live.write()
    code, told = live.post()
    assert (code, told["code"]) == (409, "draining"), told
    live.s.signal(signal.SIGHUP)
    wait_for(lambda: "refused, a drain runs" in live.s.log(), "SIGHUP is refused")
    assert live.told()["generation"] == before["generation"]
    go.set()
    assert client.response().status == 200
    live.s.stop()


def test_sigterm_amid_reloads(live):
    """Wherever in a reload it comes, it drains, and what was let in is answered."""
    for delay in (0, 0.5, 1, 2, 4, 8, 20, 60):
        live.start(more={"lifecycle": {"drainTimeout": "800ms", "lastCall": "100ms"}})
        second_listener(live)
        live.apply()
        live.config["listeners"].pop()
        live.touch()
        live.write()
        client = live.sc.client()
        assert client.ask().status == 200
        live.s.signal(signal.SIGHUP)
        time.sleep(delay / 1e3)
        live.s.signal(signal.SIGTERM)
        try:
            assert client.ask().status == 200
        except (EOFError, ConnectionError):
            pass  # idle, it may have been closed
        live.s.stop()


def load_while(live, work, workers=4):
    """work() while keep-alive clients ask; every request is answered with 200."""
    stop, wrong, done = threading.Event(), [], [0] * workers

    def run(k):
        client = Client(live.sc.address)
        try:
            while not stop.is_set():
                response = client.ask()
                done[k] += 1
                if response.status != 200:
                    wrong.append(response)
                if response.closes:
                    client.close()
                    client = Client(live.sc.address)
        except (OSError, EOFError) as e:
            wrong.append(e)
        finally:
            client.close()
    threads = [threading.Thread(target=run, args=(k,)) for k in range(workers)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join(20 * SLOW)
    assert not wrong, wrong[:5]
    return sum(done)


@pytest.mark.parametrize("workers,args", [(1, []), (2, []), (2, ["--no-supervisor"])])
def test_reloads_under_load(live, workers, args):
    how = {"args": args} if args else {}
    live.start(script=named("one"), more={"workers": workers}, wait=not args, **how)
    if args:
        live.s.wait_ready()
    other = live.sc.backend(named("two"))
    knocker = Knocker(live.sc.address, 2)

    def work():
        for i in range(20):
            seen = knocker.count["ok"]
            route = live.listener["routes"][-1]
            if i % 4 == 0:
                live.add_upstream("two", other)
                route.pop("upstream", None)
                route["backends"] = [{"upstream": "app", "weight": 1},
                                     {"upstream": "two", "weight": 1 + i}]
            elif i % 4 == 2:
                live.config["upstreams"] = [live.upstream("app")]
                route.pop("backends")
                route["upstream"] = "app"
            elif i % 4 == 3:
                live.listener["routes"].insert(0, {"name": f"r{i}", "match": {"path": f"/{i}"},
                                                   "directResponse": {"body": "x"}})
                del live.listener["routes"][1:-2]
            live.config["lifecycle"]["noticePeriod"] = f"{i}ms"
            live.apply()
            wait_for(lambda: knocker.count["ok"] > seen + 3 or knocker.wrong, "requests go on")
        live.config["lifecycle"]["noticePeriod"] = "0s"
        live.apply()
    assert load_while(live, work) > 100
    knocker.end()
    assert knocker.count["refused"] == 0
    told = live.told()
    assert told["reloads"] == {"applied": 21, "unchanged": 0, "refused": 0}


def test_killed_right_after_a_reload(live):
    """The successor has the newest configuration, and every listener of it."""
    live.start()
    unix = os.path.join(live.sc.directory, "u.sock")
    added = []
    for i in range(4):
        added.append(f"127.0.0.1:{free_port()}")
        live.config["listeners"].append(
            {"name": f"added{i}", "address": added[-1], "routes": [
                {"match": {"pathPrefix": "/"}, "directResponse": {"body": f"word {i}"}}]})
        if i == 1:
            live.config["listeners"].append({"name": "u", "address": "unix:" + unix,
                                             "routes": [forward()]})
        live.apply()
        old = kill_serving(live.s)
        # Nobody is refused, not even while nobody serves.
        for k, address in enumerate(added):
            assert live.sc.client(address).ask().body == f"word {k}".encode()
        wait_for(lambda: live.s.pid != old, "another one serves")
    assert live.sc.client("unix:" + unix).ask().status == 200
    live.config["listeners"] = live.config["listeners"][:1]
    live.apply()
    wait_for(lambda: all(is_refused(a) for a in added), "they are closed")
    wait_for(lambda: not os.path.exists(unix), "the path is unlinked")
    old = kill_serving(live.s)
    assert live.sc.ask().status == 200
    wait_for(lambda: live.s.pid != old, "another one serves")
    assert all(is_refused(a) for a in added)
    live.s.base_fds = None  # of the first process


def test_killed_with_a_bad_file_after_a_reload(live):
    live.start(script=named("one"))
    live.route["directResponse"] = {"body": "new"}
    del live.route["upstream"]
    live.apply()
    with open(live.s.config_path, "w") as f:
        f.write("version: 1\nlisteners: 7\n")
    kill_serving(live.s)
    assert live.sc.ask().body == b"new"
    live.s.wait_ready()
    assert live.told()["source"] == "memory"
    live.s.base_fds = None


# --- no memory -----------------------------------------------------------------------------------

CRASH = re.compile(r"check failed|Sanitizer|runtime error|signal (6|11|4|7|8)\b|Segmentation|Aborted")


def test_allocations_fail_in_a_reload(live):
    """Whichever it is: it is refused and nothing has changed, or it is in force; never a crash."""
    first, results = first_that_is_up(live), []
    for n in range(first, first + 400, 5 if not SANITIZE else 13):
        results.append(reload_with_failure(live, n))
        if results[-3:] == ["untouched"] * 3:
            break  # the reload was over before
    counts = {word: results.count(word) for word in results}
    assert counts.get("refused", 0) > 3 and counts.get("applied", 0) > 0, counts


def start_with_failure(live, n):
    """False: it did not come up."""
    live.start(script=named("one"), env={"SLUICE_FAIL_ALLOC": str(n)}, wait=False)
    live.s.expect_faults = True

    def decided():
        if live.s.process.poll() is not None or "serving process" in live.s.log():
            return "ended"
        try:
            return live.s.get_health("/readyz")[0] == 200 and "ready"
        except (OSError, EOFError):
            return None
    result = wait_for(decided, lambda: f"up or down with allocation {n} failing:\n{live.s.log()}")
    assert not CRASH.search(live.s.log()), f"allocation {n}:\n{live.s.log()}"
    return result == "ready"


def failures(live):
    try:
        return live.s.metrics().get("sluice_allocation_failures_total")
    except (OSError, EOFError, AssertionError):
        return 1  # it was this question's


def throw_away(live):
    live.s.ended = True
    live.s.kill()
    live.sc.app.stop()


def first_that_is_up(live):
    """The number of allocations before anybody asks for a reload, or a few less."""
    low, high = 1, 1 << 12
    while low < high:
        middle = (low + high) // 2
        up = start_with_failure(live, middle) and failures(live) == 0
        throw_away(live)
        low, high = (low, middle) if up else (middle + 1, high)
    return low


def reload_with_failure(live, n):
    if not start_with_failure(live, n):
        throw_away(live)
        return "down"
    s, pid, other = live.s, live.s.pid, live.sc.backend(named("two"))
    address = second_listener(live)
    live.add_upstream("two", other)
    live.route.pop("upstream")
    weigh(live, 0, 1)
    live.write()
    try:
        code, _ = live.post()
    except (OSError, EOFError):
        code = 0  # the answer is lost, not what it was about
    told = wait_for(lambda: asked(live), "it answers")
    assert s.pid == pid and not CRASH.search(s.log()), f"allocation {n}:\n{s.log()}"
    applied = told["generation"] == 2
    assert code in (0, 503, 200 if applied else 422), (n, code, told)
    if failures(live) == 0:
        throw_away(live)
        other.stop()
        return "untouched"
    words = {word(live) for _ in range(4)}
    assert words == {b"two" if applied else b"one"}, f"allocation {n}: {words}\n{s.log()}"
    if not applied:
        assert is_refused(address), f"allocation {n}: a listener is left"
        code, told = live.post()  # with memory back the same file is taken
        assert (code, told.get("result")) == (200, "applied"), (n, told)
        assert word(live) == b"two"
    assert live.sc.client(address).ask().body == b"one"
    live.config["listeners"].pop()
    live.apply()
    live.wait_generations(1)
    s.base_fds = None  # the listener's end is not waited for
    s.settle()
    s.signal(signal.SIGTERM)
    s.check_end(s.wait_exit())
    live.sc.app.stop()
    other.stop()
    return "applied" if applied else "refused"


def asked(live):
    try:
        return live.told()
    except (OSError, EOFError, AssertionError):
        return None
