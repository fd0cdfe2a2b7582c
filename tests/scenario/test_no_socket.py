"""No address of ours leads to an endpoint (EADDRNOTAVAIL), as when all local ports are used up: in a
network namespace whose loopback has no ::1. What test_faults.py does to descriptors is done here to
addresses."""

import pytest

from harness import assert_problem
from wire import wait_for

IPV6_OFF = "/proc/sys/net/ipv6/conf/lo/disable_ipv6"
STRICT = {"circuitBreaker": {"consecutiveErrors": 1},
          "outlierDetection": {"consecutive5xx": 1, "consecutiveLocalErrors": 1}}


def set_ipv6(there):
    with open(IPV6_OFF, "w") as f:
        f.write("0" if there else "1")


@pytest.fixture
def lost(space, sc):
    """A server at [::1], which nobody has an address for any more."""
    try:
        set_ipv6(True)
        server = sc.backend(address="[::1]:0")
    except OSError as e:
        pytest.skip(f"NOT CHECKED: no IPv6 that can be turned off: {e}")
    set_ipv6(False)
    return server


def metric(sc, name):
    return sc.s.metrics().get(f"sluice_{name}", upstream="app")


def speaks_against_nobody(sc):
    upstream = sc.s.status()["upstreams"][0]
    assert {e["errors"] for e in upstream["endpoints"]} == {0}
    assert upstream["circuit_breaker"]["state"] == "closed"
    assert metric(sc, "outlier_ejections_total") == 0
    assert metric(sc, "upstream_connect_failed_total") > 0  # it has been tried


def test_another_endpoint_takes_them(sc, lost):
    good = sc.backend()
    sc.proxy(backend=good, upstream={"endpoints": [lost.address, good.address],
                                     "balance": "roundRobin", **STRICT})
    for _ in range(10):
        client = sc.client()
        assert [client.ask(method).status for method in ("GET", "POST")] == [200, 200]
    assert len(good.requests) == 20 and not lost.requests
    speaks_against_nobody(sc)


def test_alone(sc, lost):
    sc.proxy(backend=lost, upstream=STRICT)
    client = sc.client()
    for _ in range(3):
        assert_problem(client.ask(), "no_socket")
    assert [r["reason"] for r in sc.s.wait_access_log(3)] == ["no_socket"] * 3
    speaks_against_nobody(sc)
    set_ipv6(True)
    wait_for(lambda: client.ask().status == 200, "there is an address again")
    assert lost.requests
