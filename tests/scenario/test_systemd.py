"""The service manager's two protocols, spoken with a manager made of a socket; and the unit files.
systemd itself does not run here."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import ROOT, SLUICE
from test_supervisor import kill_serving
from test_upgrade import install, upgrade
from wire import SLOW, wait_for

UNIT = os.path.join(ROOT, "packaging/systemd/sluice.service")
SOCKET_UNIT = os.path.join(ROOT, "packaging/systemd/sluice.socket")


class Manager:
    """Every message that came, with its time; in the order of their sending."""

    def __init__(self, sc, abstract=False):
        self.path = f"@sluice-test-{os.getpid()}-{id(self)}" if abstract else sc.directory + "/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.path[1:] if abstract else self.path)
        self.messages = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            text = self.socket.recv(4096).decode()
            if text == "end":
                return
            assert text.endswith("\n"), text
            for line in text[:-1].split("\n"):
                self.messages.append((time.monotonic(), *line.split("=", 1)))

    def all(self, name):
        return [value for _, n, value in list(self.messages) if n == name]

    def times(self, name):
        return [at for at, n, _ in list(self.messages) if n == name]

    def names(self, without=("STATUS", "WATCHDOG")):
        return [n for _, n, _ in list(self.messages) if n not in without]

    def wait(self, name, n=1, timeout=20):
        wait_for(lambda: len(self.all(name)) >= n, lambda: f"{n} {name}: {self.messages}", timeout)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"end", self.socket.getsockname())
        self.thread.join(5)
        self.socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(sc, request):
    m = Manager(sc, request.param == "abstract")
    yield m
    m.close()


@pytest.fixture
def by_path(sc):
    m = Manager(sc)
    yield m
    m.close()


def start(sc, m, watchdog=None, **how):
    env = {"NOTIFY_SOCKET": m.path}
    if watchdog:
        env["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
    return sc.proxy(env={**env, **how.pop("env", {})}, **how)


def test_start_and_stop(sc, manager):
    s = start(sc, manager)
    manager.wait("READY")
    manager.wait("STATUS")
    assert manager.messages[0][1:] == ("READY", "1")
    assert re.fullmatch(r"serving: \d+ connections, \d+ requests in flight, [\d,]+ req/s, "
                        r"generation 1", manager.all("STATUS")[0])
    s.stop()
    assert manager.names()[:2] == ["READY", "STOPPING"]
    assert manager.all("STOPPING") == ["1"], "once"
    assert manager.all("READY") == ["1"]
    assert not manager.all("WATCHDOG"), "nobody asked for it"


def test_the_serving_process_has_no_manager(sc, by_path):
    """Only the supervisor speaks to it: NotifyAccess=main is enough."""
    s = start(sc, by_path, watchdog=30)
    with open(f"/proc/{s.pid}/environ", "rb") as f:
        names = {v.partition(b"=")[0] for v in f.read().split(b"\0")}
    assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"}, names
    assert b"SLUICE_MANAGER" in names


def test_a_death_and_a_restart(sc, by_path):
    s = start(sc, by_path)
    kill_serving(s)
    by_path.wait("READY", 2)
    assert by_path.names() == ["READY", "READY"]


def test_live_counts(sc, by_path):
    def stuck(conn):
        conn.request()
        conn.read_to_end()
    s = start(sc, by_path, script=stuck, more={"lifecycle": {"drainTimeout": "4s"}})
    clients = [sc.client().request() for _ in range(3)]
    sc.app.wait_requests(3)
    wait_for(lambda: any(t.startswith("serving: 3 connections, 3 requests in flight")
                         for t in by_path.all("STATUS")), lambda: by_path.messages, 15)
    s.signal(signal.SIGTERM)
    code = s.wait_exit()
    s.check_end(code)
    told = [t for t in by_path.all("STATUS") if t.startswith("draining (")]
    phases = [re.match(r"draining \((\w+)\)", t).group(1) for t in told]
    assert phases[0] == "drain" and "last_call" in phases, told
    left = [float(re.search(r"([\d.]+) s left", t).group(1)) for t in told if "drain)" in t]
    assert left == sorted(left, reverse=True) and len(left) >= 3, told
    for client in clients:
        client.close()


def test_time_is_asked_for_while_it_drains(sc, by_path):
    """Each request for time comes before the one before it has run out, to the end."""
    def stuck(conn):
        conn.request()
        conn.read_to_end()
    s = start(sc, by_path, script=stuck, more={"lifecycle": {"drainTimeout": "7s"}})
    client = sc.client().request()
    sc.app.wait_requests(1)
    s.signal(signal.SIGTERM)
    s.check_end(s.wait_exit(20))
    ended = time.monotonic()
    by_path.wait("EXTEND_TIMEOUT_USEC", 3)
    assert by_path.names()[:3] == ["READY", "STOPPING", "EXTEND_TIMEOUT_USEC"]
    times, values = by_path.times("EXTEND_TIMEOUT_USEC"), by_path.all("EXTEND_TIMEOUT_USEC")
    for at, value, next_at in zip(times, values, times[1:] + [ended]):
        assert next_at - at < int(value) / 1e6, (times, values)
    client.close()


def test_no_time_is_asked_for_over_the_deadline(sc, by_path):
    """A process that is stuck in its drain is the manager's to kill."""
    s = start(sc, by_path, more={"lifecycle": {"drainTimeout": "2s"}})
    s.expect_faults = True
    client = sc.client()
    client.send("GET / HTTP/1.1\r\n")
    s.signal(signal.SIGTERM)
    by_path.wait("EXTEND_TIMEOUT_USEC")
    os.kill(s.pid, signal.SIGSTOP)
    time.sleep(5)  # nothing is to come
    last = by_path.times("EXTEND_TIMEOUT_USEC")[-1]
    assert last - by_path.times("STOPPING")[0] < 4
    assert s.process.poll() is None
    client.close()
    s.kill()
    s.ended = True


def expect_beats(m, every):
    """In time, on the whole: a busy machine makes one late, and the next is not later for it."""
    times = m.times("WATCHDOG")
    assert times[-1] - times[0] < every * (len(times) - 1), times


def test_watchdog(sc, by_path):
    """Beats while all loops turn; none while the serving process stands still; again behind it."""
    every = 0.4 * SLOW
    s = start(sc, by_path, watchdog=every, more={"workers": 2})
    by_path.wait("WATCHDOG", 10)
    expect_beats(by_path, every)
    os.kill(s.pid, signal.SIGSTOP)
    time.sleep(every + 0.5)  # what was on its way
    before = len(by_path.all("WATCHDOG"))
    time.sleep(every * 2)
    assert len(by_path.all("WATCHDOG")) == before
    os.kill(s.pid, signal.SIGCONT)
    by_path.wait("WATCHDOG", before + 3)


def test_watchdog_one_worker_is_stuck(sc, by_path):
    """The control thread turns on, and yet there is no beat."""
    every = 0.4 * SLOW
    s = start(sc, by_path, watchdog=every, more={"workers": 2})
    by_path.wait("WATCHDOG", 3)
    release = s.stop_thread("worker-1")
    try:
        time.sleep(every + 0.5)  # what was on its way
        before = len(by_path.all("WATCHDOG"))
        time.sleep(every * 2)
        assert len(by_path.all("WATCHDOG")) == before
        assert s.get_health("/livez")[0] in (200, 503), "the control thread answers"
    finally:
        release()
    by_path.wait("WATCHDOG", before + 3)


def test_watchdog_of_another_process(sc, by_path):
    s = start(sc, by_path, watchdog=0.2, env={"WATCHDOG_PID": "1"})
    assert s.status()["phase"] == "serving"
    time.sleep(0.5)
    assert not by_path.all("WATCHDOG")


def test_upgrade(sc, by_path):
    """The manager is the same, the beats go on, nothing is stopped."""
    every = 0.8 * SLOW
    s = start(sc, by_path, watchdog=every, program=install(sc))
    by_path.wait("WATCHDOG", 2)
    for _ in range(3):
        upgrade(s, wait_gone=True)
        by_path.wait("WATCHDOG", len(by_path.all("WATCHDOG")) + 2)
    expect_beats(by_path, every)
    assert set(by_path.names()) == {"READY"}
    s.stop()
    assert by_path.all("STOPPING") == ["1"]


def test_nobody_reads(sc):
    """A manager whose socket is full, or gone, holds nobody up."""
    m = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    m.bind(sc.directory + "/full")
    s = sc.proxy(env={"NOTIFY_SOCKET": sc.directory + "/full", "WATCHDOG_USEC": "8000"})
    time.sleep(0.5)  # 250 beats
    assert sc.ask().status == 200
    m.close()
    assert sc.ask().status == 200
    s.stop()


# --- socket activation --------------------------------------------------------------------------

ACTIVATE = """import os, sys
names, fds = sys.argv[1], [int(n) for n in sys.argv[2].split(",")]
high = [os.dup(fd) for fd in fds]
high = [__import__("fcntl").fcntl(fd, 0, 50) for fd in high]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.mark.parametrize("names", ["", "http:http", "sluice.socket:sluice.socket",
                                   "configuration:configuration"])
def test_socket_activation(sc, names, monkeypatch):
    """Two sockets, TCP and Unix, with names and without; over a death and an upgrade, too; and the
    manager's path is left to the manager."""
    tcp, unix = socket.socket(), socket.socket(socket.AF_UNIX)
    tcp.bind(("127.0.0.1", 0))
    unix.bind(sc.directory + "/front.sock")
    inodes = []
    for sock in (tcp, unix):
        sock.listen(16)
        sock.set_inheritable(True)
        inodes.append(os.fstat(sock.fileno()).st_ino)
    addresses = ["127.0.0.1:%d" % tcp.getsockname()[1], f"unix:{sc.directory}/front.sock"]
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen",
                        lambda *a, **k: popen(*a, **{**k, "close_fds": False}))
    from harness import forward
    s = sc.proxy(program=install(sc), more={"listeners": [
        {"name": f"l{i}", "address": a, "routes": [forward()]} for i, a in enumerate(addresses)]},
        wrap=["python3", "-c", ACTIVATE, names, f"{tcp.fileno()},{unix.fileno()}"])
    monkeypatch.undo()
    tcp.close()
    unix.close()
    s.expect_faults = True

    def check():
        held = {os.readlink(f"/proc/{s.process.pid}/fd/{fd}")
                for fd in os.listdir(f"/proc/{s.process.pid}/fd")}
        assert {f"socket:[{i}]" for i in inodes} <= held
        for sc.address in addresses:
            assert sc.ask().status == 200
    check()
    kill_serving(s)
    s.wait_ready()
    check()
    upgrade(s, wait_gone=True)
    check()
    s.stop()
    assert os.path.exists(sc.directory + "/front.sock")


# --- the journal -------------------------------------------------------------------------------

def test_not_the_journal(sc):
    """JOURNAL_STREAM of somebody else, inherited: stderr is what it is."""
    s = sc.proxy(env={"JOURNAL_STREAM": "8:1234"})
    assert re.search(r"^\S+Z info  sluice \S+ serves", s.log(), re.M)


def test_stderr_has_priorities_without_journald(sc):
    """It matches, and nobody is behind the journal's socket."""
    if os.path.exists("/run/systemd/journal/socket"):
        pytest.skip("journald runs here, and would get the lines")
    s = sc.proxy(wrap=["python3", "-c", "import os, sys\nst = os.fstat(2)\nos.environ['JOURNAL_STREAM'] "
                       "= f'{st.st_dev}:{st.st_ino}'\nos.execv(sys.argv[1], sys.argv[1:])"])
    s.stop()
    assert re.search(r"^<6>sluice \S+ serves", s.log(), re.M)
    assert all(re.match(r"<[3-7]>", line) for line in s.log().splitlines()), s.log()


# --- the unit files -------------------------------------------------------------------------------

def analyze(*arguments, **how):
    if not shutil.which("systemd-analyze"):
        pytest.skip("NOT CHECKED: systemd-analyze is not installed (package systemd)")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True,
                          timeout=60, **how)


@pytest.mark.parametrize("unit", [UNIT, SOCKET_UNIT])
def test_units_verify(sc, unit):
    with open(UNIT) as f, open(f"{sc.directory}/sluice.service", "w") as out:
        out.write(f.read().replace("/usr/bin/sluice", SLUICE))
    shutil.copy(SOCKET_UNIT, sc.directory)
    run = analyze("verify", "--man=no", "--recursive-errors=no",
                  os.path.join(sc.directory, os.path.basename(unit)))
    # It may complain about other units of the machine.
    ours = [line for line in (run.stdout + run.stderr).splitlines() if "sluice" in line]
    assert run.returncode == 0 and not ours, run


def test_unit_is_hardened():
    run = analyze("security", "--offline=true", "--threshold=20", UNIT)
    score = re.search(r"Overall exposure level for sluice.service: ([\d.]+)", run.stdout)
    assert score and float(score.group(1)) <= 1.5, run.stdout[-2000:] + run.stderr
    assert run.returncode == 0


def test_the_unit_fits_the_program():
    """What it starts is a command line that this program takes, and its time is enough."""
    with open(UNIT) as f:
        text = f.read()
    command = re.search(r"^ExecStart=\S+ (.*)$", text, re.M).group(1).split()
    usage = subprocess.run([SLUICE, "help", "proxy"], capture_output=True, text=True).stdout
    for word in command:
        if word.startswith("--"):
            assert word in usage, usage
    assert "Type=notify" in text and "KillMode=mixed" in text
    assert int(re.search(r"^TimeoutStopSec=(\d+)s$", text, re.M).group(1)) >= 5 + 20 + 10
