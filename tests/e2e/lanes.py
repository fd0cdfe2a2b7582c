"""Many rounds of the same in a few lanes at a time, and what the machine's pace adds to a bound."""

import os
import sys
import threading
import time
import traceback

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))

from rig import STARTS, mere_start  # noqa: E402


class Pace(threading.Thread):
    """The machine's, all the time: how long a process takes that starts and does nothing."""

    def __init__(self):
        super().__init__(daemon=True)
        self.samples = []

    def run(self):
        while True:
            took = mere_start() / 1000
            self.samples.append((time.monotonic(), took))
            time.sleep(0.25)

    def slack(self, since):
        """What is added to a bound where others have the CPUs."""
        return STARTS * max((took for at, took in list(self.samples) if at >= since),
                            default=mere_start() / 1000)


def in_lanes(lanes, rounds, work):
    """work(lane number, round) in some threads; the first thing that goes wrong is raised."""
    errors, numbers, lock = [], iter(range(rounds)), threading.Lock()

    def run(lane):
        while not errors:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            try:
                work(lane, n)
            except BaseException as e:  # noqa: BLE001 - said in the main thread
                errors.append((lane, n, e, traceback.format_exc()))
    threads = [threading.Thread(target=run, args=(i,)) for i in range(min(lanes, rounds))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        lane, n, e, text = errors[0]
        print(text, file=sys.stderr)
        raise AssertionError(f"lane {lane}, round {n}: {e}")


def quantiles(took):
    took = sorted(took)
    return f"median {took[len(took) // 2] * 1000:.0f} ms, longest {took[-1] * 1000:.0f} ms"
