"""The running node, as the tests see it: kubectl, what its pods' containers have written and when, and
their processes."""

import contextlib
import datetime
import glob
import json
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/scenario"))

from wire import wait_for  # noqa: E402

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sluice-k8s")
BIN = os.environ.get("K8S_BIN") or os.path.join(CACHE, "bin")
RUN = os.environ.get("K8S_RUN") or os.path.join(CACHE, "run")
PATIENCE = 60  # s for what Kubernetes does; a busy machine is slow


def script(name, *arguments):
    subprocess.run([os.path.join(HERE, name), *arguments], check=True, stdin=subprocess.DEVNULL)


class Cluster:
    def __init__(self):
        script("up.sh")
        with open(os.path.join(RUN, "pid")) as f:
            self.pid = int(f.read())
        self.logs = Logs(f"/proc/{self.pid}/root/run/pods")

    def down(self):
        self.logs.stop()
        script("down.sh")

    def inside(self, *command):
        """The command line of a program in the node's network."""
        return ["nsenter", f"--target={self.pid}", "--net", *command]

    def kubectl(self, *arguments, stdin=None, check=True):
        done = subprocess.run(
            self.inside(os.path.join(BIN, "kubectl"), "--kubeconfig", os.path.join(RUN, "kubeconfig"),
                        *arguments),
            input=stdin, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def get(self, *what):
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    @contextlib.contextmanager
    def applied(self, objects):
        """What is there until the end of the block, and then gone."""
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        others = {p["metadata"]["name"] for p in self.pods()}
        self.kubectl("apply", "-f", "-", stdin=manifest)
        try:
            yield
        finally:
            self.kubectl("delete", "--ignore-not-found", "--wait", "--grace-period=1",
                         "--cascade=foreground", "-f", "-", stdin=manifest)
            # A foreground deletion may return while the last pods still end.
            wait_for(lambda: {p["metadata"]["name"] for p in self.pods()} <= others,
                     lambda: f"its pods are gone: {self.told()}", PATIENCE, 0.2)

    def pods(self, selector=None):
        return self.get("pods", *(["-l", selector] if selector else []))["items"]

    def wait_ready(self, selector, n):
        def ready():
            pods = [p for p in self.pods(selector) if not p["metadata"].get("deletionTimestamp")]
            return len(pods) == n and all(is_ready(p) for p in pods) and pods
        return wait_for(ready, lambda: f"{n} pods {selector} are ready: {self.told()}", PATIENCE, 0.2)

    def address(self, service):
        """ip:port; it is in kube-proxy's rules when something answers there."""
        spec = self.get("service", service)["spec"]
        return self.wait_answer(f"{spec['clusterIP']}:{spec['ports'][0]['port']}")

    def wait_answer(self, address):
        ask = self.inside("curl", "-sfo", "/dev/null", "-m", "1", f"http://{address}/")
        wait_for(lambda: subprocess.call(ask) == 0,
                 lambda: f"something answers at {address}: {self.told()}", PATIENCE, 0.05)
        return address

    def told(self):
        """For the message of a failure."""
        return self.kubectl("get", "pods", "-o", "wide", check=False) + self.kubectl(
            "get", "events", "--sort-by=.lastTimestamp", check=False)[-4000:] + self.logs.ends()

    def sidecar(self, pod):
        """Host ids of the supervisor in a pod, and of what it has started."""
        return self.processes(pod, "proxy")

    def processes(self, pod, command):
        """Host ids of the processes of `sluice COMMAND` in a pod, oldest first."""
        uid, found = pod["metadata"]["uid"], []
        for directory in glob.glob("/proc/[0-9]*"):
            with contextlib.suppress(OSError):
                with open(os.path.join(directory, "cgroup")) as f:
                    if uid not in f.read():
                        continue
                with open(os.path.join(directory, "cmdline"), "rb") as f:
                    words = f.read().split(b"\0")
                if words[0].endswith(b"sluice") and words[1] == command.encode():
                    found.append(int(directory.split("/")[2]))
        return sorted(found)


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in pod["status"].get("conditions", []))


class Line:
    """What a container wrote, and when (seconds since the epoch, by containerd's clock)."""

    def __init__(self, raw):
        when, _stream, _part, self.text = raw.split(" ", 3)
        whole, _, fraction = when.rstrip("Z").partition(".")
        base = datetime.datetime.fromisoformat(whole[:19] + "+00:00").timestamp()
        self.at = base + float("0." + re.sub(r"\D.*", "", fraction or "0"))

    def __repr__(self):
        return f"{self.at % 1000:.3f} {self.text}"


class Logs:
    """All lines of all containers. Read while they are written: the files go with the pods."""

    def __init__(self, directory):
        self.directory, self.files, self.lines = directory, {}, {}
        self.lock, self.live = threading.Lock(), True
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while self.live:
            self.look()
            time.sleep(0.1)

    def look(self):
        with self.lock:
            # NAMESPACE_POD_UID/CONTAINER/RESTART.log
            for path in glob.glob(os.path.join(self.directory, "*/*/*.log")):
                if path not in self.files:
                    with contextlib.suppress(OSError):
                        self.files[path] = open(path, encoding="utf-8", errors="backslashreplace")
            for path, f in self.files.items():
                pod, container, _ = path.split("/")[-3:]
                lines = self.lines.setdefault((pod.split("_")[1], container), [])
                while (raw := f.readline()).endswith("\n"):
                    lines.append(Line(raw[:-1]))
                if raw:  # a line of which only a part is there yet
                    f.seek(f.tell() - len(raw.encode()))

    def ends(self, most=15):
        """The last lines of each container."""
        self.look()
        with self.lock:
            return "".join(f"--- {pod}/{container}\n" + "".join(f"{line}\n" for line in lines[-most:])
                           for (pod, container), lines in self.lines.items())

    def of(self, pod, container):
        self.look()
        with self.lock:
            return list(self.lines.get((pod, container), []))

    def find(self, pod, container, pattern):
        """When the last such line was written; None without one."""
        return next((line.at for line in reversed(self.of(pod, container))
                     if re.search(pattern, line.text)), None)

    def wait(self, pod, container, pattern, timeout=PATIENCE):
        return wait_for(lambda: self.find(pod, container, pattern),
                        lambda: f"{pod}/{container} writes {pattern!r}: {self.of(pod, container)}",
                        timeout, 0.05)

    def stop(self):
        self.live = False
        self.thread.join()
        for f in self.files.values():
            f.close()
