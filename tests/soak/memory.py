"""What connections cost in memory: idle ones of each kind, and hostile HTTP/2 clients that want much
of it for few bytes."""

import os
import threading
import time

from rig import Client, forward, free_port, start_sluice, take_down, wait_for
from mixed import MixedApp

import h2wire  # noqa: E402 - rig has made scenario's modules known
import tls
import websocket
import hpack

KB = 1024
# KB of RssAnon for each, beyond what the kind in the third place costs; None: it is only told.
BOUNDS = (("HTTP/1.1", 2, None), ("HTTP/2", 18, None), ("WebSocket", 2, None),
          ("WebSocket by HTTP/2", None, None), ("TLS", 16, "HTTP/1.1"),
          ("HTTP/2 over TLS", 16, "HTTP/2"))
AT_ONCE = 100  # streams of a connection
FIELDS = [("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
          ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
          ("accept-language", "en-GB,en;q=0.5"), ("accept-encoding", "gzip, deflate, br"),
          ("cookie", "session=4f1c8f1e0b6d4c5f8a9b2c3d4e5f6071; theme=dark"),
          ("referer", "https://test.example/where/it/comes/from")]


class Rig:
    """A sluice with a plain and a TLS listener before the mixed load's application."""

    def __init__(self, directory, app, mixed_app, more=None):
        self.tls_address = f"127.0.0.1:{free_port()}"
        self.context = h2wire.client_tls(alpn=("http/1.1",))
        self.context_h2 = h2wire.client_tls()
        self.plain = f"127.0.0.1:{free_port()}"
        upstream = {"name": "mixed", "endpoints": [mixed_app.address], "circuitBreaker": {
            k: 16384 for k in ("maxConnections", "maxRequests", "maxPendingRequests")}}
        listener = {"direction": "inbound", "maxConnections": 18000, "routes": [
            *({"match": {"pathPrefix": path}, "upstream": "app", "timeout": "0s"}
              for path in ("/hang", "/bytes")),
            forward("mixed", timeout="0s")]}
        self.s = start_sluice(
            directory, app, more=more,
            listeners=[{"name": "plain", "address": self.plain, **listener},
                       {"name": "tls", "address": self.tls_address, **listener, **tls.listener()}],
            upstreams=[upstream])

    def settled(self):
        """RssAnon when nothing is under way: twice the same."""
        looks = [0, -1]

        def same():
            looks.append(self.s.anon_kb())
            return self.s.status()["workers"] and abs(looks[-1] - looks[-2]) <= 4
        wait_for(same, "memory rests", 20, 0.2)
        return looks[-1]


# --- idle ones: each has been used once ---

def h1(rig, i):
    client = Client(rig.plain)
    assert client.ask("GET", "/", headers=FIELDS).status == 200
    return [client]


def h1_tls(rig, i):
    client = tls.TlsClient(rig.tls_address, rig.context)
    assert client.ask("GET", "/", headers=FIELDS).status == 200
    return [client]


def h2_used(client):
    fields = [*h2wire.request_fields("GET", "/"), *FIELDS]
    client.ready()
    assert client.response(client.open(hpack.Encoder().encode(fields))).status == 200
    return [client]


def h2(rig, i):
    return h2_used(h2wire.Client(rig.plain))


def h2_tls(rig, i):
    return h2_used(h2wire.Client(rig.tls_address, tls=rig.context_h2))


def upgraded(rig, i):
    client = Client(rig.plain)
    client.request("GET", "/ws", headers=websocket.request_headers())
    assert client.response().status == 101
    ws = websocket.WebSocket(client, True)
    ws.text(b"one")
    assert ws.message()[1] == b"one"
    return [client]


def tunnels(rig, i):
    """Each hundredth time, a hundred of them on one connection."""
    if i % AT_ONCE:
        return []
    client = h2wire.Client(rig.plain).ready()
    for _ in range(AT_ONCE):
        st = client.open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                          (":path", "/ws"), (":authority", "test"),
                          ("sec-websocket-version", "13")], end=False)
        client.response_head(st)
        assert st.status == 200, st
        client.data(st.id, websocket.frame(websocket.TEXT, b"one", mask=b"abcd"))
        client.until(lambda st=st: st.body, "the echo")
    return [client]


IDLERS = {"HTTP/1.1": h1, "HTTP/2": h2, "WebSocket": upgraded, "WebSocket by HTTP/2": tunnels,
          "TLS": h1_tls, "HTTP/2 over TLS": h2_tls}


def idle_cost(kind, n, app, mixed_app, directory):
    """KB of RssAnon for each of n connections."""
    rig = Rig(os.path.join(directory, "idle" + str(time.monotonic_ns())), app, mixed_app)
    connections = []
    try:
        # One that has gone again: what the first of a kind costs once is not each one's.
        for it in IDLERS[kind](rig, 0):
            it.close()
        empty = rig.settled()
        for i in range(n):
            connections += IDLERS[kind](rig, i)
        return (rig.settled() - empty) / n
    finally:
        for it in connections:
            it.close()
        take_down(rig.s, [])


def memory(size, tally, app, directory):
    """What an idle connection of each kind costs."""
    mixed_app, cost = MixedApp(), {}
    try:
        for kind, bound, beyond in BOUNDS:
            cost[kind] = idle_cost(kind, size.idle, app, mixed_app, directory)
            own = cost[kind] - cost.get(beyond, 0)
            tally.say(bound is None or own <= bound,
                      f"{size.idle} idle, {kind}: RssAnon {cost[kind]:.2f} KB each" +
                      (f", {own:.2f} of it beyond {beyond}" if beyond else "") +
                      (f" (bound {bound})" if bound else ""))
    finally:
        mixed_app.kill()


# --- hostile ones (HTTP/2) ---

ATTACKERS = 10     # connections, each with AT_ONCE requests
PEAK = 20 * KB     # of RssAnon
# What is held for a byte that was sent, beyond what as many plain requests hold: a stream has a state
# and a connection to the server (some 5 KB), which is far more than 10 times the least that asks
# for it (some 20 bytes), whatever its fields are. That part is told, and bound by the peak.
AMPLIFICATION = 10
REFERENCE = b"\xbe"  # to the newest entry of the table


class Peak:
    """RssAnon's, while it looks."""

    def __init__(self, s):
        self.s, self.kb, self.stop = s, 0, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.stop.is_set():
            self.kb = max(self.kb, self.s.anon_kb())
            self.stop.wait(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def head(path, fields=b""):
    return h2wire.block(h2wire.request_fields("GET", path)) + fields


PLAIN = "plain requests that are not answered, for comparison"
BOMBS = {  # what goes into the table, and the request: each with no window for answers
    PLAIN: (b"", head("/hang")),
    "references to a large field, beyond the limit":
        (h2wire.literal("x-large", "v" * 4000, indexed=True), head("/", REFERENCE * 16000)),
    "references to a large field, within the limit":
        (h2wire.literal("x-large", "v" * 4000, indexed=True), head("/hang", REFERENCE * 7)),
    "a reference to a large field in each, few bytes in all":
        (h2wire.literal("x-large", "v" * 4000, indexed=True), head("/hang", REFERENCE)),
    "cookie crumbs": (h2wire.literal("cookie", "c", indexed=True), head("/", REFERENCE * 16000)),
    "cookie crumbs within the limit":
        (h2wire.literal("cookie", "c", indexed=True), head("/hang", REFERENCE * 90)),
    "tiny fields": (b"", head("/", h2wire.literal("x", "") * 3000)),
    "answers without a window": (b"", head("/bytes?n=10000000")),
}


def attack(address, table, request):
    """The connection, and how many bytes it has sent."""
    client = h2wire.Client(address, settings={h2wire.INITIAL_WINDOW_SIZE: 0})
    sent = len(h2wire.PREFACE) + 15
    client.ready()
    for i in range(AT_ONCE):
        payload = (table if i == 0 else b"") + request
        number = 2 * i + 1
        for at in range(0, len(payload), 16384):
            last = at + 16384 >= len(payload)
            data = h2wire.frame(
                h2wire.HEADERS if at == 0 else h2wire.CONTINUATION,
                (h2wire.END_HEADERS if last else 0) | (h2wire.END_STREAM if at == 0 else 0), number,
                payload[at:at + 16384])
            try:
                client.send(data)
            except OSError:
                return client, sent
            sent += len(data)
    try:
        client.expect_ping()
    except (AssertionError, OSError):
        pass  # it was shown the door
    return client, sent


def bombs(size, tally, app, directory):
    """HPACK bombs and windows that nobody opens cost little memory, and little time."""
    mixed_app, plain = MixedApp(), 0
    try:
        for i, (name, (table, request)) in enumerate(BOMBS.items()):
            rig = Rig(os.path.join(directory, f"bomb{i}"), app, mixed_app)
            clients, sent = [], 0
            try:
                Client(rig.plain).ask()
                base, began = rig.settled(), time.monotonic()
                with Peak(rig.s) as peak:
                    for _ in range(ATTACKERS):
                        client, n = attack(rig.plain, table, request)
                        clients.append(client)
                        sent += n
                    time.sleep(0.5)  # for what is still on its way from the application
                grown = peak.kb - base
                plain = plain or grown
                beyond = (grown - plain) * KB / sent
                # Answers are no part of this: what a server has sent at once is held.
                bound = AMPLIFICATION if "answers" not in name else None
                tally.say(peak.kb <= PEAK and (bound is None or beyond <= bound),
                          f"{name}: RssAnon {peak.kb / KB:.1f} MB at most, {grown} KB more for "
                          f"{sent // KB} KB sent, {grown * KB / sent:.1f} times; beyond plain ones "
                          f"{beyond:.1f} times (bound {bound})")
                gone = sum(bool(c.goaways) for c in clients)
                print(f"          {gone} of {ATTACKERS} had a GOAWAY; {time.monotonic() - began:.1f} s, "
                      f"{rig.s.cpu_seconds():.2f} s of CPU", flush=True)
                probe = Client(rig.plain)
                tally.check(probe.ask().status == 200, f"{name}: others are served")
                probe.close()
            finally:
                for client in clients:
                    client.close()
                take_down(rig.s, [])
    finally:
        mixed_app.kill()
