"""Tokens and authorization, over real sockets: who passes, what the upstream gets, and what nobody
is told."""

import json
import os
import time

import pytest

import h2wire
import tls
import tokens
import websocket
from grpc_app import App, Client, failure, grpc
from harness import assert_problem, forward
from tls import CA, client_context, connect
from tokens import ISSUER, bearer, key, write_set
from wire import wait_for


class Rig:
    """A proxy whose route asks for a token of the issuer "idp"."""

    def __init__(self, sc, keys=None, authz=None, issuer=None, others=(), route=None, more=None,
                 **how):
        self.sc = sc
        self.file = os.path.join(sc.directory, "jwks.json")
        write_set(self.file, *(keys or [key()]))
        entry = {"name": "idp", "issuer": ISSUER, "audiences": ["app"],
                 "jwks": {"file": self.file}, **(issuer or {})}
        # A reload is asked for, and never comes by itself.
        config = {"jwt": [entry, *others], "reload": {"watch": False, "pollInterval": "0"},
                  **(more or {})}
        sc.proxy(route={"authz": {"jwt": ["idp"], **(authz or {})}, **(route or {})}, more=config,
                 **how)

    def reload(self):
        """The changed sc.s.config, in force."""
        with open(self.sc.s.config_path, "w") as f:
            json.dump(self.sc.s.config, f)
        code, response = self.sc.s.admin("POST", "/v1/reload", timeout=30)
        assert code == 200 and json.loads(response.body)["result"] == "applied", response

    def ask(self, token=None, method="GET", target="/", headers=()):
        headers = list(headers) + (bearer(token) if token else [])
        return self.sc.ask(method, target, headers=headers)

    def passed(self):
        """The request that the application got last."""
        return self.sc.app.requests[-1]

    def tokens(self, result):
        return self.sc.s.metrics().get("sluice_jwt_tokens_total", jwt="idp", result=result)

    def decided(self, decision):
        return self.sc.s.metrics().get("sluice_authz_requests_total", decision=decision)

    def never_told(self, *secrets):
        """Neither in a log, nor in a metric, nor in the state."""
        places = [self.sc.s.log_end(1 << 20), json.dumps(self.sc.s.access_log())]
        places += [str(self.sc.s.admin("GET", p)[1].body)
                   for p in ("/v1/config", "/v1/status", "/metrics", "/v1/connections")]
        for secret in secrets:
            for place in places:
                assert secret not in place


def challenge(response):
    return response.get("www-authenticate")


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA", "HS256"])
def test_each_kind(sc, kind):
    k = key(kind)
    rig = Rig(sc, keys=[k], issuer={"algorithms": [kind]})
    token = k.token(sub="somebody-secret")
    assert rig.ask(token).status == 200
    assert rig.ask(token).status == 200
    assert rig.tokens("valid") + rig.tokens("cached") == 2
    signature = token.rpartition(".")[2]
    assert_problem(rig.ask(token[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB")),
                   "jwt_invalid")
    rig.never_told(signature, "somebody-secret", *([tokens.base64url(k.secret)]
                                                   if kind == "HS256" else []))


def test_none_and_wrong(sc):
    rig = Rig(sc)
    assert_problem(missing := rig.ask(), "jwt_missing")
    assert challenge(missing) == 'Bearer realm="sluice"'
    assert_problem(expired := rig.ask(key().token(exp=int(time.time()) - 100)), "jwt_expired")
    assert challenge(expired) == ('Bearer realm="sluice", error="invalid_token", '
                                  'error_description="The token has expired"')
    for detail, token in [
            ("The token is for another audience", key().token(aud="other")),
            ("The token is of another issuer", key().token(iss="https://evil.test")),
            ("The token is signed by an unknown key", key(kid="other").token()),
            ("The token's signature is wrong", key(kid="other").token(header={"kid": "one"})),
            ("The token is not valid yet", key().token(nbf=int(time.time()) + 1000)),
            ("The token's claims are malformed or incomplete", key().token(exp=None)),
            ("The token's algorithm is not allowed", key("HS256").token()),
            ("The token's algorithm is not allowed", key().token(header={"alg": "none"})),
            ("The token has an extension that is not understood",
             key().token(header={"crit": ["exp"]})),
            ("The token is malformed", "a.b"), ("The token is malformed", "x" * 9000)]:
        problem = assert_problem(response := rig.ask(token), "jwt_invalid")
        assert problem["detail"] == detail
        assert f'error_description="{detail}"' in challenge(response)
    assert_problem(rig.ask(headers=[("Authorization", "Basic dTpw")]), "jwt_missing")
    # Two, of which whoever is behind us might take the other one.
    assert_problem(rig.ask(key().token(), headers=[("Authorization", "Basic dTpw")]),
                   "jwt_invalid")
    assert_problem(rig.ask(key().token(), headers=bearer("x")), "jwt_invalid")
    assert rig.ask(headers=[("authorization", f"bEARER  {key().token()}")]).status == 200
    assert rig.decided("allowed") == 1 and rig.decided("refused") >= 15
    assert len(sc.app.requests) == 1
    reasons = {r["reason"] for r in sc.s.wait_access_log(17)}
    assert reasons == {"jwt_missing", "jwt_expired", "jwt_invalid", "none"}


def test_leeway(sc):
    rig = Rig(sc, issuer={"leeway": "120s"})
    assert rig.ask(key().token(exp=int(time.time()) - 60)).status == 200
    assert_problem(rig.ask(key().token(exp=int(time.time()) - 200)), "jwt_expired")


def test_a_cached_token_expires(sc):
    rig = Rig(sc, issuer={"leeway": "0s"})
    token = key().token(exp=int(time.time()) + 2)
    assert rig.ask(token).status == 200
    wait_for(lambda: rig.ask(token).status == 401, "the token expires")
    assert rig.tokens("expired") >= 1


# --- what the upstream gets ---------------------------------------------------------------------

HEADERS = [{"claim": "sub", "header": "X-User"}, {"claim": "$.realm.roles", "header": "X-Roles"},
           {"claim": "line", "header": "X-Line"}]


def test_claims_to_headers(sc):
    rig = Rig(sc, issuer={"claimsToHeaders": HEADERS}, authz={"optional": True})
    forged = [("X-User", "root"), ("x_roles", "admin"), ("X-Line", "1"), ("X-Other", "kept")]
    token = key().token(realm={"roles": ["a", "b"]}, line="x\r\nX-Admin: 1")
    # A client that names them in Connection, to have them removed on the way.
    for connection in [[], [("Connection", "keep-alive, X-User, X-Roles")]]:
        assert rig.ask(token, headers=forged + connection).status == 200
        got = rig.passed()
        assert got.all("x-user") == ["user"] and got.all("x-roles") == ["a,b"]
        assert not got.has("x_roles") and not got.has("x-line") and not got.has("x-admin")
        assert got.get("x-other") == "kept"
        assert not got.has("authorization")
    assert rig.ask(headers=forged).status == 200  # without a token none of them either
    got = rig.passed()
    assert not any(got.has(n) for n in ("x-user", "x_roles", "x-roles", "x-line"))
    assert got.get("x-other") == "kept"
    assert_problem(rig.ask("wrong", headers=forged), "jwt_invalid")
    # A tab is no way to have a token that is not looked at.
    assert_problem(rig.ask(headers=[("Authorization", "Bearer\tforged")]), "jwt_invalid")


def test_claims_to_headers_in_trailers(sc):
    """Some servers merge them into the head."""
    rig = Rig(sc, issuer={"claimsToHeaders": HEADERS, "from": [{"header": "X-Token"}]})
    forged = [("x-user", "root"), ("x_roles", "admin"), ("x-token", "forged"), ("x-other", "kept")]
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\nHost: test\r\nX-Token: {key().token()}\r\n"
                "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
                + "".join(f"{n}: {v}\r\n" for n, v in forged) + "\r\n")
    assert client.response().status == 200
    assert rig.passed().trailers == [("x-other", "kept")]
    h2 = h2wire.Client(sc.address)
    sc.clients.append(h2)
    h2.ready()
    st = h2.request("POST", headers=[("x-token", key().token())], body=b"a", end=False)
    h2.headers(st.id, forged, end=True)
    assert h2.response(st).status == 200
    assert rig.passed().trailers == [("x-other", "kept")] and rig.passed().all("x-user") == ["user"]


@pytest.mark.parametrize("sub", [" root", "root ", ["a", " root"]])
def test_a_claim_that_a_header_would_change(sc, sub):
    """Nobody behind us sees the space at its end."""
    rig = Rig(sc, issuer={"claimsToHeaders": HEADERS})
    assert rig.ask(key().token(sub=sub)).status == 200
    assert not rig.passed().has("x-user")


def test_forward_token(sc):
    rig = Rig(sc, issuer={"forwardToken": True})
    token = key().token()
    assert rig.ask(token).status == 200
    assert rig.passed().get("authorization") == f"Bearer {token}"


@pytest.mark.parametrize("cookie, rest", [
    ("session={}", None), ("a=1; session={}", "a=1"), ("session={}; a=1", "a=1"),
    ("a=1;b=2;c=3;session={};d=4", "a=1;b=2;c=3;d=4"), ("a=1; session={}; b=2", "a=1; b=2"),
    ("session2=x; session={}", "session2=x"), ("xsession=x;session={}", "xsession=x")])
def test_cookie(sc, cookie, rest):
    rig = Rig(sc, issuer={"from": [{"header": "X-Token"}, {"cookie": "session"}]})
    token = key().token()
    assert rig.ask(headers=[("Cookie", cookie.format(token))]).status == 200
    assert rig.passed().all("cookie") == ([rest] if rest else [])
    assert rig.ask(headers=[("X-Token", token), ("Cookie", "session=another; a=1")]).status == 200
    assert rig.passed().all("cookie") == ["a=1"] and not rig.passed().has("x-token")
    assert_problem(rig.ask(headers=[("Cookie", f"session={token}; session=x")]), "jwt_invalid")
    assert_problem(rig.ask(headers=[("Cookie", f"session={token}"), ("Cookie", "session=x")]),
                   "jwt_invalid")
    assert_problem(rig.ask(headers=[("Cookie", "other=x")]), "jwt_missing")
    assert_problem(rig.ask(token), "jwt_missing")  # not where it is looked for


def test_two_issuers(sc):
    other = os.path.join(sc.directory, "other.json")
    write_set(other, key(kid="other"))
    second = {"name": "other", "issuer": "https://other.test", "audiences": ["app"],
              "jwks": {"file": other}, "claimsToHeaders": [{"claim": "sub", "header": "X-Other"}]}
    rig = Rig(sc, authz={"jwt": ["idp", "other"]}, issuer={"claimsToHeaders": HEADERS[:1]},
              others=[second])
    assert rig.ask(key().token(), headers=[("X-Other", "forged")]).status == 200
    assert rig.passed().get("x-user") == "user" and not rig.passed().has("x-other")
    good = key(kid="other").token(iss="https://other.test")
    assert rig.ask(good, headers=[("X-User", "forged")]).status == 200
    assert rig.passed().get("x-other") == "user" and not rig.passed().has("x-user")
    # One issuer's key does not speak for another.
    assert_problem(rig.ask(key(kid="other").token()), "jwt_invalid")
    assert_problem(rig.ask(key().token(iss="https://other.test")), "jwt_invalid")


# --- rules ----------------------------------------------------------------------------------------

RULES = [
    {"action": "allow", "paths": ["/healthz"]},
    {"action": "deny", "paths": ["/admin/*"], "methods": ["DELETE"]},
    {"action": "allow", "paths": ["/admin/*"], "claims": [{"claim": "roles", "values": ["admin"]}]},
    {"action": "deny", "paths": ["/admin/*"]},
    {"action": "allow", "claims": [{"claim": "scope", "values": ["read"]}], "methods": ["GET"]},
]


def test_rules(sc):
    rig = Rig(sc, authz={"optional": True, "rules": RULES})
    admin, reader = key().token(roles=["x", "admin"]), key().token(scope="write read")
    assert rig.ask(target="/healthz").status == 200
    assert rig.ask(admin, target="/admin/x").status == 200
    assert rig.ask(reader, target="/x").status == 200
    for token, method, target in [
            (None, "GET", "/x"), (None, "GET", "/admin"), (reader, "POST", "/x"),
            (reader, "GET", "/admin/x"), (reader, "GET", "/x/../admin"), (reader, "GET", "//admin"),
            (reader, "GET", "/%61dmin/x"), (reader, "GET", "/x/..%2Fadmin"),
            (reader, "GET", "/admin%2Fx"), (reader, "GET", "/x/..;/admin"),
            (admin, "DELETE", "/admin/x"), (admin, "GET", "/x")]:
        response = rig.ask(token, method, target)
        assert_problem(response, "forbidden")
        assert not response.has("www-authenticate")
    assert len(sc.app.requests) == 3


def test_rules_see_a_path_as_it_is_routed(sc):
    rig = Rig(sc, authz={"optional": True, "rules": [{"action": "deny", "paths": ["/a", "/"]}]})
    for method, target in (("GET", "/"), ("GET", "/a/"), ("OPTIONS", "*")):
        assert_problem(rig.ask(method=method, target=target), "forbidden")


def test_a_number_is_a_value(sc):
    rig = Rig(sc, authz={"rules": [{"action": "deny", "claims": [{"claim": "level", "values": ["0"]}]}]})
    assert [rig.ask(key().token(level=v)).status for v in ("0", 0, [1, 0], 1)] == [403, 403, 403, 200]


def test_spiffe_ids(sc):
    rules = [{"action": "allow", "spiffeIds": ["spiffe://td/ns/*"]}]
    sc.proxy(listener=tls.listener(clientAuth="require", caFile=CA.cert),
             route={"authz": {"rules": rules}})
    for name, status in (("ns/client", 200), ("other/client", 403)):
        pair = CA.issue(name, sans=[f"URI:spiffe://td/{name}"])
        assert connect(sc, client_context(pair=pair)).ask().status == status


def test_source_addresses(sc):
    """The peer's, or who a trusted proxy says; what a stranger says is nothing."""
    rules = [{"action": "deny", "sourceCidrs": ["10.9.0.0/16"]},
             {"action": "allow", "sourceCidrs": ["10.0.0.0/8", "fd00::/8", "127.0.0.2"]}]
    sc.proxy(route={"authz": {"rules": rules}}, http={"trustedProxies": ["127.0.0.2/32"]})
    told = [("10.1.1.1", 200), ("10.9.1.1", 403), ("192.0.2.1", 403), ("fd12::1", 200),
            ("fe12::1", 403), ("::ffff:10.1.1.1", 200), ("unknown", 403), ("10.1.1.1:80", 403),
            ("192.0.2.1, 10.1.1.1", 200), ("10.1.1.1, 192.0.2.1", 403), (None, 200)]

    def ask(source, headers):
        return sc.client(before_connect=lambda s: s.bind((source, 0))).ask(headers=headers)
    for text, status in told:
        headers = [("X-Forwarded-For", text)] if text else []
        assert ask("127.0.0.2", headers).status == status, text
        assert_problem(ask("127.0.0.3", headers), "forbidden")


def test_dry_run(sc):
    rig = Rig(sc, authz={"dryRun": True, "rules": RULES}, issuer={"claimsToHeaders": HEADERS})
    assert rig.ask(headers=[("X-User", "x")]).status == 200
    assert rig.passed().get("x-user") == "x"  # nothing is changed
    assert rig.ask("wrong").status == 200
    assert rig.ask(key().token(), target="/admin/x").status == 200
    assert rig.ask(key().token(scope="read")).status == 200
    assert rig.passed().has("authorization")
    assert rig.decided("dry_run") == 3 and rig.decided("allowed") == 1
    assert rig.decided("refused") == 0


# --- what is told of it ---------------------------------------------------------------------------


def audited(sc):
    """The lines of the log, from the reason on."""
    mark = "audit: route main/0: "
    return [line.partition(mark)[2] for line in sc.s.log().splitlines() if mark in line]


def test_refusals_are_audited(sc):
    rig = Rig(sc, authz={"rules": [{"action": "allow", "paths": ["/open"]}]})
    expired = key().token(exp=int(time.time()) - 100)
    forged = key(kid="other").token(header={"kid": "one"}, sub="mallory")
    good = key().token(sub="somebody")
    for token, what in [
            (None, "jwt_missing"), (expired, "jwt_expired, The token has expired, issuer idp"),
            (forged, "jwt_invalid, The token's signature is wrong, issuer idp"),
            (key().token(aud="other"), "jwt_invalid, The token is for another audience, issuer idp"),
            (good, "forbidden, issuer idp")]:
        trace = json.loads(rig.ask(token, target="/no?secret=1").body)["traceId"]
        assert audited(sc)[-1] == f"refused: {what}: GET from 127.0.0.1, trace {trace}"
    assert rig.ask(good, target="/open").status == 200
    assert len(audited(sc)) == 5
    rig.never_told(*(t for token in (expired, forged, good) for t in token.split(".")[1:]), "mallory",
                   "somebody")
    assert "secret=1" not in sc.s.log()


def test_a_dry_run_is_audited(sc):
    rig = Rig(sc, authz={"dryRun": True})
    assert rig.ask("wrong").status == 200
    assert audited(sc) == ["would be refused (dryRun): jwt_invalid, The token is malformed, issuer idp: "
                           "GET from 127.0.0.1"]


def test_many_refusals_are_counted(sc):
    rig = Rig(sc, more={"workers": 1, "accessLog": {"redact": {"fields": ["client"]}}})
    client, asked = sc.client(), 0

    def counted():
        return [int(line.partition("; ")[2].split()[0]) for line in audited(sc) if "not told" in line]
    while not counted():  # a second goes by
        assert client.ask().status == 401
        asked += 1
    lines, more = audited(sc), counted()
    assert len(lines) + sum(more) == asked
    assert len(lines) < asked and rig.decided("refused") == asked
    assert not any("127.0.0.1" in line for line in lines)


def test_answers_of_ours_too(sc):
    """A redirect or a direct response is no way around."""
    file = os.path.join(sc.directory, "jwks.json")
    write_set(file, key())
    authz = {"jwt": ["idp"]}
    sc.proxy(listener={"routes": [
        {"match": {"path": "/r"}, "redirect": {"path": "/secret"}, "authz": authz},
        {"match": {"path": "/d"}, "directResponse": {"body": "secret"}, "authz": authz},
        forward()]},
        more={"jwt": [{"name": "idp", "issuer": ISSUER, "jwks": {"file": file}}]})
    for target, status in (("/r", 302), ("/d", 200)):
        response = sc.ask(target=target)
        assert_problem(response, "jwt_missing")
        assert not response.has("location")
        assert sc.ask(target=target, headers=bearer(key().token())).status == status
    assert sc.ask(target="/open").status == 200


# --- what carries them ----------------------------------------------------------------------------


def test_a_body_that_is_refused(sc):
    rig = Rig(sc)
    response = sc.client().ask("POST", "/", body=b"x" * 100000)
    assert_problem(response, "jwt_missing")
    assert rig.ask(key().token()).status == 200


def test_h2(sc):
    rig = Rig(sc, issuer={"claimsToHeaders": HEADERS})
    client = h2wire.Client(sc.address)
    sc.clients.append(client)
    client.ready()
    st = client.ask()
    assert st.status == 401 and st.get("www-authenticate") == 'Bearer realm="sluice"'
    st = client.ask(headers=[("authorization", f"Bearer {key().token()}"), ("x-user", "forged")])
    assert st.status == 200
    assert rig.passed().all("x-user") == ["user"]
    assert client.ask(headers=[("authorization", "Bearer x")]).status == 401


def test_websocket(sc):
    rig = Rig(sc, script=lambda conn: websocket.echo(conn))
    client = sc.client()
    response = client.request(headers=websocket.request_headers()).response()
    assert_problem(response, "jwt_missing")
    client = sc.client()
    client.request(headers=websocket.request_headers() + bearer(key().token()))
    assert client.response().status == 101
    assert rig.decided("allowed") == 1


def test_grpc(sc):
    app = App()
    sc.backends.append(app)
    Rig(sc, backend=app, upstream={"protocol": "http2"},
        authz={"rules": [{"action": "allow", "claims": [{"claim": "sub", "values": ["me"]}]}]})
    client = Client(sc.address)
    try:
        for token, code, message in [
                (None, grpc.StatusCode.UNAUTHENTICATED, "jwt_missing"),
                ("x", grpc.StatusCode.UNAUTHENTICATED, "jwt_invalid: The token is malformed"),
                (key().token(), grpc.StatusCode.PERMISSION_DENIED, "forbidden")]:
            metadata = [("authorization", f"Bearer {token}")] if token else []
            error, _ = failure(lambda: client.unary(b"x", metadata=metadata))
            assert error.code() == code and error.details() == message
        metadata = [("authorization", f"Bearer {key().token(sub='me')}")]
        assert client.unary(b"x", metadata=metadata) == b"re:x"
    finally:
        client.close()


# --- keys that change -----------------------------------------------------------------------------


def keys_state(sc):
    status, message = sc.s.admin("GET", "/v1/config")
    assert status == 200
    return json.loads(message.body)["jwt"][0]


def test_new_keys_under_traffic(sc):
    rig = Rig(sc, more={"reload": {"debounce": "10ms"}})
    old, new = key().token(), key(kid="two").token()
    client = sc.client()

    def status(token):
        return client.ask(headers=bearer(token)).status
    assert status(old) == 200 and status(new) == 401
    write_set(rig.file, key(), key(kid="two"))
    wait_for(lambda: status(new) == 200, "the new key")
    assert status(old) == 200  # each of them, on the connection that stood
    write_set(rig.file, key(kid="two"))
    # Of a cached token as well: its key is gone.
    wait_for(lambda: status(old) == 401, "the old key is gone")
    assert status(new) == 200
    assert keys_state(sc)["kids"] == ["two"]
    assert sc.s.metrics().get("sluice_jwt_key_reloads_total", result="applied") == 2


def test_bad_keys_change_nothing(sc):
    rig = Rig(sc, more={"reload": {"debounce": "10ms"}})
    token = key().token()
    assert rig.ask(token).status == 200
    for text in ('{"keys": [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldA"}]}', "{", '{"keys": []}'):
        refused = sc.s.metrics().get("sluice_jwt_key_reloads_total", result="refused")
        with open(rig.file + ".new", "w") as f:
            f.write(text)
        os.rename(rig.file + ".new", rig.file)
        wait_for(lambda: sc.s.metrics().get("sluice_jwt_key_reloads_total", result="refused")
                 == refused + 1, "the file is refused")
        assert rig.ask(token).status == 200
        assert rig.ask(key().token(sub="another")).status == 200
        assert keys_state(sc)["refused"]
    rig.never_told("c2VjcmV0LXNlY3JldA")
    assert "a secret of fewer than 256 bits" in sc.s.log_end(1 << 16)
    write_set(rig.file, key())
    wait_for(lambda: not keys_state(sc)["refused"], "the file is good again")
    assert sc.s.metrics().get("sluice_jwt_key_last_reload_success") == 1


def test_reload(sc):
    """What a token was verified by is looked at again, and what stays is remembered."""
    rig = Rig(sc)
    token = key().token()
    assert rig.ask(token).status == 200
    cached = rig.tokens("cached")
    sc.s.config["listeners"][0]["routes"][0]["authz"]["rules"] = RULES
    rig.reload()
    assert_problem(rig.ask(token), "forbidden")
    assert rig.tokens("cached") == cached + 1
    sc.s.config["jwt"][0]["audiences"] = ["other"]
    rig.reload()
    assert_problem(rig.ask(token), "jwt_invalid")
    sc.s.config["jwt"] = []
    del sc.s.config["listeners"][0]["routes"][0]["authz"]
    rig.reload()
    assert rig.ask().status == 200


def test_missing_file_at_start(sc):
    with pytest.raises(AssertionError, match="jwks.json: No such file"):
        sc.proxy(route={"authz": {"jwt": ["idp"]}},
                 more={"jwt": [{"name": "idp", "issuer": ISSUER,
                                "jwks": {"file": os.path.join(sc.directory, "jwks.json")}}]})
