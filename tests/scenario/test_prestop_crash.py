"""Calls of /prestop are held by the supervisor: the serving process may go."""

import signal

from drains import wait_phase
from prestops import (Call, leave, own, phase_is, pod, prestop, proxy, ready, restarting,
                      wait_held, wait_state)
from test_supervisor import kill_serving
from wire import SPARE, wait_for


def crash(sc):
    sc.s.expect_faults = True
    kill_serving(sc.s)
    sc.s.base_fds = None


def test_a_crash_while_it_is_held(sc):
    """kill -9 of the serving process, twice: the call goes on, and is answered once, by the same
    deadline."""
    proxy(sc, more=pod(notice="4s", noticeQuiet=False))
    call = Call(sc)
    head = Call(sc, method="HEAD")
    assert own(sc) == 200
    wait_held(sc, 2)
    deadline = sc.s.status()["drain"]["deadline_ms"]
    for _ in range(2):
        crash(sc)
        wait_held(sc, 2)
        assert call.held() and head.held()
        assert prestop(sc)["state"] == "end" and ready(sc) == 200
        assert abs(sc.s.status()["drain"]["deadline_ms"] - deadline) <= 1
    response = call.answer()
    assert response.status == 200 and call.took >= 3.9, (response, call.took)
    assert call.took < 4 + SPARE
    assert head.status() == 200
    assert phase_is(sc, "egress_only")
    assert leave(sc, killed=True) < 1 + SPARE


def test_a_crash_in_a_restart(sc):
    app = restarting(sc, restartDrain="3s")
    call = Call(sc)
    wait_state(sc, "restart")
    crash(sc)
    wait_state(sc, "restart")
    assert call.held() and ready(sc) == 503
    assert call.status() == 200
    assert call.took >= 3.9
    app.stop()
    wait_state(sc, "away")
    crash(sc)
    wait_state(sc, "away")
    assert ready(sc) == 503
    app.start()
    wait_state(sc, "idle")
    assert ready(sc) == 200
    crash(sc)
    assert ready(sc) == 200 and prestop(sc) == {"state": "idle", "held": 0}


def test_a_crash_before_it_is_known_what_ends(sc):
    proxy(sc)
    call = Call(sc)
    wait_state(sc, "asked")
    crash(sc)
    wait_held(sc, 1)
    assert own(sc) == 200
    wait_state(sc, "end")
    assert call.status() == 200 and call.took >= 1.9
    assert leave(sc, killed=True) < 1 + SPARE


def test_who_leaves_after_a_crash(sc):
    proxy(sc)
    call = Call(sc)
    assert own(sc) == 200
    crash(sc)
    wait_held(sc, 1)
    call.client.close()
    wait_held(sc, 0)
    wait_phase(sc, "egress_only")
    assert leave(sc, killed=True) < 1 + SPARE


def test_the_hold_does_not_end_behind_an_answer(sc):
    """A process that starts after the answer has nothing to hold."""
    proxy(sc)
    call = Call(sc)
    assert own(sc) == 200
    assert call.status() == 200
    crash(sc)
    wait_phase(sc, "egress_only")
    assert prestop(sc)["held"] == 0
    assert leave(sc, killed=True) < 1 + SPARE


def test_no_upgrade_while_it_is_held(sc):
    proxy(sc, more=pod(notice="4s"))
    call = Call(sc)
    wait_held(sc, 1)
    pid = sc.s.pid
    sc.s.signal(signal.SIGUSR2)
    wait_for(lambda: "upgrade refused: a drain runs" in sc.s.log(), "the upgrade is refused")
    assert own(sc) == 200
    sc.s.signal(signal.SIGUSR2)
    wait_for(lambda: sc.s.log().count("upgrade refused: a drain runs") == 2, "refused again")
    assert call.held()
    assert call.status() == 200
    assert sc.s.pid == pid
    assert leave(sc) < 1 + SPARE
