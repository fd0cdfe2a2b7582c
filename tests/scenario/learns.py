"""A sluice that learns sessions, and what it holds."""

import json

from device import Device, rule
from wire import wait_for


def learn_proxy(sc, device=None, rules=None, leases=None, limits=None, route=None, upstream=None,
                backend=None, **how):
    """An outbound listener in front of a device."""
    device = device or Device()
    backend = backend or sc.backend(device.script)
    learn = rules if rules is not None else [rule(device.how)]
    more = {"leases": leases or {}, "limits": limits or {},
            "lifecycle": {"noticePeriod": "0s", "drainTimeout": "2s", "lastCall": "500ms",
                          "appCleanup": "5s"}}
    sc.proxy(backend=backend, listener={"direction": "outbound"},
             route={"learn": learn, **(route or {})}, upstream=upstream,
             more={k: v for k, v in more.items() if v}, **how)
    return device


def leases(sc):
    code, response = sc.s.admin("GET", "/v1/leases")
    assert code == 200, response
    return json.loads(response.body)["leases"]


def wait_held(sc, n):
    wait_for(lambda: len(leases(sc)) == n, lambda: f"{n} held: {leases(sc)}")


def login(sc, target="/login", client=None, **how):
    c = client or sc.client()
    return c.ask("POST", target, **how)


def finish(sc):
    """Everybody goes, then sluice does: what it holds is given back."""
    for client in sc.clients:
        client.close()
    sc.s.settle()
    sc.s.stop()
