"""Header rules, on requests that go up and responses that go down."""

import pytest

import h2wire
import websocket
from harness import assert_problem, ok_app

REQUEST = {
    "remove": ["X-Debug", "X-Internal-*"],
    "set": [{"name": "X-Client", "value": "{client.address}"},
            {"name": "X-Asked", "value": "{method} {host} {path}"},
            {"name": "X-Where", "value": "{listener}/{route}/{upstream}"},
            {"name": "X-Renamed", "value": "{header.X-Debug}"}],
    "setIfAbsent": [{"name": "X-Tenant", "value": "none"}],
    "add": [{"name": "X-Hop", "value": "two"}],
}
RESPONSE = {
    "remove": ["Server", "X-Powered-*"],
    "set": [{"name": "X-Request-Id", "value": "{request.id}"},
            {"name": "X-Trace", "value": "{trace.id}"}],
    "setIfAbsent": [{"name": "Cache-Control", "value": "no-store"}],
    "add": [{"name": "Set-Cookie", "value": "b=2"}],
}
SENT = [("X-Debug", "1"), ("X-INTERNAL-User", "root"), ("x-client", "forged"), ("X-Hop", "one"),
        ("X_Client", "forged"), ("x_debug", "1"), ("X_Internal-user", "root"), ("X_Internal_User", "root"), ("X_Kept", "1")]


def app(conn):
    while conn.request() is not None:
        conn.answer(b"ok", headers=[("Server", "secret/1.0"), ("X-Powered-By", "secret"),
                                    ("Set-Cookie", "a=1"), ("Via", "1.1 app")])


def count(sc, message, result):
    return sc.s.metrics().get("sluice_header_rules_total", message=message, result=result)


def check_request(request):
    assert not request.has("x-debug") and not request.has("x-internal-user")
    assert request.all("x-client") == ["127.0.0.1"]
    gone = ("x_client", "x_debug", "x_internal-user", "x_internal_user")
    assert not any(request.has(n) for n in gone) and request.has("x_kept")
    assert request.get("x-asked") == "GET test /api/x"
    assert request.get("x-where") == "main/all/app"
    assert request.get("x-renamed") == "1" and request.get("x-tenant") == "none"
    assert request.all("x-hop") == ["one", "two"]


def check_response(response, request):
    assert response.status == 200 and not response.has("server")
    assert not response.has("x-powered-by")
    assert response.get("x-request-id") == request.get("x-request-id")
    assert response.get("x-trace") == request.get("traceparent").split("-")[1]
    assert response.all("set-cookie") == ["a=1", "b=2"]
    assert response.get("cache-control") == "no-store"
    assert response.body == b"ok"


@pytest.mark.parametrize("client", ["http1", "http2"])
@pytest.mark.parametrize("server", ["http1", "http2"])
def test_both_ways(sc, client, server):
    backend = None
    if server == "http2":
        def h2_app(conn):
            while (st := conn.request()) is not None:
                conn.answer(st, b"ok", headers=[("server", "secret/1.0"), ("set-cookie", "a=1"),
                                                ("x-powered-by", "secret")])
        backend = h2wire.Backend(h2_app)
        sc.backends.append(backend)
    sc.proxy(backend=backend, script=app, upstream={"protocol": server},
             route={"name": "all", "requestHeaderModifier": REQUEST,
                    "match": {"pathPrefix": "/api"}, "rewrite": {"host": "inner", "prefix": "/"},
                    "responseHeaderModifier": RESPONSE})
    if client == "http1":
        conn = sc.client()
        answers = [conn.ask("GET", "/api/x", headers=SENT) for _ in range(2)]
    else:
        conn = h2wire.Client(sc.address)
        answers = [conn.ask("GET", "/api/x", headers=[(n.lower(), v) for n, v in SENT])
                   for _ in range(2)]
    for request, response in zip(sc.app.requests, answers):
        check_request(request)
        check_response(response, request)
    assert count(sc, "request", "changed") == 2 and count(sc, "response", "changed") == 2
    assert count(sc, "request", "left_out") == 0
    conn.close()


def test_listener_before_route(sc):
    sc.proxy(listener={"requestHeaderModifier": {"set": [{"name": "X-A", "value": "listener"},
                                                         {"name": "X-B", "value": "listener"}]},
                       "responseHeaderModifier": {"add": [{"name": "X-R", "value": "listener"}]}},
             route={"requestHeaderModifier": {"set": [{"name": "X-B", "value": "{header.X-A}+route"}]},
                    "responseHeaderModifier": {"add": [{"name": "X-R", "value": "route"}]}})
    response = sc.ask()
    assert sc.app.requests[0].all("x-a") == ["listener"]
    assert sc.app.requests[0].all("x-b") == ["listener+route"]
    assert response.all("x-r") == ["listener", "route"]


def test_what_is_not_there_writes_nothing(sc):
    """And a client cannot say what the operator wanted to say."""
    sc.proxy(route={"requestHeaderModifier": {
        "set": [{"name": "X-User", "value": "{header.X-Verified}"}]}})
    sc.ask(headers=[("X-User", "admin")])
    sc.ask(headers=[("X-User", "admin"), ("X-Verified", "jo")])
    assert [r.all("x-user") for r in sc.app.requests] == [[], ["jo"]]
    assert count(sc, "request", "left_out") == 1


def test_dry_run(sc):
    sc.proxy(script=app, route={"requestHeaderModifier": {**REQUEST, "dryRun": True},
                                "responseHeaderModifier": {**RESPONSE, "dryRun": True}})
    response = sc.ask(headers=SENT)
    request = sc.app.requests[0]
    assert request.get("x-debug") == "1" and request.get("x-client") == "forged"
    assert not request.has("x-asked") and response.get("server") == "secret/1.0"
    assert response.all("set-cookie") == ["a=1"]
    assert count(sc, "request", "dry_run") == 1 and count(sc, "response", "dry_run") == 1
    assert count(sc, "request", "changed") == 0 and count(sc, "response", "changed") == 0


def test_our_own_answers(sc):
    """Redirects and direct responses are changed, errors are not."""
    listener = {"responseHeaderModifier": {"set": [{"name": "X-R", "value": "{path}"}]},
                "routes": [{"match": {"path": "/old"}, "redirect": {"path": "/new"}},
                           {"match": {"path": "/direct"}, "directResponse": {"body": "hi"}},
                           {"match": {"path": "/app"}, "upstream": "app"}]}
    sc.proxy(listener=listener)
    redirect, direct = sc.ask(target="/old"), sc.ask(target="/direct")
    assert redirect.status == 302 and redirect.get("x-r") == "/old"
    assert redirect.get("location") == "http://test/new"
    assert direct.status == 200 and direct.get("x-r") == "/direct" and direct.body == b"hi"
    assert sc.ask(target="/app").get("x-r") == "/app"
    error = sc.ask(target="/none")
    assert_problem(error, "no_route")
    assert not error.has("x-r")


def test_a_request_that_is_sent_again_is_changed_once(sc):
    def closes(conn):
        conn.request()
        conn.answer(b"1")
        conn.request()  # and no answer: the connection ends

    sc.proxy(script=[closes, ok_app], more={"workers": 1}, route={
        "requestHeaderModifier": {"add": [{"name": "X-Once", "value": "1"}]}})
    client = sc.client()
    assert client.ask().body == b"1"
    assert client.ask().status == 200
    assert [r.all("x-once") for r in sc.app.requests] == [["1"]] * 3
    client.close()


def test_more_than_may_be_written(sc):
    big = [("X-In", "x" * 6000)]
    value = [{"name": f"X-{i}", "value": "{header.X-In}"} for i in range(3)]
    sc.proxy(listener={"routes": [
        {"match": {"path": "/up"}, "upstream": "app", "requestHeaderModifier": {"set": value}},
        {"match": {"path": "/down"}, "upstream": "app", "responseHeaderModifier": {"set": value}}]})
    up = sc.ask(target="/up", headers=big)
    assert_problem(up, "headers_too_large")
    assert sc.app.requests == []
    assert_problem(sc.ask(target="/down", headers=big), "upstream_headers_too_large")
    assert sc.ask(target="/up", headers=[("X-In", "y")]).status == 200
    assert sc.app.requests[-1].get("x-2") == "y"
    down = sc.ask(target="/down", headers=[("X-In", "z" * 5000)])
    assert down.status == 200 and down.get("x-2") == "z" * 5000
    assert count(sc, "request", "refused") == 1 and count(sc, "response", "refused") == 1


def test_a_websocket(sc):
    sc.proxy(script=websocket.echo, route={
        "requestHeaderModifier": {"set": [{"name": "X-Up", "value": "{path}"}]},
        "responseHeaderModifier": {"set": [{"name": "X-Down", "value": "{request.id}"}]}})
    ws = websocket.connect(sc, "/chat")
    request = sc.app.requests[0]
    assert request.get("x-up") == "/chat"
    assert ws.response.get("x-down") == request.get("x-request-id")
    ws.text(b"hello")
    assert ws.message() == (websocket.TEXT, b"hello")
    ws.close()


def test_a_value_of_a_request_that_has_outgrown_its_room(sc):
    """On a connection with many others, whose heads are given back as they have gone out."""
    def slow(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, b"ok")
    backend = h2wire.Backend(slow)
    sc.backends.append(backend)
    sc.proxy(backend=backend, upstream={"protocol": "http2"}, route={
        "responseHeaderModifier": {"set": [{"name": "X-Back", "value": "{header.X-Long} {path}"}]}})
    client = h2wire.Client(sc.address)
    streams = [client.request(path=f"/{i}", headers=[("x-long", f"{i}-" + "v" * 3000)])
               for i in range(60)]
    for i, st in enumerate(streams):
        client.response(st)
        assert st.get("x-back") == f"{i}-" + "v" * 3000 + f" /{i}"
    client.close()
