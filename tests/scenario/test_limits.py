"""Rate limits: how many come through, who is told, and what is counted."""

import os
import threading
import time

import pytest

import h2wire
from harness import assert_problem, free_port
from reload_rig import live  # noqa: F401
from test_authz import Rig
from tokens import key, write_set
from wire import SLOW, wait_for

DAY = "24h"  # what is used in a test does not come back in it


def limit(name="all", requests=3, per=DAY, **more):
    return {"name": name, "requests": requests, "per": per, **more}


def proxy(sc, *limits, **how):
    sc.proxy(route={"rateLimits": list(limits)}, **how)


def shown(sc, i=0):
    return sc.s.status()["routes"][0]["rate_limits"][i]


@pytest.mark.parametrize("algorithm", ["tokenBucket", "fixedWindow", "slidingWindow"])
def test_so_many_come_through(sc, algorithm):
    proxy(sc, limit(algorithm=algorithm))
    client = sc.client()
    for _ in range(3):
        assert client.ask().status == 200
    answer = client.ask()
    assert_problem(answer, "rate_limited", 429)
    assert int(answer.get("Retry-After")) >= 1
    assert answer.get("RateLimit-Limit") == "3"
    assert answer.get("RateLimit-Remaining") == "0"
    assert answer.get("RateLimit-Reset") == answer.get("Retry-After")
    assert not answer.closes  # the client may go on
    assert_problem(client.ask(), "rate_limited")
    assert len(sc.app.requests) == 3
    assert (shown(sc)["allowed"], shown(sc)["refused"]) == (3, 2)


def test_a_bucket_fills_again(sc):
    proxy(sc, limit(requests=5, per="1s", burst=1))
    assert sc.ask().status == 200
    refused = sc.ask()
    assert refused.status in (200, 429)
    start = time.monotonic()
    wait_for(lambda: sc.ask().status == 200, "a token has come")
    assert time.monotonic() - start < 5 * SLOW


def test_each_value_of_a_header(sc):
    proxy(sc, limit(requests=1, key={"header": "X-Api-Key"}))

    def ask(*headers):
        return sc.ask(headers=list(headers)).status

    assert ask(("X-Api-Key", "a")) == 200
    assert ask(("x-api-key", "b")) == 200
    assert ask(("X-Api-Key", "a")) == 429
    assert ask() == 200
    assert ask() == 429  # who sends none shares one
    assert shown(sc)["keys"] == 3


def test_each_client(sc):
    sc.proxy(route={"rateLimits": [limit(requests=1, key={"clientAddress": True})]},
             listener={"http": {"trustedProxies": ["127.0.0.0/8"]}})

    def ask(client):
        return sc.ask(headers=[("X-Forwarded-For", client)]).status

    assert ask("192.0.2.1") == 200
    assert ask("192.0.2.2") == 200
    assert ask("192.0.2.1") == 429
    assert ask("2001:db8::1") == 200
    assert ask("2001:db8::2") == 429  # the same network
    assert ask("2001:db8:0:1::1") == 200


def test_not_by_what_a_stranger_says(sc):
    proxy(sc, limit(requests=1, key={"clientAddress": True}))
    assert sc.ask(headers=[("X-Forwarded-For", "192.0.2.1")]).status == 200
    assert sc.ask(headers=[("X-Forwarded-For", "192.0.2.2")]).status == 429


def test_each_claim(sc):
    """Of a token that was verified, and not what a client writes into its header."""
    rig = Rig(sc, issuer={"claimsToHeaders": [{"claim": "sub", "header": "X-User"}]},
              route={"rateLimits": [limit(requests=1, key={"header": "X-User"})]})

    def ask(user, *headers):
        return rig.ask(key().token(sub=user), headers=headers).status

    assert ask("a") == 200
    assert ask("b") == 200
    assert ask("a", ("X-User", "c")) == 429
    assert rig.ask("no token").status == 401  # costs nobody anything
    assert shown(sc)["keys"] == 2


def test_each_token(sc):
    """Which authorize takes out of the request."""
    rig = Rig(sc, authz={"optional": True},
              route={"rateLimits": [limit(requests=1, key={"header": "authorization"})]})
    a, b = key().token(sub="a"), key().token(sub="b")
    assert [rig.ask(t).status for t in (a, b, None, a, b)] == [200, 200, 200, 429, 429]
    assert rig.sc.ask(headers=[("Authorization", "Basic x")]).status == 200
    assert rig.ask().status == 429
    assert shown(sc)["keys"] == 4


@pytest.mark.parametrize("authz", [False, True])
def test_each_host(sc, authz):
    """By HTTP/2 it is no field, and authorize makes the request ready for the next hop."""
    route = {"rateLimits": [limit(requests=1, key={"header": "Host"})], "rewrite": {"host": "inner"}}
    if authz:
        Rig(sc, authz={"optional": True}, route=route)
    else:
        sc.proxy(route=route)
    client = h2wire.Client(sc.address)
    sc.clients.append(client)
    client.ready()
    assert [client.ask(authority=h).status for h in ("a", "b", "a")] == [200, 200, 429]
    assert [sc.client().request(host=h).response().status for h in ("b", "c", "c")] == [429, 200, 429]


def test_each_claim_by_its_name(sc):
    rig = Rig(sc, authz={"optional": True}, route={"rateLimits": [
        limit(requests=1, key={"claim": "$.realm.tenant"})]})

    def ask(tenant, **claims):
        return rig.ask(key().token(realm={"tenant": tenant}, **claims)).status

    assert ask("a", sub="x") == 200
    assert ask("b", sub="x") == 200
    assert ask("a", sub="y") == 429, "another token of the same tenant"
    assert ask("a", sub="y") == 429, "that comes from the cache"
    assert rig.ask("no token").status == 401  # costs nobody anything
    # All without the claim are one, with a token or without.
    assert rig.ask(key().token()).status == 200
    assert rig.ask().status == 429
    assert shown(sc)["keys"] == 3
    # A claim that is no text is none.
    assert ask({"an": "object"}) == 429
    assert ask(["a", "list"]) == 200


def test_claims_of_two_issuers_are_two(sc):
    other = os.path.join(sc.directory, "other.json")
    write_set(other, key(kid="other"))
    second = {"name": "other", "issuer": "https://other.test", "audiences": ["app"], "jwks": {"file": other}}
    rig = Rig(sc, authz={"jwt": ["idp", "other"]}, others=[second],
              route={"rateLimits": [limit(requests=1, key={"claim": "sub"})]})
    assert rig.ask(key().token(sub="a")).status == 200
    assert rig.ask(key(kid="other").token(sub="a", iss="https://other.test")).status == 200
    assert rig.ask(key().token(sub="a")).status == 429
    # Nor where each says the other's name.
    assert rig.ask(key().token(sub="other")).status == 200
    assert rig.ask(key(kid="other").token(sub="idp", iss="https://other.test")).status == 200
    assert shown(sc)["keys"] == 4


def test_a_claim_s_limit_gives_back_what_another_refused(sc):
    rig = Rig(sc, route={"rateLimits": [limit(name="user", requests=2, key={"claim": "sub"}),
                                        limit(name="all", requests=1)]})
    assert rig.ask(key().token(sub="a")).status == 200
    assert rig.ask(key().token(sub="a")).status == 429  # by "all", which costs "user" nothing
    allowed = {x["name"]: (x["allowed"], x["refused"]) for x in sc.s.status()["routes"][0]["rate_limits"]}
    assert allowed == {"user": (1, 0), "all": (1, 1)}
    rig.sc.s.config["listeners"][0]["routes"][0]["rateLimits"].pop()
    rig.reload()
    assert [rig.ask(key().token(sub="a")).status for _ in range(2)] == [200, 429]


def test_several_limits(sc):
    """One that refuses costs nothing of the others."""
    proxy(sc, limit("all", 3), limit("each", 1, key={"header": "K"}))
    assert sc.ask(headers=[("K", "a")]).status == 200
    for _ in range(5):
        assert sc.ask(headers=[("K", "a")]).status == 429
    assert sc.ask(headers=[("K", "b")]).status == 200
    assert sc.ask(headers=[("K", "c")]).status == 200
    assert sc.ask(headers=[("K", "d")]).status == 429
    assert (shown(sc, 0)["allowed"], shown(sc, 0)["refused"]) == (3, 1)
    assert (shown(sc, 1)["allowed"], shown(sc, 1)["refused"]) == (3, 5)


def test_dry_run(sc):
    proxy(sc, limit(requests=1, dryRun=True))
    for _ in range(4):
        assert sc.ask().status == 200
    assert (shown(sc)["allowed"], shown(sc)["refused_dry_run"], shown(sc)["refused"]) == (1, 3, 0)


def test_answers_of_our_own(sc):
    """A redirect and a direct response are answers too."""
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({"listeners": [{
        "name": "main", "direction": "inbound", "address": sc.address,
        "routes": [{"directResponse": {"status": 204}, "rateLimits": [limit(requests=1)]}]}]})
    assert sc.ask().status == 204
    assert sc.ask().status == 429


def test_a_reload_keeps_what_was_used(live):
    live.start()
    sc = live.sc
    by_key = limit("keyed", 2, key={"header": "K"})

    def ask(key):
        return sc.ask(headers=[("K", key)]).status

    live.apply(lambda c: live.route.update(rateLimits=[limit(requests=3), by_key]))
    assert [ask("a"), ask("a")] == [200, 200]
    live.apply(lambda c: live.route.update(rateLimits=[by_key, limit(requests=3)]))
    assert [ask("a"), ask("b"), ask("c")] == [429, 200, 429]
    live.apply(lambda c: live.route.update(rateLimits=[limit(requests=5)]))
    assert ask("x") == 429  # an empty bucket is one still
    live.apply(lambda c: live.route.update(rateLimits=[limit(requests=5, per="1s")]))
    wait_for(lambda: ask("x") == 200, "it fills as the new rate has it")
    live.apply(lambda c: live.route.pop("rateLimits"))
    assert ask("x") == 200
    live.apply(lambda c: live.route.update(rateLimits=[limit(requests=1)]))  # it had gone
    assert [ask("x"), ask("x")] == [200, 429]


def test_a_bucket_that_takes_longer_to_fill(live):
    """It is known when it is full again, and no more."""
    live.start()
    for numbers, come in (({"requests": 2}, 2), ({"requests": 2, "burst": 10}, 8), ({"requests": 20, "burst": 10}, 0),
                          ({"requests": 1, "burst": 10}, 9)):
        live.apply(lambda c, numbers=numbers: live.route.update(rateLimits=[limit(**numbers)]))
        assert sum(live.sc.ask().status == 200 for _ in range(12)) == come, numbers


def test_exact_over_workers(sc):
    """Each connection is some worker's."""
    proxy(sc, limit(requests=500), more={"workers": 4})
    counts = []

    def many():
        client = sc.client()
        counts.append(sum(client.ask().status == 200 for _ in range(100)))

    threads = [threading.Thread(target=many) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(counts) == 500


def test_keys_are_bounded(sc):
    proxy(sc, limit(requests=1, key={"header": "K"}, maxKeys=64))
    client = sc.client()
    for i in range(500):
        assert client.ask(headers=[("K", str(i))]).status == 200
    assert shown(sc)["keys"] <= 64
    metrics = sc.s.metrics()
    assert metrics.get("sluice_rate_limit_keys", limit="all") == shown(sc)["keys"]
    assert metrics.get("sluice_rate_limit_keys_forgotten_total", limit="all") >= 500 - 64
    assert metrics.get("sluice_rate_limit_requests_total", result="allowed") == 500
