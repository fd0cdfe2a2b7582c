"""The other side of releases: an HTTP server that records what comes, and answers as it is told."""

import http.server
import json
import ssl
import threading
import time

from wire import TIMEOUT, wait_for


class Call:
    def __init__(self, handler, body):
        self.method = handler.command
        self.path = handler.path
        self.headers = {k.lower(): v for k, v in handler.headers.items()}
        self.body = body
        self.at = time.monotonic()

    @property
    def key(self):
        return self.headers.get("idempotency-key")

    def __repr__(self):
        return f"<{self.method} {self.path} {self.key}>"


class Registry:
    """answers: path (without query) -> status, a list of them one for each call (the last stays),
    or "hang"; 204 for others. A dict for headers may follow a status: (503, {"Retry-After": "1"})."""

    def __init__(self, answers=None, context=None):
        self.answers = dict(answers or {})
        self.calls = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, ssl.SSLError):
                    self.close_connection = True

            def any(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, more = registry.take(Call(self, body))
                if status == "hang":
                    registry.stopping.wait(6 * TIMEOUT)
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.scheme = "https" if context else "http"
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def take(self, call):
        with self.lock:
            self.calls.append(call)
            answer = self.answers.get(call.path.partition("?")[0], 204)
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer if isinstance(answer, tuple) else (answer, {})

    def url(self, path="/"):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def of(self, path):
        with self.lock:
            return [c for c in self.calls if c.path.partition("?")[0] == path]

    def paths(self):
        with self.lock:
            return [c.path for c in self.calls]

    def wait(self, path, n=1, timeout=2 * TIMEOUT):
        wait_for(lambda: len(self.of(path)) >= n, lambda: f"{n} calls of {path}: {self.calls}", timeout)
        return self.of(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()


def cleanup(registry, name, path=None, method="POST", **more):
    """An entry of `cleanups`."""
    request = {"method": method, "url": registry.url(path or f"/{name}")}
    request.update(more.pop("request", {}))
    return {"name": name, "request": request, **more}


def configuration(directory, app="5s", **more):
    """With a journal, and time for cleanups."""
    return {"lifecycle": {"noticePeriod": "0s", "drainTimeout": "2s", "lastCall": "200ms", "appCleanup": app},
            "leases": {"journal": {"path": f"{directory}/leases.journal"}}, **more}


def lease(sluice, registry, name="device", path=None, expect=201, raw=None, **more):
    """POST /v1/leases; the answer as JSON."""
    body = {"name": name, "release": {"method": "POST", "url": registry.url(path or f"/{name}")}, **more}
    status, response = sluice.admin("POST", "/v1/leases", body=(raw if raw is not None else json.dumps(body)).encode())
    assert status == expect, response
    return json.loads(response.body) if response.body else None


def leases(sluice):
    status, response = sluice.admin("GET", "/v1/leases")
    assert status == 200, response
    return json.loads(response.body)


def drain_report(sluice):
    """The report in the log."""
    for line in reversed(sluice.log().splitlines()):
        if "drain report {" in line:
            return json.loads(line[line.index("{"):])
    raise AssertionError(f"no drain report:\n{sluice.log()}")
