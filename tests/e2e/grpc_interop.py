#!/usr/bin/env python3
"""gRPC's interoperability tests, grpc-go's client against grpc-go's server: directly, and through
sluice by h2c and by TLS on each side. A case that passes directly must pass through sluice. The last
line is `N passed, N failed`.

    tests/e2e/grpc_interop.py [--only WAY] [CASE...]"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests/scenario")]

import certs  # noqa: E402
import harness  # noqa: E402
from wire import Client, free_port, wait_for  # noqa: E402

CLIENT = os.path.join(ROOT, "build/gobin/grpc-interop-client")
SERVER = os.path.join(ROOT, "build/gobin/grpc-interop-server")
TIMEOUT = 60  # seconds that a case may take

# What needs no cloud's credentials and no other load balancing than one server.
CASES = ["empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong",
         "empty_stream", "timeout_on_sleeping_server", "cancel_after_begin",
         "cancel_after_first_response", "status_code_and_message", "special_status_message",
         "custom_metadata", "unimplemented_method", "unimplemented_service", "rpc_soak",
         "channel_soak"]

# name: (the listener has TLS, the upstream has TLS); None: not through sluice
WAYS = {
    "direct": None,
    "h2c to h2c": (False, False),
    "tls to h2c": (True, False),
    "h2c to tls": (False, True),
    "tls to tls": (True, True),
}


def is_open(port):
    try:
        Client(f"127.0.0.1:{port}").close()
        return True
    except OSError:
        return False


class Rig:
    """Two servers, one of them with TLS, and a sluice with a listener for each way to them."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="sluice-grpc-")
        self.authority = certs.authority()
        self.pair = self.authority.issue("server", sans=["DNS:localhost", "IP:127.0.0.1"])
        self.plain, self.tls = free_port(), free_port()
        self.servers = [self._server(self.plain),
                        self._server(self.tls, "-use_tls", "-tls_cert_file", self.pair.cert,
                                     "-tls_key_file", self.pair.key)]
        # name of a way: (port, does its client speak TLS?)
        self.ports = {"direct": (self.plain, False)}
        listeners = []
        for name, way in WAYS.items():
            if way:
                self.ports[name] = (free_port(), way[0])
                listeners.append(self._listener(name, *way))
        self.sluice = harness.Sluice(self.directory, {"listeners": listeners, "upstreams": [
            {"name": "plain", "endpoints": [f"127.0.0.1:{self.plain}"], "protocol": "http2"},
            {"name": "tls", "endpoints": [f"127.0.0.1:{self.tls}"], "protocol": "http2",
             "tls": {"caFile": self.authority.cert, "serverName": "localhost"}}]})
        for port in (self.plain, self.tls):
            wait_for(lambda port=port: is_open(port), "the interop server listens")

    def _server(self, port, *more):
        log = open(os.path.join(self.directory, f"server-{port}.log"), "wb")
        with log:
            return subprocess.Popen([SERVER, "-port", str(port), *more],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _listener(self, name, listener_tls, upstream_tls):
        entry = {"name": name.replace(" ", "-"), "address": f"127.0.0.1:{self.ports[name][0]}",
                 "routes": [harness.forward("tls" if upstream_tls else "plain")]}
        if listener_tls:
            entry["tls"] = {"certificates": [{"certFile": self.pair.cert,
                                              "keyFile": self.pair.key}]}
        return entry

    def run(self, way, case):
        """None, or what went wrong."""
        port, tls = self.ports[way]
        argv = [CLIENT, "-server_host", "127.0.0.1", "-server_port", str(port), "-test_case", case]
        if tls:
            argv += ["-use_tls", "-use_test_ca", "-ca_file", self.authority.cert,
                     "-server_host_override", "localhost"]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return f"not done after {TIMEOUT} s"
        if done.returncode == 0:
            return None
        return done.stdout.decode(errors="replace").strip()[-600:] or f"exit {done.returncode}"

    def end(self):
        """What is left alive afterwards, or None."""
        try:
            self.sluice.settle()
            self.sluice.stop()
            return None
        except AssertionError as e:
            return str(e)[-3000:]

    def close(self):
        self.sluice.kill()
        for server in self.servers:
            server.kill()
            server.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--only", choices=WAYS, action="append")
    p.add_argument("cases", nargs="*", metavar="CASE")
    args = p.parse_args()
    for program in (CLIENT, SERVER):
        if not os.access(program, os.X_OK):
            print(f"{program} is not there: .ci/go-tools build/gobin", file=sys.stderr)
            return 1

    passed = failed = 0
    rig = Rig()
    try:
        for way in args.only or WAYS:
            good = 0
            for case in args.cases or CASES:
                why = rig.run(way, case)
                good += why is None
                failed += why is not None
                if why:
                    print(f"{way}: FAILED: {case}: {why}", flush=True)
            passed += good
            print(f"{way}: {good} of {len(args.cases or CASES)} cases", flush=True)
        why = rig.end()
        if why:
            print(f"the end: FAILED: {why}")
        passed, failed = passed + (why is None), failed + (why is not None)
    finally:
        rig.close()
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
