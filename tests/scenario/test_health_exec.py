"""Health checks by a command: what it is told, what it says, and that none is left behind."""

import json
import os
import stat

import pytest

from test_health import FAST, health, last, state
from wire import wait_for


class Command:
    """A script that does what `do()` said last."""

    def __init__(self, directory):
        self.path, self.body = (os.path.join(directory, name) for name in ("check", "body"))
        self.seen = os.path.join(directory, "seen")
        self.do("exit 0")
        with open(self.path, "w") as f:
            f.write(f'#!/bin/sh\necho "$1 $SLUICE_UPSTREAM $SLUICE_ENDPOINT $$" >>{self.seen}\n. {self.body}\n')
        os.chmod(self.path, stat.S_IRWXU)

    def do(self, what):
        with open(self.body + ".new", "w") as f:
            f.write(what + "\n")
        os.rename(self.body + ".new", self.body)

    def looks(self):
        with open(self.seen) as f:
            return f.read().splitlines()

    def check(self, **more):
        return {"exec": {"command": [self.path, "an argument"]}, **FAST, "timeout": "5s", "skipWhileServing": False,
                **more}


@pytest.fixture
def command(sc):
    return Command(sc.directory)


def commands_alive(sc):
    """Children of the serving process."""
    out = []
    for task in os.listdir(f"/proc/{sc.s.pid}/task"):
        with open(f"/proc/{sc.s.pid}/task/{task}/children") as f:
            out += f.read().split()
    return out


def quiet_end(sc):
    """No more looks, so that what is alive can be counted."""
    del sc.s.config["upstreams"][0]["healthCheck"]
    reload(sc)
    wait_for(lambda: not commands_alive(sc), "no command is left")


def reload(sc):
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    code, response = sc.s.admin("POST", "/v1/reload", timeout=30)
    assert code == 200, response


def test_what_it_says(sc, command):
    sc.proxy(upstream={"healthCheck": command.check()})
    last(sc.s, "PROCOK")
    assert health(sc.s)["healthy"]
    endpoint = f"127.0.0.1:{sc.app.port}"
    assert command.looks()[0].split()[:4] == ["an", "argument", "app", endpoint]
    command.do("printf 'disk \\033full\\nand more\\n'; exit 3")
    state(sc.s, False)
    assert health(sc.s)["last"] == "PROCERR/3"
    log = sc.s.log()
    assert f"endpoint {endpoint} is DOWN: PROCERR/3 (disk ?full) in " in log and "and more" not in log
    command.do("kill -9 $$")
    last(sc.s, "PROCERR/137")
    command.do("exit 0")
    state(sc.s, True)
    assert sc.ask().status == 200
    assert sc.s.metrics().get("sluice_health_checks_total", upstream="app", result="PROCOK") >= 3
    quiet_end(sc)


def test_one_that_hangs_is_killed_with_all_that_it_started(sc, command):
    command.do("sleep 1000 & sleep 1000")
    sc.proxy(upstream={"healthCheck": command.check(timeout="200ms")})
    state(sc.s, False)
    assert health(sc.s)["last"] == "PROCTOUT"
    groups = {int(line.split()[-1]) for line in command.looks()}
    quiet_end(sc)

    def alive():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) in groups and fields[0] != "Z":
                yield pid
    wait_for(lambda: not list(alive()), "all are gone")


def test_one_that_cannot_be_run(sc):
    sc.proxy(upstream={"healthCheck": {"exec": {"command": ["/no/such/check"]}, **FAST}})
    state(sc.s, False)
    assert health(sc.s)["last"] == "PROCERR/0"
    assert "PROCERR/0 (No such file or directory)" in sc.s.log()
    assert sc.ask().status == 200  # the only one, and nobody is better
    quiet_end(sc)


def test_one_that_never_stops_talking(sc, command):
    """It finds its pipe closed; sluice keeps one line."""
    command.do("yes secret | head -c 300000; exit 0")
    sc.proxy(upstream={"healthCheck": command.check()})
    wait_for(lambda: health(sc.s)["last"] not in ("INI", None), "a look has ended")
    assert sc.ask().status == 200
    quiet_end(sc)


def test_reload_while_one_runs(sc, command):
    command.do("sleep 1000")
    sc.proxy(upstream={"healthCheck": command.check(timeout="60s")})
    wait_for(lambda: commands_alive(sc), "one runs")
    before = commands_alive(sc)
    sc.s.config["listeners"][0]["routes"][0]["timeout"] = "7s"
    reload(sc)
    assert commands_alive(sc) == before  # by the same rules it goes on
    sc.s.config["upstreams"][0]["healthCheck"]["exec"]["command"][1] = "another"
    reload(sc)
    wait_for(lambda: commands_alive(sc) not in (before, []), "another one runs")
    quiet_end(sc)
