#!/usr/bin/env python3
"""What all policies cost together: CPU per request of one sluice with all of them on a route and its
upstream, beside one with none, in turns under the same load (a verified token in each request).
Exit status 1 when the median of the rounds is above what is wanted."""

import argparse
import base64
import hashlib
import hmac
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import h2load
import peers
import procs

WANTED = 1.08
KINDS = {"h1": ["--h1", "-c", "64"], "h2": ["-c", "8", "-m", "16"]}
SECRET = b"a secret of thirty-two bytes ..."


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token():
    head = base64url(json.dumps({"alg": "HS256", "kid": "one"}).encode())
    claims = base64url(json.dumps({
        "iss": "https://idp.test", "aud": "app", "sub": "somebody", "scope": "read write",
        "exp": int(time.time()) + 3600}).encode())
    signed = f"{head}.{claims}"
    return f"{signed}.{base64url(hmac.digest(SECRET, signed.encode(), hashlib.sha256))}"


def every_policy(directory):
    """Of the configuration, of a route, of an upstream. None of them refuses anything here."""
    keys = os.path.join(directory, "jwks.json")
    with open(keys, "w", encoding="ascii") as f:
        json.dump({"keys": [{"kty": "oct", "kid": "one", "k": base64url(SECRET)}]}, f)
    whole = {"jwt": [{
        "name": "idp", "issuer": "https://idp.test", "audiences": ["app"], "algorithms": ["HS256"],
        "jwks": {"file": keys}, "claimsToHeaders": [{"claim": "sub", "header": "X-User"}]}]}
    route = {
        "authz": {"jwt": ["idp"], "rules": [
            {"action": "deny", "paths": ["/admin/*"]},
            {"action": "allow", "methods": ["GET"],
             "claims": [{"claim": "scope", "values": ["read"]}]}]},
        "rateLimits": [
            {"name": "all", "requests": 1000000},
            {"name": "each", "requests": 1000000, "key": {"header": "X-User"}}],
        "fault": {"abort": {"percent": 100}, "headers": [{"name": "X-Chaos", "exact": "on"}]},
        "retry": {"attempts": 1, "perTryTimeout": "5s"},
        "requestHeaderModifier": {"set": [{"name": "X-Client", "value": "{client.address}"}],
                                  "remove": ["X-Debug"]},
        "responseHeaderModifier": {"set": [{"name": "X-Served-By", "value": "{route}"}]},
    }
    upstream = {
        "circuitBreaker": {"consecutiveErrors": 5, "errorRate": 50, "slowCallDuration": "5s"},
        "outlierDetection": {"consecutive5xx": 5},
        "slowStart": {"window": "30s"},
        "healthCheck": {"tcp": {}},
    }
    return whole, route, upstream


class Sluice:
    def __init__(self, build, kind, backends, policies):
        self.dir = tempfile.mkdtemp(prefix="bench-policies-")
        self.port = procs.free_port()
        route = {"upstream": "app"}
        upstream = {"name": "app", "endpoints": [
            f"127.0.0.1:{backends.h2 if kind == 'h2' else backends.http}"],
            "protocol": "http2" if kind == "h2" else "http1"}
        config = {
            "version": 1, "workers": 1, "log": {"level": "warn"},
            "lifecycle": {"noticePeriod": "0s", "drainTimeout": "1s", "lastCall": "0s",
                          "appCleanup": "0s"},
            "admin": {"address": "off", "socket": os.path.join(self.dir, "admin.sock")},
            "health": {"address": f"127.0.0.1:{procs.free_port()}"},
        }
        if policies:
            for into, more in zip((config, route, upstream), every_policy(self.dir)):
                into.update(more)
        config["listeners"] = [{"name": "in", "address": f"127.0.0.1:{self.port}",
                                "routes": [route]}]
        config["upstreams"] = [upstream]
        path = os.path.join(self.dir, "sluice.yaml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.proc = procs.spawn([os.path.join(build, "sluice"), "proxy", "-c", path], 0)
        if not procs.wait_port(self.port, self.proc):
            raise SystemExit("policies: sluice did not start")

    def measure(self, load, seconds):
        """CPU microseconds a request."""
        argv = h2load.argv(f"http://127.0.0.1:{self.port}/", seconds, load, None)
        before = procs.cpu_ns(self.proc.pid)
        out = procs.spawn(argv, 1, stdout=subprocess.PIPE).communicate(timeout=120)[0]
        spent = procs.cpu_ns(self.proc.pid) - before
        told = h2load.parse(out.decode())
        if told["failed"] or told["app_error"] or not told["answered"]:
            raise SystemExit(f"policies: not all went well: {told}")
        return spent / 1000 / told["answered"]

    def stop(self):
        procs.stop(self.proc)
        shutil.rmtree(self.dir, ignore_errors=True)


def compare(kind, args, backends):
    load = [*KINDS[kind], "-H", f"authorization: Bearer {token()}"]
    both = [Sluice(args.build, kind, backends, on) for on in (False, True)]
    costs, ratios = ([], []), []
    try:
        for sluice in both:
            sluice.measure(load, 0.3)  # warm
        for turn in range(args.rounds):
            now = {}
            for i in (0, 1) if turn % 2 == 0 else (1, 0):
                now[i] = both[i].measure(load, args.seconds)
                costs[i].append(now[i])
            ratios.append(now[1] / now[0])
    finally:
        for sluice in both:
            sluice.stop()
    ratio = statistics.median(ratios)
    print(f"{kind}: {statistics.median(costs[0]):.2f} us a request without policies, "
          f"{statistics.median(costs[1]):.2f} with all of them: {ratio:.3f} "
          f"({min(ratios):.3f}-{max(ratios):.3f}), at most {WANTED} wanted")
    return ratio <= WANTED


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--rounds", type=int, default=11)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--build", default=os.environ.get("BUILD", "build"))
    args = p.parse_args()
    args.build = os.path.abspath(args.build)
    if not h2load.program() or not peers.program("nghttpd", args.build):
        print("policies: h2load and nghttpd are not installed (make deps-bench)")
        return 0
    backends = peers.Backends()
    running = [procs.spawn([os.path.join(args.build, "sluice"), "demo-app", "--listen",
                            f"127.0.0.1:{backends.http}"], 1, stderr=subprocess.DEVNULL)]
    running += [procs.spawn(argv, 1, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for _, argv in backends.h2_argvs()[:1]]
    try:
        for port, proc in zip((backends.http, backends.h2), running):
            if not procs.wait_port(port, proc):
                raise SystemExit("policies: a backend did not start")
        good = [compare(kind, args, backends) for kind in KINDS]
    finally:
        for proc in running:
            procs.stop(proc)
        backends.remove()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
