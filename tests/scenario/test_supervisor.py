"""The first process: keeps the sockets when the serving process dies, passes signals on, and says
what is wrong with a configuration."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from drains import lifecycle, stuck, wait_phase
from harness import SLUICE, forward, free_port, ok_app
from wire import SLOW, SPARE, TIMEOUT, Client, wait_for, within

AGAIN = 0.05 if SLOW == 1 else 2.0  # about 0.02 where nothing else runs


def state(pid):
    """The letter in /proc: Z when it has ended, None when nobody remembers it."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def kill_serving(s):
    """When it returns, nobody is there that could still accept a connection and lose it."""
    pid = s.pid
    s.expect_faults = True
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: state(pid) in ("Z", "X", None), "it ends", interval=0.0005)
    return pid


@pytest.mark.alone
def test_killed_it_accepts_again_at_once(sc):
    sc.proxy()
    assert sc.ask().status == 200
    took = []
    for i in range(10):
        old = sc.s.pid
        start = time.monotonic()
        kill_serving(sc.s)
        # Never refused, never reset: the connection waits in the backlog.
        response = sc.ask("GET", f"/{i}")
        took.append(time.monotonic() - start)
        assert response.body == f"GET /{i}\n".encode()
        assert sc.s.pid != old
        sc.s.wait_ready()
        if i == 3:
            time.sleep(1.1)  # five deaths in a row would begin the backing off
        if i == 7:
            time.sleep(1.1)
    # What the program does or waits for is in each of them; the machine's rest in some.
    assert min(took) <= AGAIN, took
    assert sorted(took)[len(took) // 2] <= 5 * AGAIN, took
    assert max(took) <= AGAIN + SPARE, took


def test_nobody_waits_until_the_dead_is_gone(sc):
    """Closing thousands of connections takes the kernel longer than a start."""
    sc.proxy()
    clients = [sc.client() for _ in range(1000)]
    wait_for(lambda: sc.s.status()["connections"] == 1000, "all are let in")
    pid = sc.s.pid
    # What is closed first: the supervisor learns from it.
    last = max(os.listdir(f"/proc/{pid}/fd"), key=int)
    assert os.readlink(f"/proc/{pid}/fd/{last}").startswith("socket:") and int(last) > 1000
    kill_serving(sc.s)
    assert sc.ask().status == 200
    wait_for(lambda: f"serving process {pid} was killed by signal 9" in sc.s.log(), "its end is told")
    assert sc.s.log().index(f"serving process {pid} dies: another starts in 0 ms") < \
        sc.s.log().index("was killed by")
    for client in clients:
        client.close()


def test_none_refused_under_load(sc):
    sc.proxy()
    results = {"ok": 0, "refused": 0, "cut": 0, "other": []}
    stop = threading.Event()
    lock = threading.Lock()

    def run():
        while not stop.is_set():
            what = "cut"
            try:
                client = Client(sc.address)
                try:
                    what = "ok" if client.ask().status == 200 else "other"
                finally:
                    client.close()
            except ConnectionRefusedError:
                what = "refused"
            except (EOFError, ConnectionError):
                pass
            with lock:
                if what == "other":
                    results["other"].append(1)
                else:
                    results[what] += 1

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        before = results["ok"]
        wait_for(lambda: results["ok"] > before + 50, "load")
        kill_serving(sc.s)
    before = results["ok"]
    wait_for(lambda: results["ok"] > before + 50, "it serves again")
    stop.set()
    for thread in threads:
        thread.join(20)
    assert results["refused"] == 0, results
    assert results["other"] == [], results
    assert results["cut"] <= 4 * 6, "only what was in flight is lost"


def test_backs_off_when_it_keeps_dying(sc):
    """It is started again, but not in a busy loop."""
    sc.proxy()
    sc.s.expect_faults = True
    seen = set()
    start = time.monotonic()
    while time.monotonic() - start < 2 or (len(seen) < 5 and time.monotonic() - start < TIMEOUT):
        for pid in sc.s.children():
            if pid not in seen:
                seen.add(pid)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        time.sleep(0.002)
    assert 5 <= len(seen) < 20, f"{len(seen)} starts"
    sc.s.wait_ready()
    assert sc.ask().status == 200


@pytest.mark.alone
def test_killed_while_it_drains_the_deadline_stays(sc):
    sc.proxy(script=stuck, more=lifecycle(notice="0s", drain="2s", last_call="300ms"))
    clients = [sc.client().request()]
    sc.app.wait_requests(1)
    start = time.monotonic()
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    kill_serving(sc.s)
    code = sc.s.wait_exit()
    took = time.monotonic() - start
    assert code == 0
    assert took < 2.0 + SPARE, f"{took:.2f} s"
    sc.s.check_end(code)
    for client in clients:
        client.close()


def test_sigint_drains(sc):
    sc.proxy()
    assert sc.ask().status == 200
    sc.s.signal(signal.SIGINT)
    sc.s.stop()


def test_sigterm_at_the_serving_process_itself(sc):
    """Someone signals the child: it drains, and the whole ends."""
    sc.proxy()
    os.kill(sc.s.pid, signal.SIGTERM)
    sc.s.wait_exit()
    sc.s.stop()


def test_supervisor_killed_the_serving_process_drains(sc):
    sc.proxy()
    assert sc.ask().status == 200
    sc.s.process.kill()
    sc.s.process.wait()
    wait_for(lambda: not sc.s.session(), "the serving process ends by itself")
    sc.s.ended = True


def test_unix_socket_survives_a_kill(sc):
    sc.proxy(address=f"unix:{sc.directory}/front.sock")
    assert sc.ask().status == 200
    kill_serving(sc.s)
    assert sc.ask().status == 200


def test_admin_answers_after_a_kill(sc):
    sc.proxy()
    kill_serving(sc.s)
    wait_for(lambda: sc.s.get_health("/readyz")[0] == 200, "ready again")
    assert sc.s.status()["connections"] == 0
    assert sc.ask().status == 200


# --- configuration ----------------------------------------------------------------------------

GOOD = """version: 1
listeners:
  - name: http
    address: {address}
    routes:
      - match: {{ pathPrefix: / }}
        upstream: app
upstreams:
  - name: app
    endpoints: ["127.0.0.1:1"]
"""


def run_proxy(sc, text):
    path = os.path.join(sc.directory, "bad.yaml")
    with open(path, "w") as f:
        f.write(text)
    run = subprocess.run([SLUICE, "proxy", "-c", path], capture_output=True, timeout=30)
    return run.returncode, (run.stderr + run.stdout).decode(), path


@pytest.mark.parametrize("old,new,where,what", [
    ("    routes:", "    rotues:", "4:5:", 'did you mean "routes"?'),
    ("upstream: app", "upstream: ap", "7:19:", 'did you mean "app"?'),
    ("version: 1", "version: 2", "1:10:", "version"),
    ("endpoints: [\"127.0.0.1:1\"]", "endpoints: [\"127.0.0.1\"]", "10:17:", "upstreams[0].endpoints[0]"),
    ("pathPrefix: /", "pathRegex: '('", "6:30:", "routes[0].match"),
    ("address: 127", "address: [127", "", "")])
def test_bad_configuration(sc, old, new, where, what):
    text = GOOD.format(address="127.0.0.1:0")
    assert old in text
    code, output, path = run_proxy(sc, text.replace(old, new))
    assert code == 1, output
    assert f"{path}:{where}" in output or (where and f"{path}:{where.split(':')[0]}:" in output), output
    assert what in output, output


def test_all_mistakes_at_once(sc):
    text = GOOD.format(address="127.0.0.1:0").replace("routes:", "rotues:").replace("version: 1", "version: 7")
    code, output, path = run_proxy(sc, text + "bogus: 1\n")
    assert code == 1
    assert output.count(path) >= 3, output


def test_configuration_cut_at_every_byte(sc):
    """Whatever is left of it: a clear no, or a yes, and never a crash."""
    text = GOOD.format(address="127.0.0.1:15080")
    path = os.path.join(sc.directory, "cut.yaml")
    for n in range(0, len(text), 3 if SLOW == 1 else 40):
        with open(path, "w") as f:
            f.write(text[:n])
        run = subprocess.run([SLUICE, "validate", path], capture_output=True, timeout=30)
        assert run.returncode in (0, 1), (n, run)
        assert run.returncode == 0 or path.encode() + b":" in run.stderr, (n, run)


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x\n", "a: &x {b: 1}\nc:\n  <<: *x\n",
                                  "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n",
                                  "[" * 5000, "{a: " * 3000, "", "\0", "\xff\xfe", "--- 1\n--- 2\n"])
def test_yaml_tricks(sc, text):
    code, output, path = run_proxy(sc, text)
    assert code == 1, output
    assert path in output


def test_no_such_file():
    run = subprocess.run([SLUICE, "proxy", "-c", "/nowhere/sluice.yaml"], capture_output=True, timeout=30)
    assert run.returncode == 1 and b"/nowhere/sluice.yaml" in run.stderr, run


@pytest.mark.parametrize("arguments", [[], ["proxy"], ["proxy", "--bogus"], ["porxy"], ["validate"]])
def test_usage(arguments):
    run = subprocess.run([SLUICE, *arguments], capture_output=True, timeout=30)
    assert run.returncode == 2 and run.stderr, run


def test_address_in_use(sc):
    backend = sc.backend()
    s = sc.sluice({"listeners": [{"name": "a", "address": backend.address, "routes": [forward()]}],
                   "upstreams": [{"name": "app", "endpoints": [backend.address]}]}, wait=False)
    code = s.wait_exit()
    assert code == 1, s.log()
    assert backend.address in s.log()
    s.check_end(code, code)


def test_socket_activation(sc):
    """LISTEN_FDS from the service manager: used instead of binding."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    wrap = ["python3", "-c", "import os, sys\n"
            f"os.dup2({listener.fileno()}, 3, inheritable=True)\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.environ['LISTEN_FDS'] = '1'\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"]
    os.set_inheritable(listener.fileno(), True)
    original = subprocess.Popen

    class Popen(original):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, "close_fds": False})
    subprocess.Popen = Popen
    try:
        sc.proxy(address=address, wrap=wrap)
    finally:
        subprocess.Popen = original
        listener.close()
    assert sc.ask().status == 200
    kill_serving(sc.s)
    assert sc.ask().status == 200


@pytest.mark.alone
def test_start_is_quick(sc):
    """From exec to the first answered request: nothing is waited for."""
    def start():
        sc.app = sc.backend(ok_app)
        sc.address = f"127.0.0.1:{free_port()}"
        s = sc.sluice({"listeners": [{"name": "a", "address": sc.address, "routes": [forward()]}],
                       "upstreams": [{"name": "app", "endpoints": [sc.app.address]}]}, wait=False)

        def asked():
            try:
                return sc.ask().status == 200
            except OSError:
                return False
        wait_for(asked, "the first answer", interval=0.001)
    exec_took = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([SLUICE, "help"], stdout=subprocess.DEVNULL, check=True)
        exec_took.append(time.monotonic() - began)
    # It takes about 0.01 where nothing else runs.
    within((0.05 if SLOW == 1 else 1.0) + 5 * min(exec_took), start)
