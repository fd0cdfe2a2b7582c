"""HTTP/1.1, HTTP/2 and HTTP/2 over TLS on either side of sluice, in every combination: each case
gives the same status, bytes and end as without sluice, and nothing is alive afterwards."""

import functools

import pytest

import certs
import h2wire
import matrix
from harness import forward, free_port

PROTOCOLS = ("h1", "h2c", "h2s")


@functools.lru_cache(maxsize=None)
def pair():
    return certs.authority().issue("server", sans=["DNS:test", "IP:127.0.0.1"])


@functools.lru_cache(maxsize=None)
def without(protocol, case):
    """What the client sees of the application itself. By HTTP/2, the same with TLS as without."""
    app = matrix.Application(protocol)
    try:
        return matrix.run(case, protocol, app.backend.address, app)
    finally:
        app.backend.stop()
        assert not app.backend.errors, app.backend.errors


@pytest.mark.parametrize("case", matrix.CASES)
@pytest.mark.parametrize("upstream", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_matrix(sc, client, upstream, case):
    expected = without("h1" if client == "h1" else "h2c", case)
    app = matrix.Application(upstream, pair())
    sc.backends.append(app.backend)
    listener = {"name": "main", "address": f"127.0.0.1:{free_port()}", "routes": [forward()]}
    if client == "h2s":
        listener["tls"] = {"certificates": [{"certFile": pair().cert, "keyFile": pair().key}]}
    entry = {"name": "app", "endpoints": [app.backend.address]}
    if upstream != "h1":
        entry["protocol"] = "http2"
    if upstream == "h2s":
        entry["tls"] = {"caFile": certs.authority().cert, "serverName": "test"}
    sc.sluice({"listeners": [listener], "upstreams": [entry]})
    tls = h2wire.client_tls() if client == "h2s" else None
    assert matrix.run(case, client, listener["address"], app, tls) == expected
