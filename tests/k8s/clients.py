"""Load through the Service, from outside the pods: the project's load client for single requests,
streams.py for WebSockets and gRPC. Every kind is counted for itself."""

import json
import os
import signal
import subprocess
import sys

from cluster import HERE, ROOT

LOAD = os.path.join(ROOT, os.environ.get("BUILD", "build"), "tools/load/load")
THINK = os.environ.get("K8S_THINK", "20")  # ms between an answer and a client's next request

KINDS = {
    "new connection each": ["--close"],
    "keep-alive GET": [],
    "keep-alive POST": ["--method", "POST", "--body", "300"],
}
# Whatever is not 0 of these is a fault. In Kubernetes nobody is refused either: listeners stay open
# until the end.
FAULTS = ("failed", "refused", "refused_connect_timeout", "refused_reset", "app_error", "unfinished")
SHOWN = ("sent", "answered", *FAULTS, "idle_close_crossed", "idle_closed", "refused_stream",
         "closed_1001", "told_to_go", "messages", "messages_crossed")


class Clients:
    """`n` of each kind, from now until result(); those of `kinds` alone, where it is given."""

    def __init__(self, cluster, address, n=32, kinds=(*KINDS, "websocket", "grpc")):
        self.processes, self.streams = {}, None
        for kind in set(kinds) & set(KINDS):
            self.processes[kind] = subprocess.Popen(
                cluster.inside(LOAD, "--url", f"http://{address}/", "--json", "--quiet",
                               "--allow-failed", "-c", str(n), "--think", THINK, *KINDS[kind]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        many = [str(n if kind in kinds else 0) for kind in ("websocket", "grpc")]
        if many != ["0", "0"]:
            self.streams = subprocess.Popen(
                cluster.inside(sys.executable, os.path.join(HERE, "streams.py"), address, *many),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [*self.processes.values(), *([self.streams] if self.streams else [])]:
            process.kill()
            process.wait()

    def sent(self):
        """Single requests until now."""
        for process in self.processes.values():
            process.send_signal(signal.SIGUSR1)
        return sum(int(process.stdout.readline()) for process in self.processes.values())

    def result(self):
        """kind -> counts, and notes on what went wrong."""
        counts, notes = {}, {}
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for kind, process in self.processes.items():
            counts[kind] = json.loads(process.communicate(timeout=60)[0])
            notes[kind] = {k: v for k, v in counts[kind]["failed_by_kind"].items() if v}
            notes[kind].update(counts[kind]["proxy_errors"])
        if self.streams:
            told = json.loads(self.streams.communicate(b"", timeout=60)[0])
            assert not told["errors"], told["errors"]
            counts.update({k: c for k, c in told["counts"].items() if c})
            notes["streams"] = told["notes"]
        return counts, {k: n for k, n in notes.items() if n}


def table(counts):
    shown = [key for key in SHOWN if any(c.get(key) for c in counts.values())]
    lines = [f"{'':22}" + "".join(f"{key:>19}" for key in shown)]
    for kind, c in counts.items():
        lines.append(f"{kind:22}" + "".join(f"{c.get(key, 0):>19}" for key in shown))
    return "\n".join(lines)


def assert_none_failed(counts, notes):
    print("\n" + table(counts), flush=True)
    wrong = {f"{kind}: {key}": c[key] for kind, c in counts.items() for key in FAULTS if c.get(key)}
    assert not wrong, (wrong, notes)
    for kind, c in counts.items():
        assert c.get("answered"), f"{kind}: nothing was answered: {c}"
