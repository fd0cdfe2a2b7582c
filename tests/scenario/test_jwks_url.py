"""Keys from an issuer's URL: there before the first request, kept when the issuer is not, and asked
for when a token names one that is not there."""

import http.server
import json
import os
import signal
import threading
import time

import pytest

import tls
from harness import assert_problem, free_port
from tokens import ISSUER, bearer, key
from wire import wait_for


class Issuer:
    """Answers with a JWK set, or what `mood` says."""

    def __init__(self, *keys, context=None, port=0):
        self.keys, self.mood, self.asked, self.free = list(keys) or [key()], "good", 0, threading.Event()
        self.heads = []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                issuer.heads.append((self.path, dict(self.headers)))
                issuer.answer(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.scheme = "http"
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def answer(self, to):
        text = json.dumps({"keys": [k.jwk() for k in self.keys]}).encode()
        status, headers, length = 200, {}, None
        if self.mood == "hang":
            self.free.wait(30)
        elif self.mood == "500":
            status = 500
        elif self.mood == "redirect":
            status, headers = 302, {"Location": self.url}
        elif self.mood == "text":
            text = b"<html>secret-4711</html>"
        elif self.mood == "empty":
            text = b'{"keys": []}'
        elif self.mood == "large":
            text = text[:-1] + b" " * (1 << 20) + b"}"
        elif self.mood == "cut":
            length = len(text) + 10
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name, value)
        to.send_header("Content-Length", str(length or len(text)))
        to.end_headers()
        to.wfile.write(text)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}/keys?secret=4711"

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.free.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def entry(url, name="idp", **jwks):
    return {"name": name, "issuer": ISSUER, "audiences": ["app"], "jwks": {"url": url, **jwks}}


def start(sc, url, **jwks):
    sc.proxy(route={"authz": {"jwt": ["idp"]}},
             more={"jwt": [entry(url, **jwks)], "reload": {"watch": False, "pollInterval": "0"}})


def ask(sc, *keys):
    return sc.ask(headers=bearer((keys[0] if keys else key()).token()))


def reload(sc, expect=200):
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    code, response = sc.s.admin("POST", "/v1/reload", timeout=30)
    assert code == expect, response
    return json.loads(response.body)


def fetches(sc, result):
    return sc.s.metrics().get("sluice_jwt_key_fetches_total", jwt="idp", result=result)


def state(sc):
    return json.loads(sc.s.admin("GET", "/v1/config")[1].body)["jwt"][0]


def test_there_before_the_first_request(sc):
    with Issuer() as issuer:
        start(sc, issuer.url)
        assert ask(sc).status == 200
        assert issuer.asked == 1
        path, headers = issuer.heads[0]
        assert path == "/keys?secret=4711"
        assert "application/json" in headers["Accept"]
        told = state(sc)
        assert told["kids"] == ["one"] and told["failures"] == 0 and told["error"] is None
        assert told["url"] == issuer.url.partition("?")[0] and told["age_s"] >= 0
        assert fetches(sc, "applied") == 1
        # After a crash too: nobody finds an issuer without keys.
        sc.s.expect_faults = True
        pid = sc.s.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: sc.s.pid != pid, "another process")
        assert ask(sc).status == 200
        sc.s.wait_ready()
        assert "4711" not in sc.s.log()


def test_https(sc):
    with Issuer(context=tls.server_context()) as issuer:
        start(sc, issuer.url, caFile=tls.CA.cert)
        assert ask(sc).status == 200
        # The system's authorities have not signed it.
        sc.s.config["jwt"].append(entry(issuer.url, name="other"))
        assert "cannot be fetched" in json.dumps(reload(sc, expect=422))
        assert ask(sc).status == 200


def test_an_issuer_that_is_down_at_the_start(sc):
    port = free_port()
    start(sc, f"http://127.0.0.1:{port}/keys")
    assert_problem(ask(sc), "jwt_no_keys")
    assert state(sc)["age_s"] is None
    assert "jwt[0].jwks.url: warning: the keys cannot be fetched" in sc.s.log()
    with Issuer(port=port) as issuer:
        wait_for(lambda: ask(sc).status == 200, "the next try")
        assert issuer.asked == 1
        assert state(sc)["failures"] == 0
    assert "its keys can be fetched again" in sc.s.log()


@pytest.mark.parametrize("mood, result, why", [
    ("500", "failed", "status 500"), ("redirect", "failed", "status 302"), ("text", "refused", "not JSON"),
    ("empty", "refused", "no key"), ("large", "failed", "too large"), ("cut", "failed", ""),
    ("hang", "failed", "imeout")])
def test_what_was_good_last_stays(sc, mood, result, why):
    with Issuer() as issuer:
        start(sc, issuer.url, interval="1s", timeout="500ms")
        issuer.mood = mood
        wait_for(lambda: fetches(sc, result) >= 1, "it fails")
        assert ask(sc).status == 200
        assert why in state(sc)["error"] and state(sc)["failures"] >= 1
        issuer.keys, issuer.mood = [key(kid="two")], "good"
        issuer.free.set()
        wait_for(lambda: ask(sc, key(kid="two")).status == 200, "the new keys")
        assert ask(sc).status == 401
        assert "4711" not in sc.s.log()


def test_rotated_keys_without_a_token_that_asks(sc):
    with Issuer() as issuer:
        start(sc, issuer.url, interval="1s")
        token = bearer(key().token())
        assert sc.ask(headers=token).status == 200
        wait_for(lambda: fetches(sc, "unchanged") >= 2, "it is fetched again and again")
        # The same keys: what was verified is known.
        known = sc.s.metrics().get("sluice_jwt_tokens_total", jwt="idp", result="valid")
        assert sc.ask(headers=token).status == 200
        assert sc.s.metrics().get("sluice_jwt_tokens_total", jwt="idp", result="valid") == known
        issuer.keys = [key(), key(kid="two")]
        wait_for(lambda: state(sc)["kids"] == ["one", "two"], "both are in force")
        assert ask(sc, key(kid="two")).status == 200


def test_a_token_with_an_unknown_key_asks(sc):
    with Issuer() as issuer:
        start(sc, issuer.url, interval="1h", unknownKeyInterval="1s")
        issuer.keys = [key(), key(kid="two")]
        wait_for(lambda: ask(sc, key(kid="two")).status == 200, "it is fetched")
        assert issuer.asked == 2
        # Who makes keys up gets nothing by it.
        began, sent = time.monotonic(), 0
        bad = bearer(key(kid="three").token())
        client = sc.client()
        while time.monotonic() - began < 2.5:
            assert client.ask(headers=bad).status == 401
            sent += 1
        most = (time.monotonic() - began) / 1 + 1
        assert issuer.asked - 2 <= most < sent
        wait_for(lambda: issuer.asked >= 3, "it did ask")


def test_reload(sc):
    with Issuer() as issuer, Issuer(key(kid="two")) as second:
        start(sc, issuer.url, interval="1h")
        assert ask(sc).status == 200
        # One that cannot be reached changes nothing.
        sc.s.config["jwt"][0]["jwks"]["url"] = f"http://127.0.0.1:{free_port()}/"
        refused = reload(sc, expect=422)
        assert refused["problems"][0]["path"] == "jwt[0].jwks.url"
        assert ask(sc).status == 200
        # Another one is there before the first request.
        sc.s.config["jwt"][0]["jwks"]["url"] = second.url
        reload(sc)
        assert ask(sc, key(kid="two")).status == 200
        assert ask(sc).status == 401
        # What stays is not asked again.
        second.mood = "500"
        sc.s.config["accessLog"]["path"] += ".2"
        sc.s.config["listeners"][0]["routes"][0]["timeout"] = "7s"
        reload(sc)
        asked = second.asked
        assert ask(sc, key(kid="two")).status == 200
        assert state(sc)["kids"] == ["two"]
        assert second.asked == asked
        # A file in its place, and back.
        path = os.path.join(sc.directory, "jwks.json")
        with open(path, "w") as f:
            json.dump({"keys": [key().jwk()]}, f)
        sc.s.config["jwt"][0]["jwks"] = {"file": path}
        reload(sc)
        assert ask(sc).status == 200 and ask(sc, key(kid="two")).status == 401
        sc.s.config["jwt"][0]["jwks"] = {"url": issuer.url}
        reload(sc)
        assert ask(sc).status == 200
        assert state(sc)["url"]


def test_reload_while_a_fetch_hangs(sc):
    with Issuer() as issuer:
        start(sc, issuer.url, interval="1s", timeout="30s")
        issuer.mood = "hang"
        wait_for(lambda: issuer.asked == 2, "a fetch hangs")
        issuer.mood = "good"
        for timeout in ("3s", "4s", "5s"):
            sc.s.config["listeners"][0]["routes"][0]["timeout"] = timeout
            reload(sc)
            assert ask(sc).status == 200
        wait_for(lambda: fetches(sc, "unchanged") >= 1, "it is asked anew")
        sc.s.config["jwt"] = []
        del sc.s.config["listeners"][0]["routes"][0]["authz"]
        reload(sc)
        assert sc.ask().status == 200
