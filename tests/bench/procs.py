"""Processes of the bench: started on one CPU, measured as whole trees through /proc."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from ports import free_port  # noqa: E402, F401


def raise_fd_limit(wanted=60000):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((max(soft, wanted), max(hard, wanted)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return
        except (ValueError, OSError):
            continue


def fd_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def spawn(argv, cpu, **kwargs):
    """A process of its own group that runs on one CPU only."""
    def setup():
        os.setsid()
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(argv, preexec_fn=setup, **kwargs)


def stop(proc):
    """SIGTERM, then what is left of its group is killed."""
    if proc is None:
        return
    for signo, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        if proc.poll() is None:
            try:
                proc.send_signal(signo)
                proc.wait(patience)
            except (subprocess.TimeoutExpired, ProcessLookupError):
                continue
    try:
        os.killpg(proc.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def wait_port(port, proc, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if proc.poll() is not None:
            return False
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.01)
    return False


def read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def tree(pid):
    """A process and all that came of it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        try:
            tasks = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for task in tasks:
            todo += [int(p) for p in read(f"/proc/{one}/task/{task}/children").split()]
    return found


def cpu_ns(pid):
    """Time on a CPU of every living thread of the tree, in nanoseconds."""
    total = 0
    for one in tree(pid):
        try:
            tasks = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for task in tasks:
            fields = read(f"/proc/{one}/task/{task}/schedstat").split()
            total += int(fields[0]) if fields else 0
    return total


def memory(pid):
    """RssAnon, RSS and PSS of the tree, in bytes."""
    sums = {"rss_anon": 0, "rss": 0, "pss": 0}
    names = {"RssAnon:": "rss_anon", "VmRSS:": "rss", "Pss:": "pss"}
    for one in tree(pid):
        for line in (read(f"/proc/{one}/status") + read(f"/proc/{one}/smaps_rollup")).splitlines():
            fields = line.split()
            if fields and fields[0] in names:
                sums[names[fields[0]]] += int(fields[1]) * 1024
    return sums
