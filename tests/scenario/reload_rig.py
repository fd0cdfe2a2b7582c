"""A running sluice whose configuration the test changes."""

import copy
import json
import os
import threading
import time

import pytest

from harness import deep_update, forward, free_port, ok_app
from tunnels import tunnel, upgrade
from wire import SLOW, Client, wait_for

OFF = {"watch": False, "pollInterval": "0s"}


def named(name):
    """An application that answers with its name."""
    def script(conn):
        while (request := conn.request()) is not None:
            conn.answer(name.encode())
            if request.closes:
                return
    return script


def echo_bytes(conn):
    while data := conn.read_some():
        conn.send(data)


class Live:
    """A sluice with one listener and one upstream, and changes of its file."""

    def __init__(self, sc):
        self.sc = sc
        self.s = None

    def start(self, script=ok_app, **how):
        how["more"] = deep_update({"reload": OFF}, how.get("more", {}))
        self.s = self.sc.proxy(script=script, **how)
        self.config = copy.deepcopy(self.s.config)
        return self

    def write(self):
        new = self.s.config_path + "~"
        with open(new, "w") as f:
            f.write(json.dumps(self.config, indent=1) + "\n")
        os.rename(new, self.s.config_path)

    def post(self):
        code, response = self.s.admin("POST", "/v1/reload", timeout=30)
        return code, json.loads(response.body)

    def apply(self, change=None):
        """Takes the changed file; in force when it returns."""
        if change:
            change(self.config)
        self.write()
        code, told = self.post()
        assert (code, told.get("result")) == (200, "applied"), told
        return told

    def refused(self, change):
        before = copy.deepcopy(self.config)
        change(self.config)
        self.write()
        code, told = self.post()
        self.config = before
        assert code == 422, told
        return told["problems"]

    def told(self):
        code, response = self.s.admin("GET", "/v1/config")
        assert code == 200, response
        return json.loads(response.body)

    def wait_generations(self, n=1):
        """No more than n: workers leave the old ones in their own time."""
        wait_for(lambda: self.told()["generations_alive"] <= n,
                 lambda: f"{n} generations alive: {self.told()}")

    def expect_generations(self, n):
        self.wait_generations(n)
        assert self.told()["generations_alive"] == n

    def rest(self):
        """No request is under way, and each that was has been counted."""
        wait_for(lambda: self.s.status()["streams"] == 0, "all streams have ended")

    # --- parts of the file ---

    @property
    def listener(self):
        return self.config["listeners"][0]

    @property
    def route(self):
        return self.listener["routes"][0]

    def upstream(self, name="app"):
        return next(u for u in self.config["upstreams"] if u["name"] == name)

    def add_upstream(self, name, *backends):
        self.config["upstreams"].append({"name": name, "endpoints": [b.address for b in backends]})

    def touch(self):
        """A change that no request can tell."""
        self.route["timeout"] = "20s" if self.route.get("timeout") == "21s" else "21s"

    def reloads(self, n):
        for _ in range(n):
            self.touch()
            self.apply()


@pytest.fixture
def live(sc, request):
    it = Live(sc)
    yield it
    # One generation is left when the last stream is.
    if not getattr(request.node, "call_failed", True) and it.s and not it.s.ended:
        for client in sc.clients:
            client.close()
        it.wait_generations()


def weigh(live, one, two):
    live.route["backends"] = [{"upstream": "app", "weight": one}, {"upstream": "two", "weight": two}]


def held(go):
    """Answers each request when `go` is set."""
    def script(conn):
        while conn.request() is not None:
            go.wait(30)
            conn.answer(b"done")
    return script


def websocket(live):
    return tunnel(live.sc.client())


def ws_echo(conn):
    echo_bytes(upgrade(conn))


def alive(client, word=b"are you there"):
    client.send(word)
    assert client.read(len(word)) == word


def tcp_listener(address, upstream, name="tcp"):
    return {"name": name, "protocol": "tcp", "address": address,
            "backends": [{"upstream": upstream, "weight": 1}]}


def second_listener(live, **more):
    """A listener `second` besides the first."""
    address = f"127.0.0.1:{free_port()}"
    live.config["listeners"].append(
        {"name": "second", "address": address, "routes": [forward()], **more})
    return address


def is_refused(address):
    try:
        # A SYN that was dropped just before is repeated after a second.
        Client(address).close()
    except ConnectionRefusedError:
        return True
    return False


class Knocker:
    """Opens a connection for each request; what became of each."""

    def __init__(self, address, threads=4):
        self.address, self.stop, self.lock = address, threading.Event(), threading.Lock()
        self.count = {"ok": 0, "refused": 0}
        self.wrong = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                # The SYN may be dropped just before the end: repeated, it is refused.
                client = Client(self.address, 10 * SLOW)
            except (ConnectionRefusedError, FileNotFoundError):
                with self.lock:
                    self.count["refused"] += 1
                time.sleep(0.002)
                continue
            rest, sent = time.monotonic(), None
            try:
                client.request(headers=[("Connection", "close")])
                sent = time.monotonic()
                response = client.response()
                with self.lock:
                    self.count["ok"] += response.status == 200
                    if response.status != 200:
                        self.wrong.append(response)
            except (OSError, EOFError) as e:
                # One that the machine let rest may be closed as an idle one, half a second later.
                if (sent or time.monotonic()) - rest < 0.4:
                    with self.lock:
                        self.wrong.append(e)
            finally:
                client.close()

    def wait(self, what, more):
        before = self.count[what]
        wait_for(lambda: self.count[what] >= before + more or self.wrong,
                 lambda: f"{more} more {what}: {self.count}")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(20 * SLOW)
        assert not self.wrong, self.wrong[:5]


def word(live):
    """None: that one request was lost for want of memory."""
    try:
        response = live.sc.ask()
        return response.body if response.status == 200 else None
    except (OSError, EOFError):
        return None
