"""leak_watch: what the application takes, and that one that gives nothing back is found and named."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from harness import SANITIZE, SLUICE, free_port, lines_of
from test_app import APP
from wire import Client, wait_for

RESOURCES = ("fds", "threads", "rss_bytes", "sockets")
FAST = {"interval": "100ms", "window": "500ms"}
APP_USER, OUR_USER = 59321, 59322  # whom nobody else is
# TSan has a thread of its own in each process, from some moment on.
OWN_THREADS = 1 if "thread" in SANITIZE else 0


class Leaky:
    """The demo's application under a name of its own, known by it, and behind a listener."""

    def __init__(self, sc, watch=None, user=None, more=(), **how):
        self.sc = sc
        self.port = free_port()
        self.name = f"leaky-{self.port}"
        self.program = os.path.join(sc.directory, self.name)
        self.more, self.user = more, user
        os.symlink(SLUICE, self.program)
        self.process = None
        self.start()
        self.address = f"127.0.0.1:{free_port()}"
        self.s = sc.s = sc.sluice(
            {"listeners": [{"name": "in", "direction": "inbound", "address": self.address,
                            "routes": [{"upstream": "app"}]}],
             "upstreams": [{"name": "app", "endpoints": [f"127.0.0.1:{self.port}"]}],
             "app": {"process": self.name, "leakWatch": watch if watch is not None else FAST}},
            **how)

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "demo-app", "--listen", f"127.0.0.1:{self.port}", *self.more],
            user=self.user, group=self.user, extra_groups=[] if self.user else None)
        wait_for(lambda: self.answers(), "the application is up")

    def answers(self):
        try:
            return self.ask("/healthz").status == 200
        except OSError:
            return False

    def ask(self, target):
        client = Client(f"127.0.0.1:{self.port}")
        try:
            return client.ask(target=target)
        finally:
            client.close()

    def leak(self, what):
        answer = self.ask(f"/leak?{what}")
        assert answer.status == 200

    def end(self):
        self.process.kill()
        self.process.wait()

    def watch(self):
        return self.s.status()["leak_watch"]

    def resource(self, name):
        return (self.watch()["resources"] or {}).get(name, {})

    def wait_sampled(self, pid=None):
        wait_for(lambda: self.watch()["pid"] == (pid or self.process.pid), lambda: self.watch())
        return self.watch()

    def leak_until_suspected(self, name, what, seconds=60):
        """Evenly, as long as it takes: a machine that stalls costs a window."""
        end = time.monotonic() + seconds
        while not self.resource(name).get("suspected"):
            assert time.monotonic() < end, f"{self.watch()}\n{self.s.log()}"
            self.leak(what)
            time.sleep(0.05)
        return self.resource(name)


@pytest.fixture
def leaky(sc):
    made = []

    def make(**how):
        made.append(Leaky(sc, **how))
        return made[-1]
    yield make
    for app in made:
        app.end()


def test_what_it_takes(leaky):
    app = leaky()
    before = app.wait_sampled()
    assert before["name"] == app.name[:15] and before["processes"] == 1
    app.leak("fds=20&sockets=10&threads=3&rss=33554432")

    def grown(name):
        return app.watch()["resources"][name]["value"] - before["resources"][name]["value"]
    wait_for(lambda: grown("fds") == 30 and grown("sockets") == 10 and 3 <= grown("threads") <= 3 + OWN_THREADS and
             grown("rss_bytes") > 30 << 20, lambda: f"{before}\n{app.watch()}")
    metrics = app.s.metrics()
    now = app.watch()["resources"]
    assert metrics.get("sluice_app_fds") == now["fds"]["value"]
    assert metrics.get("sluice_app_threads") == now["threads"]["value"]
    assert 4 <= now["threads"]["value"] <= 4 + OWN_THREADS
    assert metrics.get("sluice_app_sockets") == now["sockets"]["value"]
    assert metrics.get("sluice_app_rss_bytes") > 30 << 20
    assert metrics.get("sluice_app_processes") == 1


@pytest.mark.parametrize("name,what,told", [
    ("fds", "fds=3", r"fds \d+ -> \d+ in \d+ s"),
    ("sockets", "sockets=3", r"sockets \d+ -> \d+ in \d+ s"),
    ("threads", "threads=2", r"threads \d+ -> \d+ in \d+ s"),
    ("rss_bytes", "rss=1048576", r"RSS [\d.]+ MiB -> [\d.]+ MiB in \d+ s"),
])
def test_a_leak_is_found_and_named(leaky, name, what, told):
    app = leaky()
    app.wait_sampled()
    found = app.leak_until_suspected(name, what)
    assert found["growth"]["to"] > found["growth"]["from"]
    line = f"the application \\(pid {app.process.pid}, {app.name[:15]}\\) grows: "
    wait_for(lambda: re.search(line + f".*{told}", app.s.log()), lambda: app.s.log())
    metrics = app.s.metrics()
    assert metrics.get("sluice_app_leak_suspected", resource=name) == 1
    assert metrics.get("sluice_app_leak_reports_total", resource=name) >= 1
    # It ends, and that is told.
    wait_for(lambda: not app.resource(name)["suspected"], lambda: app.watch(), 40)
    assert "does not grow any more" in app.s.log()
    assert app.s.metrics().get("sluice_app_leak_suspected", resource=name) == 0


def test_a_jump(leaky):
    """Of a window so long that no trend can be meant."""
    app = leaky(watch={"interval": "100ms", "window": "3s"})
    app.wait_sampled()
    wait_for(lambda: app.watch()["watched_ms"] > 4000, "the first window is over")
    assert "grows" not in app.s.log()
    app.leak("sockets=400")
    wait_for(lambda: app.resource("sockets")["suspected"], lambda: app.watch())
    assert app.resource("sockets")["growth"]["seen_as"] == "jump"
    assert re.search(r"grows: .*sockets \d+ -> 4\d\d in \d+ s", app.s.log())
    assert app.s.metrics().get("sluice_app_leak_suspected", resource="threads") == 0


def test_traffic_is_no_leak(leaky):
    """Three hundred connections that clients hold open, and then another restart of the count."""
    app = leaky(watch={"interval": "100ms", "window": "3s"})
    app.wait_sampled()
    wait_for(lambda: app.watch()["watched_ms"] > 4000, "the first window is over")
    before = app.resource("fds")["value"]
    clients = [Client(app.address) for _ in range(300)]
    for client in clients:
        client.request(target="/hang")
    wait_for(lambda: app.resource("fds")["value"] >= before + 300, lambda: app.watch())
    samples = app.watch()["watched_ms"] + 2000
    wait_for(lambda: app.watch()["watched_ms"] > samples, "twenty samples more")
    assert "grows" not in app.s.log()
    for client in clients:
        client.close()


def test_another_process_is_another_window(leaky):
    app = leaky()
    app.wait_sampled()
    app.leak_until_suspected("fds", "fds=5")
    old = app.watch()["pid"]
    app.end()
    wait_for(lambda: app.watch()["pid"] is None, lambda: app.watch())
    assert app.watch()["resources"] is None
    assert app.s.metrics().get("sluice_app_leak_suspected", resource="fds") == 0
    app.start()
    now = app.wait_sampled()
    assert now["pid"] != old and not now["resources"]["fds"]["suspected"]


def test_its_children_count(leaky):
    app = leaky(more=("--workers", "3"))
    app.wait_sampled()
    if app.watch()["processes"] == 1:
        pytest.skip("a kernel without CONFIG_PROC_CHILDREN")
    assert app.watch()["processes"] == 3
    assert 3 <= app.resource("threads")["value"] <= 3 * (1 + OWN_THREADS)


def test_a_child_of_ours(sc):
    """app.command: known without a name."""
    port, address = free_port(), f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice(
        {"listeners": [{"name": "in", "direction": "inbound", "address": address,
                        "routes": [{"upstream": "app"}]}],
         "upstreams": [{"name": "app", "endpoints": [f"127.0.0.1:{port}"]}],
         "app": {"command": [sys.executable, APP, str(port), os.path.join(sc.directory, "app.log")],
                 "leakWatch": FAST}})
    wait_for(lambda: lines_of(os.path.join(sc.directory, "app.log"), "up"), "the application is up")
    wait_for(lambda: sc.s.status()["leak_watch"]["pid"], lambda: sc.s.log())
    assert sc.s.status()["leak_watch"]["pid"] == sc.s.status()["app"]["pid"]


def test_reload(leaky):
    app = leaky()
    app.wait_sampled()
    app.s.config["app"]["leakWatch"] = {"enabled": False}
    reload(app)
    assert app.watch() is None
    assert "sluice_app_fds" not in metric_names(app)
    app.s.config["app"]["leakWatch"] = {**FAST, "threshold": 1000}
    reload(app)
    app.wait_sampled()
    assert "sluice_app_fds" in metric_names(app)


def metric_names(app):
    _, response = app.s.get_health("/metrics")
    return {line.split(" ")[0].split("{")[0] for line in response.body.decode().splitlines()
            if not line.startswith("#")}


def reload(app):
    with open(app.s.config_path, "w") as f:
        json.dump(app.s.config, f)
    code, response = app.s.admin("POST", "/v1/reload")
    assert code == 200, response.body


def test_off_where_no_process_is_known(sc):
    sc.proxy()
    assert sc.s.status()["leak_watch"]["pid"] is None
    assert sc.s.metrics().get("sluice_app_processes") == 0


# --- another user's -------------------------------------------------------------------------------

def as_user(user):
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")


def test_another_users_application(sc, leaky):
    """We are not root, and its /proc/PID/fd cannot be listed: the count is from its stat."""
    if os.geteuid() != 0:
        pytest.skip("takes root, to be two others")
    if subprocess.run([*as_user(OUR_USER), SLUICE, "--version"], capture_output=True,
                      check=False).returncode != 0:
        pytest.skip("another user cannot run the program where it lies")
    os.chmod(sc.directory, 0o755)
    app = leaky(user=APP_USER, wrap=("sh", "-c", f'chown -R {OUR_USER} "$0" && exec "$@"',
                                     os.path.join(sc.directory, "0"), *as_user(OUR_USER)))
    app.wait_sampled()
    looker = subprocess.run([*as_user(OUR_USER), "ls", f"/proc/{app.process.pid}/fd"],
                            capture_output=True, check=False)
    assert looker.returncode != 0, "the test means what it says"
    with open(f"/proc/{app.s.pid}/status") as f:
        assert f"Uid:\t{OUR_USER}\t" in f.read()
    by_size = os.stat("/proc/self/fd").st_size > 0
    if by_size:
        assert app.resource("fds")["by"] == "size"
        assert app.resource("fds")["value"] == len(os.listdir(f"/proc/{app.process.pid}/fd"))
        app.leak_until_suspected("fds", "fds=3")
        assert f"(pid {app.process.pid}, {app.name[:15]}) grows: fds" in app.s.log()
    else:
        assert app.resource("fds")["unavailable"] == "Permission denied"
        assert "its fds are not known: Permission denied" in app.s.log()
    # The sockets of its user: the listener.
    assert app.resource("sockets")["by"] == "user" and app.resource("sockets")["value"] >= 1
    assert app.resource("rss_bytes")["value"] > 0 and app.resource("threads")["value"] == 1
    app.s.signal(signal.SIGTERM)
    app.s.check_end(app.s.wait_exit())
