#!/usr/bin/env python3
"""What sluice costs, beside a bare byte relay and the proxies that people run today.

Every proxy has one worker on CPU 0; the load client and the application are on CPU 1. A scenario
starts all proxies, then measures them in turns: one round is each proxy once, in an order that
rotates, so that what disturbs the machine disturbs all of them. The result is the median of the
ratios within the rounds, with the smallest and the largest.

CPU is the time that the scheduler gave to every thread of the proxy's process tree, divided by
the answers that the client counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import chart
import h2load
import peers
import procs

MB = 1 << 20
HERE = os.path.dirname(os.path.abspath(__file__))


class Scenario:
    def __init__(self, name, title, kind="http", path="/", load=(), unit="us", per=1.0,
                 client="load"):
        self.name, self.title, self.kind, self.path = name, title, kind, path
        # load, h2load, handshakes or websockets, and its options
        self.load, self.client = list(load), client
        self.unit = unit  # of the cost: microseconds a request, or milliseconds a GiB
        self.per = per    # cost = CPU microseconds / answers * per


SCENARIOS = [
    Scenario("h1-c1", "HTTP/1.1 keep-alive, 1 connection", load=["-c", "1"]),
    Scenario("h1-c64", "HTTP/1.1 keep-alive, 64 connections", load=["-c", "64"]),
    Scenario("h1-c1000", "HTTP/1.1 keep-alive, 1000 connections", load=["-c", "1000"]),
    Scenario("h1-close", "a connection per request, 64 at once", load=["-c", "64", "--close"]),
    Scenario("down-1m", "1 MB answers, 8 connections", path=f"/bytes?n={MB}", load=["-c", "8"],
             unit="ms/GiB", per=1024 / 1000),
    Scenario("up-1m", "1 MB request bodies, 8 connections", path="/upload",
             load=["-c", "8", "--method", "POST", "--body", str(MB)],
             unit="ms/GiB", per=1024 / 1000),
    Scenario("tcp-c64", "TCP relay, 64 connections, 64 bytes to and fro", kind="tcp",
             load=["-c", "64", "--tcp"]),
    *(Scenario(f"{kind}-m{m}", f"HTTP/2 to HTTP/{to}, 8 connections of {m} streams", kind=kind,
               load=["-c", "8", "-m", str(m)], client="h2load")
      for kind, to in (("h2-h1", "1.1"), ("h2-h2", "2")) for m in (1, 16, 100)),
    Scenario("h2-h2-fields", "the same, m=16, and HAProxy adds the fields that sluice adds",
             kind="h2-h2-fields", load=["-c", "8", "-m", "16"], client="h2load"),
    Scenario("grpc", "gRPC, unary calls, 8 connections of 16 streams", kind="grpc",
             path="/bench.Echo/Say.grpc", client="h2load", load=["-c", "8", "-m", "16", *h2load.GRPC]),
    Scenario("websocket", "1,000 WebSockets, messages of 64 bytes to and fro", kind="websocket",
             client="websockets", load=["1000"]),
    Scenario("tls-h1", "HTTP/1.1 by TLS, 64 connections", kind="tls", load=["-c", "64", "--h1"],
             client="h2load"),
    Scenario("tls-h2-m16", "HTTP/2 by TLS, 8 connections of 16 streams", kind="tls",
             load=["-c", "8", "-m", "16"], client="h2load"),
    Scenario("handshake", "TLS 1.3 handshakes (P-256), a request each", kind="tls",
             client="handshakes"),
    Scenario("resumed", "TLS 1.3 handshakes that resume, a request each", kind="tls",
             load=["--resume"], client="handshakes"),
]
IDLE, START = "idle-10k", "start"
# Memory of idle connections that are not those of IDLE: name: (kind of listener, what idlers.py is
# told). A thousand of each.
IDLERS = {"idle-h2": ("h2-h1", "h2"), "idle-tls-h1": ("tls", "tls-h1"),
          "idle-tls-h2": ("tls", "tls-h2"), "idle-websocket": ("websocket", "websocket")}


class Bench:
    def __init__(self, args):
        self.args = args
        self.build = os.path.abspath(args.build)
        self.load_exe = os.path.join(self.build, "tools/load/load")
        self.backends = peers.Backends()
        self.running = []
        self.errors = []
        self.names = []
        for name in args.proxies.split(",") if args.proxies else peers.NAMES:
            if peers.program(name, self.build):
                self.names.append(name)
            elif args.proxies or name != "envoy":
                print(f"{name}: not installed, left out", file=sys.stderr)

    def start_backend(self):
        argv = [os.path.join(self.build, "sluice"), "demo-app",
                "--listen", f"127.0.0.1:{self.backends.http}",
                "--tcp-echo", f"127.0.0.1:{self.backends.echo}"]
        if self.args.backend:
            argv[:2] = self.args.backend.split()
        self.running.append(procs.spawn(argv, 1, stderr=subprocess.DEVNULL))
        for port in (self.backends.http, self.backends.echo):
            if not procs.wait_port(port, self.running[0]):
                raise SystemExit("bench: the demo application did not start")
        if peers.program("nghttpd", self.build):
            for port, argv in self.backends.h2_argvs():
                self.running.append(procs.spawn(argv, 1, stdout=subprocess.DEVNULL,
                                                stderr=subprocess.DEVNULL))
                if not procs.wait_port(port, self.running[-1]):
                    raise SystemExit("bench: nghttpd did not start")

    def stop_backend(self):
        for proc in self.running:
            procs.stop(proc)
        self.backends.remove()

    def missing(self, scenario):
        """The program that a scenario lacks, or None."""
        wanted = ["h2load"] if scenario.client == "h2load" else []
        if scenario.kind in ("h2-h2", "h2-h2-fields", "grpc"):
            wanted = [*wanted, "nghttpd"]
        return next((p for p in wanted if not peers.program(p, self.build)), None)

    def load_argv(self, scenario, port, *extra):
        """For `load`; the others take "-t", seconds only."""
        if scenario.client == "h2load":
            scheme = "https" if scenario.kind == "tls" else "http"
            return h2load.argv(f"{scheme}://127.0.0.1:{port}{scenario.path}", float(extra[1]),
                               scenario.load, self.backends)
        if scenario.client == "websockets":
            return [sys.executable, os.path.join(HERE, "websockets.py"), str(port), *scenario.load,
                    extra[1]]
        if scenario.client == "handshakes":
            return [sys.executable, os.path.join(HERE, "handshakes.py"), str(port),
                    self.backends.ca, extra[1], *scenario.load]
        return [self.load_exe, "--url", f"http://127.0.0.1:{port}{scenario.path}", "--json",
                "--allow-failed", *scenario.load, *extra]

    def run_load(self, argv, wrap=(), at_begin=None):
        """at_begin() is called before the load begins: before its start, or when it is ready."""
        waits = argv[1].endswith("websockets.py")
        if at_begin and not waits:
            at_begin()
        proc = procs.spawn([*wrap, *argv], 1, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        if at_begin and waits:
            proc.stderr.readline()
            at_begin()
        out, _ = proc.communicate(b"\n", timeout=120)
        if argv[0] == h2load.program():
            return h2load.parse(out.decode())
        return json.loads(out)

    def check(self, scenario, proxy, result):
        bad = result["failed"] + result["app_error"] + result["refused"]
        if bad or not result["answered"]:
            self.errors.append(f"{scenario.name}, {proxy.name}: of {result['sent']} requests "
                               f"{bad} went wrong: {result['failed_by_kind']} {result['status']}")

    def one(self, scenario, proxy):
        """One measurement: cost, and what the client saw."""
        argv = self.load_argv(scenario, proxy.port, "-t", str(self.args.seconds))
        before = []
        result = self.run_load(argv, at_begin=lambda: before.append(procs.cpu_ns(proxy.pid)))
        spent = procs.cpu_ns(proxy.pid) - before[0]
        self.check(scenario, proxy, result)
        answers = max(result["answered"], 1)
        return {"cost": spent / 1000 / answers * scenario.per, "rps": result["rps"],
                "p50_us": result["latency_us"]["p50"], "p99_us": result["latency_us"]["p99"],
                "answered": result["answered"]}

    def syscalls(self, scenario, proxy):
        """System calls per answer, in a run of its own; None where the kernel does not tell."""
        pids = ",".join(map(str, procs.tree(proxy.pid)))
        # Making the connections is part of the count: it must not be most of it.
        seconds = self.args.seconds * (4 if "1000" in scenario.load else 1)
        with tempfile.NamedTemporaryFile("r", prefix="bench-perf-") as out:
            wrap = ["perf", "stat", "-x,", "-o", out.name, "-e", "raw_syscalls:sys_enter",
                    "-p", pids, "--"]
            try:
                result = self.run_load(self.load_argv(scenario, proxy.port, "-t", str(seconds)), wrap)
            except (OSError, ValueError):
                return None
            for line in out:
                fields = line.split(",")
                if len(fields) > 2 and "sys_enter" in line and fields[0].isdigit():
                    return int(fields[0]) / max(result["answered"], 1)
        return None

    def warm_up(self, scenario, proxy):
        self.run_load(self.load_argv(scenario, proxy.port, "-t", "0.3"))

    def with_proxies(self, kind, body):
        """Runs body(proxies) with a fresh process of each."""
        running = []
        try:
            for name in self.names:
                if peers.speaks(name, kind):
                    running.append(peers.Proxy(name, kind, self.build, self.backends).start())
            return body(running)
        finally:
            for proxy in running:
                proxy.stop()

    def measure(self, scenario):
        def body(proxies):
            rounds = []
            for proxy in proxies:
                self.warm_up(scenario, proxy)
            for number in range(self.args.rounds):
                turn = number % len(proxies)
                rounds.append({proxy.name: self.one(scenario, proxy)
                               for proxy in proxies[turn:] + proxies[:turn]})
                print(".", end="", file=sys.stderr, flush=True)
            calls = {proxy.name: self.syscalls(scenario, proxy) for proxy in proxies}
            return {"title": scenario.title, "unit": scenario.unit, "rounds": rounds,
                    "syscalls": calls}
        return self.with_proxies(scenario.kind, body)

    def hold(self, name, proxy, argv, count):
        """Memory before and while a client holds `count` connections."""
        before = procs.memory(proxy.pid)
        client = procs.spawn(argv, 1, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = client.stderr.readline()
        time.sleep(1.0)
        after = procs.memory(proxy.pid)
        client.terminate()
        out, _ = client.communicate(timeout=30)
        told = json.loads(out)
        if not line.startswith("ready") or told["failed"] or told["answered"] != count:
            self.errors.append(f"{name}, {proxy.name}: {told['answered']} of {count} "
                               f"served, {told['failed']} failed")
        print(".", end="", file=sys.stderr, flush=True)
        return {"before": before, "after": after, "connections": count,
                "bytes_per_connection": (after["rss_anon"] - before["rss_anon"]) / count}

    def idlers(self, name):
        kind, how = IDLERS[name]
        argv = [sys.executable, os.path.join(HERE, "idlers.py")]
        if kind == "websocket":
            argv, how = [sys.executable, os.path.join(HERE, "websockets.py")], "0"

        def body(proxies):
            result = {}
            for proxy in proxies:
                # The first few connections pay for what all of them use.
                warm = procs.spawn([*argv, str(proxy.port), "20", how], 1, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
                warm.stderr.readline()
                warm.terminate()
                warm.communicate(timeout=30)
                result[proxy.name] = self.hold(name, proxy, [*argv, str(proxy.port), "1000", how],
                                               1000)
            return result
        return self.with_proxies(kind, body)

    def idle(self):
        """Memory with idle keep-alive connections that have each served a request."""
        room = procs.fd_limit() - 600  # what is left beside the connections to the backend

        def body(proxies):
            result = {}
            for proxy in proxies:
                # The relay has two descriptors a connection, as many as the limit allows.
                count = min(self.args.idle, room // 2 if proxy.name == "floor" else room)
                scenario = Scenario(IDLE, "", load=["--idle", str(count), "-t", "600"])
                if proxy.name != "floor":
                    self.warm_up(Scenario("", "", load=["-c", "1"]), proxy)
                result[proxy.name] = self.hold(IDLE, proxy, self.load_argv(scenario, proxy.port),
                                               count)
            return result
        return self.with_proxies("http", body)

    def start_times(self):
        """Milliseconds from exec to the first answer through the proxy."""
        request = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
        rounds = []
        for number in range(self.args.rounds):
            turn = number % len(self.names)
            times = {}
            for name in self.names[turn:] + self.names[:turn]:
                proxy = peers.Proxy(name, "http", self.build, self.backends)
                try:
                    begin = time.monotonic()
                    proxy.spawn()
                    times[name] = self.first_answer(proxy, request, begin)
                finally:
                    proxy.stop()
            rounds.append(times)
            print(".", end="", file=sys.stderr, flush=True)
        return {"rounds": rounds}

    @staticmethod
    def first_answer(proxy, request, begin):
        import socket
        while time.monotonic() - begin < 10:
            try:
                with socket.create_connection(("127.0.0.1", proxy.port), 2) as s:
                    s.sendall(request)
                    if s.recv(64).startswith(b"HTTP/1.1 200"):
                        return (time.monotonic() - begin) * 1000
            except OSError:
                pass
            time.sleep(0.0005)
        return float("nan")


def spread(values):
    values = [v for v in values if v is not None and v == v]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(result):
    """Medians for each proxy, and the ratios of sluice within the rounds."""
    rounds = result["rounds"]
    names = [n for n in peers.NAMES if rounds and n in rounds[0]]
    result["proxies"] = {
        name: {key: spread([r[name][key] for r in rounds])
               for key in ("cost", "rps", "p50_us", "p99_us")} for name in names}
    rivals = [n for n in names if n in peers.RIVALS]
    ratios = {}
    if "sluice" in names:
        for name in names:
            if name != "sluice":
                ratios[name] = spread([r["sluice"]["cost"] / r[name]["cost"] for r in rounds])
        if rivals:
            ratios["best"] = spread([r["sluice"]["cost"] / min(r[n]["cost"] for n in rivals)
                                     for r in rounds])
    result["ratios"] = ratios


def number(value, digits=2):
    return "n/a" if value is None else f"{value:.{digits}f}"


def ratio_text(s):
    return "" if s is None else f"{s['median']:.2f} ({s['min']:.2f}-{s['max']:.2f})"


def print_scenario(name, result):
    digits = 2 if result["unit"] == "us" else 0
    unit = "CPU us/request" if result["unit"] == "us" else "CPU ms/GiB"
    print(f"\n{name}: {result['title']}")
    print(f"  {'':10} {unit:>16} {'min':>8} {'max':>8} {'answers/s':>11} {'p50 us':>8} "
          f"{'p99 us':>8} {'syscalls':>9}   sluice / it")
    for proxy, s in result["proxies"].items():
        cost = s["cost"]
        p50, p99 = (number(s[k]["median"] if s[k] else None, 0) for k in ("p50_us", "p99_us"))
        print(f"  {proxy:10} {number(cost['median'], digits):>16} {number(cost['min'], digits):>8} "
              f"{number(cost['max'], digits):>8} {s['rps']['median']:>11.0f} "
              f"{p50:>8} {p99:>8} "
              f"{number(result['syscalls'].get(proxy)):>9}   "
              f"{ratio_text(result['ratios'].get(proxy))}")
    if result["ratios"].get("best"):
        print(f"  sluice / the best of haproxy, nginx, nghttpx in each round: "
              f"{ratio_text(result['ratios']['best'])}")


def print_idle(name, result):
    print(f"\n{name}: memory of the process tree, before and with idle keep-alive connections")
    print(f"  {'':10} {'RssAnon KB':>11} {'with idle':>10} {'bytes/conn':>11} "
          f"{'PSS KB':>9} {'RSS KB':>9}")
    for proxy, m in result.items():
        print(f"  {proxy:10} {m['before']['rss_anon'] // 1024:>11} "
              f"{m['after']['rss_anon'] // 1024:>10} {m['bytes_per_connection']:>11.0f} "
              f"{m['after']['pss'] // 1024:>9} {m['after']['rss'] // 1024:>9}")


def print_start(result):
    print(f"\n{START}: ms from exec to the first answer")
    for proxy in result["rounds"][0]:
        s = spread([r[proxy] for r in result["rounds"]])
        print(f"  {proxy:10} {s['median']:>8.1f}  ({s['min']:.1f}-{s['max']:.1f})" if s else
              f"  {proxy:10}      n/a")


def mount_tracefs():
    if not os.path.exists("/sys/kernel/tracing/events") and os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tracefs", "none", "/sys/kernel/tracing"],
                       stderr=subprocess.DEVNULL, check=False)


def parse_args():
    names = [s.name for s in SCENARIOS] + [IDLE, *IDLERS, START]
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--only", action="append", metavar="SCENARIO",
                   help="one of " + ", ".join(names) + "; may be repeated")
    p.add_argument("--proxies", help="a comma-separated list of " + ", ".join(peers.NAMES))
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    p.add_argument("--idle", type=int, default=10000, help="connections of " + IDLE)
    p.add_argument("--quick", action="store_true", help="2 rounds of half a second")
    p.add_argument("--build", default=os.environ.get("BUILD", "build"))
    p.add_argument("--backend", help=argparse.SUPPRESS)  # another demo application
    args = p.parse_args()
    if args.quick:
        args.rounds, args.seconds = 2, 0.5
    for name in args.only or []:
        if name not in names:
            p.error(f"no scenario {name!r}; there are {', '.join(names)}")
    for name in (args.proxies or "").split(","):
        if name and name not in peers.NAMES:
            p.error(f"no proxy {name!r}; there are {', '.join(peers.NAMES)}")
    return args


def main():
    args = parse_args()
    if (os.cpu_count() or 1) < 2:
        print("bench: one CPU only: proxies, load and application share it", file=sys.stderr)
    procs.raise_fd_limit()
    mount_tracefs()
    bench = Bench(args)
    wanted = args.only or [s.name for s in SCENARIOS] + [IDLE, *IDLERS, START]
    results = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
               "rounds": args.rounds, "seconds": args.seconds, "scenarios": {}}
    bench.start_backend()
    try:
        for scenario in SCENARIOS:
            if scenario.name in wanted and bench.missing(scenario):
                print(f"{scenario.name}: {bench.missing(scenario)} is not installed, left out",
                      file=sys.stderr)
            elif scenario.name in wanted:
                print(f"{scenario.name} ", end="", file=sys.stderr, flush=True)
                result = bench.measure(scenario)
                print(file=sys.stderr)
                summarise(result)
                results["scenarios"][scenario.name] = result
                print_scenario(scenario.name, result)
        if IDLE in wanted:
            results[IDLE] = bench.idle()
            print_idle(IDLE, results[IDLE])
        for name in IDLERS:
            if name in wanted:
                results[name] = bench.idlers(name)
                print_idle(name, results[name])
        if START in wanted:
            results[START] = bench.start_times()
            print_start(results[START])
    finally:
        bench.stop_backend()

    out = os.path.join(bench.build, "bench")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    with open(os.path.join(out, "bench.svg"), "w", encoding="utf-8") as f:
        f.write(chart.svg(results))
    print(f"\nwritten: {os.path.join(args.build, 'bench')}/bench.json, bench.svg")
    for error in bench.errors:
        print(f"bench: {error}", file=sys.stderr)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
