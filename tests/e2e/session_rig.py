"""What the session kills are made of: a device that keeps sessions locked, one that holds such a
session and is killed, and the sluice between them."""

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "scenario"), os.path.join(TESTS, "soak")]

from harness import SLUICE, Sluice, deep_update, forward  # noqa: E402
from wire import free_port, wait_for  # noqa: E402

PATIENCE = 60
MEMORY = 48 << 20  # what a holder may use that is to run out of it


def ask(address, method, path, timeout=10):
    """(status, body); OSError when there is no answer."""
    conn = http.client.HTTPConnection(address, timeout=timeout)
    try:
        conn.request(method, path, headers={"Connection": "close"})
        response = conn.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as e:
        raise ConnectionError(repr(e)) from e
    finally:
        conn.close()


class Device:
    """16 may log in, and a session stays locked until its logout."""

    def __init__(self, sessions=16, login_ms=0):
        self.address = f"127.0.0.1:{free_port()}"
        self.login_us = login_ms * 1000
        self.process = subprocess.Popen(
            [SLUICE, "demo-app", "--listen", self.address, "--sessions", str(sessions),
             "--login-ms", str(login_ms)], stdin=subprocess.DEVNULL)
        wait_for(self.is_there, "the device listens")

    def is_there(self):
        try:
            return ask(self.address, "GET", "/sessions")[0] == 200
        except OSError:
            return False

    def all(self):
        return json.loads(ask(self.address, "GET", "/sessions")[1])

    def one(self, session):
        return json.loads(ask(self.address, "GET", f"/sessions?session={session}")[1])

    def is_held(self, session):
        return self.one(session)["state"] == "held"

    def logout(self, session):
        return ask(self.address, "POST", f"/logout?session={session}")[0]

    def released_after(self, session, since, bound):
        """Seconds from `since` until it was released; None: not in time and five times that."""
        end = time.monotonic() + 5 * bound + 5
        while time.monotonic() < end:
            one = self.one(session)
            if one["state"] == "released":
                return one["logoutUs"] / 1e6 - since
            time.sleep(0.01)
        return None

    def stop(self):
        self.process.kill()
        self.process.wait()


# --- running out of memory --------------------------------------------------------------------

class Cgroup:
    """One with little memory, where somebody lets us make one."""

    def __init__(self):
        self.path, self.why = None, "no memory cgroup can be written here"
        for parent, limits in (("/sys/fs/cgroup/memory", {"memory.limit_in_bytes": MEMORY}),
                               (self.own_v2(), {"memory.max": MEMORY, "memory.swap.max": 0})):
            if not parent or not os.path.isdir(parent):
                continue
            try:
                path = tempfile.mkdtemp(prefix="sluice-kills-", dir=parent)
            except OSError as e:
                self.why = f"{parent}: {e.strerror}"
                continue
            try:
                for name, value in limits.items():
                    if name != "memory.swap.max" or os.path.exists(os.path.join(path, name)):
                        with open(os.path.join(path, name), "w") as f:
                            f.write(str(value))
                self.path = path
                return
            except OSError as e:
                self.why = f"{path}: {e.strerror}"
                os.rmdir(path)

    @staticmethod
    def own_v2():
        """Below the root where that has the memory controller for its children."""
        try:
            with open("/sys/fs/cgroup/cgroup.subtree_control") as f:
                return "/sys/fs/cgroup" if "memory" in f.read() else None
        except OSError:
            return None

    def add(self, pid):
        with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
            f.write(str(pid))

    def remove(self):
        if self.path:
            wait_for(self._rmdir, "the cgroup is empty")

    def _rmdir(self):
        try:
            os.rmdir(self.path)
            return True
        except OSError:
            return False


# --- the holder -------------------------------------------------------------------------------

class Holder:
    """Logs in through sluice, holds the session, serves; knows nothing of giving it back."""

    def __init__(self, lane, use_ms=0, wait=True):
        self.address = lane.app
        self.process = subprocess.Popen(
            [lane.holder_program, "demo-app", "--listen", lane.app, "--login", lane.out,
             "--use-ms", str(use_ms)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.session = self._session() if wait else None

    def _session(self):
        ready = select.select([self.process.stdout], [], [], PATIENCE)[0]
        words = self.process.stdout.readline().split() if ready else []
        if len(words) != 2:
            raise AssertionError(f"the holder did not log in: {self.process.poll()}")
        return words[1].decode()

    def end(self, how, cgroup=None):
        """The monotonic time of its end, or of the moment before."""
        when = end_process(self.pid, self.address, how, cgroup)
        self.process.wait()
        self.process.stdout.close()
        return when

    def unlisten(self):
        assert ask(self.address, "GET", "/unlisten")[0] == 200


def end_process(pid, address, how, cgroup=None):
    fd = os.pidfd_open(pid)
    try:
        if how == "oom":
            cgroup.add(pid)
        when = time.monotonic()
        if how == "kill":
            os.kill(pid, signal.SIGKILL)
        else:
            try:
                ask(address, "GET", {"exit": "/exit?code=3", "abort": "/abort",
                                     "oom": "/oom"}[how], timeout=PATIENCE)
            except OSError:
                pass  # it is gone, as it was asked to be
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(PATIENCE * 1000):
            raise AssertionError(f"the application did not end by {how}")
        # It takes a while until all memory is used up.
        return time.monotonic() if how == "oom" else when
    finally:
        os.close(fd)


# --- one of each, and the sluice between them -------------------------------------------------

RULE = {"name": "device", "acquire": {"path": "/login"},
        "take": [{"name": "session", "json": "$.session"}],
        "hold": {"path": "/logout?session={session}", "timeout": "1s"}}


class Lane:
    """A device, a sluice, and where an application comes and goes."""

    def __init__(self, number, proof, login_ms=0, grace="1s", sessions=16, key=False):
        self.proof = proof
        self.directory = tempfile.mkdtemp(prefix="sluice-")
        self.app = f"127.0.0.1:{free_port()}"
        self.inbound = f"127.0.0.1:{free_port()}"
        self.out = f"127.0.0.1:{free_port()}"
        self.device = Device(sessions, login_ms)
        # By that name it is known in this PID namespace.
        self.holder_program = os.path.join(self.directory, f"holder-{os.getpid() % 100000}-{number}")
        os.symlink(SLUICE, self.holder_program)
        app = {"deathGrace": grace}
        if proof == "process":
            app["process"] = os.path.basename(self.holder_program)[:15]
        elif proof == "ports":
            app["ports"] = [int(self.app.rpartition(":")[2])]
        journal = {"path": os.path.join(self.directory, "journal")}
        if key:
            journal["keyFile"] = os.path.join(self.directory, "key")
            with open(journal["keyFile"], "wb", opener=private) as f:
                f.write(os.urandom(32))
        self.config = {
            "lifecycle": {"noticePeriod": "0s", "drainTimeout": "2s", "lastCall": "200ms",
                          "appCleanup": "2s"},
            "app": app,
            "leases": {"journal": journal},
            "listeners": [
                {"name": "in", "direction": "inbound", "address": self.inbound,
                 "routes": [forward("app")]},
                {"name": "out", "direction": "outbound", "address": self.out,
                 "routes": [{**forward("device"), "learn": [RULE]}]}],
            "upstreams": [{"name": "app", "endpoints": [self.app]},
                          {"name": "device", "endpoints": [self.device.address]}]}
        self.sluice = None

    def start(self, exec_app=False, more=None):
        args = ["--exec", "--", self.holder_program, "demo-app", "--listen", self.app, "--login",
                self.out] if exec_app else []
        # A log of its own each time: what was read from it stays.
        log = os.path.join(self.directory, "sluice.log")
        if os.path.exists(log):
            os.replace(log, log + ".before")
        self.sluice = Sluice(self.directory, deep_update(dict(self.config), more or {}), args=args)
        self.sluice.expect_faults = True
        return self.sluice

    def child_application(self):
        """Pid of the application that the supervisor has started; None: not yet."""
        for pid in self.sluice.children():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if b"demo-app" in f.read().split(b"\0"):
                        return pid
            except OSError:
                pass
        return None

    def held(self):
        """How much sluice knows to be held; None while it does not answer."""
        try:
            status, response = self.sluice.admin("GET", "/v1/leases")
            return json.loads(response.body)["held"] if status == 200 else None
        except (OSError, EOFError):
            return None

    def only_session(self):
        sessions = self.device.all()["sessions"]
        return sessions[0] if len(sessions) == 1 else None

    def take_down(self):
        if self.sluice and self.sluice.process.poll() is None:
            self.sluice.kill()
        self.device.stop()


def private(path, flags):
    return os.open(path, flags, 0o600)


def has_ended(pid):
    """With all its threads: a first thread that is a zombie says nothing of sockets that others hold."""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat") as f:
                if f.read().rpartition(")")[2].split()[0] not in "ZX":
                    return False
    except OSError:
        pass
    return True


def kill_whole(sluice):
    """Supervisor and serving process, both at once as far as that can be had; both have ended."""
    pids = [sluice.process.pid, *sluice.children()]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            pass
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    sluice.process.wait()
    wait_for(lambda: all(map(has_ended, pids)), "both have ended, and their ports are free")
    sluice.log_file.close()
