"""The application: run as a child, held until everything inbound is drained, and watched."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness import SLUICE, free_port, lines_of, ok_app
from drains import lifecycle, report, wait_phase
from test_supervisor import kill_serving, state
from test_upgrade import install, upgrade
from wire import SPARE, Client, wait_for

APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child_app.py")


class Child:
    """child_app.py behind an inbound listener, and an outbound one that it may use."""

    def __init__(self, sc, *options, by="exec", more=None, wait=True, command=None, **how):
        self.sc = sc
        self.port = free_port()
        self.log_path = os.path.join(sc.directory, "app.log")
        self.outbound = f"127.0.0.1:{free_port()}"
        self.elsewhere = sc.backend()
        options = [o.format(outbound=self.outbound) for o in options]
        self.command = command or [sys.executable, APP, str(self.port), self.log_path, *options]
        self.address = sc.address = f"127.0.0.1:{free_port()}"
        config = {
            "listeners": [
                {"name": "in", "direction": "inbound", "address": self.address,
                 "routes": [{"upstream": "app"}]},
                {"name": "out", "direction": "outbound", "address": self.outbound,
                 "routes": [{"upstream": "elsewhere"}]}],
            "upstreams": [{"name": "app", "endpoints": [f"127.0.0.1:{self.port}"]},
                          {"name": "elsewhere", "endpoints": [self.elsewhere.address]}],
            **(more or lifecycle(appCleanup="4s"))}
        if by == "exec":
            how["args"] = ["--exec", "--", *self.command]
        else:
            config["app"] = {"command": self.command}
        self.s = sc.s = sc.sluice(config, wait=wait, **how)
        if wait:
            wait_for(lambda: self.lines("up"), lambda: "the application is up:\n" + self.s.log())

    def lines(self, word=""):
        return lines_of(self.log_path, word)

    @property
    def pid(self):
        return int(self.lines("up")[-1].split()[1])

    def status(self):
        return self.s.status()["app"]

    def end(self, expected=0):
        """By now something has ended it."""
        self.s.check_end(self.s.wait_exit(), expected)


# --- how it ends ----------------------------------------------------------------------------------

class Load(threading.Thread):
    """Requests, each on a connection of its own or all on as few as it gets."""

    def __init__(self, address, keep_alive):
        super().__init__(daemon=True)
        self.address, self.keep_alive = address, keep_alive
        self.ok, self.failed, self.refused = 0, [], False
        self.start()

    def run(self):
        client = None
        while not self.refused:
            fresh = client is None
            if fresh:
                try:
                    client = Client(self.address)
                except OSError:
                    self.refused = True  # the listener has closed: that is how it ends
                    return
            try:
                response = client.ask()
                if response.status != 200:
                    self.failed.append(response.status)
                self.ok += 1
                if response.closes or not self.keep_alive:
                    client.close()
                    client = None
            except (OSError, EOFError) as e:
                self.failed.append(f"{'new' if fresh else 'kept'} connection: {e!r}")
                client.close()
                client = None


@pytest.mark.alone
@pytest.mark.parametrize("by", ["exec", "config"])
def test_sigterm_comes_behind_the_drain_under_load(sc, by):
    child = Child(sc, "slow=0.7", "egress={outbound}", "code=3", by=by,
                  more=lifecycle(notice="500ms", drain="10s", appCleanup="10s"))
    loads = [Load(child.address, keep_alive=i % 2 == 0) for i in range(6)]
    wait_for(lambda: all(load.ok > 20 for load in loads), "load")
    child.s.signal(signal.SIGTERM)
    child.end()
    for load in loads:
        load.join(20)
        assert load.failed == [], load.failed
    events = child.lines()
    term = events.index("term")
    assert "request" not in events[term:], "inbound was zero before its SIGTERM"
    assert len(child.lines("request")) == sum(load.ok for load in loads)
    asked, failed = [int(n) for n in child.lines("egress")[0].split()[1::2]]
    assert asked > 5 and failed == 0, "its own way out stays open until it has ended"
    found = report(sc)
    assert found["app"]["exit"] == {"code": 3, "signal": None, "by_sigterm": True}
    assert found["budget"]["egress_only_ms"] >= 600
    assert found["remaining_ms"] > 0


@pytest.mark.alone
def test_it_exits_behind_the_application_at_once(sc):
    child = Child(sc, "slow=0.3")
    fd = os.pidfd_open(child.pid)
    child.s.signal(signal.SIGTERM)
    import select
    assert select.select([fd], [], [], 20)[0]
    ended = time.monotonic()
    os.close(fd)
    child.end()
    assert time.monotonic() - ended < 0.1 + SPARE


def test_ignored_sigterm_is_killed_at_the_deadline(sc):
    child = Child(sc, "ignore", more=lifecycle(appCleanup="1s"))
    child.s.expect_faults = True  # the log tells of a signal
    pid = child.pid
    start = time.monotonic()
    child.s.signal(signal.SIGTERM)
    child.end()
    assert child.lines("term") and state(pid) is None
    assert "has not ended by its deadline: killed" in child.s.log()
    found = report(sc)
    assert found["app"]["exit"] == {"code": None, "signal": signal.SIGKILL, "by_sigterm": True}
    assert found["app"]["proof"] == "pidfd" and found["remaining_ms"] > 0, "cleanups have their time"
    # All of the sum but the safety at its end; less is a deadline that was not used.
    assert 0.5 < time.monotonic() - start < 4.5 + SPARE


@pytest.mark.parametrize("code", [0, 7])
def test_its_own_exit_ends_us(sc, code):
    child = Child(sc)
    client = sc.client()
    client.request("GET", f"/exit/{code}")
    child.end(code)
    found = report(sc)
    assert found["trigger"] == "application"
    assert found["app"]["exit"] == {"code": code, "signal": None, "by_sigterm": False}


def test_its_death_ends_us(sc):
    child = Child(sc)
    child.s.expect_faults = True  # the log tells of a signal
    idle = sc.client()
    assert idle.ask().status == 200
    os.kill(child.pid, signal.SIGKILL)
    child.end(128 + signal.SIGKILL)
    assert report(sc)["app"]["exit"]["signal"] == signal.SIGKILL


def test_what_it_answered_before_its_exit_arrives(sc):
    child = Child(sc)
    client = sc.client()
    assert client.ask("GET", "/last").body == b"x" * 1000
    child.end()


@pytest.mark.parametrize("by", ["exec", "config"])
@pytest.mark.parametrize("file, code, why", [
    ("/nowhere/app", 127, "No such file"),
    (os.path.join(os.path.dirname(SLUICE), "libsluice.a"), 126, "Permission denied")])
def test_one_that_cannot_be_executed(sc, by, file, code, why):
    child = Child(sc, by=by, command=[file], wait=False)
    child.end(code)
    assert f"application: cannot execute {file}: {why}" in child.s.log()


def test_second_interrupt_does_not_wait(sc):
    child = Child(sc, "ignore", more=lifecycle(appCleanup="60s"))
    child.s.expect_faults = True  # the log tells of a signal
    child.s.signal(signal.SIGINT)
    wait_for(lambda: child.lines("term"), "its SIGTERM")
    time.sleep(0.15)  # one key press is one interrupt
    start = time.monotonic()
    child.s.signal(signal.SIGINT)
    child.end()
    assert time.monotonic() - start < 10


def test_a_drain_by_an_operator_leaves_it_alone(sc):
    child = Child(sc)
    code, _ = child.s.admin("POST", "/v1/drain")
    assert code == 200
    wait_phase(sc, "exit")
    assert child.lines("term") == [] and child.status()["state"] == "alive"
    child.s.signal(signal.SIGTERM)
    child.end()
    assert child.lines("term") == ["term"] and child.lines("end") == ["end"]
    left = re.search(r"SIGTERM to process \d+, ([\d.]+) s to end", child.s.log())
    assert 0 < float(left[1]) <= 4, "appCleanup is its time"


def test_its_children_end_with_it(sc):
    ready = os.path.join(sc.directory, "ready")
    script = ("trap 'exit 0' TERM; sh -c 'trap \"\" TERM; sleep 1000 & wait' & "
              f"sleep 1000 & echo > {ready}; while :; do wait; done")
    child = Child(sc, command=["sh", "-c", script], wait=False)
    child.s.wait_ready()
    wait_for(lambda: os.path.exists(ready), "it is up")
    child.s.signal(signal.SIGTERM)
    child.end()  # nobody of the session is left


# --- what happens to us meanwhile -----------------------------------------------------------------

def test_it_outlives_the_serving_process(sc):
    child = Child(sc)
    pid = child.pid
    for _ in range(3):
        kill_serving(child.s)
        child.s.wait_ready()
        assert sc.ask().status == 200
        found = wait_for(lambda: (a := child.status())["known_by"] == "child" and a, child.status)
        assert found["pid"] == pid and found["state"] == "alive"
    assert child.lines("up") == [f"up {pid}"] and child.lines("term") == []
    # Its end is noticed all the same.
    sc.client().request("GET", "/exit/5")
    child.end(5)


def test_it_ends_while_nobody_serves(sc):
    child = Child(sc)
    child.s.expect_faults = True
    child.s.signal(signal.SIGSTOP)
    wait_for(lambda: state(child.s.process.pid) == "T", "the supervisor stands still")
    os.kill(child.s.pid, signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    child.s.signal(signal.SIGCONT)
    child.end(128 + signal.SIGKILL)
    assert report(sc)["app"]["state"] == "gone"


def test_the_serving_process_is_killed_while_it_waits_for_it(sc):
    child = Child(sc, "slow=2", "egress={outbound}", more=lifecycle(appCleanup="30s"))
    child.s.expect_faults = True
    child.s.signal(signal.SIGTERM)
    wait_for(lambda: child.lines("term"), "its SIGTERM")
    kill_serving(child.s)
    child.end()
    assert child.lines("term") == ["term"], "once"
    assert child.lines("end") == ["end"], "it had its time"
    found = report(sc)
    assert found["app"]["exit"] == {"code": 0, "signal": None, "by_sigterm": True}
    asked, failed = [int(n) for n in child.lines("egress")[0].split()[1::2]]
    assert asked - failed > 5


def test_upgrade(sc):
    child = Child(sc, program=install(sc))
    pid = child.pid
    upgrade(child.s, wait_gone=False)
    found = wait_for(lambda: (a := child.status())["known_by"] == "child" and a, child.status)
    assert found["pid"] == pid and found["state"] == "alive"
    assert sc.ask().status == 200
    assert child.lines() == [f"up {pid}", "request"]
    wait_for(lambda: len(child.s.children()) == 2, "the old serving process has ended")
    # The new supervisor is its parent, and knows how it ended.
    sc.client().request("GET", "/exit/6")
    child.end(6)


def test_an_upgrade_is_ended_like_any_other(sc):
    child = Child(sc, "slow=0.2", program=install(sc))
    upgrade(child.s)
    child.s.signal(signal.SIGTERM)
    child.end()
    assert child.lines("term") == ["term"] and child.lines("end") == ["end"]


def test_another_command_waits_for_a_restart(sc):
    child = Child(sc, by="config")
    pid = child.pid
    config = dict(child.s.config, app={"command": ["/bin/true"]})
    with open(child.s.config_path, "w") as f:
        json.dump(config, f)
    child.s.admin("POST", "/v1/reload")
    assert child.s.status()["config"]["pending_restart"] == ["app.command"]
    assert child.lines() == [f"up {pid}"]
    child.s.signal(signal.SIGTERM)
    child.end()


def test_it_needs_the_supervisor(sc):
    done = subprocess.run([SLUICE, "proxy", "-c", "x", "--no-supervisor", "--exec", "--", "true"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "--exec needs the supervisor" in done.stderr
    done = subprocess.run([SLUICE, "proxy", "-c", "x", "--exec"], capture_output=True, text=True)
    assert done.returncode == 2 and "needs a command" in done.stderr
    done = subprocess.run([SLUICE, "proxy", "-c", "x", "cmd"], capture_output=True, text=True)
    assert done.returncode == 2 and 'unexpected argument "cmd"' in done.stderr


# --- one that is not our child --------------------------------------------------------------------

def watched(sc):
    """sc.app is behind an inbound listener; returns the address of an outbound one."""
    outbound = f"127.0.0.1:{free_port()}"
    sc.address = f"127.0.0.1:{free_port()}"
    sc.app = sc.backend()
    sc.s = sc.sluice({
        "app": {"deathGrace": "500ms"},
        "listeners": [{"name": "in", "direction": "inbound", "address": sc.address,
                       "routes": [{"upstream": "app"}]},
                      {"name": "out", "direction": "outbound", "address": outbound,
                       "routes": [{"upstream": "elsewhere"}]}],
        "upstreams": [{"name": "app", "endpoints": [sc.app.address]},
                      {"name": "elsewhere", "endpoints": [sc.backend().address]}]})
    return outbound


def app_state(sc):
    return sc.s.status()["app"]["state"]


def wait_state(sc, wanted):
    wait_for(lambda: app_state(sc) == wanted, lambda: f"{wanted}: {sc.s.status()['app']}")


def ends(sc, proof):
    return sc.s.metrics().get("sluice_app_ends_total", proof=proof)


def test_closed_listener_with_a_live_outbound_connection(sc):
    outbound = watched(sc)
    wait_state(sc, "alive")
    found = sc.s.status()["app"]
    assert found["known_by"] == "ports" and found["ports"] == [sc.app.address]
    assert sc.s.metrics().get("sluice_app_state", state="alive") == 1
    holder = sc.client(outbound)
    assert holder.ask().status == 200
    sc.app.stop_listening()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        assert app_state(sc) == "alive", "it works on by its own way out"
        time.sleep(0.05)
    assert ends(sc, "ports") == 0
    # The connection goes, too.
    holder.close()
    start = time.monotonic()
    wait_state(sc, "gone")
    assert 0.4 < time.monotonic() - start < 2 + SPARE
    assert ends(sc, "ports") == 1 and sc.s.status()["app"]["proof"] == "ports"
    # Its container has been started again.
    sc.backend(address=sc.app.address)
    wait_state(sc, "alive")
    assert ends(sc, "ports") == 1


def test_looks_do_not_disturb_it(sc):
    watched(sc)
    wait_state(sc, "alive")
    time.sleep(1.5)
    assert sc.app.conns == [], "nobody has connected"


def test_our_restart_proves_nothing(sc):
    outbound = watched(sc)
    wait_state(sc, "alive")
    sc.app.stop_listening()  # it lives on by a connection that our death breaks
    holder = sc.client(outbound)
    assert holder.ask().status == 200
    wait_for(lambda: sc.s.status()["app"]["connections"] >= 1, "its connection is seen")
    kill_serving(sc.s)
    sc.s.wait_ready()
    # Longer than the grace: it has not been seen by the new process.
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert app_state(sc) == "doubtful"
        time.sleep(0.05)
    again = sc.client(outbound)
    assert again.ask().status == 200
    wait_state(sc, "alive")
    again.close()
    wait_state(sc, "gone")
    assert ends(sc, "ports") == 1


def test_a_process_by_its_name(sc):
    name = f"app{os.getpid() % 100000}"
    program = os.path.join(sc.directory, name)
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "1000"])
    try:
        sc.proxy(more={"app": {"process": name}})
        wait_state(sc, "alive")
        found = sc.s.status()["app"]
        assert found["known_by"] == "process" and found["pid"] == process.pid
        # Its port says nothing, as long as it is there.
        sc.app.stop_listening()
        time.sleep(1.5)
        assert app_state(sc) == "alive"
        process.kill()
        start = time.monotonic()
        process.wait()
        wait_state(sc, "gone")
        assert time.monotonic() - start < 1 + SPARE
        assert ends(sc, "pidfd") == 1
    finally:
        process.kill()
        process.wait()


def test_the_ports_follow_a_reload(sc):
    sc.proxy()
    wait_state(sc, "alive")
    other = sc.backend()
    config = dict(sc.s.config, app={"ports": [other.port]})
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    sc.s.admin("POST", "/v1/reload")
    assert sc.s.status()["app"]["ports"] == [f"127.0.0.1:{other.port}", f"[::1]:{other.port}"]
    wait_state(sc, "alive")
    other.stop_listening()
    wait_state(sc, "gone")


def test_nothing_is_known(sc):
    path = os.path.join(sc.directory, "x.sock")
    sc.proxy(backend=sc.backend(script=ok_app, address="[::1]:0"))
    wait_state(sc, "alive")
    with open(sc.s.config_path, "w") as f:
        config = dict(sc.s.config)
        config["upstreams"] = [{"name": "app", "endpoints": ["192.0.2.1:80"]}]
        json.dump(config, f)
    sc.s.admin("POST", "/v1/reload")
    wait_state(sc, "unknown")
    assert not os.path.exists(path)
