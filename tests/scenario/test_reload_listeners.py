"""Reloads under traffic: listeners come, go, and change what they are."""

import os
import socket
import threading
import time

import pytest

import tls
from harness import forward, free_port
from reload_rig import (Knocker, alive, echo_bytes, held, is_refused, live, named, second_listener,
                     tcp_listener, websocket, ws_echo)
from test_proxying import tunnel
from wire import SLOW, SPARE, parse_address, wait_for


def open_files(pid):
    return {f: os.readlink(f"/proc/{pid}/fd/{f}") for f in os.listdir(f"/proc/{pid}/fd")}


def test_a_listener_is_added_and_removed(live):
    live.start(more={"lifecycle": {"drainTimeout": "4s", "lastCall": "500ms"}})
    fds = live.s.rest_fds()
    address = second_listener(live)
    live.apply()
    wait_for(lambda: live.s.count_fds() == fds + 1,
             lambda: f"one more than {fds} descriptors: {open_files(live.s.pid)}")
    idlers = [live.sc.client(address) for _ in range(10)]
    talker, other = live.sc.client(address), live.sc.client()
    for client in (*idlers, talker, other):
        assert client.ask().status == 200
    assert live.s.metrics().get("sluice_connections_accepted_total", listener="second") == 11
    live.sc.begin(talker)
    live.config["listeners"].pop()
    live.apply()
    response = talker.finish()
    assert response.status == 200 and response.closes
    talker.expect_fin()
    wait_for(lambda: is_refused(address), "new ones are refused")
    for client in idlers:
        client.expect_fin()
    assert not other.ask().closes
    wait_for(lambda: live.s.metrics().get("sluice_connections", listener="second") == 0,
             "none is left")
    wait_for(lambda: live.s.status()["connections"] == 1, "only the other one's is open")


def test_idle_connections_of_a_removed_listener_end_one_by_one(live):
    live.start(more={"lifecycle": {"drainTimeout": "5s", "lastCall": "500ms"}})
    address = second_listener(live)
    live.apply()
    idlers = [live.sc.client(address) for _ in range(20)]
    for client in idlers:
        assert client.ask().status == 200
    live.config["listeners"].pop()
    live.apply()
    ends, start = {}, time.monotonic()
    while len(ends) < len(idlers):
        for i, client in enumerate(idlers):
            if i not in ends and client.is_closed():
                ends[i] = time.monotonic() - start
        assert time.monotonic() - start < 6 * SLOW, ends
        time.sleep(0.005)
    assert max(ends.values()) - min(ends.values()) > 1.0, ends
    assert max(ends.values()) < 4.5 * SLOW, ends


def test_one_that_has_just_come_to_a_removed_listener_is_served(live):
    """It had its handshake when others were closed as idle, and its request is on the way."""
    live.start(more={"lifecycle": {"drainTimeout": "10s", "lastCall": "500ms"}})
    address = second_listener(live)
    live.config["listeners"][-1].update(tls.listener())
    live.apply()
    idle = tls.TlsClient(address)
    assert idle.ask().status == 200
    late = live.sc.client(address)
    wait_for(lambda: live.s.metrics().get("sluice_connections", listener="second") == 2,
             "both are accepted")
    live.config["listeners"].pop()
    live.apply()
    idle.expect_close_notify()
    late.sock = tls.client_context().wrap_socket(late.sock, server_hostname="a.test")
    time.sleep(0.1)  # it thinks, for some of the worker's ticks
    response = late.ask()
    assert response.status == 200 and response.closes


def test_busy_connections_of_a_removed_listener(live):
    """They finish, or are ended at drainTimeout."""
    go, never = threading.Event(), threading.Event()

    def script(conn):
        request = conn.request()
        (never if request.target == "/never" else go).wait(30)
        conn.answer(b"done")
        conn.read_to_end()
    live.start(script=script, more={"lifecycle": {"drainTimeout": "3s", "lastCall": "500ms"}})
    address = second_listener(live)
    live.config["listeners"].append(tcp_listener(f"127.0.0.1:{free_port()}", "app"))
    live.s.base_fds += 1
    live.apply()
    busy, stuck = live.sc.client(address).request(), live.sc.client(address)
    stuck.request("GET", "/never")
    live.sc.app.wait_requests(2)
    live.config["listeners"].pop(1)
    start = time.monotonic()
    live.apply()
    go.set()
    response = busy.response()
    assert response.body == b"done" and response.closes
    response = stuck.response()  # at the last call
    assert response.status == 503 and time.monotonic() - start >= 2.2
    stuck.expect_fin()
    assert time.monotonic() - start <= 3 + 2 * SPARE
    never.set()


def test_tunnels_of_a_removed_listener_end_at_drain_timeout(live):
    live.start(script=echo_bytes, more={"lifecycle": {"drainTimeout": "2s", "lastCall": "200ms"}})
    address = f"127.0.0.1:{free_port()}"
    live.config["listeners"].append(tcp_listener(address, "app"))
    live.apply()
    client = live.sc.client(address)
    alive(client)
    live.config["listeners"].pop()
    start = time.monotonic()
    live.apply()
    alive(client)
    try:
        client.read_to_end()
    except ConnectionResetError:
        pass
    assert 1.8 <= time.monotonic() - start <= 2 + 2 * SPARE
    live.wait_generations(1)


@pytest.mark.parametrize("kind,workers", [("tcp", 1), ("tcp", 2), ("unix", 2)])
def test_nobody_in_the_backlog_is_reset(live, kind, workers):
    """Whoever got in is answered, through five removals."""
    live.start(more={"workers": workers})
    address = second_listener(live)
    if kind == "unix":
        address = f"unix:{live.sc.directory}/second.sock"
        live.config["listeners"][1]["address"] = address
    live.apply()
    second = live.config["listeners"][1]
    knocker = Knocker(address)
    for _ in range(5):
        knocker.wait("ok", 30)
        live.config["listeners"].remove(second)
        live.apply()
        knocker.wait("refused", 8)
        live.config["listeners"].append(second)
        live.apply()
    live.config["listeners"].remove(second)
    live.apply()
    knocker.end()
    wait_for(lambda: is_gone(address), f"{address} is gone")


def is_gone(address):
    if address.startswith("unix:"):
        return not os.path.exists(address[5:])
    return is_refused(address)


def test_another_name_at_the_same_address(live):
    """The socket stays: nobody is refused, and the old one's connections drain."""
    live.start()
    client = live.sc.client()
    assert client.ask().status == 200
    knocker = Knocker(live.sc.address)
    for i in range(6):
        knocker.wait("ok", 20)
        before = knocker.count["ok"]
        live.listener["name"] = f"main{i}"
        live.apply()
        accepted = live.s.metrics().get("sluice_connections_accepted_total", listener=f"main{i}")
        # Those of each thread that were under way at either end, besides.
        assert accepted <= knocker.count["ok"] - before + 8, "it counts from the beginning"
    knocker.wait("ok", 20)
    knocker.end()
    assert knocker.count["refused"] == 0
    client.expect_fin()


def test_another_protocol_at_the_same_address(live):
    live.start(script=ws_echo)
    echo = live.sc.backend(echo_bytes)
    live.add_upstream("echo", echo)
    http = live.listener
    tunnel = websocket(live)
    live.config["listeners"][0] = tcp_listener(live.sc.address, "echo", "main")
    live.apply()
    raw = live.sc.client()
    alive(raw, b"GET / HTTP/1.1\r\n\r\n")
    alive(tunnel)
    live.config["listeners"][0] = http
    live.apply()
    alive(raw)
    alive(websocket(live))
    assert live.s.count_fds() >= live.s.base_fds


def test_another_direction_at_the_same_address(live):
    live.start()
    client = live.sc.client()
    assert client.ask().status == 200
    live.sc.begin(client)
    live.listener["direction"] = "outbound"
    live.apply()
    assert live.sc.ask().status == 200
    assert client.finish().closes
    assert live.s.metrics().get("sluice_connections_accepted_total", direction="outbound") >= 1


def test_another_address(live):
    live.start()
    old, new = live.sc.address, f"127.0.0.1:{free_port()}"
    client = live.sc.client()
    assert client.ask().status == 200
    live.sc.begin(client)
    live.listener["address"] = new
    live.apply()
    assert client.finish().closes
    assert live.sc.client(new).ask().status == 200
    wait_for(lambda: is_refused(old), "the old address is closed")
    live.listener["address"] = old
    live.apply()
    assert live.sc.client(old).ask().status == 200


def test_unix_listeners(live):
    live.start()
    path = os.path.join(live.sc.directory, "front.sock")
    entry = {"name": "unix", "address": "unix:" + path, "socketMode": "0600",
             "routes": [forward()]}
    inodes = set()
    for _ in range(3):
        live.config["listeners"].append(entry)
        live.apply()
        assert os.stat(path).st_mode & 0o777 == 0o600
        inodes.add(os.stat(path).st_ctime_ns)
        client = live.sc.client("unix:" + path)
        assert client.ask().status == 200
        live.sc.begin(client)
        live.config["listeners"].remove(entry)
        live.apply()
        assert client.finish().closes
        wait_for(lambda: not os.path.exists(path), "the path is unlinked")
    assert len(inodes) == 3
    other = live.sc.backend(named("free"), address="unix:" + path)  # anybody can have it now
    assert live.sc.client(other.address).ask().body == b"free"


def test_a_listener_that_cannot_be_bound(live):
    live.start()
    address = f"127.0.0.1:{free_port()}"
    taken = socket.socket()
    taken.bind(parse_address(address)[1])
    taken.listen()
    good, path = f"127.0.0.1:{free_port()}", os.path.join(live.sc.directory, "good.sock")
    before, fds = live.told(), live.s.rest_fds()
    held = live.s.count_fds(live.s.process.pid)

    def change(config):
        routes = [forward()]
        config["listeners"] += [
            {"name": "good", "address": good, "routes": routes},
            {"name": "unix", "address": "unix:" + path, "routes": routes},
            {"name": "bad", "address": address, "routes": routes}]
        config["listeners"][0]["routes"] = [{"match": {"pathPrefix": "/"},
                                             "directResponse": {"body": "new"}}]
    problems = live.refused(change)
    assert len(problems) == 1, problems
    p = problems[0]
    assert p["path"] == "listeners[3].address" and "Address already in use" in p["message"], p
    with open(live.s.config_path) as f:
        line = f.read().splitlines()[p["line"] - 1]
    assert '"bad"' in line or "{" in line or '"address"' in line, (p, line)
    assert f"{live.s.config_path}:{p['line']}:{p['column']}: listeners[3].address: " in live.s.log()
    assert is_refused(good) and not os.path.exists(path)
    assert live.sc.ask().body == b"GET /\n"
    after = live.told()
    assert (after["generation"], after["sha256"]) == (before["generation"], before["sha256"])
    wait_for(lambda: live.s.count_fds() == fds, "no descriptor is left")
    wait_for(lambda: live.s.count_fds(live.s.process.pid) == held, "nor at the supervisor")
    # The same file, when the address is free.
    taken.close()
    live.apply(change)
    assert live.sc.client(address).ask().body == b"GET /\n"
    assert live.sc.client(good).ask().body == b"GET /\n" and live.sc.ask().body == b"new"
    live.config["listeners"] = live.config["listeners"][:1]
    live.apply()


def test_max_connections(live):
    live.start(listener={"maxConnections": 2})
    clients = [live.sc.client() for _ in range(2)]
    for client in clients:
        assert client.ask().status == 200
    waiting = live.sc.client().request()
    time.sleep(0.1)
    assert live.s.status()["connections"] == 2
    live.listener["maxConnections"] = 3
    live.apply()
    assert waiting.response().status == 200
    live.listener["maxConnections"] = 1
    live.apply()
    for client in (*clients, waiting):
        assert client.ask().status == 200  # those who are in stay
    late = live.sc.client().request()
    time.sleep(0.1)
    assert live.s.status()["connections"] == 3
    live.config["limits"] = {"maxConnections": 3}
    live.listener["maxConnections"] = 100
    live.apply()
    time.sleep(0.1)
    assert live.s.status()["connections"] == 3  # the process's limit
    live.config["limits"]["maxConnections"] = 4
    live.apply()
    assert late.response().status == 200


def backlog_of(address):
    """As the kernel has it (ss -ltn)."""
    import subprocess
    out = subprocess.run(["ss", "-ltnH", f"sport = :{address.rpartition(':')[2]}"],
                         capture_output=True, text=True, check=True).stdout
    return int(out.split()[2])


def test_backlog(live):
    live.start(listener={"backlog": 100})
    try:
        assert backlog_of(live.sc.address) == 100
    except FileNotFoundError:
        pytest.skip("no ss")
    for n in (300, 50):
        live.listener["backlog"] = n
        live.apply()
        assert backlog_of(live.sc.address) == n
