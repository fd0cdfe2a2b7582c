"""What a scenario is made of: a sluice of its own, backends that follow a script, and the proof at
the end that nothing is left alive."""

import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import sanitizer
from wire import BackendConn, Client, SLOW, TIMEOUT, free_port, parse_address, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
SLUICE = os.path.join(BUILD, "sluice")
SANITIZE = os.environ.get("SANITIZE", "")

# What must never stand in the output of a sluice that a test ran.
FAULTS = re.compile(r"check failed|Sanitizer|runtime error:|Assertion|CHECK|was killed|core dumped")
RACE = re.compile(r"WARNING: ThreadSanitizer")  # nor where a test makes faults


def ok_app(conn):
    """Answers each request with 200 and a line that names it, until the connection ends."""
    while (request := conn.request()) is not None:
        body = f"{request.method} {request.target}\n".encode("latin-1")
        if request.method == "HEAD":
            conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n")
        else:
            conn.answer(body)
        if request.closes:
            return


class Backend:
    """Listens, and runs `script(conn)` in a thread for each connection; or script[n] for the nth,
    where one more connection than there are scripts is an error. What goes wrong in a script
    fails the scenario, unless it is the connection's end."""

    def __init__(self, script=ok_app, address="127.0.0.1:0", backlog=1024, accept=True):
        self.script = script
        self.lock = threading.Lock()
        self.requests = []
        self.conns = []
        self.errors = []
        self.threads = []
        self.stopping = False
        if address.endswith(":0"):
            address = f"{address[:-1]}{free_port()}"
        family, where = parse_address(address)
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        if family != socket.AF_UNIX:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(where)
        self.listener.listen(backlog)
        if family == socket.AF_UNIX:
            self.address = address
        else:
            host, port = self.listener.getsockname()[:2]
            self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.acceptor = None
        if accept:
            self.acceptor = threading.Thread(target=self._accept, daemon=True)
            self.acceptor.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                conn = BackendConn(sock, self, len(self.conns))
                self.conns.append(conn)
            thread = threading.Thread(target=self._run, args=(conn,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _run(self, conn):
        script = self.script
        try:
            if isinstance(script, (list, tuple)):
                if conn.number >= len(script):
                    raise AssertionError(f"connection {conn.number} was not expected")
                script = script[conn.number]
            script(conn)
        except (EOFError, ConnectionError):
            pass  # sluice may go at any time; tests look at what it did before
        except OSError as e:
            if not self.stopping and conn.sock.fileno() >= 0:
                self.errors.append(f"connection {conn.number}: {e!r}")
        except Exception as e:  # noqa: BLE001 - whatever it is, the scenario must fail with it
            if not self.stopping:
                self.errors.append(f"connection {conn.number}: {e!r}")
        finally:
            conn.sock.close()

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def wait_requests(self, n, timeout=TIMEOUT):
        wait_for(lambda: len(self.requests) >= n, lambda: f"{n} requests at the backend, "
                 f"{len(self.requests)} came; {self.errors}", timeout)
        return self.requests[n - 1]

    def wait_conns(self, n, timeout=TIMEOUT):
        wait_for(lambda: len(self.conns) >= n, lambda: f"{n} connections at the backend", timeout)
        return self.conns[n - 1]

    def wait_done(self, timeout=TIMEOUT):
        """Every script has come to its end."""
        wait_for(lambda: not any(t.is_alive() for t in self.threads), "backend scripts end", timeout)

    def stop_listening(self):
        # shutdown() wakes the acceptor, close() alone does not.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        if self.acceptor:
            self.acceptor.join(TIMEOUT)

    def stop(self):
        self.stopping = True
        self.stop_listening()
        with self.lock:
            conns = list(self.conns)
        for conn in conns:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(TIMEOUT)


def deep_update(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            deep_update(into[key], value)
        else:
            into[key] = value
    return into


class Sluice:
    """A running `sluice proxy`. `config` is the configuration as a dict: admin, health, access log
    and a short drain are added where they are not given."""

    def __init__(self, directory, config, env=None, wrap=(), wait=True, text=None,
                 program=SLUICE, args=(), config_path=None):
        self.directory = directory
        self.socket_path = os.path.join(directory, "admin.sock")
        self.log_path = os.path.join(directory, "sluice.log")
        self.access_path = os.path.join(directory, "access.log")
        self.config_path = config_path or os.path.join(directory, "sluice.yaml")
        self.health = f"127.0.0.1:{free_port()}"
        self.config = deep_update(
            {
                "version": 1,
                "workers": 1,
                "lifecycle": {"noticePeriod": "0s", "drainTimeout": "3s", "lastCall": "500ms",
                              "appCleanup": "0s"},
                "admin": {"address": "off", "socket": self.socket_path},
                "health": {"address": self.health},
                "accessLog": {"path": self.access_path},
            }, config)
        with open(self.config_path, "w") as f:
            # JSON is YAML.
            f.write(text if text is not None else json.dumps(self.config, indent=1) + "\n")
        environment = dict(os.environ)
        environment.pop("KUBERNETES_SERVICE_HOST", None)  # it would keep listeners open in a drain
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        environment.setdefault("TSAN_OPTIONS", "halt_on_error=0:exitcode=66")
        environment.update(env or {})
        self.ended = False
        self.expect_faults = False
        self.log_file = open(self.log_path, "wb")
        self.process = subprocess.Popen([*wrap, program, "proxy", "-c", self.config_path, *args],
                                        stdin=subprocess.DEVNULL, stdout=self.log_file,
                                        stderr=self.log_file, env=environment,
                                        start_new_session=True)
        self.base_fds = None
        if wait:
            self.wait_ready()
            self.base_fds = self.rest_fds()

    # --- asking it ---

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "backslashreplace")

    def log_end(self, most):
        """For the message of a failure; with what a sanitizer reported, wherever it stands."""
        return sanitizer.log_end(self.log(), most)

    def http(self, address, method, path, headers=(), timeout=TIMEOUT, body=None):
        """One request to admin or health; (status, message)."""
        client = Client(address, timeout)
        try:
            client.request(method, path, headers=[("Connection", "close"), *headers],
                           host="localhost", body=body)
            response = client.response(method)
            return response.status, response
        finally:
            client.close()

    def get_health(self, path):
        return self.http(self.health, "GET", path)

    def admin(self, method, path, **more):
        return self.http("unix:" + self.socket_path, method, path, **more)

    def status(self):
        code, response = self.admin("GET", "/v1/status")
        assert code == 200, response
        status = json.loads(response.body)
        for key in ("connections", "streams"):
            status[key] = sum(w[key] for w in status["workers"])
        return status

    def metrics(self):
        from prometheus import parse
        code, response = self.get_health("/metrics")
        assert code == 200, response
        return parse(response.body.decode())

    def wait_ready(self, timeout=TIMEOUT):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"sluice ended with {self.process.returncode}:\n"
                                     f"{self.log_end(20000)}")
            try:
                return self.get_health("/readyz")[0] == 200
            except (OSError, EOFError):
                return False
        wait_for(ready, lambda: f"/readyz answers 200:\n{self.log()}", timeout, 0.002)

    @property
    def pid(self):
        """Of the serving process: the supervisor's youngest child but the application."""
        def serves(pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                return True
            return words == [b""] or b"--serving" in words

        def serving():
            children = self.children()
            return [p for p in children if serves(p)] if len(children) > 1 else children
        # Between the death of one and the start of the next there is none.
        return wait_for(serving, "a serving process")[-1]

    def children(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]

    def count_fds(self, pid=None):
        return len(os.listdir(f"/proc/{pid or self.pid}/fd"))

    def journal_fds(self):
        """The journal of leases is opened with the first of them, and stays open."""
        fds, n = f"/proc/{self.pid}/fd", 0
        for fd in os.listdir(fds):
            try:
                n += os.readlink(os.path.join(fds, fd)).endswith(".leases")
            except FileNotFoundError:
                pass  # closed since
        return n

    def open_questions(self):
        """How many connections of admin and health it still holds: it closes them behind the answer."""
        port = ":%04X" % int(self.health.rpartition(":")[2])
        with open("/proc/net/tcp") as f:
            tcp = [line.split() for line in f]
        with open("/proc/net/unix") as f:
            unix = [line.split() for line in f]
        # Neither those that listen, nor those that no process holds any more.
        return (sum(t[1].endswith(port) and t[3] != "0A" and t[9] != "0" for t in tcp) +
                sum(u[-1] == self.socket_path and u[5] == "03" for u in unix))

    def rest_fds(self):
        """Its descriptors, without any that is there only because the test has asked something."""
        wait_for(lambda: self.open_questions() == 0, "admin and health connections are closed")
        return self.count_fds()

    def anon_kb(self):
        """RssAnon of all its processes."""
        total = 0
        for pid in [self.process.pid, *self.children()]:
            with open(f"/proc/{pid}/status") as f:
                total += int(re.search(r"RssAnon:\s+(\d+) kB", f.read()).group(1))
        return total

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def access_log(self):
        """The records so far; each line must be JSON."""
        try:
            with open(self.access_path, "rb") as f:
                lines = f.read().split(b"\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1]]

    def wait_access_log(self, n):
        return wait_for(lambda: len(r := self.access_log()) >= n and r,
                        lambda: f"{n} access log records: {self.access_log()}")

    # --- the end ---

    def alive(self):
        """What is not at rest, by name; empty when all is."""
        status = self.status()
        left = {}
        for key in ("streams", "connections"):
            if status[key] != 0:
                left[key] = status[key]
        idle = 0
        for upstream in status["upstreams"]:
            for key in ("active", "pending", "connecting"):
                if upstream.get(key, 0) != 0:
                    left[f"{upstream['name']}.{key}"] = upstream[key]
            idle += upstream["idle"]
        if self.base_fds is not None:
            fds = self.count_fds() - self.journal_fds()
            if fds > self.base_fds + idle:
                left["fds"] = f"{fds}, {self.base_fds} at start and {idle} idle upstream"
        return left

    def settle(self):
        """The proof that nothing is left alive."""
        last = {}

        def quiet():
            last.clear()
            try:
                last.update(self.alive())
            except (OSError, EOFError, AssertionError) as e:
                if not self.expect_faults:
                    raise
                last["admin"] = repr(e)  # the fault that the test made hit the question
            return not last
        wait_for(quiet, lambda: f"nothing is alive any more: {last}\n{self.log_end(3000)}")

    def signal(self, number):
        self.process.send_signal(number)

    def stop_thread(self, name):
        """Holds one thread still, as a loop that hangs would be: by ptrace. Returns what lets it go
        on, for the same thread to call."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        pid = self.pid
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/comm") as f:
                if f.read().strip() == name:
                    assert libc.ptrace(0x4206, int(tid), None, None) == 0, "PTRACE_SEIZE"
                    assert libc.ptrace(0x4207, int(tid), None, None) == 0, "PTRACE_INTERRUPT"
                    os.waitpid(int(tid), 0x40000000)  # __WALL
                    return lambda: libc.ptrace(17, int(tid), None, None)  # PTRACE_DETACH
        raise AssertionError(f"no thread {name}")

    def wait_exit(self, timeout=TIMEOUT):
        # wait(timeout) looks every 50 ms: too coarse for deadlines.
        if self.process.poll() is not None:
            return self.process.returncode
        fd = os.pidfd_open(self.process.pid)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        gone = poll.poll(timeout * 1000)
        os.close(fd)
        if not gone:
            raise AssertionError(f"still there after {timeout} s:\n{self.log_end(3000)}")
        return self.process.wait()

    def stop(self, timeout=None):
        """SIGTERM; exit 0 within the drain's deadline; no process and no complaint left behind."""
        if self.process.poll() is None and not self.ended:
            self.signal(signal.SIGTERM)
        code = self.wait_exit(timeout or 10 * SLOW)
        self.check_end(code)

    def check_end(self, code, expected=0):
        self.ended = True
        self.log_file.close()
        assert code == expected, f"exit status {code}:\n{self.log_end(6000)}"
        left = self.session()
        assert not left, f"processes left behind: {left}\n{self.log_end(3000)}"
        self.check_log()

    def session(self):
        """Processes of its session that still are there (zombies do not count)."""
        left = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat") as f:
                        fields = f.read().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    left.append(int(name))
        return left

    def check_log(self):
        found = (RACE if self.expect_faults else FAULTS).search(self.log())
        assert not found, f"{found.group(0)!r} in the log:\n{self.log_end(6000)}"

    def kill(self):
        """Whatever state it is in: gone."""
        for pid in self.session():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.log_file.close()


def lines_of(path, word=""):
    """Of a file that a child writes, those that begin with it; none while there is no file."""
    try:
        with open(path) as f:
            return [line for line in f.read().splitlines() if line.startswith(word)]
    except FileNotFoundError:
        return []


def forward(upstream="app", **more):
    return {"match": {"pathPrefix": "/"}, "upstream": upstream, **more}


class Scenario:
    """Keeps what a test started, and takes it down in order with the proof."""

    def __init__(self):
        # Short: a Unix socket's path has 107 bytes.
        self.directory = tempfile.mkdtemp(prefix="sluice-")
        self.clients = []
        self.backends = []
        self.sluices = []
        self.address = None

    def backend(self, script=ok_app, **how):
        backend = Backend(script, **how)
        self.backends.append(backend)
        return backend

    def sluice(self, config, **how):
        directory = os.path.join(self.directory, str(len(self.sluices)))
        os.mkdir(directory)
        sluice = Sluice(directory, config, **how)
        self.sluices.append(sluice)
        return sluice

    def proxy(self, backend=None, script=ok_app, listener=None, http=None, route=None,
              upstream=None, address=None, more=None, **how):
        """The usual case: one listener, one route with everything to one backend. Sets
        self.address, self.app and self.s."""
        self.app = backend or self.backend(script)
        self.address = address or f"127.0.0.1:{free_port()}"
        entry = {"name": "main", "direction": "inbound", "address": self.address}
        deep_update(entry, listener or {})
        if http:
            entry.setdefault("http", {}).update(http)
        if entry.get("protocol") == "tcp":
            entry.setdefault("backends", [{"upstream": "app", "weight": 1}])
        else:
            entry.setdefault("routes", [forward(**(route or {}))])
        app = {"name": "app", "endpoints": [self.app.address]}
        deep_update(app, upstream or {})
        config = {"listeners": [entry], "upstreams": [app]}
        deep_update(config, more or {})
        self.s = self.sluice(config, **how)
        return self.s

    def client(self, address=None, **how):
        client = Client(address or self.address, **how)
        self.clients.append(client)
        return client

    def ask(self, method="GET", target="/", **how):
        """One request on a connection of its own."""
        client = self.client()
        response = client.ask(method, target, **how)
        client.close()
        return response

    def begin(self, client, target="/"):
        """A part of a request: from now on the connection is not idle, and is not closed as an idle
        one is, however long it takes until client.finish()."""
        def heads():
            """Connections that are reading a request's head; one that has been answered is not."""
            code, response = self.s.admin("GET", "/v1/connections?class=http1&limit=10000")
            assert code == 200, response
            return sum(c["state"] == "head" and "stream_age_ms" in c
                       for c in json.loads(response.body)["connections"])
        before = heads()
        client.send(f"GET {target} HTTP/1.1\r\nHo")
        def told():
            return ("the request's beginning is read: "
                    f"{self.s.admin('GET', '/v1/connections')[1].body.decode()}")
        wait_for(lambda: heads() > before, told)
        return client

    def close(self, failed):
        try:
            for client in self.clients:
                client.close()
            if not failed:
                for sluice in self.sluices:
                    if not sluice.ended:
                        sluice.settle()
                        sluice.stop()
                errors = [e for b in self.backends for e in b.errors]
                assert not errors, errors
        finally:
            for sluice in self.sluices:
                sluice.kill()
            for backend in self.backends:
                backend.stop()
            shutil.rmtree(self.directory, ignore_errors=True)

    def logs(self):
        return "\n".join(f"--- {s.log_path}\n{s.log_end(8000)}" for s in self.sluices)


_reasons = None


def reasons():
    """word -> (status, Proxy-Status error) from sidecar/base/outcome.h."""
    global _reasons
    if _reasons is None:
        with open(os.path.join(ROOT, "sidecar/base/outcome.h")) as f:
            text = f.read()
        _reasons = {w: (int(s), p) for w, s, p in re.findall(
            r'X\([A-Z0-9_]+,\s*"(\w+)",\s*(\d+),[\s\\]*"(\w*)",', text)}
        assert len(_reasons) == text.count('    X(')
    return _reasons


def assert_problem(response, code, status=None):
    """An answer that sluice made itself: problem+json and Proxy-Status, as the table has it."""
    expected, error = reasons()[code]
    assert response.status == (status or expected), response
    assert response.get("content-type") == "application/problem+json", response
    problem = json.loads(response.body)
    assert problem["code"] == code, problem
    assert problem["status"] == response.status, problem
    assert problem["title"] and problem["type"], problem
    assert set(problem) <= {"type", "title", "status", "code", "detail", "traceId"}, problem
    assert response.get("proxy-status") == f'sluice; error={error}; details="{code}"', response
    return problem
