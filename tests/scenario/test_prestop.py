"""GET /prestop: the kubelet's call before it ends a container, which holds the application until its
work is done. `self` is the sidecar's own hook: it comes at a pod's end, and not when a container
restarts."""

import signal
import threading
import time

import pytest

from drains import gated, report, stuck, wait_phase
from harness import assert_problem, forward, free_port
from prestops import (TOKEN, Call, leave, own, phase_is, pod, prestop, proxy, ready, restarting,
                      wait_held, wait_state)
from wire import SPARE, wait_for


def calls(sc, result):
    return sc.s.metrics().get("sluice_prestop_calls_total", result=result)


# --- the end of a pod -------------------------------------------------------------------------

@pytest.mark.parametrize("first", ["app", "self"])
def test_the_pod_ends(sc, first):
    """Both calls come, in either order: the application is held through NOTICE and as long as
    requests are open."""
    opened = threading.Event()
    proxy(sc, script=gated(opened))
    client = sc.client().request()
    sc.app.wait_requests(1)
    if first == "self":
        assert own(sc) == 200
    call = Call(sc)
    if first == "app":
        wait_state(sc, "asked")
        assert own(sc) == 200
    wait_state(sc, "end")
    wait_held(sc, 1)
    assert sc.s.status()["drain"]["trigger"] == "prestop"
    wait_phase(sc, "drain")
    assert call.held()
    opened.set()
    assert client.response().status == 200
    assert call.status() == 200
    assert call.took >= 1.9, "NOTICE lasts 2 s at least"
    assert phase_is(sc, "egress_only")
    assert leave(sc) < 1 + SPARE
    assert report(sc)["trigger"] == "prestop"


def test_readiness_stays_through_notice(sc):
    proxy(sc, script=stuck)
    sc.client().request()
    sc.app.wait_requests(1)
    call = Call(sc)
    assert own(sc) == 200
    wait_phase(sc, "notice")
    assert ready(sc) == 200
    wait_phase(sc, "drain")
    assert ready(sc) == 503
    assert call.held()
    call.client.close()


def test_an_admin_drain_is_unready_at_once(sc):
    proxy(sc)
    code, _ = sc.s.admin("POST", "/v1/drain")
    assert code == 200
    assert sc.s.status()["phase"] == "notice" and ready(sc) == 503


# --- a restart of the application's container -------------------------------------------------

def test_restart(sc):
    """Without `self` a container restarts: it is held for a moment, and what it serves is unready
    until its port accepts again."""
    app = restarting(sc, restartDrain="1s")
    old = sc.client()
    assert not old.ask().closes
    call = Call(sc)
    wait_state(sc, "asked")
    assert ready(sc) == 200
    wait_state(sc, "restart")
    assert ready(sc) == 503
    response = sc.ask()
    assert response.status == 200 and response.closes, "served, and told to go"
    old.expect_fin()  # idle
    assert call.status() == 200
    assert call.took >= 1.9
    assert prestop(sc)["state"] == "leaving"
    assert sc.s.status()["phase"] == "serving" and ready(sc) == 503
    app.stop()
    wait_for(lambda: sc.ask().status == 502, "the application has gone")
    wait_state(sc, "away")
    wait_state(sc, "away")
    assert ready(sc) == 503
    app.start()
    wait_state(sc, "idle")
    assert ready(sc) == 200
    assert not sc.client().ask().closes


def test_restart_ends_as_the_port_refuses(sc):
    app = restarting(sc, restartDrain="60s", notice="2s", drain="4s")
    call = Call(sc)
    wait_state(sc, "restart")
    assert call.held()
    app.stop()
    assert call.status() == 200
    assert ready(sc) == 503
    app.start()
    wait_state(sc, "idle")
    assert ready(sc) == 200


def test_restart_then_deletion(sc):
    """The second call with `self` turns the restart into an end: no way back."""
    app = restarting(sc, restartDrain="60s")
    call = Call(sc)
    wait_state(sc, "restart")
    assert own(sc) == 200
    wait_state(sc, "end")
    assert call.held()
    second = Call(sc)
    wait_held(sc, 2)
    assert call.status() == 200 and second.status() == 200
    app.stop()
    assert phase_is(sc, "egress_only")
    app.start()
    assert own(sc) == 200
    assert phase_is(sc, "egress_only")
    assert leave(sc) < 1 + SPARE


def test_deletion_behind_a_restart(sc):
    """The container is down while the pod is deleted: only the sidecar's own call comes."""
    app = restarting(sc, restartDrain="100ms")
    call = Call(sc)
    assert call.status() == 200
    app.stop()
    wait_for(lambda: sc.ask().status == 502, "the application has gone")
    assert own(sc) == 200
    wait_state(sc, "end")
    assert leave(sc) < 1 + SPARE


# --- who may call -----------------------------------------------------------------------------

@pytest.mark.parametrize("token,status", [(None, 401), ("", 403), ("wrong", 403), (TOKEN[:-1], 403),
                                          (TOKEN + "x", 403)])
def test_the_token(sc, token, status):
    """It is needed to begin; any answer releases the caller."""
    proxy(sc)
    for query in ("", "?self=1"):
        call = Call(sc, query, token)
        assert call.status() == status
    assert prestop(sc) == {"state": "idle", "held": 0}
    assert ready(sc) == 200
    assert calls(sc, "refused") == 2
    assert not sc.ask().closes


def test_without_a_token_nobody_may(sc):
    proxy(sc, env={"SLUICE_PRESTOP_TOKEN": ""})
    assert Call(sc).status() == 403
    assert Call(sc, token="").status() == 403
    assert prestop(sc)["state"] == "idle"


def test_the_token_from_a_file(sc, tmp_path):
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    proxy(sc, more=pod(prestop={"tokenFile": str(file)}))
    assert Call(sc, "?self=1").status() == 403  # the variable's
    assert Call(sc, "?self=1", "of-the-file").status() == 200
    assert phase_is(sc, "notice")


def test_while_it_runs_all_are_held(sc):
    proxy(sc)
    call = Call(sc)
    wait_state(sc, "asked")
    strangers = [Call(sc, token=None), Call(sc, token="wrong"), Call(sc, method="HEAD")]
    wait_held(sc, 4)
    assert own(sc) == 200
    assert all(c.held() for c in [call, *strangers])
    assert [c.status() for c in [call, *strangers]] == [200] * 4
    assert Call(sc, token=None).status() == 200, "there is nothing to wait for any more"
    assert leave(sc) < 1 + SPARE


def test_self_without_the_token_does_not_count(sc):
    proxy(sc, more=pod(restartDrain="500ms"))
    call = Call(sc)
    wait_state(sc, "asked")
    assert Call(sc, "?self=1", None).status() == 200  # at once, as a drain may be about to run
    assert call.status() == 200
    assert prestop(sc)["state"] != "end"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_change_nothing(sc, method):
    proxy(sc)
    response = Call(sc, method=method).answer()
    assert response.status == 405 and response.get("allow") == "GET, HEAD"
    assert prestop(sc) == {"state": "idle", "held": 0} and ready(sc) == 200


def test_an_admin_drain_holds_too(sc):
    proxy(sc, script=stuck)
    sc.client().request()
    sc.app.wait_requests(1)
    assert sc.s.admin("POST", "/v1/drain")[0] == 200
    call = Call(sc, token=None)
    wait_held(sc, 1)
    assert call.status() == 200
    assert sc.s.status()["phase"] in ("egress_only", "cleanup", "drained")


# --- many, and those that leave ---------------------------------------------------------------

def test_many_share_one_drain(sc):
    proxy(sc)
    held = [Call(sc) for _ in range(20)]
    assert own(sc) == 200
    wait_held(sc, 20)
    started = sc.s.status()["drain"]["elapsed_ms"]
    assert [c.status() for c in held] == [200] * 20
    assert started <= sc.s.status()["drain"]["elapsed_ms"]
    assert calls(sc, "held") == 20
    assert leave(sc) < 1 + SPARE
    assert sc.s.log().count("drain begins") == 1


def test_no_more_than_the_limit(sc):
    """64 are held; one with the token takes the place of one without."""
    proxy(sc, more=pod(notice="5s"))
    first = Call(sc)
    assert own(sc) == 200
    strangers = [Call(sc, token=None) for _ in range(63)]
    wait_held(sc, 64)
    assert Call(sc, token=None).status() == 503
    late = Call(sc)
    wait_for(lambda: not all(c.held() for c in strangers), "one makes room")
    gone = [c for c in strangers if not c.held()]
    assert len(gone) == 1 and gone[0].status() == 503
    assert late.held() and first.held()
    assert prestop(sc)["held"] == 64
    assert sc.s.get_health("/livez")[0] == 200
    assert calls(sc, "too_many") == 2
    for call in strangers:
        call.client.close()
    wait_held(sc, 2)
    assert late.status() == 200 and first.status() == 200
    assert leave(sc) < 1 + SPARE


def test_callers_that_leave(sc):
    proxy(sc)
    call = Call(sc)
    wait_state(sc, "asked")
    call.client.close()
    wait_held(sc, 0)
    assert own(sc) == 200
    second = Call(sc)
    wait_held(sc, 1)
    second.client.reset()
    wait_held(sc, 0)
    wait_phase(sc, "egress_only")
    assert calls(sc, "caller_gone") == 2
    assert leave(sc) < 1 + SPARE


# --- NOTICE -----------------------------------------------------------------------------------

def visit(sc, seconds, every):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sc.ask()
        time.sleep(every)


@pytest.mark.parametrize("quiet", [True, False])
def test_notice_ends_when_it_is_quiet(sc, quiet):
    """Somebody came often, and nobody comes any more: 2 s of that are enough. Else it lasts its
    time."""
    proxy(sc, more=pod(notice="60s", noticeQuiet=quiet))
    visit(sc, 2.5, 0.1)
    call = Call(sc)
    assert own(sc) == 200
    if quiet:
        assert call.status() == 200
        assert call.took >= 1.9
    else:
        time.sleep(3)
        assert call.held() and phase_is(sc, "notice")
        call.client.close()
    leave(sc)


def test_who_comes_keeps_it(sc):
    proxy(sc, more=pod(notice="60s"))
    visit(sc, 2.5, 0.1)
    call = Call(sc)
    assert own(sc) == 200
    visit(sc, 3, 0.2)
    assert call.held() and phase_is(sc, "notice")
    assert call.status() == 200
    leave(sc)


def test_idle_connections_get_a_lead(sc):
    """Closed no earlier than 0.5 s after responses began to say so, counted from the first call."""
    proxy(sc, more=pod(notice="0s"))
    idle = sc.client()
    assert not idle.ask().closes
    call = Call(sc)
    assert own(sc) == 200
    idle.expect_fin()
    assert time.monotonic() - call.began >= 0.5
    assert call.status() == 200
    leave(sc)


# --- who comes in DRAIN -----------------------------------------------------------------------

def refused(sc):
    """Who comes behind DRAIN is told so."""
    response = sc.ask()
    assert_problem(response, "draining", 503)
    return True


@pytest.mark.alone
@pytest.mark.parametrize("keeps", [True, False], ids=["keep-alive", "close"])
def test_who_comes_again_in_drain_is_served(sc, keeps):
    """A Service's endpoints are behind: between its requests nothing is open, and yet it comes
    again. DRAIN lasts until it has stopped; then the application gets its SIGTERM."""
    proxy(sc, more=pod(notice="0s", drain="30s", noticeQuiet=False))
    headers = [] if keeps else [("Connection", "close")]
    call = Call(sc)
    assert own(sc) == 200
    seen = []  # when each was answered in DRAIN
    while not seen or seen[-1] < seen[0] + 3:
        drains = phase_is(sc, "drain")
        client = sc.client()
        response = client.ask(headers=headers)
        answered = time.monotonic()
        assert response.status == 200 and response.closes, (response.status, seen, answered)
        client.expect_fin()
        client.close()
        if drains:
            seen.append(answered)
        time.sleep(0.2)
    assert call.held()
    assert call.status() == 200
    assert phase_is(sc, "egress_only") and refused(sc)
    assert time.monotonic() - seen[-1] < 0.8 + 1 + SPARE, "it has stopped"
    assert leave(sc) < 0.1 + SPARE
    drain_ms = report(sc)["budget"]["drain_ms"]
    assert 3000 + 750 <= drain_ms < 29000, drain_ms


def test_who_never_stops_is_refused_from_the_last_call_on(sc):
    """The budget holds."""
    proxy(sc, more=pod(notice="0s", drain="2s", last_call="1s", noticeQuiet=False))
    call = Call(sc)
    assert own(sc) == 200
    statuses = []
    while not statuses or statuses[-1] == 200:
        statuses.append(sc.ask().status)
        time.sleep(0.05)
    assert statuses[-1] == 503 and statuses.count(200) > 10
    assert call.status() == 200
    assert call.took >= 2.9
    leave(sc)
    assert report(sc)["budget"]["drain_ms"] in range(700, 2000)


def test_nobody_came_and_drain_ends_at_once(sc):
    proxy(sc, more=pod(notice="0s"))
    sc.ask()
    call = Call(sc)
    assert own(sc) == 200
    assert call.status() == 200
    leave(sc)
    assert report(sc)["budget"]["drain_ms"] < 500


# --- SIGTERM ----------------------------------------------------------------------------------

def test_sigterm_while_it_is_held(sc):
    """The grace is over: SIGKILL follows within 2 s, and all ends by 1.5 s."""
    proxy(sc, script=stuck, more=pod(notice="20s", drain="20s"))
    sc.client().request()
    sc.app.wait_requests(1)
    call = Call(sc)
    assert own(sc) == 200
    wait_held(sc, 1)
    sc.s.signal(signal.SIGTERM)
    began = time.monotonic()
    assert call.status() == 200
    sc.s.check_end(sc.s.wait_exit())
    assert time.monotonic() - began < 1.5 + SPARE


def test_exit_waits_for_sigterm(sc):
    """To leave earlier would be a crash to the kubelet."""
    proxy(sc, more=pod(notice="0s", drain="1s", cleanup="1s"))
    call = Call(sc)
    assert own(sc) == 200
    assert call.status() == 200
    wait_for(lambda: sc.s.status()["phase"] == "drained", "all phases are over")
    time.sleep(0.5)
    assert sc.s.process.poll() is None and ready(sc) == 503
    assert leave(sc) < 0.5 + SPARE


def test_a_job_ends_at_once(sc):
    """Its containers have exited: our own call, and SIGTERM behind it."""
    proxy(sc, more=pod(notice="20s"))
    assert own(sc) == 200
    assert phase_is(sc, "notice")
    sc.ask()  # nobody waits for who may come again
    assert leave(sc) < 1 + SPARE


# --- the application's way out ----------------------------------------------------------------

def test_the_way_out_stays_open(sc):
    """From the first call to SIGTERM: outbound connections old and new go on, and nobody on them is
    told to close."""
    inbound, outbound = (f"127.0.0.1:{free_port()}" for _ in range(2))
    proxy(sc, address=inbound, more={**pod(notice="0s", drain="2s", cleanup="6s"), "listeners": [
        {"name": "main", "direction": "inbound", "address": inbound, "routes": [forward()]},
        {"name": "out", "direction": "outbound", "address": outbound, "routes": [forward()]}]})
    old = sc.client(outbound)

    def works():
        assert not old.ask().closes
        new = sc.client(outbound)
        assert not new.ask().closes
        new.close()
    call = Call(sc)
    assert own(sc) == 200
    while call.held():
        works()
    assert call.status() == 200
    wait_phase(sc, "egress_only")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        works()
    assert phase_is(sc, "egress_only"), "it waits for the application's end, which SIGTERM tells"
    assert sc.ask().status == 503, "what comes in now is too late"
    assert leave(sc) < 1 + SPARE
    old.expect_end()


def test_the_way_out_ends_by_the_deadline(sc):
    """An application that ignores its SIGTERM: releases still get their part of the grace."""
    proxy(sc, more=pod(notice="0s", drain="1s", cleanup="3s", terminationGracePeriod="4s"))
    call = Call(sc)
    assert own(sc) == 200
    assert call.status() == 200
    ends = sc.s.status()["drain"]["phase_ends_ms"]
    assert ends["egress_only"] <= 2000 and ends["cleanup"] > ends["egress_only"], ends
    wait_for(lambda: phase_is(sc, "drained"), "all phases are over")
    assert leave(sc) < 0.5 + SPARE


# --- the termination message ------------------------------------------------------------------

def test_the_termination_message(sc, tmp_path):
    """Its last line is the summary; written when all is over, and again behind SIGTERM."""
    message = tmp_path / "termination-log"
    message.write_text("of the container before")
    proxy(sc, script=stuck, more=pod(notice="0s", drain="2s", cleanup="1s",
                                     terminationMessagePath=str(message)))
    client = sc.client().request()
    sc.app.wait_requests(1)
    assert own(sc) == 200
    assert client.response().status == 503
    wait_for(lambda: "drained in" in message.read_text(), "the message is written")
    assert leave(sc) < 1 + SPARE
    lines = message.read_text().splitlines()
    assert "h1_active: last_call 1" in lines
    assert lines[-1].endswith("by prestop: 0 forced, 0 open, 0 cleanups failed"), lines


def test_no_message_where_no_file_is(sc, tmp_path):
    proxy(sc, more=pod(terminationMessagePath=str(tmp_path / "none")))
    sc.s.stop()
    assert not (tmp_path / "none").exists()
    assert "termination message" not in sc.s.log()
