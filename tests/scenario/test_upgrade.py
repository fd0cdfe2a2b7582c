"""SIGUSR2: the file at the program's path takes over, and nobody who talks to sluice notices; or
it does not, and nothing has changed."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

import websocket
from harness import BUILD, SLUICE, forward, free_port, ok_app
from test_supervisor import kill_serving
from wire import SPARE, wait_for

LOAD = os.path.join(BUILD, "tools/load/load")
MISFIT = os.path.join(BUILD, "tools/scenario/misfit")


def install(sc, program=SLUICE):
    """The next file takes the path's place, as a package manager does it."""
    path = os.path.join(sc.directory, "bin", "sluice")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(program, path + ".new")
    os.rename(path + ".new", path)
    return path


def proxy(sc, **how):
    return sc.proxy(program=install(sc), **how)


def exe_of(pid):
    return os.stat(f"/proc/{pid}/exe").st_ino


def upgrade(s, wait_gone=False):
    """Until the new one serves and the supervisor is the new program."""
    old, seen = s.pid, s.log().count(" supervises, pid ")
    s.signal(signal.SIGUSR2)
    wait_for(lambda: s.log().count(" supervises, pid ") > seen, lambda: "upgraded:\n" + s.log())
    new = s.status()["pid"]
    assert new != old
    s.base_fds = None  # of another process
    if wait_gone:
        wait_for(lambda: s.children() == [new], lambda: f"only {new}: {s.children()}")
    return old, new


class Load:
    """The load client, on some connections."""

    def __init__(self, address, *arguments):
        self.process = subprocess.Popen(
            [LOAD, "--url", f"http://{address}/", "--json", "--quiet", "--allow-failed",
             *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        result = json.loads(self.process.communicate(timeout=60)[0])
        assert self.process.returncode == 0
        return result


def faults(result):
    return {k: result[k] for k in ("failed", "refused", "refused_reset", "refused_connect_timeout",
                                   "unfinished", "app_error", "local_error") if result[k]}


def test_under_load(sc):
    """Ten of them: nothing failed, nobody refused, nobody reset."""
    s = proxy(sc, more={"workers": 2})
    loads = [Load(sc.address, "-c", "8", "--method", "mix", "--body", "200"),
             Load(sc.address, "-c", "4", "--close"),
             Load(sc.address, "-c", "12", "--think", "150"),
             Load(sc.address, "--idle", "20")]
    supervisor = s.process.pid
    try:
        for _ in range(10):
            inode = os.stat(install(sc)).st_ino
            before = len(sc.app.requests)
            wait_for(lambda: len(sc.app.requests) >= before + 200, "load", 60)
            _, new = upgrade(s)
            assert exe_of(new) == inode and exe_of(supervisor) == inode
            retiring = [p for p in s.children() if p != new]
            wait_for(lambda: len(s.children()) <= 7, "old ones end", 30)
            assert len(retiring) <= 8
        before = len(sc.app.requests)
        wait_for(lambda: len(sc.app.requests) >= before + 200, "load", 60)
    finally:
        results = [load.end() for load in loads]
    assert [faults(r) for r in results] == [{}] * 4, results
    wait_for(lambda: s.children() == [s.status()["pid"]], "exactly one serves", 30)
    assert "forced_total\":0" in s.log()
    assert not re.search(r'forced_total":[1-9]', s.log())


def refuse(sc, s, before, why):
    seen = s.log().count(why)
    s.signal(signal.SIGUSR2)
    wait_for(lambda: s.log().count(why) > seen, lambda: f"{why!r} in the log:\n{s.log()}")
    assert s.log().count("nothing has changed") or "refused" in why
    wait_for(lambda: s.children() == [before], lambda: f"only {before}: {s.children()}")
    assert sc.ask().status == 200
    assert s.status()["pid"] == before and s.status()["phase"] == "serving"


def test_nothing_changes(sc):
    """Missing, not executable, no program, crashing at once, giving up; then a good one."""
    s = proxy(sc)
    s.expect_faults = True
    before, exe = s.pid, exe_of(s.process.pid)
    fds = s.count_fds(s.process.pid)
    path = os.path.join(sc.directory, "bin", "sluice")
    client = sc.client()  # one that stays over all of it
    assert client.ask().status == 200
    os.unlink(path)
    refuse(sc, s, before, "No such file or directory; nothing has changed")
    with open(path, "w") as f:
        f.write("no program\n")
    refuse(sc, s, before, "exited with 126")
    os.chmod(path, 0o755)
    refuse(sc, s, before, "exited with 126")
    install(sc, MISFIT)
    misfit = os.path.join(sc.directory, "bin", "misfit")
    for word, why in (("crash", "was killed by signal 11"), ("leave", "exited with 7")):
        with open(misfit, "w") as f:
            f.write(word)
        refuse(sc, s, before, why)
    assert client.ask().status == 200
    assert exe_of(s.process.pid) == exe
    wait_for(lambda: s.count_fds(s.process.pid) == fds, "the supervisor has no descriptor more")
    install(sc)
    sc.begin(client)
    upgrade(s)
    assert client.finish().status == 200
    client.expect_fin()


def test_bad_configuration(sc):
    s = proxy(sc)
    before = s.pid
    with open(s.config_path) as f:
        good = f.read()
    with open(s.config_path, "w") as f:
        f.write(good.replace("endpoints", "endpiont"))
    refuse(sc, s, before, "exited with 1 ")
    assert "unknown key \"endpiont\"" in s.log()
    with open(s.config_path, "w") as f:
        f.write(good)
    upgrade(s)


def test_one_that_never_is_ready(sc):
    """The old one serves on beside it; a second upgrade is remembered, SIGTERM ends it all."""
    s = proxy(sc)
    before = s.pid
    install(sc, MISFIT)
    with open(os.path.join(sc.directory, "bin", "misfit"), "w") as f:
        f.write("hang")
    s.signal(signal.SIGUSR2)
    wait_for(lambda: len(s.children()) == 2, "it starts")
    assert sc.ask().status == 200
    s.signal(signal.SIGUSR2)
    wait_for(lambda: "another follows it" in s.log(), "the second is remembered")
    assert s.status()["pid"] == before
    s.stop()


def test_new_configuration_new_sockets(sc):
    """It reads the file anew: a listener more, and another less."""
    first, second = (f"127.0.0.1:{free_port()}" for _ in range(2))
    s = proxy(sc, more={"listeners": [
        {"name": "keep", "address": first, "routes": [forward()]},
        {"name": "go", "address": f"unix:{sc.directory}/go.sock", "routes": [forward()]}]})
    sc.address = first
    assert sc.ask().status == 200
    with open(s.config_path) as f:
        config = json.load(f)
    config["listeners"][1] = {"name": "come", "address": second, "routes": [forward()]}
    with open(s.config_path, "w") as f:
        json.dump(config, f)
    upgrade(s, wait_gone=True)
    for sc.address in (first, second):
        assert sc.ask().status == 200
    assert not os.path.exists(f"{sc.directory}/go.sock")


def test_refused_while_it_drains(sc):
    def slow(conn):
        conn.request()
        go.wait(20)
        conn.answer(b"late")
    go = threading.Event()
    s = proxy(sc, script=slow, more={"lifecycle": {"drainTimeout": "20s"}})
    client = sc.client().request()
    sc.app.wait_requests(1)
    s.signal(signal.SIGTERM)
    wait_for(lambda: s.status()["phase"] == "drain", "it drains")
    s.signal(signal.SIGUSR2)
    wait_for(lambda: "upgrade refused: a drain runs" in s.log(), "refused")
    go.set()
    assert client.response().body == b"late"
    s.stop()


def test_what_is_open_goes_on(sc):
    """A download and a tunnel end in the old process, the one by itself, the other by its
    deadline; new connections are the new one's."""
    def script(conn):
        request = conn.request()
        if request.target == "/tunnel":
            websocket.answer(conn, request)
            ws = websocket.WebSocket(conn, False)
            while (got := ws.message())[0] != websocket.CLOSE:
                ws.send(*got)
            codes.append(got[1].code)
            conn.read_to_end()  # it never says Close itself
        elif request.target == "/download":
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nfirst half")
            go.wait(20)
            conn.send("then other")
        else:
            conn.answer(b"ok")
    go = threading.Event()
    codes = []
    s = proxy(sc, script=script, more={"lifecycle": {"drainTimeout": "3s", "lastCall": "200ms"}})
    download = sc.client().request("GET", "/download")
    download.response_head()
    assert download.read(10) == b"first half"
    tunnel = websocket.connect(sc, "/tunnel")
    start = time.monotonic()
    old, new = upgrade(s)
    assert sc.ask().status == 200
    tunnel.text(b"through")
    assert tunnel.message() == (websocket.TEXT, b"through")
    go.set()
    assert download.read(10) == b"then other"
    download.expect_end()
    wait_for(lambda: s.children() == [new], lambda: f"{old} ends", 20)
    took = time.monotonic() - start
    assert 2.8 <= took <= 3 + 2 * SPARE, took
    assert tunnel.message()[1].code == 1001 and codes == [1001]
    tunnel.peer.expect_end()


def descriptors(pid):
    """number -> what it is, as far as they stay while one looks."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def sockets_of(pid):
    """Inodes."""
    names = descriptors(pid).values()
    return {int(name[len("socket:["):-1]) for name in names if name.startswith("socket:[")}


def watched_by(pid):
    """Inodes of what stands in its epoll sets, closed descriptors too."""
    found = set()
    for fd, name in descriptors(pid).items():
        if "eventpoll" in name:
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/fdinfo/{fd}") as f:
                found |= {int(ino, 16) for ino in re.findall(r"\bino:([0-9a-f]+)", f.read())}
    return found


def test_a_retiring_process_watches_nothing_of_the_new_one(sc):
    """Not traffic, not health, not admin: an event there would be taken for one of whatever has the
    descriptor's number by then."""
    def slow(conn):
        conn.request()
        go.wait(20)
        conn.answer(b"late")
    go = threading.Event()
    s = proxy(sc, script=slow, more={"lifecycle": {"drainTimeout": "30s"}})
    old, held = s.pid, sockets_of(s.process.pid)
    wait_for(lambda: len(held & watched_by(old)) == 3, "it does while it serves")
    client = sc.client().request()
    sc.app.wait_requests(1)
    s.base_fds = None  # of another process
    s.signal(signal.SIGUSR2)
    wait_for(lambda: "retiring: a new process serves" in s.log(), s.log)
    # Nobody asks the new one before that: libev tidies up behind the first event.
    wait_for(lambda: not held & watched_by(old), lambda: f"{held & watched_by(old)} are left")
    wait_for(lambda: len(held & watched_by(s.pid)) == 3, "the new one does")
    assert s.status()["pid"] == s.pid != old
    go.set()
    assert client.response().body == b"late"


def test_idle_connections_are_told_and_closed(sc):
    s = proxy(sc)
    asks = sc.client()
    assert not asks.ask().closes
    idle = [sc.client() for _ in range(5)]
    for client in idle:
        assert client.ask().status == 200
    sc.begin(asks)
    upgrade(s)
    assert asks.finish().closes, "a retiring process offers to close"
    for client in idle:
        client.expect_fin()
    wait_for(lambda: len(s.children()) == 1, "the old one has gone, before its deadline")


def test_outbound_connections_too(sc):
    """The application's own way out moves as well: the new process is there for it."""
    s = proxy(sc, listener={"direction": "outbound"})
    client = sc.client()
    assert not client.ask().closes
    sc.begin(client)
    upgrade(s)
    assert client.finish().closes
    wait_for(lambda: len(s.children()) == 1, "nothing keeps the old one")


def test_sigterm_while_one_retires(sc):
    """It is for both."""
    def stuck(conn):
        conn.request()
        conn.read_to_end()
    s = proxy(sc, script=stuck, more={"lifecycle": {"drainTimeout": "2s"}})
    old_client = sc.client().request()
    sc.app.wait_requests(1)
    upgrade(s)
    new_client = sc.client().request()
    sc.app.wait_requests(2)
    s.signal(signal.SIGTERM)
    wait_for(lambda: s.status()["phase"] != "serving", "the new one drains")
    s.stop()
    for client in (old_client, new_client):
        assert client.response().status == 503


@pytest.mark.parametrize("delay", [0, 0.005, 0.01, 0.02, 0.03])
def test_sigterm_during_an_upgrade(sc, delay):
    """Whenever it comes: all end, with 0, and whoever was let in is answered."""
    s = proxy(sc)
    load = Load(sc.address, "-c", "4")
    wait_for(lambda: len(sc.app.requests) >= 50, "load")
    s.signal(signal.SIGUSR2)
    time.sleep(delay)  # the point in the upgrade is what is tried here
    s.signal(signal.SIGTERM)
    code = s.wait_exit()
    result = load.end()
    s.check_end(code)
    assert result["failed"] == 0 and result["unfinished"] == 0, result


def test_killed_behind_an_upgrade(sc):
    """The supervisor's successor knows what its predecessor knew."""
    s = proxy(sc, address=f"unix:{sc.directory}/front.sock")
    upgrade(s, wait_gone=True)
    upgrade(s, wait_gone=True)
    kill_serving(s)
    assert sc.ask().status == 200
    s.wait_ready()
    s.stop()
    assert not os.path.exists(f"{sc.directory}/front.sock")


def test_sigusr2_at_the_serving_process_itself(sc):
    """It retires, and another takes its place."""
    s = proxy(sc)
    old = s.pid
    os.kill(old, signal.SIGUSR2)
    wait_for(lambda: old not in s.children() and s.children(), "the old one ends")
    s.base_fds = None
    assert sc.ask().status == 200


def test_as_many_listeners_as_there_may_be(sc):
    """Each has its place at the supervisor: over a crash, and over an upgrade."""
    paths = [f"{sc.directory}/u{n}" for n in range(199)]
    more = [{"name": f"l{n}", "address": f"unix:{path}", "routes": [forward(name=f"r{n}")]}
            for n, path in enumerate(paths)]
    sc.backend()
    sc.address = f"127.0.0.1:{free_port()}"
    sc.app = sc.backends[0]
    sc.s = sc.sluice({"listeners": [{"name": "main", "address": sc.address, "routes": [forward()]},
                                    *more],
                      "upstreams": [{"name": "app", "endpoints": [sc.app.address]}]},
                     program=install(sc))
    kill_serving(sc.s)
    sc.s.wait_ready()
    upgrade(sc.s, wait_gone=True)
    for address in [sc.address, *(f"unix:{path}" for path in paths)]:
        client = sc.client(address)
        assert client.ask("GET", "/").status == 200
        client.close()
    assert "does not hold" not in sc.s.log()
