"""A pod as sluice sees it: calls of /prestop, and what they come to."""

import signal
import socket
import time

from drains import lifecycle
from harness import free_port, ok_app
from wire import TIMEOUT, wait_for

TOKEN = "0123456789abcdef"


def pod(notice="2s", drain="4s", last_call="500ms", cleanup="4s", **more):
    return lifecycle(notice, drain, last_call, appCleanup=cleanup, **more)


def proxy(sc, script=ok_app, env=None, more=None, **how):
    """A sluice as the injector would start it."""
    environment = {"SLUICE_PRESTOP_TOKEN": TOKEN, "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    environment.update(env or {})
    return sc.proxy(script=script, more=more or pod(), env=environment, **how)


class Call:
    """One /prestop, as the kubelet sends it; answered or not."""

    def __init__(self, sc, query="", token=TOKEN, method="GET", path="/prestop"):
        self.client = sc.client(sc.s.health)
        self.method = method
        headers = [("Connection", "close"), ("User-Agent", "kube-lifecycle/1.35")]
        if token is not None:
            headers.append(("X-Sluice-Token", token))
        self.client.request(method, path + query, headers=headers)
        self.began = time.monotonic()

    def held(self):
        """Nothing has come back, and the connection stands."""
        self.client.sock.setblocking(False)
        try:
            self.client.sock.recv(1, socket.MSG_PEEK)
            return False
        except BlockingIOError:
            return True
        finally:
            self.client.sock.settimeout(TIMEOUT)

    def answer(self):
        """Waits for it: one answer, and behind it the end."""
        response = self.client.response(self.method)
        self.took = time.monotonic() - self.began
        self.client.expect_end()
        return response

    def status(self):
        return self.answer().status


def own(sc, token=TOKEN):
    """The sidecar's own hook: answered at once."""
    return Call(sc, "?self=1", token).status()


def prestop(sc):
    return sc.s.status()["prestop"]


def wait_state(sc, state):
    wait_for(lambda: prestop(sc)["state"] == state, lambda: f"{state}: {prestop(sc)}")


def wait_held(sc, n):
    wait_for(lambda: prestop(sc)["held"] == n, lambda: f"{n} held: {prestop(sc)}")


def ready(sc):
    return sc.s.get_health("/readyz")[0]


def leave(sc, killed=False):
    """The kubelet's SIGTERM behind the application's exit."""
    sc.s.expect_faults = killed
    sc.s.signal(signal.SIGTERM)
    began = time.monotonic()
    sc.s.check_end(sc.s.wait_exit())
    return time.monotonic() - began


def phase_is(sc, wanted):
    return sc.s.status()["phase"] == wanted


class App:
    """An application that can be stopped and started again at the same address."""

    def __init__(self, sc):
        self.sc = sc
        self.address = f"127.0.0.1:{free_port()}"
        self.start()

    def start(self):
        self.backend = self.sc.backend(address=self.address)

    def stop(self):
        self.backend.stop()


def restarting(sc, **more):
    app = App(sc)
    proxy(sc, more=pod(**more), backend=app.backend)
    return app
