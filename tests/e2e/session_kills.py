#!/usr/bin/env python3
"""Sessions of an application that is killed, and of a sluice that is: real processes, counted.

    session_kills.py [--short] [PHASE...]

A device lets 16 log in, and keeps each session locked until its logout. An application logs in
through sluice, and then is killed (SIGKILL), runs out of memory, crashes or exits, without a word
to anybody. Each session must be released in time, once; and none while its holder lives.

SLUICE_KILLS=N: how many of each (1000; with --short a few dozen). Phases: process, exec, ports,
alive, sluice, whole."""

import json
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lanes import Pace, in_lanes, quantiles  # noqa: E402
from session_rig import (PATIENCE, Cgroup, Holder, Lane, ask, end_process,  # noqa: E402
                         kill_whole, wait_for)
from rig import Tally  # noqa: E402

ENDS = ["kill", "abort", "exit", "oom"]
BOUND = {"process": 1.0, "exec": 1.0, "ports": 2.0}
LANES = {"process": 6, "exec": 3, "ports": 6, "sluice": 6, "whole": 4}
SPREAD = 0.04  # seconds from the first of some logins within which sluice is killed
STAYS = 2.5  # seconds that a session must stay whose holder lives: more than twice deathGrace


PACE = Pace()


class Figures:
    """What all lanes of a phase have found."""

    def __init__(self, tally):
        self.tally, self.lock = tally, threading.Lock()
        self.took, self.counts, self.longest = [], {}, 0

    def count(self, name, n=1):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + n

    def slowest(self, seconds):
        with self.lock:
            self.longest = max(self.longest, seconds)

    def check(self, holds, text):
        with self.lock:
            self.tally.check(holds, text)
        return holds

    def released(self, after, since, bound, what):
        """In time; where the machine is so busy that a process does not start, its pace counts."""
        if after is not None and after > bound:
            bound += PACE.slack(since)
        if self.check(after is not None and after <= bound,
                      f"{what}: released after {after and round(after, 3)} s, bound {bound:.3f}"):
            with self.lock:
                self.took.append(after)


def ends_of(cgroup, n):
    return [e for e in ENDS if e != "oom" or cgroup.path][n % (4 if cgroup.path else 3)]


def must_be_once(f, lanes, what):
    for lane in lanes:
        all_ = lane.device.all()
        f.check(all_["double"] == 0 and all_["usedLate"] == 0 and all_["unknown"] == 0,
                f"{what}: each released once, none used behind its end: {all_}")
        f.check(all_["held"] == 0, f"{what}: none is left: {all_}")


# --- the application ends -----------------------------------------------------------------------

def applications(tally, proof, rounds, cgroup):
    """One sluice for many applications, one after the other."""
    f = Figures(tally)
    lanes = [Lane(i, proof, key=i % 2 == 1) for i in range(LANES[proof])]
    try:
        for lane in lanes:
            lane.start()

        def work(i, n):
            lane, how = lanes[i], ends_of(cgroup, n)
            holder = Holder(lane)
            time.sleep(random.random() ** 3 * 0.5)  # at times at once
            f.check(lane.device.is_held(holder.session), f"{proof}: held while its holder lives")
            when = holder.end(how, cgroup)
            f.released(lane.device.released_after(holder.session, when, BOUND[proof]), when,
                       BOUND[proof], f"{proof}, {how}, round {n}")
            f.count(how)
        in_lanes(len(lanes), rounds, work)
        must_be_once(f, lanes, proof)
    finally:
        for lane in lanes:
            lane.take_down()
    tally.say(len(f.took) == rounds, f"{proof}: {len(f.took)} of {rounds} released in time, "
              f"{quantiles(f.took) if f.took else ''} ({f.counts})")


def executed(tally, rounds, cgroup):
    """The application is sluice's own child; when it ends, sluice does, behind the releases."""
    f = Figures(tally)
    lanes = [Lane(i, "exec") for i in range(LANES["exec"])]

    def work(i, n):
        lane, how = lanes[i], ends_of(cgroup, n)
        sluice = lane.start(exec_app=True)
        session = wait_for(lane.only_session, lambda: f"a login:\n{sluice.log_end(3000)}", PATIENCE)
        pid = wait_for(lane.child_application, "the child", PATIENCE)
        wait_for(lambda: session in sluice.log(), "the holder has heard of it", PATIENCE)
        when = end_process(pid, lane.app, how, cgroup)
        f.released(lane.device.released_after(session, when, BOUND["exec"]), when, BOUND["exec"],
                   f"exec, {how}, round {n}")
        code = sluice.wait_exit(PATIENCE)
        f.check(code == {"kill": 137, "oom": 137, "abort": 134, "exit": 3}[how],
                f"exec, {how}: exit status {code}")
        sluice.log_file.close()
        f.count(how)
    try:
        in_lanes(len(lanes), rounds, work)
        must_be_once(f, lanes, "exec")
    finally:
        for lane in lanes:
            lane.take_down()
    tally.say(len(f.took) == rounds, f"exec: {len(f.took)} of {rounds} released in time, "
              f"{quantiles(f.took) if f.took else ''} ({f.counts})")


# --- the holder lives ---------------------------------------------------------------------------

def kill_serving(lane):
    before = lane.sluice.pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: lane.sluice.children() and lane.sluice.pid != before, "another serves")
    lane.sluice.wait_ready()


def upgrade(lane):
    before = lane.sluice.pid
    lane.sluice.signal(signal.SIGUSR2)
    wait_for(lambda: lane.sluice.children() and before not in lane.sluice.children(),
             lambda: f"the upgrade is done:\n{lane.sluice.log_end(3000)}", PATIENCE)
    lane.sluice.wait_ready()


def restart(lane):
    kill_whole(lane.sluice)
    lane.start()


TROUBLES = {
    "nothing": lambda lane: None,
    "kill -9 of the serving process": kill_serving,
    "SIGUSR2": upgrade,
    "two upgrades and a kill -9": lambda lane: (upgrade(lane), upgrade(lane), kill_serving(lane)),
    "sluice killed as a whole, and started again": restart,
}


def still_held(tally, proof, closes):
    """Whatever happens to sluice, and though its holder may have closed its port: held while that
    lives. And released when it dies behind it."""
    def one(name, trouble):
        lane = Lane(0, proof)
        try:
            lane.start()
            holder = Holder(lane, use_ms=100)
            if closes:
                holder.unlisten()
            trouble(lane)
            end = time.monotonic() + STAYS
            held = True
            while held and time.monotonic() < end:
                held = lane.device.is_held(holder.session)
                time.sleep(0.05)
            what = f"{proof}, {'its port closed, ' if closes else ''}{name}"
            tally.check(held, f"{what}: held while its holder lives\n{lane.sluice.log_end(3000)}")
            when = holder.end("kill")
            after = lane.device.released_after(holder.session, when, BOUND[proof])
            # Behind our own start silence must last ten times as long, until a sign of life is seen;
            # the holder gives one every 100 ms.
            tally.say(held and after is not None and
                      after <= BOUND[proof] + PACE.slack(when),
                      f"{what}: held for {STAYS} s, then killed: released after "
                      f"{after and round(after, 3)} s")
            all_ = lane.device.all()
            tally.check(all_["usedLate"] == 0 and all_["double"] == 0, f"{what}: {all_}")
        finally:
            lane.take_down()
    for name, trouble in TROUBLES.items():
        one(name, trouble)


# --- sluice ends around the login ---------------------------------------------------------------

class Login(threading.Thread):
    """A POST through sluice whose answer may never come; the connection stays open with it."""

    def __init__(self, address):
        super().__init__()
        self.address, self.session, self.sent = address, None, None

    def run(self):
        try:
            self.sent = time.monotonic()
            status, body = ask(self.address, "POST", "/login", timeout=15)
            if status == 200:
                self.session = json.loads(body)["session"]
        except (OSError, ValueError, KeyError):
            pass


def sluice_killed(tally, rounds, whole):
    """Killed at a random moment of some logins. Whose session the application has got, or sluice has
    read (which nobody can see from outside: those that are released), is released once its holder
    is proved gone; the others are what sluice has never read."""
    what = "whole" if whole else "sluice"
    f = Figures(tally)
    lanes = [Lane(i, "ports", login_ms=4, grace="100ms", key=i % 2 == 1)
             for i in range(LANES[what])]

    def work(i, n):
        lane = lanes[i]
        logins = [Login(lane.out) for _ in range(4)]
        moment = random.random() * SPREAD
        begin = time.monotonic()
        for k, login in enumerate(logins):
            login.start()
            time.sleep(moment / 8 * k)
        time.sleep(max(0, begin + moment - time.monotonic()))
        if whole:
            kill_whole(lane.sluice)
        else:
            os.kill(lane.sluice.pid, signal.SIGKILL)
        killed = time.monotonic()
        if whole:
            lane.start()
        for login in logins:
            login.join()
        lane.sluice.wait_ready()
        # Those whose login came to the next process are of a living sluice.
        got = {x.session for x in logins if x.session}
        f.count("heard of", len(got))
        given = set(lane.device.all()["sessions"])
        # Nobody holds anything now: no port, no connection. The grace is ten times as long here.
        wait_for(lambda: lane.held() == 0, lambda: f"{what}, round {n}: what was read is released:\n"
                 f"{lane.sluice.log_end(3000)}", PATIENCE)
        f.slowest(time.monotonic() - killed)
        left = set(lane.device.all()["sessions"])
        f.check(not left & got, f"{what}, round {n}: heard of, and not released: {left & got}\n"
                f"{lane.sluice.log_end(3000)}")
        for session in left - got:
            # Given so early that sluice would have read it long before it was killed?
            early = killed - (lane.device.one(session)["loginUs"] + lane.device.login_us) / 1e6
            f.check(early < 0.05 + PACE.slack(begin),
                    f"{what}, round {n}: an answer that came {early:.3f} s before the kill is lost")
            lane.device.logout(session)
        f.count("unread", len(left - got))
        f.count("read", len(given - got - left))
        f.count("logins", len(given))
        f.count("kills")
    try:
        for lane in lanes:
            lane.start()
        in_lanes(len(lanes), rounds, work)
        for lane in lanes:
            f.count("released twice", lane.device.all()["double"])
    finally:
        for lane in lanes:
            lane.take_down()
    c = f.counts
    tally.say(c.get("kills") == rounds and c.get("released twice") == 0, f"{what}: {c.get('kills')} kills around {c.get('logins')} "
              f"logins: {c.get('heard of')} sessions that the application had heard of and "
              f"{c.get('read')} more that sluice had read, all released; {c.get('unread')} that "
              f"sluice had never read; {c.get('released twice')} released twice; longest "
              f"{f.longest:.1f} s from the kill")


def main():
    arguments = sys.argv[1:]
    short = "--short" in arguments
    phases = [a for a in arguments if not a.startswith("-")] or \
        ["process", "exec", "ports", "alive", "sluice", "whole"]
    n = int(os.environ.get("SLUICE_KILLS", 24 if short else 1000))
    tally, cgroup = Tally(), Cgroup()
    if not cgroup.path:
        print(f"  skipped: out of memory: {cgroup.why}", flush=True)
    begin = time.monotonic()
    PACE.start()
    try:
        for phase in phases:
            if phase in ("process", "ports"):
                applications(tally, phase, n, cgroup)
            elif phase == "exec":
                executed(tally, n, cgroup)
            elif phase == "alive":
                still_held(tally, "ports", closes=False)
                still_held(tally, "ports", closes=True)
                still_held(tally, "process", closes=True)
            else:
                sluice_killed(tally, n, phase == "whole")
    finally:
        cgroup.remove()
    print(f"took {time.monotonic() - begin:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(tally.failed > 0)


if __name__ == "__main__":
    main()
