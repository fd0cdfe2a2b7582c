"""What the tests of the end share: how long it takes, where it is, and what it says at last."""

import json

from wire import SLOW, wait_for

OVERSHOOT = 0.05 if SLOW == 1 else 0.5


def lifecycle(notice="0s", drain="3s", last_call="500ms", **more):
    return {"lifecycle": {"noticePeriod": notice, "drainTimeout": drain, "lastCall": last_call,
                          "appCleanup": "0s", **more}}


def phase(sc):
    code, response = sc.s.admin("GET", "/v1/drain")
    assert code == 200
    return json.loads(response.body)["phase"]


def wait_phase(sc, *wanted):
    return wait_for(lambda: (p := phase(sc)) in wanted and p, lambda: f"phase {wanted}, it is {phase(sc)}")


def report(sc):
    """The drain report in the log, as JSON."""
    for line in sc.s.log().splitlines():
        if "drain" in line and "{" in line:
            try:
                found = json.loads(line[line.index("{"):])
            except json.JSONDecodeError:
                continue
            if "classes" in found:
                return found
    raise AssertionError(f"no drain report in the log:\n{sc.s.log()}")


def stuck(conn):
    """Takes requests and never answers."""
    while conn.head() is not None:
        pass


def gated(gate, body=b"whole"):
    """Answers one request when the gate opens, and waits for the end."""
    def script(conn):
        conn.request()
        gate.wait(20)
        conn.answer(body)
        conn.read_to_end()
    return script
