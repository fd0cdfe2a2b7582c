"""How long the loops of a program take for their turns: what tests/soak/turns.c, preloaded into it,
has written. A turn is what passes between two waits for events."""

import collections
import os
import struct

LIBRARY = "tools/soak/turns.so"  # in the build directory
THREADS, LONG_TURNS, LONG = 32, 4096, 0.001
HEAD, TURN = struct.Struct("=Q16sQQQQ"), struct.Struct("=QIIII")
SIZE = HEAD.size + LONG_TURNS * TURN.size

# Seconds; `end` as time.monotonic() tells it.
Turn = collections.namedtuple("Turn", "end wall cpu taken waited")


def waited(turn):
    """How long a turn stood still for a lock or the like. Where the kernel gave the processor to others
    besides nobody can tell; time that passes without either is the hypervisor's."""
    return turn.wall - turn.cpu if turn.waited and not turn.taken else 0.0


class Turns:
    def __init__(self, directory, build):
        self.path = os.path.join(directory, "turns")
        with open(self.path, "wb") as f:
            f.truncate(THREADS * SIZE)
        self.env = {"LD_PRELOAD": os.path.join(build, LIBRARY), "SLUICE_TURNS": self.path}

    def read(self):
        """name of the thread -> (turns in all, seconds in them, [Turn of LONG and more])."""
        with open(self.path, "rb") as f:
            data = f.read()
        threads = {}
        for at in range(0, len(data), SIZE):
            tid, name, n, wall, _, n_long = HEAD.unpack_from(data, at)
            if tid == 0:
                continue
            turns = []
            for i in range(min(n_long, LONG_TURNS)):
                end, *rest = TURN.unpack_from(data, at + HEAD.size + i * TURN.size)
                turns.append(Turn(end / 1e6, rest[0] / 1e6, rest[1] / 1e6, *rest[2:]))
            name = name.rstrip(b"\0").decode()
            threads[name] = (n, wall / 1e6, sorted(turns))
        return threads

    def of(self, prefix, since=0.0, until=float("inf")):
        """Those of the threads whose name begins so."""
        return [t for name, (_, _, turns) in self.read().items() if name.startswith(prefix)
                for t in turns if since <= t.end - t.wall and t.end <= until]
