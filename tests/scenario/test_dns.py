"""Names as endpoints: addresses that come, go and stay, and DNS servers that fail, lie or are slow.

Every name ends in a dot, so that no search list of the machine has a say."""

import json
import threading
import time

import pytest

from dns_server import LIE, DnsServer
from harness import Backend, assert_problem, forward
from ports import free_port
from wire import TIMEOUT, wait_for

FAST = {"minTtl": "1s", "maxTtl": "1s", "srvTtl": "1s"}  # the shortest there is


def who(number):
    """An application that says which one it is."""
    def script(conn):
        while conn.request() is not None:
            conn.answer(str(number).encode())
    return script


class Names:
    """Applications on 127.0.0.2, .3, ... with one port, a DNS server, and sluice before them."""

    def __init__(self, sc, n=2):
        self.sc = sc
        self.dns = DnsServer()
        sc.backends.append(self.dns)  # it is stopped with them, behind sluice
        self.port = free_port()
        self.apps = {i: sc.backend(who(i), address=f"127.0.0.{i}:{self.port}") for i in range(2, 2 + n)}

    def config(self, endpoints=None, dns=None, timeout="8s", **more):
        return {
            "dns": {"servers": [self.dns.address], "timeout": timeout, "tries": 1},
            "listeners": [{"name": "in", "address": f"127.0.0.1:{free_port()}",
                           "routes": [forward("app", timeout="5s")]}],
            "upstreams": [{"name": "app", "endpoints": endpoints or [f"app.test.:{self.port}"],
                           "balance": "roundRobin", "dns": {**FAST, **(dns or {})}}],
            **more,
        }

    def start(self, config=None, env=None, **how):
        config = config or self.config(**how)
        self.sc.address = config["listeners"][0]["address"]
        self.sc.s = self.sc.sluice(config, env=env)
        return self.sc.s

    def point(self, *numbers, **more):
        self.dns.set("app.test", "A", [f"127.0.0.{i}" for i in numbers], **{"ttl": 1, **more})

    def seen(self, n=12):
        """The applications that answer."""
        bodies = set()
        for _ in range(n):
            response = self.sc.ask()
            assert response.status == 200, response
            bodies.add(int(response.body))
        return bodies

    def wait_seen(self, *expected):
        wait_for(lambda: self.seen() == set(expected), f"requests go to {expected}")

    def metric(self, what, name="app.test.", **labels):
        want = {"name": name, **labels}.items()
        return sum(v for have, v in self.sc.s.metrics().series(f"sluice_dns_{what}").items() if want <= set(have))

    def wait_results(self, result, n, name="app.test."):
        wait_for(lambda: self.metric("queries_total", name, result=result) >= n,
                 f"{n} look-ups of {name} end with {result}")


@pytest.fixture
def names(sc):
    return Names(sc)


def test_all_addresses_are_endpoints(names):
    names.point(2, 3)
    names.start()
    assert names.seen() == {2, 3}
    endpoints = names.sc.s.status()["upstreams"][0]["endpoints"]
    assert sorted(e["address"] for e in endpoints) == [f"127.0.0.{i}:{names.port}" for i in (2, 3)]
    assert names.metric("addresses") == 2


def test_ttl_brings_new_addresses_and_fails_nothing(names):
    """The busy connection to an address that goes ends in its own time, idle ones at once."""
    busy, go = threading.Event(), threading.Event()

    def slow(conn):
        while (request := conn.request()) is not None:
            if request.target == "/slow":
                busy.set()
                go.wait(10)
            conn.answer(b"2")

    names.apps[2].script = slow
    names.point(2)
    names.start()
    names.seen(3)
    client = names.sc.client()
    client.request("GET", "/slow")
    assert busy.wait(5)
    stop, failed, done = threading.Event(), [], []

    def load():
        mine = names.sc.client()
        while not stop.is_set():
            response = mine.ask()
            (done if response.status == 200 else failed).append(response)

    thread = threading.Thread(target=load)
    thread.start()
    names.point(3)
    names.wait_seen(3)
    stop.set()
    thread.join()
    assert done and not failed
    go.set()
    assert client.response("GET").status == 200
    names.apps[2].wait_done()  # no connection is left there
    assert names.seen() == {3}


@pytest.mark.parametrize("how,result", [("servfail", "servfail"), ("refused", "servfail"),
                                        ("silent", "timeout"), ("garbage", "malformed"),
                                        ("loop", "malformed"), ("cut", "malformed")])
def test_failures_keep_the_last_good(names, how, result):
    names.point(2, 3)
    names.start(dns={"onNotFound": "remove", "onEmpty": "remove"},
                timeout="1s" if how == "silent" else "8s")
    names.dns.set("app.test", "A", ["127.0.0.9"], how=how)
    # Without a record there would be nothing to cut but the question, and that is another lie.
    names.dns.set("app.test", "AAAA", ["::9"], how=how)
    names.wait_results(result, 2)
    assert names.seen() == {2, 3}
    wait_for(lambda: names.metric("last_good_age_seconds") > 1, "its age is told")
    names.dns.set("app.test", "AAAA", [])
    names.point(3)  # and it recovers
    names.wait_seen(3)


@pytest.mark.parametrize("result", ["nxdomain", "nodata"])
def test_gone_is_kept_by_default(names, result):
    names.point(2, 3)
    names.start()
    names.dns.both("app.test", how="nxdomain" if result == "nxdomain" else "answer")
    names.wait_results(result, 2)
    assert names.seen() == {2, 3}


@pytest.mark.parametrize("result,key", [("nxdomain", "onNotFound"), ("nodata", "onEmpty")])
def test_gone_is_removed_where_configured(names, result, key):
    names.point(2)
    names.start(dns={key: "remove"})
    assert names.seen() == {2}
    names.dns.both("app.test", how="nxdomain" if result == "nxdomain" else "answer")
    response = wait_for(lambda: (r := names.sc.ask()).status != 200 and r, "it is refused")
    assert_problem(response, "no_endpoint", 503)
    names.point(2)
    wait_for(lambda: names.sc.ask().status == 200, "it is back")


@pytest.mark.parametrize("how", ["wrong_id", "wrong_question", "empty", "truncated"])
def test_lies_are_not_believed(names, how):
    for kind, records in (("A", ["127.0.0.2"]), ("AAAA", [])):
        names.dns.set("app.test", kind, records, how=how, ttl=1)
    names.start()
    assert names.seen() == {2}
    addresses = [e["address"] for e in names.sc.s.status()["upstreams"][0]["endpoints"]]
    assert not any(a.startswith(LIE) for a in addresses)
    assert (names.dns.over_tcp > 0) == (how == "truncated")


def test_cname(names):
    names.dns.set("app.test", "A", ["127.0.0.3"], cname="real.test")
    names.start()
    assert names.seen() == {3}


def test_slow_dns_blocks_nothing(names):
    names.point(2)
    names.start(timeout="5s")
    names.dns.both("app.test", how="silent")
    asked = names.dns.asked("app.test")
    wait_for(lambda: names.dns.asked("app.test") > asked, "a look-up is under way")
    worst, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        start = time.monotonic()
        assert names.sc.ask().status == 200
        assert names.sc.s.get_health("/livez")[0] == 200
        worst = max(worst, time.monotonic() - start)
    assert worst < 4


def test_start_with_a_dead_server(names):
    names.dns.how = "silent"
    start = time.monotonic()
    names.start(endpoints=[f"app.test.:{names.port}"], timeout="500ms")  # waits for /readyz
    assert 0.4 < time.monotonic() - start < 8
    assert_problem(names.sc.ask(), "no_endpoint", 503)
    names.dns.how = None
    names.point(2)
    wait_for(lambda: names.sc.ask().status == 200, "it comes in by itself")


def test_start_without_a_server(names):
    config = names.config(endpoints=[f"app.test.:{names.port}", f"127.0.0.3:{names.port}"],
                          timeout="500ms")
    config["dns"]["servers"] = [f"127.0.0.1:{free_port()}"]
    names.start(config)
    assert names.seen() == {3}


def reload(names, config):
    s = names.sc.s
    s.config.update(config)
    with open(s.config_path, "w") as f:
        f.write(json.dumps(s.config))
    return s.admin("POST", "/v1/reload")


def test_a_reload_waits_for_new_names(names):
    """The first request after the swap finds the addresses there."""
    names.point(2)
    names.start(timeout="10s")
    names.dns.set("next.test", "A", ["127.0.0.3"], delay=0.5, ttl=1)
    names.dns.set("next.test", "AAAA", [])
    config = names.config(endpoints=[f"next.test.:{names.port}"], timeout="10s")
    config["listeners"] = names.sc.s.config["listeners"]
    start = time.monotonic()
    code, response = reload(names, config)
    assert code == 200, response
    assert time.monotonic() - start > 0.4
    assert names.seen() == {3}
    asked, again = names.dns.asked("app.test"), names.dns.asked("next.test")
    wait_for(lambda: names.dns.asked("next.test") >= again + 2, "it is looked up again",
             3 * TIMEOUT)
    assert names.dns.asked("app.test") == asked, "it is forgotten"
    assert names.metric("queries_total") == 0


def test_link_local_is_refused(names):
    names.dns.set("app.test", "A", ["169.254.169.254", "127.0.0.2", "0.0.0.0"], ttl=1)
    names.dns.set("app.test", "AAAA", ["fe80::1", "fd00:ec2::254"])
    names.start()
    assert names.seen() == {2}
    assert [e["address"] for e in names.sc.s.status()["upstreams"][0]["endpoints"]] == \
        [f"127.0.0.2:{names.port}"]
    assert names.metric("addresses_refused") == 4


def test_srv(names):
    names.dns.set("_http._tcp.app.test", "SRV", [(0, 0, names.port, "two.test"),
                                                 (1, 0, names.port, "three.test")], ttl=1)
    names.dns.set("two.test", "A", ["127.0.0.2"], ttl=1)
    names.dns.set("three.test", "A", ["127.0.0.3"], ttl=1)
    names.start(endpoints=["srv:_http._tcp.app.test."])
    assert names.seen() == {2}
    names.dns.both("two.test", how="nxdomain")  # the next priority takes over
    names.wait_seen(3)
    names.dns.set("_http._tcp.app.test", "SRV", how="servfail")
    names.wait_results("servfail", 2, "srv:_http._tcp.app.test.")
    assert names.seen() == {3}


def test_static_addresses_beside_names(names):
    names.point(2)
    names.start(endpoints=[f"127.0.0.3:{names.port}", f"app.test.:{names.port}"])
    assert names.seen() == {2, 3}
    names.dns.both("app.test", how="nxdomain")
    names.wait_results("nxdomain", 1)
    assert names.seen() == {2, 3}


def test_hosts_file(names, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.3 app.test\n")
    names.start(endpoints=[f"app.test:{names.port}"], env={"CARES_HOSTS": str(hosts)})
    assert names.seen() == {3}
    assert not names.dns.queries
