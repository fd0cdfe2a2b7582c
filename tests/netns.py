"""A network namespace of the test's own, in which nftables drops what the test says. Everything that
the process starts afterwards is in it too. Addresses are those of its loopback, 127.0.0.0/8."""

import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def _call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{name}: {os.strerror(err)}")


def why_not():
    """Why there can be none here; empty: there can."""
    for program in ("ip", "nft"):
        if not shutil.which(program):
            return f"{program} is not installed"
    done = subprocess.run(["unshare", "-n", "nft", "list", "ruleset"], capture_output=True, text=True,
                          check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


class Namespace:
    """The calling thread's, and that of the threads and processes which it starts, until leave()."""

    def __init__(self):
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _call("unshare", CLONE_NEWNET)
        self.now = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.drops = set()

    def _apply(self):
        rules = "".join(f"ip saddr {a} drop; ip daddr {a} drop; " for a in sorted(self.drops))
        subprocess.run(["nft", "-f", "-"], text=True, check=True, input=(
            "table ip dropper\ndelete table ip dropper\n" +
            "table ip dropper { chain packets { type filter hook prerouting priority 0; " + rules + "}\n}\n"))

    def drop(self, address):
        """All packets from and to it, from now on."""
        self.drops.add(address)
        self._apply()

    def pass_again(self, address):
        self.drops.remove(address)
        self._apply()

    def leave(self):
        _call("setns", self.before, CLONE_NEWNET)
        os.close(self.before)
        os.close(self.now)
