"""Each way in which a handshake fails has its word in the metrics, on the side that it is about."""

import re
import ssl
import time

import pytest

import certs
from harness import ROOT, assert_problem, deep_update
from tls import (CA, TlsClient, client_context, client_pair, listener, secured, server_context,
                 server_pair, upstream)
from wire import SLOW, wait_for

OTHER = certs.authority("Other CA")
SPIFFE = "spiffe://td/ns/client"


def failures(sc, prefix, **labels):
    """reason -> count, of the listener or the upstream."""
    found = {}
    for (name, label), value in sc.s.metrics().samples.items():
        if name == f"sluice_{prefix}tls_failures_total":
            found[dict(label)["reason"]] = value
    return found


def test_every_word_is_documented():
    with open(f"{ROOT}/sidecar/io/tls.h") as f:
        words = re.findall(r'X\([A-Z_0-9]+, "(\w+)"\)', f.read())
    with open(f"{ROOT}/docs/guide/tls.md") as f:
        table = f.read().split("## Why a handshake failed")[1]
    rows = [w for line in table.split("\n") if line.startswith("| `")
            for w in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert len(words) > 20 and sorted(rows) == sorted(w for w in words if w != "none")


# --- clients ----------------------------------------------------------------------------------

def shake(sc, context, **how):
    """The handshake, and what TLS 1.3 has to say of it behind."""
    try:
        client = TlsClient(sc.address, context, **how)
        client.ask()
        client.close()
    except (OSError, EOFError):
        return
    raise AssertionError("it was let in")


def context(**how):
    return lambda: client_context(**how)


def ciphers(names):
    c = client_context(version=ssl.TLSVersion.TLSv1_2)
    c.set_ciphers(names)
    return c


REQUIRE = {"clientAuth": "require", "caFile": CA.cert}


@pytest.mark.parametrize("reason,tls,client", [
    ("protocol_version", {"minVersion": "1.3"}, context(version=ssl.TLSVersion.TLSv1_2)),
    ("no_shared_cipher", {}, lambda: ciphers("AES128-GCM-SHA256")),
    ("no_application_protocol", {}, context(alpn=("spdy/1",))),
    ("no_client_certificate", REQUIRE, context()),
    ("certificate_unknown_ca", REQUIRE, lambda: client_context(pair=OTHER.issue("client"))),
    ("certificate_expired", REQUIRE, lambda: client_context(
        pair=CA.issue("client", valid_from=-7200, valid_until=-3600))),
    ("certificate_not_yet_valid", REQUIRE, lambda: client_context(
        pair=CA.issue("client", valid_from=3600, valid_until=7200))),
    ("certificate_purpose", REQUIRE, lambda: client_context(
        pair=CA.issue("client", usage="serverAuth"))),
    ("spiffe_id_refused", {**REQUIRE, "spiffeIds": ["spiffe://td/ns/other"]},
     lambda: client_context(pair=client_pair())),
    ("spiffe_id_refused", {**REQUIRE, "spiffeIds": [SPIFFE]},
     lambda: client_context(pair=CA.issue("nobody"))),
])
def test_client(sc, reason, tls, client):
    sc.proxy(listener=listener(**tls))
    shake(sc, client())
    wait_for(lambda: failures(sc, ""), "it is counted")
    assert failures(sc, "") == {reason: 1}
    assert not sc.app.requests
    assert sc.s.metrics().get("sluice_tls_handshakes_total", result="full") == 0


def test_http2_alone_offers_nothing_else(sc):
    sc.proxy(listener=deep_update(listener(), {"protocol": "http2"}))
    shake(sc, client_context(alpn=("http/1.1",)))
    wait_for(lambda: failures(sc, ""), "it is counted")
    assert failures(sc, "") == {"no_application_protocol": 1}
    client = TlsClient(sc.address, client_context(alpn=("http/1.1", "h2")))
    assert client.tls.selected_alpn_protocol() == "h2"
    client.close()


@pytest.mark.parametrize("reason,distrust", [("peer_unknown_ca", True), ("peer_closed", False)])
def test_client_who_leaves(sc, reason, distrust):
    sc.proxy(listener=listener())
    if distrust:
        shake(sc, client_context(ca=OTHER))
    else:
        sc.client().send(b"\x16\x03\x01\x00\x50\x01").close()
    wait_for(lambda: failures(sc, "") == {reason: 1}, lambda: failures(sc, ""))


@pytest.mark.parametrize("first,reason", [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "not_tls"),
    (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "protocol_error"),
])
def test_client_who_speaks_otherwise(sc, first, reason):
    sc.proxy(listener=listener())
    client = sc.client().send(first)
    try:
        client.read_to_end()
    except ConnectionResetError:
        pass
    assert failures(sc, "") == {reason: 1}


def test_client_who_is_slow(sc):
    sc.proxy(listener=deep_update(listener(), {"http": {"headerTimeout": "300ms"}}))
    client = sc.client()
    began = time.monotonic()
    client.send(b"\x16\x03\x01").expect_end()
    assert 0.2 < time.monotonic() - began < 5 * SLOW
    assert failures(sc, "") == {"timeout": 1}


# --- upstreams --------------------------------------------------------------------------------

def answer(conn):
    while conn.request() is not None:
        conn.answer(b"ok")


def server(**how):
    return lambda: server_context(CA.issue("a.test", **how))


@pytest.mark.parametrize("reason,problem,tls,context", [
    ("name_mismatch", "upstream_certificate", {"serverName": "b.test"}, server_context),
    ("name_mismatch", "upstream_certificate", {"sans": ["b.test", "10.0.0.1"]}, server_context),
    ("spiffe_id_refused", "upstream_certificate", {"spiffeIds": [SPIFFE]}, server_context),
    ("certificate_unknown_ca", "upstream_certificate", {"caFile": OTHER.cert}, server_context),
    ("certificate_expired", "upstream_certificate", {},
     server(valid_from=-7200, valid_until=-3600)),
    ("certificate_not_yet_valid", "upstream_certificate", {},
     server(valid_from=3600, valid_until=7200)),
    ("certificate_purpose", "upstream_certificate", {}, server(usage="clientAuth")),
    ("peer_protocol_version", "upstream_tls", {"minVersion": "1.3"},
     lambda: server_context(version=ssl.TLSVersion.TLSv1_2)),
])
def test_upstream(sc, reason, problem, tls, context):
    sc.proxy(script=secured(answer, context()), upstream=upstream(**tls))
    assert_problem(sc.ask(), problem)
    found = failures(sc, "upstream_")
    assert set(found) == {reason}, found
    assert "TLS with" in sc.s.log()  # and why, for people
    record = sc.s.wait_access_log(1)[0]
    assert record["reason"] == problem and record["status"] == 502


def test_upstream_that_speaks_plain(sc):
    sc.proxy(script=lambda conn: conn.send("HTTP/1.1 400 Bad Request\r\n\r\n"), upstream=upstream())
    assert_problem(sc.ask(), "upstream_tls")
    assert set(failures(sc, "upstream_")) == {"not_tls"}


def test_handshakes_are_counted(sc):
    sc.proxy(listener=listener(), script=secured(answer, server_context(server_pair())),
             upstream=deep_update(upstream(), {"pool": {"maxRequestsPerConnection": 1}}))
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    first = TlsClient(sc.address, context)
    assert first.ask().status == 200
    second = TlsClient(sc.address, context, session=first.tls.session)
    assert second.ask().status == 200
    metrics = sc.s.metrics()
    for result in ("full", "resumed"):
        assert metrics.get("sluice_tls_handshakes_total", listener="main", result=result) == 1
        assert metrics.get("sluice_upstream_tls_handshakes_total", upstream="app", result=result) == 1
    assert not failures(sc, "") and not failures(sc, "upstream_")
    first.close()
    second.close()
