"""maxConnectionsPerEndpoint and maxRequestsPerEndpoint: never passed by any number of workers, others
are chosen, and who finds all at their limits waits."""

import threading
import time

import pytest

from wire import Client, wait_for


class Counted:
    """A backend's script that knows how many requests it has at once, and how many it had at most."""

    def __init__(self, takes=0.01):
        self.lock, self.now, self.most, self.takes = threading.Lock(), 0, 0, takes
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, conn):
        while conn.request() is not None:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            self.gate.wait(20)
            time.sleep(self.takes)
            with self.lock:
                self.now -= 1
            conn.answer(b"ok")


def start(sc, scripts, limits, workers=1, **upstream):
    backends = [sc.backend(s) for s in scripts]
    sc.proxy(backend=backends[0], more={"workers": workers}, upstream={
        "endpoints": [b.address for b in backends], "circuitBreaker": limits, **upstream})
    return backends


def ask_all(sc, clients, each):
    """Statuses of so many clients, each with a connection of its own that sends one after the other."""
    got, lock = [], threading.Lock()

    def run():
        client = Client(sc.address)
        for _ in range(each):
            status = client.ask().status
            with lock:
                got.append(status)
        client.close()
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("endpoints", [1, 2, 3])
def test_requests_are_never_more(sc, workers, endpoints):
    scripts = [Counted() for _ in range(endpoints)]
    start(sc, scripts, {"maxRequestsPerEndpoint": 2, "queueTimeout": "20s"}, workers)
    assert set(ask_all(sc, 12, 10)) == {200}
    assert max(s.most for s in scripts) == 2
    assert sc.s.metrics().get("sluice_upstream_endpoints_full_total", upstream="app") > 0


@pytest.mark.parametrize("workers", [1, 3])
def test_connections_are_never_more(sc, workers):
    scripts = [Counted(), Counted()]
    backends = start(sc, scripts, {"maxConnectionsPerEndpoint": 2, "queueTimeout": "20s"}, workers)
    seen, ending = [], threading.Event()

    def watch():
        while not ending.is_set():
            seen.append(max(sum(t.is_alive() for t in b.threads) for b in backends))
            time.sleep(0.002)
    watcher = threading.Thread(target=watch)
    watcher.start()
    got = ask_all(sc, 12, 10)
    ending.set()
    watcher.join()
    assert set(got) == {200}
    assert max(s.most for s in scripts) <= 2


def test_the_other_one_is_chosen(sc):
    slow, fast = Counted(), Counted()
    slow.gate.clear()
    start(sc, [slow, fast], {"maxRequestsPerEndpoint": 1}, balance="roundRobin")
    waits = sc.client()
    while slow.now == 0:
        waits.request("GET", "/")
        wait_for(lambda: slow.now == 1 or fast.now == 0 and (waits.is_closed() or waits.buffer),
                 "somebody has it")
        if slow.now == 0:
            assert waits.response("GET").status == 200
    client = sc.client()
    assert [client.ask().status for _ in range(10)] == [200] * 10
    assert slow.most == 1
    slow.gate.set()
    assert waits.response("GET").status == 200


def test_all_are_at_it(sc):
    """The queue is the upstream's: who waits too long, and who finds it full, gets 503."""
    script = Counted()
    script.gate.clear()
    start(sc, [script, script], {"maxRequestsPerEndpoint": 1, "maxPendingRequests": 1,
                                 "queueTimeout": "1500ms"})
    two = [sc.client(), sc.client()]
    for client in two:
        client.request("GET", "/")
    wait_for(lambda: script.now == 2, "both are busy")
    third = sc.client()
    third.request("GET", "/")
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 1, "it waits")
    response = sc.ask()
    assert response.status == 503 and b"pending_overflow" in response.body
    response = third.response("GET")
    assert response.status == 503 and b"queue_timeout" in response.body
    script.gate.set()
    for client in two:
        assert client.response("GET").status == 200
    assert sc.ask().status == 200


def test_a_reload_changes_it(sc):
    import json
    script = Counted()
    start(sc, [script], {"maxRequestsPerEndpoint": 1, "queueTimeout": "20s"})
    assert set(ask_all(sc, 4, 5)) == {200} and script.most == 1
    sc.s.config["upstreams"][0]["circuitBreaker"] = {}
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    script.gate.clear()
    clients = [sc.client() for _ in range(4)]
    for client in clients:
        client.request("GET", "/")
    wait_for(lambda: script.now == 4, "all are there at once")
    script.gate.set()
    for client in clients:
        assert client.response("GET").status == 200


def test_a_tunnel_has_a_place(sc):
    def echoes(conn):
        while (data := conn.read_some()):
            conn.send(data)
    backend = sc.backend(echoes)
    sc.proxy(backend=backend, listener={"protocol": "tcp"},
             upstream={"circuitBreaker": {"maxRequestsPerEndpoint": 1, "queueTimeout": "20s"}})
    first, second = sc.client(), sc.client()
    first.send(b"one")
    assert first.read(3) == b"one"
    second.send(b"two")
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 1, "it waits")
    first.close()
    assert second.read(3) == b"two"
