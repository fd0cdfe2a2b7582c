"""What the access log does not tell."""

import hashlib
import json
import os
import re
import signal

import pytest

import h2wire
from test_supervisor import kill_serving
from wire import wait_for

SALT = b"0123456789abcdef"
SECRETS = ["tok-5ecret", "c0de-5ecret", "pa55-5ecret", "se55-5ecret"]
TARGET = ("/app;jsessionid=se55-5ecret/x?a=1&token=tok-5ecret&b=2&%63ode=c0de-5ecret"
          "&PassWord=pa55-5ecret;more&empty=")


def hashed(value, salt=SALT):
    return "sha256:" + hashlib.sha256(salt + value.encode()).hexdigest()[:16]


def salted(tmp_path, text=SALT + b"\n"):
    path = tmp_path / "salt"
    path.write_bytes(text)
    return str(path)


def proxy(sc, redact=None, more=None, **how):
    log = {"redact": redact} if redact is not None else {}
    sc.proxy(more={"accessLog": log, **(more or {})}, **how)


def raw_log(sc):
    with open(sc.s.access_path) as f:
        return f.read()


def test_by_default(sc):
    proxy(sc)
    assert sc.ask(target=TARGET).status == 200
    h2 = h2wire.Client(sc.address)
    assert h2.ask(path=TARGET).status == 200
    records = sc.s.wait_access_log(2)
    text = raw_log(sc)
    assert not any(s in text for s in SECRETS)
    mark = r"sha256:[0-9a-f]{16}"
    for record in records:
        assert re.fullmatch(f"a=1&token={mark}&b=2&%63ode={mark}&PassWord={mark}&empty=",
                            record["query"])
        assert re.fullmatch(f"/app;jsessionid={mark}/x", record["path"])
    assert records[0]["query"] == records[1]["query"]
    # what goes on is what came
    assert [r.target for r in sc.app.requests] == [TARGET, TARGET]
    assert sc.s.metrics().get("sluice_access_log_redacted_total") == 8
    h2.close()


def test_salt_of_a_file(sc, tmp_path):
    proxy(sc, {"saltFile": salted(tmp_path)})
    sc.ask(target=TARGET)
    record = sc.s.wait_access_log(1)[0]
    assert record["path"] == f"/app;jsessionid={hashed('se55-5ecret')}/x"
    assert record["query"] == (f"a=1&token={hashed('tok-5ecret')}&b=2&%63ode={hashed('c0de-5ecret')}"
                               f"&PassWord={hashed('pa55-5ecret;more')}&empty=")


def test_names_and_fields_of_the_configuration(sc, tmp_path):
    proxy(sc, {"saltFile": salted(tmp_path), "parameters": ["Device"],
               "fields": ["client", "peer", "user_agent", "host"]})
    sc.ask(target="/x?device=d1&token=t1", headers=[("User-Agent", "browser")])
    sc.ask(target="/x")
    with_agent, without = sc.s.wait_access_log(2)
    assert with_agent["query"] == f"device={hashed('d1')}&token=t1"
    assert with_agent["client"] == with_agent["peer"] == hashed("127.0.0.1")
    assert with_agent["user_agent"] == hashed("browser") and with_agent["host"] == hashed("test")
    assert "user_agent" not in without and "query" not in without


def test_off(sc):
    proxy(sc, {"parameters": []})
    sc.ask(target="/x?token=t1")
    assert sc.s.wait_access_log(1)[0]["query"] == "token=t1"


def test_a_long_query(sc, tmp_path):
    """Cut for the log, and full of what grows by redaction."""
    proxy(sc, {"saltFile": salted(tmp_path), "parameters": ["k"], "fields": ["user_agent"]})
    target = "/" + ";k=5/" * 300 + "?" + "k=5&" * 300
    client = sc.client()
    for _ in range(30):
        assert client.ask(target=target).status == 200
    records = sc.s.wait_access_log(30)
    assert len(records) == 30
    for record in records:
        for text in (record["path"], record["query"]):
            assert text.count(hashed("5")) >= 200
            assert "5" not in re.sub("sha256:[0-9a-f]{16}", "", text)
    client.close()


def test_our_errors_tell_nothing(sc):
    """Neither problem+json, /v1/connections, /v1/status nor our own log has the query of a request."""
    sc.proxy(listener={"routes": [{"match": {"path": "/only"}, "upstream": "app"}]})
    answers = [sc.ask(target="/none?token=tok-5ecret"),
               sc.ask("TRACE", target="/none?token=tok-5ecret"),
               sc.ask(target="/%00?token=tok-5ecret"),
               sc.ask(target="/none?token=tok-5ecret" + "x" * 9000)]
    assert {a.status for a in answers} == {404, 405, 400, 414}
    for a in answers:
        assert b"5ecret" not in a.body and "5ecret" not in repr(a.fields)
    client = sc.client()
    client.send("GET /only?token=tok-5ecret HTTP/1.1\r\nHo")
    for path in ("/v1/connections?class=http1", "/v1/status", "/v1/leases"):
        code, response = sc.s.admin("GET", path)
        assert code == 200 and b"5ecret" not in response.body
    client.close()
    sc.s.wait_access_log(4)
    assert "5ecret" not in raw_log(sc) and "5ecret" not in sc.s.log()


def reload(sc, redact):
    """The answer of a reload with that redaction."""
    sc.s.config["accessLog"]["redact"] = redact
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    code, response = sc.s.admin("POST", "/v1/reload")
    return code, json.loads(response.body)


def test_a_reload(sc, tmp_path):
    """Other names, fields and salts are in force with the next record; what is counted goes on."""
    proxy(sc, {"parameters": ["a"]}, more={"reload": {"watch": False, "pollInterval": "0"}})
    sc.ask(target="/x?a=1&b=2")
    assert reload(sc, {"parameters": ["a", "b"], "fields": ["host"]})[1]["result"] == "applied"
    sc.ask(target="/x?a=1&b=2")
    salt = salted(tmp_path)
    assert reload(sc, {"parameters": ["b"], "saltFile": salt})[1]["pending_restart"] == []
    sc.ask(target="/x?a=1&b=2")
    first, second, third = sc.s.wait_access_log(3)
    one = re.fullmatch("a=(sha256:[0-9a-f]{16})&b=2", first["query"])[1]
    # The salt that nobody knows is the same over a reload.
    assert re.fullmatch(f"a={one}&b=sha256:[0-9a-f]{{16}}", second["query"])
    assert first["host"] == third["host"] == "test" and second["host"].startswith("sha256:")
    assert third["query"] == f"a=1&b={hashed('2')}"
    assert sc.s.metrics().get("sluice_access_log_redacted_total") == 5
    os.unlink(salt)
    code, answer = reload(sc, {"parameters": ["c"], "saltFile": salt})
    assert code == 422 and salt in json.dumps(answer["problems"]), answer
    sc.ask(target="/x?a=1&b=2")
    assert sc.s.wait_access_log(4)[3]["query"] == third["query"]


@pytest.mark.parametrize("salt,why", [(b"short", "the salt is shorter than 16 bytes"),
                                      (None, "No such file or directory"),
                                      (b"x" * 5000, "File too large")])
def test_a_bad_salt(sc, tmp_path, salt, why):
    path = str(tmp_path / "none") if salt is None else salted(tmp_path, salt)
    proxy(sc, {"saltFile": path}, wait=False)
    code = sc.s.wait_exit()
    assert code == 1
    assert f"access log: redaction: {path}: {why}" in sc.s.log()
    sc.s.check_end(code, code)


@pytest.mark.parametrize("bad", [None, b"short"])
def test_a_bad_salt_after_a_crash(sc, tmp_path, bad):
    """It goes on with a salt that nobody knows, and never tells what is to be redacted."""
    path = salted(tmp_path)
    proxy(sc, {"saltFile": path}, more={"reload": {"watch": False, "pollInterval": "0"}})

    def told(n):
        sc.ask(target=TARGET)
        return sc.s.wait_access_log(n)[n - 1]["query"]

    def reloaded():
        code, response = sc.s.admin("POST", "/v1/reload")
        return code, json.loads(response.body)["result"]
    first = told(1)
    assert hashed("tok-5ecret") in first
    if bad is None:
        os.unlink(path)
    else:
        salted(tmp_path, bad)
    kill_serving(sc.s)
    wait_for(lambda: "a random salt stands in for it until a reload finds it" in sc.s.log(), sc.s.log)
    second, third = told(2), told(3)
    assert re.search("token=sha256:[0-9a-f]{16}&", second) and second == third != first
    assert reloaded() == (200, "unchanged")
    assert told(4) == second
    salted(tmp_path)
    assert reloaded() == (200, "unchanged")
    assert told(5) == first
    assert not any(s in raw_log(sc) for s in SECRETS)
    sc.s.stop()


def test_a_log_that_cannot_be_opened_after_a_crash(sc, tmp_path):
    """It goes on without one, and has one again when it is told to open it."""
    directory = tmp_path / "logs"
    directory.mkdir()
    path = directory / "access.log"
    proxy(sc, more={"accessLog": {"path": str(path)}})
    assert sc.ask().status == 200
    wait_for(lambda: path.read_text().count("\n") == 1, "it is told")
    path.rename(tmp_path / "old.log")
    directory.rmdir()
    kill_serving(sc.s)
    wait_for(lambda: f"cannot open {path}" in sc.s.log(), sc.s.log)
    assert sc.ask().status == 200
    wait_for(lambda: sc.s.metrics().get("sluice_access_log_dropped_total") == 1, "it is counted")
    directory.mkdir()
    sc.s.signal(signal.SIGUSR1)
    wait_for(path.exists, "it is opened")
    assert sc.ask(target="/now").status == 200
    wait_for(lambda: "/now" in path.read_text(), "it is told")
    assert path.read_text().count("\n") == 1
    sc.s.stop()
