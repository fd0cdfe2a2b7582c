"""Which route a request takes, and what each action does."""

import pytest

import h2wire
import websocket
from harness import assert_problem, forward, free_port
from wire import wait_for


def start(sc, routes, names=("app",), **more):
    """Upstreams by these names, each answering with its own; sc.apps has the backends."""
    def app(name):
        def script(conn):
            while conn.request() is not None:
                conn.answer(name.encode())
        return script
    sc.apps = {name: sc.backend(app(name)) for name in names}
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({
        "listeners": [{"name": "main", "address": sc.address, "routes": routes, **more}],
        "upstreams": [{"name": n, "endpoints": [b.address]} for n, b in sc.apps.items()]})


def to(name, **match):
    return {"match": match, "upstream": name}


def which(sc, target="/", method="GET", **how):
    response = sc.ask(method, target, **how)
    return response.body.decode() if response.status == 200 else response.status


def test_path_exact_prefix_and_regex_in_file_order(sc):
    start(sc, [to("a", path="/exact"), to("b", pathPrefix="/pre"), to("c", pathRegex="^/item/[0-9]+$"),
               to("d", pathPrefix="/")], "abcd")
    for target, name in [("/exact", "a"), ("/exact/", "d"), ("/exactly", "d"), ("/pre", "b"),
                         ("/pre/x", "b"), ("/prefix", "d"), ("/item/12", "c"), ("/item/x", "d"),
                         ("/exact?x=1", "a"), ("/", "d")]:
        assert which(sc, target) == name, target


def test_the_first_that_matches_wins(sc):
    start(sc, [to("a", pathPrefix="/"), to("b", path="/x")], "ab")
    assert which(sc, "/x") == "a"


def test_hosts(sc):
    start(sc, [to("a", host="one.example"), to("b", hosts=["two.example", "*.wild.example"]),
               to("c", pathPrefix="/")], "abc")
    for host, name in [("one.example", "a"), ("ONE.example", "a"), ("one.example:8080", "a"),
                       ("two.example", "b"), ("x.wild.example", "b"), ("x.y.wild.example", "b"),
                       ("wild.example", "c"), ("other", "c")]:
        assert which(sc, host=host) == name, host


def test_methods(sc):
    start(sc, [to("a", method="POST"), to("b", methods=["PUT", "DELETE"]), to("c")], "abc")
    for method, name in [("POST", "a"), ("PUT", "b"), ("DELETE", "b"), ("GET", "c"), ("PATCH", "c")]:
        assert which(sc, method=method, body=b"") == name, method


def test_headers(sc):
    start(sc, [
        to("a", headers=[{"name": "X-Env", "exact": "canary"}]),
        to("b", headers=[{"name": "X-Env", "prefix": "st"}, {"name": "X-Two", "present": True}]),
        to("c", headers=[{"name": "X-Env", "regex": "^[0-9]+$"}]),
        to("d", headers=[{"name": "X-Env", "present": True, "invert": True}]),
        to("e")], "abcde")
    for fields, name in [([("x-env", "canary")], "a"), ([("X-ENV", "stage")], "e"),
                         ([("X-Env", "stage"), ("X-Two", "1")], "b"), ([("X-Env", "42")], "c"),
                         ([], "d")]:
        assert which(sc, headers=fields) == name, fields


def test_host_as_a_header(sc):
    """Which HTTP/2 does not send as one."""
    start(sc, [to("a", headers=[{"name": "Host", "exact": "a.test"}]), to("b")], "ab")
    assert (which(sc, host="a.test"), which(sc, host="b.test")) == ("a", "b")
    client = h2wire.Client(sc.address)
    sc.clients.append(client)
    client.ready()
    assert [client.ask(authority=f"{n}.test").body for n in "ab"] == [b"a", b"b"]


def test_query(sc):
    start(sc, [to("a", query=[{"name": "v", "exact": "a b"}]),
               to("b", query=[{"name": "debug", "present": True}]), to("c")], "abc")
    for target, name in [("/?v=a%20b", "a"), ("/?x=1&v=a%20b&y", "a"), ("/?v=ab", "c"),
                         ("/?debug", "b"), ("/?debug=0", "b"), ("/?xdebug=1", "c"), ("/", "c")]:
        assert which(sc, target) == name, target


def test_no_route(sc):
    start(sc, [to("app", path="/only")])
    client = sc.client()
    assert_problem(client.ask("GET", "/other"), "no_route")
    # The request is refused, not the connection.
    assert client.ask("GET", "/only").status == 200


def test_no_route_with_a_body(sc):
    start(sc, [to("app", path="/only")])
    client = sc.client()
    response = client.ask("POST", "/other", body=b"x" * 1000)
    assert_problem(response, "no_route")
    if not response.closes:
        assert client.ask("GET", "/only").status == 200


def test_a_regular_expression_that_explodes(sc):
    start(sc, [to("a", pathRegex="^/(a+)+$"), to("b")], "ab")
    result = which(sc, "/" + "a" * 40 + "!")
    assert result in ("b", 500), "it ends, one way or the other"
    if result == 500:
        assert_problem(sc.ask("GET", "/" + "a" * 40 + "!"), "route_limit")


def test_rewrites(sc):
    start(sc, [
        {**to("app", pathPrefix="/api/v1"), "rewrite": {"prefix": "/v1", "host": "internal:8080"}},
        {**to("app", path="/one"), "rewrite": {"path": "/two"}},
        {**to("app", pathPrefix="/strip"), "rewrite": {"prefix": "/"}}])
    for target, seen in [("/api/v1", "/v1"), ("/api/v1/x?y=1", "/v1/x?y=1"), ("/one?a=b", "/two?a=b"),
                         ("/strip/a/b", "/a/b"), ("/strip", "/")]:
        assert which(sc, target) == "app"
        assert sc.apps["app"].requests[-1].target == seen, target
    assert sc.apps["app"].requests[0].get("host") == "internal:8080"
    assert sc.apps["app"].requests[0].get("x-forwarded-host") == "test"
    assert sc.apps["app"].requests[2].get("host") == "test"


def logged(sc, n):
    return [(r["host"], r["path"], r["reason"]) for r in sc.s.wait_access_log(n)]


def test_the_access_log_tells_what_was_asked_for(sc):
    """Whatever the route made of it, and however the request ended."""
    start(sc, [
        {**to("app", pathPrefix="/api"), "rewrite": {"prefix": "/v1", "host": "internal:8080"}},
        {**to("app", path="/once"), "rewrite": {"path": "/two"},
         "rateLimits": [{"name": "all", "requests": 1, "per": "1h"}]},
        {**to("app", pathPrefix="/retried"), "rewrite": {"prefix": "/"}, "retry": {}}])
    client = sc.client()
    for target in ("/api/x?y=1", "/once", "/once", "/retried/z"):
        client.ask("GET", target, host="outer")
    assert logged(sc, 4) == [("outer", "/api/x", "none"), ("outer", "/once", "none"),
                             ("outer", "/once", "rate_limited"), ("outer", "/retried/z", "none")]
    assert [r.target for r in sc.apps["app"].requests] == ["/v1/x?y=1", "/two", "/z"]


def test_the_access_log_tells_what_a_websocket_asked_for(sc):
    sc.proxy(script=websocket.echo, route={"match": {"pathPrefix": "/chat"},
                                           "rewrite": {"prefix": "/inner", "host": "internal"}})
    ws = websocket.connect(sc, "/chat/room")
    ws.close()
    ws.expect_close(1000, echo=False)
    assert logged(sc, 1) == [("test", "/chat/room", "none")]
    assert sc.app.requests[0].target == "/inner/room"


def test_the_access_log_tells_what_those_asked_for_whose_heads_have_gone(sc):
    """On a connection with many others, heads are given back as they have gone out."""
    def slow(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, b"ok")
    backend = h2wire.Backend(slow)
    sc.backends.append(backend)
    sc.proxy(backend=backend, upstream={"protocol": "http2"},
             route={"match": {"pathPrefix": "/out"}, "rewrite": {"prefix": "/in", "host": "internal"}})
    client = h2wire.Client(sc.address)
    streams = [client.request(path=f"/out/{i}", headers=[("x-long", "v" * 3000)]) for i in range(60)]
    for st in streams:
        client.response(st)
    client.close()
    assert sorted(logged(sc, 60)) == sorted(("test", f"/out/{i}", "none") for i in range(60))


@pytest.mark.parametrize("redirect,location,status", [
    ({"path": "/new"}, "http://test/new?q=1", 302),
    ({"scheme": "https", "status": 301}, "https://test/old/x?q=1", 301),
    ({"host": "other:81", "status": 308}, "http://other:81/old/x?q=1", 308),
    ({"prefix": "/fresh", "status": 307}, "http://test/fresh/x?q=1", 307)])
def test_redirects(sc, redirect, location, status):
    start(sc, [{"match": {"pathPrefix": "/old"}, "redirect": redirect}])
    client = sc.client()
    response = client.ask("GET", "/old/x?q=1")
    assert response.status == status and response.get("location") == location
    assert not response.closes
    assert client.ask("GET", "/old/x?q=1").status == status
    assert sc.apps["app"].conns == []


def test_direct_response(sc):
    start(sc, [{"match": {"path": "/robots.txt"},
                "directResponse": {"status": 200, "body": "User-agent: *\n", "contentType": "text/x-robots"}},
               {"match": {"path": "/teapot"}, "directResponse": {"status": 418}}])
    client = sc.client()
    response = client.ask("GET", "/robots.txt")
    assert response.body == b"User-agent: *\n" and response.get("content-type") == "text/x-robots"
    assert not response.has("proxy-status"), "it is no error of sluice"
    assert client.ask("HEAD", "/robots.txt").get("content-length") == "14"
    assert client.ask("GET", "/teapot").status == 418
    assert client.ask("POST", "/teapot", body=b"body").status == 418


def test_weights_are_exact(sc):
    start(sc, [{"match": {}, "backends": [{"upstream": "a", "weight": 95}, {"upstream": "b", "weight": 5}]}],
          "ab")
    client = sc.client()
    for n in range(1, 401):
        assert client.ask().status == 200
        b = len(sc.apps["b"].requests)
        assert abs(b - n * 0.05) <= 1, f"{b} of {n}"


def test_weights_do_not_follow_a_pattern(sc):
    start(sc, [{"match": {}, "backends": [{"upstream": "a", "weight": 1}, {"upstream": "b", "weight": 1}]}],
          "ab")
    client = sc.client()
    for i in range(600):
        client.ask("GET" if i % 2 else "POST", body=None if i % 2 else b"")
    posts = sum(r.method == "POST" for r in sc.apps["b"].requests)
    assert abs(posts - 150) < 45, f"{posts} of 300 POSTs went to b at 50 %"


def test_split_in_metrics(sc):
    start(sc, [{"name": "shop", "match": {}, "backends": [{"upstream": "a", "weight": 3},
                                                           {"upstream": "b", "weight": 1}]}], "ab")
    client = sc.client()
    for _ in range(40):
        client.ask()
    metrics = wait_for(lambda: (m := sc.s.metrics()).get("sluice_split_picked_total",
                                                         route="shop") == 40 and m, "all are counted")
    assert abs(metrics.get("sluice_split_picked_total", route="shop", upstream="b") - 10) <= 1
    assert metrics.get("sluice_split_intended_ratio", route="shop", upstream="b") == 0.25


def test_a_route_of_its_own_timeouts(sc):
    start(sc, [to("app", path="/fast")])
    slow = sc.backend(lambda conn: (conn.request(), conn.expect_end()))
    other = f"127.0.0.1:{free_port()}"
    sc.sluice({"listeners": [{"name": "x", "address": other,
                              "routes": [forward("slow", timeout="150ms")]}],
               "upstreams": [{"name": "slow", "endpoints": [slow.address]}]})
    client = sc.client(other)
    assert_problem(client.ask(), "deadline")
    assert which(sc, "/fast") == "app"
