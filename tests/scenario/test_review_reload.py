"""What a reading of the hot reload put in doubt: each a moment between two configurations, or
between two processes, at which something could be lost, kept too long, or told too much."""

import json
import os
import signal
import socket
import time

import pytest

from harness import forward, free_port, ok_app
from test_supervisor import kill_serving
from test_upgrade import install
from test_upgrade import upgrade as upgrade_program
from tunnels import tunnel, upgrade
from wire import SLOW, TIMEOUT, Client, parse_address, wait_for

OFF = {"watch": False, "pollInterval": "0s"}


def put(s, config, text=None):
    new = s.config_path + ".new"
    with open(new, "w") as f:
        f.write(text if text is not None else json.dumps(config, indent=1) + "\n")
    os.rename(new, s.config_path)


def reload(s, config=None, status=200):
    if config is not None:
        put(s, config)
    code, response = s.admin("POST", "/v1/reload", timeout=30)
    assert code == status, response
    return json.loads(response.body)


def copy(config):
    return json.loads(json.dumps(config))


def listener(name, address, body):
    return {"name": name, "address": address, "routes": [
        {"match": {"pathPrefix": "/"}, "directResponse": {"body": body}}]}


def answers(address, timeout=TIMEOUT):
    """The body of an answer, or None."""
    try:
        client = Client(address, timeout)
        try:
            return client.ask().body.decode()
        finally:
            client.close()
    except (OSError, EOFError):
        return None


def two_words(sc, second, more=None, **how):
    """A sluice with a listener that stays and one that tests take away."""
    sc.address = f"127.0.0.1:{free_port()}"
    s = sc.s = sc.sluice({"reload": OFF, "listeners": [listener("main", sc.address, "one"),
                                                       listener("second", second, "two")],
                          "upstreams": [], **(more or {})}, **how)
    assert answers(second) == "two"
    return s


def taken():
    """A socket that listens, and its address; nobody else takes it when the socket is closed."""
    address = f"127.0.0.1:{free_port()}"
    busy = socket.socket()
    busy.bind(parse_address(address)[1])
    busy.listen(1)
    return busy, address


def without_second(s):
    config = copy(s.config)
    config["listeners"] = config["listeners"][:1]
    return config


# --- what outlives the snapshot it came from -----------------------------------------------------


def test_token_file_outlives_the_first_snapshot(sc):
    token = os.path.join(sc.directory, "token")
    with open(token, "w") as f:
        f.write("let me in\n")
    admin = f"127.0.0.1:{free_port()}"
    s = two_words(sc, f"127.0.0.1:{free_port()}",
                  {"admin": {"address": admin, "tokenFile": token}},
                  env={"MALLOC_PERTURB_": "165",  # what is freed does not look as before
                       "ASAN_OPTIONS": "exitcode=99:max_free_fill_size=1048576"})
    config = copy(s.config)
    first = [("Authorization", "Bearer let me in")]
    assert s.http(admin, "POST", "/v1/reload", first)[0] == 200
    for i in range(6):
        config["listeners"][0]["routes"][0]["directResponse"]["body"] = f"{i}" * 5000
        reload(s, config)
    wait_for(lambda: json.loads(s.admin("GET", "/v1/config")[1].body)["generations_alive"] == 1,
             "only the newest generation is alive")
    with open(token + ".new", "w") as f:
        f.write("another\n")
    os.rename(token + ".new", token)
    assert s.http(admin, "POST", "/v1/reload", [("Authorization", "Bearer another")])[0] == 200
    assert s.http(admin, "POST", "/v1/reload", first)[0] in (401, 403)


# --- a refusal leaves no trace --------------------------------------------------------------------


def endpoints(s):
    return {u["name"]: sorted(e["address"] for e in u["endpoints"])
            for u in s.status()["upstreams"]}


def test_endpoints_after_a_refusal_for_memory(sc):
    """Whichever allocation of the reload fails: what is told of the upstreams is what is used."""
    one, two = (f"127.0.0.1:{free_port()}" for _ in range(2))
    refused = 0
    for n in range(60, 140, 2):
        sc.address = f"127.0.0.1:{free_port()}"
        config = {"reload": OFF, "upstreams": [{"name": "app", "endpoints": [one]}],
                  "listeners": [{"name": "main", "address": sc.address, "routes": [forward()]}]}
        s = sc.sluice(config, env={"SLUICE_FAIL_ALLOC": str(n)}, wait=False)
        s.expect_faults = True
        wait_for(lambda: " serves: " in s.log() or "serving process" in s.log() or s.process.poll(),
                 lambda: "up or down\n" + s.log())
        if " serves: " in s.log():
            put(s, {**s.config, "upstreams": [{"name": "app", "endpoints": [two, one]}]})
            try:
                code = s.admin("POST", "/v1/reload")[0]
                assert endpoints(s)["app"] == sorted([one, two] if code == 200 else [one]), (n, code)
                refused += code == 422
            except (OSError, EOFError):
                pass  # the allocation was one of asking
            except AssertionError:
                if s.metrics().get("sluice_config_generation") == 1:
                    raise
        s.ended = True
        s.kill()
    assert refused > 3


# --- sockets between two processes ---------------------------------------------------------------


def test_failed_newcomer_leaves_unix_paths(sc):
    """A program that comes up, takes over copies of the sockets, and then cannot bind another."""
    unix = f"unix:{sc.directory}/front"
    s = two_words(sc, unix, program=install(sc))
    busy, address = taken()
    config = copy(s.config)
    config["listeners"].append(listener("third", address, "three"))
    put(s, config)
    before = s.pid
    s.signal(signal.SIGUSR2)
    wait_for(lambda: "nothing has changed" in s.log(), lambda: "the upgrade fails:\n" + s.log())
    wait_for(lambda: s.children() == [before], "the newcomer ends")
    assert answers(unix) == "two"
    assert answers(sc.address) == "one"
    busy.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_crash_while_a_listener_closes(sc, kind):
    """The successor's file has it again: what it finds at the supervisor must be a whole socket."""
    second = f"127.0.0.1:{free_port()}" if kind == "tcp" else f"unix:{sc.directory}/front"
    s = two_words(sc, second)
    reload(s, without_second(s))
    put(s, s.config)  # within the moment in which handshakes under way are let finish
    kill_serving(s)
    s.wait_ready()
    s.base_fds = None
    wait_for(lambda: answers(second, 1) == "two", lambda: "it answers again:\n" + s.log())
    assert answers(sc.address) == "one"


def test_crash_while_the_file_cannot_be_bound(sc):
    """What a reload refused must not take the place of what was in force, only because of a
    crash."""
    second = f"127.0.0.1:{free_port()}"
    s = two_words(sc, second)
    busy, address = taken()
    config = copy(s.config)
    config["listeners"][0]["routes"][0]["directResponse"]["body"] = "changed"
    config["listeners"].append(listener("third", address, "three"))
    refused = reload(s, config, 422)
    assert "cannot listen" in json.dumps(refused)
    kill_serving(s)
    s.wait_ready()
    s.base_fds = None
    assert answers(sc.address) == "one"
    assert answers(second) == "two"
    told = json.loads(s.admin("GET", "/v1/config")[1].body)
    assert told["source"] == "memory", told
    paths = [p["path"] for p in told["last_error"]["problems"]]
    assert "listeners[2].address" in paths, told
    busy.close()
    assert reload(s)["result"] == "applied"
    assert answers(sc.address) == "changed"


def test_long_unix_path_over_an_upgrade(sc):
    """A path may have 107 bytes, the supervisor's name for it less."""
    path = sc.directory + "/" + "x" * (107 - len(sc.directory) - 1)
    assert len(path) == 107
    s = two_words(sc, f"unix:{path}", program=install(sc))
    upgrade_program(s)
    assert answers(f"unix:{path}") == "two"
    kill_serving(s)
    s.wait_ready()
    s.base_fds = None
    assert answers(f"unix:{path}") == "two"
    assert "does not hold" not in s.log()


# --- long streams --------------------------------------------------------------------------------


def test_tunnels_outlive_their_backend_in_the_route(sc):
    """Their listener and their route remain: reloads do not end them, wherever the route leads
    now. One in each generation, so that there are more old ones than are kept as they are."""
    def script(conn):
        conn = upgrade(conn)
        while data := conn.read_some():
            conn.send(data)

    other = sc.backend(ok_app)
    s = sc.proxy(script=script, more={"reload": OFF, "lifecycle": {"drainTimeout": "200ms",
                                                                   "lastCall": "50ms"}})
    config = copy(s.config)
    clients = []
    for i in range(8):
        clients.append(tunnel(sc.client()))
        config["listeners"][0]["routes"][0]["timeout"] = f"{20 + i}s"
        reload(s, config)
    config["upstreams"].append({"name": "other", "endpoints": [other.address]})
    config["listeners"][0]["routes"][0]["upstream"] = "other"
    reload(s, config)
    time.sleep(2.5 * SLOW)  # longer than drainTimeout and the look that follows it
    for client in clients:
        client.send("still there")
        assert client.read(11) == b"still there"
    config["upstreams"] = config["upstreams"][1:]
    reload(s, config)
    time.sleep(2.5 * SLOW)
    for client in clients:
        client.send("still there")
        assert client.read(11) == b"still there"
        client.close()


# --- what is told --------------------------------------------------------------------------------


def test_mistakes_do_not_quote_the_environment(sc):
    s = two_words(sc, f"127.0.0.1:{free_port()}", env={"SECRET": "hunter2hunter2"})
    for key, value in (("lifecycle", {"drainTimeout": "${SECRET}"}),
                       ("workers", "${SECRET}"), ("logLevel", "${SECRET}"),
                       ("upstreams", [{"name": "a", "endpoints": ["${SECRET}:x"]}]),
                       ("upstreams", [{"name": "${SECRET}!", "endpoints": ["127.0.0.1:1"]}]),
                       ("version", "${SECRET}")):
        config = copy(s.config)
        config[key] = value
        told = reload(s, config, 422)
        assert "hunter2" not in json.dumps(told), (key, told)
    assert "hunter2" not in s.log()
