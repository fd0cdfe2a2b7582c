"""Hundreds of idle connections that end at once are closed in several turns of the loop; all of them
are, whyever they end."""

from reload_rig import Live
from wire import wait_for

IDLE = 300  # several times what is closed in a turn
POOL = {"minIdle": IDLE, "idleTimeout": "60s"}


def start(sc, pool=None):
    live = Live(sc).start(upstream={"pool": pool or POOL})
    sc.s.base_fds = None  # minIdle holds a changing number
    wait_idle(sc, IDLE)
    return live


def wait_idle(sc, n):
    wait_for(lambda: sc.s.metrics().get("sluice_upstream_connections_idle") == n, f"{n} are idle")


def test_endpoint_goes(sc):
    live, other = start(sc), sc.backend()
    live.config["upstreams"][0]["endpoints"] = [other.address]
    live.apply()
    sc.app.wait_done()
    other.wait_conns(IDLE)
    wait_idle(sc, IDLE)
    assert sc.ask("GET", "/").status == 200 and not sc.app.requests


def test_upstream_goes(sc):
    live = start(sc)
    live.config["upstreams"][0].update(name="new", pool={})
    live.config["listeners"][0]["routes"] = [{"upstream": "new"}]
    live.apply()
    sc.app.wait_done()
    assert sc.ask("GET", "/").status == 200


def test_upstream_comes_back(sc):
    """What is not closed yet when it is named again is used, or closed all the same."""
    live = start(sc)
    old = live.config["upstreams"][0]
    for name in ("new", "app", "new", "app"):
        live.config["upstreams"] = [{**old, "name": name}]
        live.config["listeners"][0]["routes"] = [{"upstream": name}]
        live.apply()
    wait_idle(sc, IDLE)
    wait_for(lambda: sum(t.is_alive() for t in sc.app.threads) == IDLE, "the others are closed")


def test_time_is_over(sc):
    live = start(sc)
    live.config["upstreams"][0]["pool"] = {"idleTimeout": "100ms"}
    live.apply()
    sc.app.wait_done()
    wait_idle(sc, 0)


def test_operator_drains(sc):
    start(sc)
    body = b'{"upstream": "app", "address": "%s", "action": "drain"}' % sc.app.address.encode()
    assert sc.s.admin("POST", "/v1/endpoints", body=body)[0] == 200
    sc.app.wait_done()
    wait_idle(sc, 0)
