"""Where a learned session is given back: to the endpoint that gave it, and to nobody else."""

import json
import os
import signal
import ssl

import pytest

import h2wire
import tls
from device import Device, rule
from learns import finish, learn_proxy, leases, login, wait_held
from tls import certs
from wire import wait_for


def test_to_the_endpoint_that_gave_it(sc):
    devices = [Device(), Device()]
    backends = [sc.backend(d.script) for d in devices]
    learn_proxy(sc, devices[0], backend=backends[0],
                upstream={"endpoints": [b.address for b in backends], "balance": "roundRobin"})
    for i in range(6):
        assert login(sc, f"/login?as=x-{i}").status == 200
    wait_held(sc, 6)
    finish(sc)
    for device in devices:
        assert device.count == 3
        assert sorted(device.logouts()) == sorted(s for what, s in device.order if what == "login")


def test_over_tls(sc):
    """By the upstream's CA, certificate and name; the device's own is for that name only."""
    device = Device()
    backend = sc.backend(tls.secured(device.script, tls.server_context(clients=tls.CA)))
    pair = tls.client_pair()
    learn_proxy(sc, device, backend=backend,
                upstream=tls.upstream(certFile=pair.cert, keyFile=pair.key))
    assert login(sc).status == 200
    wait_held(sc, 1)
    finish(sc)
    assert device.logouts() == ["s-1"]
    assert device.requests[-1].get("host") == "test"


PROVED = {  # what a device is known by, and a certificate of the same CA that is another's
    "sans": (["DNS:a.test"], {"serverName": "b.test", "sans": ["c.test", "a.test"]}, ["DNS:b.test"]),
    "address": (["IP:192.0.2.9"], {"serverName": "b.test", "sans": ["192.0.2.9"]}, ["DNS:b.test"]),
    "spiffe": (["URI:spiffe://td/ns/a"], {"serverName": "b.test", "spiffeIds": ["spiffe://td/ns/*"]},
               ["DNS:b.test", "URI:spiffe://td/other/a"]),
    "name": (["DNS:a.test"], {"serverName": "a.test"}, ["DNS:b.test"]),
}


class Tls:
    """A device behind a certificate that can be changed for another."""

    def __init__(self, sc, sans, device=None, **how):
        self.device = device or Device()
        self.how = how
        self.context = None
        self.become(sans)
        self.backend = sc.backend(self.script)

    def become(self, sans, ca=tls.CA):
        pair = ca.issue("device", sans=sans)
        self.context = tls.server_context(pair, **self.how)

    def script(self, conn):
        tls.secured(self.device.script, self.context)(conn)


@pytest.mark.parametrize("how", sorted(PROVED))
def test_a_release_verifies_as_the_upstream_does(sc, how):
    sans, rules, _ = PROVED[how]
    there = Tls(sc, sans)
    learn_proxy(sc, there.device, backend=there.backend, upstream={"tls": {"caFile": tls.CA.cert, **rules}})
    assert login(sc).status == 200
    wait_held(sc, 1)
    finish(sc)
    assert there.device.logouts() == ["s-1"]


@pytest.mark.parametrize("how", sorted(PROVED))
def test_a_release_is_not_sent_to_another(sc, how):
    """Somebody else is there by then, with a certificate of the same CA: nothing is told to it."""
    sans, rules, others = PROVED[how]
    there = Tls(sc, sans)
    learn_proxy(sc, there.device, [rule("json", hold={"path": "/logout?session={session}", "retries": 0})],
                backend=there.backend, upstream={"tls": {"caFile": tls.CA.cert, **rules}})
    assert login(sc).status == 200
    wait_held(sc, 1)
    there.become(others)
    entry, = leases(sc)
    code, response = sc.s.admin("DELETE", f"/v1/leases/{entry['id']}")
    assert code == 502 and "certificate" in json.loads(response.body)["detail"], response
    assert there.device.logouts() == []
    there.become(sans)
    finish(sc)
    assert there.device.logouts() == ["s-1"]


def test_a_release_verifies_after_a_crash_too(sc):
    """What is asked of the certificate is in the journal."""
    sans, rules, others = PROVED["sans"]
    there = Tls(sc, sans)
    learn_proxy(sc, there.device, [rule("json", hold={"path": "/logout?session={session}", "retries": 0})],
                backend=there.backend, upstream={"tls": {"caFile": tls.CA.cert, **rules}})
    assert login(sc).status == 200
    wait_held(sc, 1)
    pid = sc.s.pid
    sc.s.expect_faults = True
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: sc.s.pid != pid, "another serving process")
    sc.s.wait_ready()
    wait_held(sc, 1)
    entry, = leases(sc)
    there.become(others)
    assert sc.s.admin("DELETE", f"/v1/leases/{entry['id']}")[0] == 502
    assert there.device.logouts() == []
    there.become(sans)
    for client in sc.clients:
        client.close()
    sc.s.stop()
    sc.s.ended = True
    assert there.device.logouts() == ["s-1"]


def test_a_release_verifies_nothing_where_the_upstream_does_not(sc):
    there = Tls(sc, ["DNS:elsewhere.test"])
    there.become(["DNS:elsewhere.test"], certs.authority())
    learn_proxy(sc, there.device, backend=there.backend,
                upstream={"tls": {"serverName": "b.test", "insecureSkipVerify": True}})
    assert login(sc).status == 200
    wait_held(sc, 1)
    finish(sc)
    assert there.device.logouts() == ["s-1"]


@pytest.mark.parametrize("version, logouts", [(ssl.TLSVersion.TLSv1_3, ["s-1"]), (ssl.TLSVersion.TLSv1_2, [])])
def test_a_release_keeps_to_min_version(sc, version, logouts):
    there = Tls(sc, ["DNS:a.test"])
    learn_proxy(sc, there.device, [rule("json", hold={"path": "/logout?session={session}", "retries": 0})],
                backend=there.backend, upstream=tls.upstream(minVersion="1.3"))
    assert login(sc).status == 200
    wait_held(sc, 1)
    there.how = {"version": version}
    there.become(["DNS:a.test"])
    finish(sc)
    assert there.device.logouts() == logouts


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_release_by_http2(sc, over_tls):
    """Of a device that speaks nothing else."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, Device().body("h2-1") if st.get(":path") == "/login" else b"{}")
    backend = h2wire.Backend(script, tls=tls.server_context(alpn=("h2",)) if over_tls else None)
    sc.backends.append(backend)
    learn_proxy(sc, backend=backend, upstream={"protocol": "http2", **(tls.upstream(sans=["a.test"]) if over_tls else {})})
    assert login(sc).status == 200
    wait_held(sc, 1)
    finish(sc)
    seen = [(st.get(":method"), st.get(":scheme"), st.get(":authority"), st.get(":path")) for st in backend.requests]
    scheme = "https" if over_tls else "http"
    assert seen == [("POST", scheme, "test", "/login"), ("POST", scheme, "test", "/logout?session=h2-1")]


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_release_over_a_unix_socket(sc, over_tls):
    device = Device()
    script = tls.secured(device.script, tls.server_context()) if over_tls else device.script
    backend = sc.backend(script, address=f"unix:{sc.directory}/device")
    learn_proxy(sc, device, backend=backend, upstream=tls.upstream() if over_tls else None)
    assert login(sc).status == 200
    wait_held(sc, 1)
    finish(sc)
    assert device.logouts() == ["s-1"]
    assert device.requests[-1].get("host") == "test"
