"""Certificates, keys and CAs: what is refused and where that is told, and how they are renewed while
traffic flows."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time

import pytest

from harness import SLUICE, deep_update, free_port
from tls import (CA, TlsClient, client_context, client_pair, connect, listener, secured,
                 server_context, server_pair, upstream)
import certs
from wire import wait_for


class Files:
    """A directory with tls.crt and tls.key, served by the scenario's listener."""

    def __init__(self, sc, pair=None, **how):
        self.sc = sc
        self.dir = os.path.join(sc.directory, "certs")
        os.mkdir(self.dir)
        self.pair = (pair or server_pair()).copy_to(self.dir)
        sc.proxy(listener=listener(self.pair), **deep_update(
            {"more": {"reload": {"pollInterval": "30s"}}}, how))

    def put(self, pair):
        pair.copy_to(self.dir)

    def put_one(self, source, name):
        path = os.path.join(self.dir, name)
        shutil.copy(source, path + ".new")
        os.rename(path + ".new", path)

    def state(self):
        status, message = self.sc.s.admin("GET", "/v1/config")
        assert status == 200
        return json.loads(message.body)["certificates"]

    def wait(self, applied=None, refused=None):
        def there():
            state = self.state()
            return (applied is None or state["applied"] == applied) and \
                (refused is None or state["refused"] == refused) and state
        return wait_for(there, lambda: f"applied {applied}, refused {refused}: {self.state()}\n"
                        f"{self.sc.s.log_end(3000)}")


def new_pair(n=0, **how):
    return CA.issue("a.test", sans=["DNS:a.test", "IP:127.0.0.1", f"DNS:n{n}.test"], **how)


def served(sc):
    """The certificate that a new connection is given."""
    client = TlsClient(sc.address, client_context())
    der = client.tls.getpeercert(binary_form=True)
    client.close()
    return ssl.DER_cert_to_PEM_cert(der)


def pem(pair):
    with open(pair.cert) as f:
        return f.read()


def is_served(sc, pair):
    return served(sc).split() == pem(pair).split()


# --- at the start, and by `sluice validate` ---------------------------------------------------

def write_config(tmp_path, tls, upstream_tls=None):
    path = tmp_path / "sluice.yaml"
    path.write_text(json.dumps({
        "version": 1,
        "listeners": [{"name": "in", "address": "127.0.0.1:1", "tls": tls,
                       "routes": [{"upstream": "app"}]}],
        "upstreams": [{"name": "app", "endpoints": ["127.0.0.1:2"],
                       **({"tls": upstream_tls} if upstream_tls else {})}]}))
    return path


def validate(path, *args):
    run = subprocess.run([SLUICE, "validate", *args, str(path)], capture_output=True, text=True,
                         timeout=30)
    return run.returncode, run.stderr


def bad_cases(tmp_path):
    good, other = server_pair(), new_pair(1)
    empty, half, large, noise, twice = (str(tmp_path / n) for n in
                                        ("empty", "half", "large", "noise", "encrypted"))
    open(empty, "w").close()
    with open(half, "w") as f:
        f.write(pem(good)[:300])
    with open(large, "w") as f:
        f.write("#" * (1 << 20) + "\n" + pem(good))
    with open(noise, "wb") as f:
        f.write(os.urandom(2000))
    subprocess.run(["openssl", "pkey", "-in", good.key, "-aes256", "-passout", "pass:x", "-out",
                    twice], check=True, capture_output=True)
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    expired = new_pair(2, valid_from=-7200, valid_until=-3600)
    early = new_pair(3, valid_from=3600, valid_until=7200)
    weak = new_pair(4, key="rsa1024")
    return [
        ("certFile", "/nowhere/tls.crt", good.key, "No such file or directory"),
        ("keyFile", good.cert, "/nowhere/tls.key", "No such file or directory"),
        ("certFile", str(tmp_path), good.key, "Is a directory"),
        ("certFile", fifo, good.key, "not a regular file"),
        ("certFile", large, good.key, "larger than 1 MiB"),
        ("certFile", empty, good.key, "no certificate in it"),
        ("certFile", half, good.key, ""),
        ("certFile", noise, good.key, "no certificate in it"),
        ("certFile", other.key, good.key, "no certificate in it"),
        ("keyFile", good.cert, other.cert, "no private key in it"),
        ("keyFile", good.cert, noise, "no private key in it"),
        ("keyFile", good.cert, twice, "the key is encrypted"),
        ("keyFile", good.cert, other.key, "the key does not belong to the certificate in"),
        ("certFile", expired.cert, expired.key, "the certificate expired at"),
        ("certFile", early.cert, early.key, "the certificate is not valid before"),
        ("certFile", weak.cert, weak.key, "an RSA key of 1024 bits is weak"),
    ]


def test_what_is_refused(tmp_path):
    for key, cert_file, key_file, why in bad_cases(tmp_path):
        path = write_config(tmp_path, {"certificates": [{"certFile": cert_file,
                                                         "keyFile": key_file}]})
        code, text = validate(path)
        name = cert_file if key == "certFile" else key_file
        assert code == 1, (key, why, text)
        line = text.strip()
        assert f": listeners[0].tls.certificates[0].{key}: {name}: " in line, line
        assert why in line and line.startswith(f"{path}:1:"), line
        # The place of the file's name: its column counts from 1.
        column = int(line[len(str(path)):].split(":")[2])
        assert path.read_text()[column - 1:].startswith(json.dumps(name)), line
        assert validate(path, "--no-files")[0] == 0


def test_what_is_refused_of_others(tmp_path):
    good = server_pair()
    tls = {"certificates": [{"certFile": good.cert, "keyFile": good.key}]}
    path = write_config(tmp_path, {**tls, "clientAuth": "require", "caFile": new_pair(1).key})
    assert "listeners[0].tls.caFile: " in validate(path)[1]
    path = write_config(tmp_path, tls, {"caFile": "/nowhere/ca.pem"})
    assert "upstreams[0].tls.caFile: /nowhere/ca.pem: No such" in validate(path)[1]
    path = write_config(tmp_path, tls, {"certFile": good.cert, "keyFile": new_pair(1).key})
    assert "upstreams[0].tls.keyFile: " in validate(path)[1]
    both = {"certificates": [tls["certificates"][0], {"certFile": "/a", "keyFile": "/b"}]}
    code, text = validate(write_config(tmp_path, both, {"caFile": "/c"}))
    assert code == 1 and text.count("No such file") == 3, text  # all at once
    assert "tls.certificates[1].keyFile: /b: " in text


def test_a_bad_start(sc, tmp_path):
    path = write_config(tmp_path, {"certificates": [{"certFile": "/nowhere/a",
                                                     "keyFile": "/nowhere/b"}]})
    run = subprocess.run([SLUICE, "proxy", "-c", str(path)], capture_output=True, text=True,
                         timeout=30)
    assert run.returncode != 0 and "/nowhere/a: No such file" in run.stderr


def test_a_crash_while_a_file_is_bad(sc):
    """All else is served again at once, and the listener when its file is good."""
    here = os.path.join(sc.directory, "certs")
    os.mkdir(here)
    pair = server_pair().copy_to(here)
    sc.proxy(more={"reload": {"pollInterval": "200ms"}})
    secure = f"127.0.0.1:{free_port()}"
    config = json.loads(json.dumps(sc.s.config))
    config["listeners"].append({"name": "secure", "address": secure,
                                "routes": [{"upstream": "app"}], **listener(pair)})
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    os.rename(pair.key, pair.key + ".away")
    wait_for(lambda: "keep their old ones" in sc.s.log(), "it is told")
    pid = sc.s.pid
    sc.s.expect_faults = True  # the log says that it was killed
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: sc.s.children() and sc.s.pid != pid, "another process")
    sc.s.wait_ready()
    sc.s.base_fds = sc.s.rest_fds()
    assert sc.ask().status == 200
    with pytest.raises(OSError):
        TlsClient(secure, client_context())
    metrics = sc.s.metrics()
    assert metrics.get("sluice_tls_failures_total", listener="secure", reason="no_certificate") == 1
    assert metrics.get("sluice_certificate_last_reload_success") == 0
    assert sc.s.log().count("No such file") == 2  # by each process once
    os.rename(pair.key + ".away", pair.key)

    def served_again():
        try:
            client = TlsClient(secure, client_context())
        except OSError:
            return False
        status = client.ask().status
        client.close()
        return status == 200
    wait_for(served_again, "TLS is served again")
    assert sc.s.metrics().get("sluice_certificate_last_reload_success") == 1


# --- a reload of the configuration ------------------------------------------------------------

def test_a_bad_file_refuses_the_whole_reload(sc):
    files = Files(sc)
    config = json.loads(json.dumps(sc.s.config))
    config["listeners"][0]["tls"]["certificates"].append({"certFile": "/nowhere/x",
                                                          "keyFile": "/nowhere/y"})
    config["listeners"][0]["http"] = {"via": "other"}
    before = sc.s.admin("GET", "/v1/config")[1].body
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    status, message = sc.s.admin("POST", "/v1/reload")
    assert status == 422, message.body
    problems = json.loads(message.body)["problems"]
    assert [p["path"] for p in problems] == ["listeners[0].tls.certificates[1].certFile",
                                             "listeners[0].tls.certificates[1].keyFile"]
    assert json.loads(before)["generation"] == json.loads(sc.s.admin("GET", "/v1/config")[1].body)["generation"]
    assert is_served(sc, server_pair())
    assert files.state()["problems"] == []  # of those in force


def test_a_refused_reload_is_tried_again_when_its_file_comes(sc):
    Files(sc)
    new = os.path.join(sc.directory, "late")
    config = json.loads(json.dumps(sc.s.config))
    config["listeners"][0]["tls"]["certificates"] = [{"certFile": new + "/tls.crt",
                                                      "keyFile": new + "/tls.key"}]
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 422
    os.mkdir(new)
    new_pair(7).copy_to(new)
    wait_for(lambda: is_served(sc, new_pair(7)), "the configuration is taken after all")


def test_tls_comes_and_goes(sc):
    sc.proxy()
    plain = sc.client()
    assert plain.ask().status == 200
    config = json.loads(json.dumps(sc.s.config))
    config["listeners"][0].update(listener())
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    secure = connect(sc)
    assert secure.ask().status == 200
    assert plain.ask().status == 200  # it keeps what it has
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    assert sc.ask().status == 200
    assert secure.ask().status == 200
    secure.close()


def test_other_rules_towards_an_upstream_hold_at_once(sc):
    """A connection that was made under other rules is not used under these."""
    sc.proxy(script=secured(lambda c: [c.answer(b"x") for _ in iter(c.request, None)]),
             upstream=deep_update(upstream(), {"pool": {"idleTimeout": "60s"}}))
    assert sc.ask().status == 200
    config = json.loads(json.dumps(sc.s.config))
    config["upstreams"][0]["tls"]["serverName"] = "someone.else.test"
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    assert sc.ask().status == 502


def test_sessions_outlive_a_reload(sc):
    Files(sc)
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its session is there after the handshake
    first = TlsClient(sc.address, context)
    assert first.ask().status == 200
    session = first.tls.session
    first.close()
    config = json.loads(json.dumps(sc.s.config))
    config["listeners"][0]["http"] = {"via": "other"}
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    again = TlsClient(sc.address, context, session=session)
    assert again.tls.session_reused and again.ask().status == 200
    again.close()
    assert sc.s.metrics().get("sluice_tls_handshakes_total", listener="main", result="resumed") == 1
    assert sc.s.metrics().get("sluice_tls_handshakes_total", listener="main", result="full") == 1


def test_sessions_are_every_workers(sc):
    sc.proxy(listener=listener(), more={"workers": 3})
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    first = TlsClient(sc.address, context)
    session = first.tls.session
    first.close()
    for _ in range(12):
        again = TlsClient(sc.address, context, session=session)
        assert again.tls.session_reused
        again.close()


# --- files that change ------------------------------------------------------------------------

def test_renewed(sc):
    files = Files(sc)
    old = connect(sc)
    assert old.ask().status == 200
    generation = json.loads(sc.s.admin("GET", "/v1/config")[1].body)["generation"]
    files.put(new_pair(1))
    state = files.wait(applied=1)
    assert is_served(sc, new_pair(1))
    assert old.ask().status == 200
    assert state["problems"] == [] and state["last_applied"]
    assert json.loads(sc.s.admin("GET", "/v1/config")[1].body)["generation"] == generation
    old.close()


def test_written_in_place(sc):
    files = Files(sc)
    for source, name in ((new_pair(1).cert, "tls.crt"), (new_pair(1).key, "tls.key")):
        with open(source) as f, open(os.path.join(files.dir, name), "w") as to:
            to.write(f.read())
    files.wait(applied=1)
    assert is_served(sc, new_pair(1))


def test_secret_is_swapped(sc):
    """As kubelet does it: ..data is a link to a directory, and another takes its place."""
    mount = os.path.join(sc.directory, "secret")
    os.mkdir(mount)

    def put(n, pair):
        os.mkdir(os.path.join(mount, f"..{n}"))
        pair.copy_to(os.path.join(mount, f"..{n}"))
        os.symlink(f"..{n}", os.path.join(mount, "..data_tmp"))
        os.rename(os.path.join(mount, "..data_tmp"), os.path.join(mount, "..data"))

    put(0, server_pair())
    for name in ("tls.crt", "tls.key"):
        os.symlink(f"..data/{name}", os.path.join(mount, name))
    sc.proxy(listener=listener(certs.Pair(mount + "/tls.crt", mount + "/tls.key")))
    for n in range(1, 4):
        put(n, new_pair(n))
        shutil.rmtree(os.path.join(mount, f"..{n - 1}"))
        wait_for(lambda: is_served(sc, new_pair(n)), f"swap {n} is served")
    assert sc.s.metrics().get("sluice_certificate_reloads_total", result="refused") == 0


def test_poll_finds_what_no_event_tells(sc):
    files = Files(sc, more={"reload": {"watch": False, "pollInterval": "200ms"}})
    files.put(new_pair(1))
    files.wait(applied=1)
    assert is_served(sc, new_pair(1))


def test_sighup_looks_too(sc):
    files = Files(sc, more={"reload": {"watch": False, "pollInterval": 0}})
    files.put(new_pair(1))
    sc.s.signal(signal.SIGHUP)
    files.wait(applied=1)
    assert is_served(sc, new_pair(1))


@pytest.mark.parametrize("bad,why", [
    (lambda: new_pair(2, valid_from=-7200, valid_until=-3600), "expired"),
    (lambda: certs.Pair(new_pair(1).cert, new_pair(3).key), "does not belong"),
    (lambda: certs.Pair("/dev/null", new_pair(3).key), "no certificate"),
])
def test_a_bad_pair_leaves_the_old_one(sc, bad, why):
    files = Files(sc)
    bad = bad()
    files.put_one(bad.cert, "tls.crt")
    files.put_one(bad.key, "tls.key")
    state = files.wait(refused=1, applied=0)
    assert len(state["problems"]) == 1 and why in state["problems"][0]["message"], state
    assert state["problems"][0]["path"].startswith("listeners[0].tls.certificates[0].")
    assert state["last_refused"] and is_served(sc, server_pair())
    metrics = sc.s.metrics()
    assert metrics.get("sluice_certificate_last_reload_success") == 0
    assert metrics.get("sluice_certificate_reloads_total", result="refused") == 1
    assert why in sc.s.log() and files.dir in sc.s.log()
    run = subprocess.run([SLUICE, "status", "--admin", sc.s.socket_path], capture_output=True,
                         text=True, timeout=30)
    assert "old files stay: " in run.stdout and why in run.stdout, run.stdout
    files.put(new_pair(1))
    state = files.wait(applied=1)
    assert state["problems"] == []
    assert sc.s.metrics().get("sluice_certificate_last_reload_success") == 1
    assert is_served(sc, new_pair(1))


def test_a_file_that_goes_and_comes(sc):
    files = Files(sc)
    os.unlink(os.path.join(files.dir, "tls.key"))
    assert "No such file" in files.wait(refused=1)["problems"][0]["message"]
    assert is_served(sc, server_pair())
    files.put_one(server_pair().key, "tls.key")
    wait_for(lambda: not files.state()["problems"], "it is good again")
    assert files.state()["applied"] == 0
    assert "the files are again those in force" in sc.s.log()


def test_between_two_renames(sc):
    """The certificate comes long before its key: it is told once, and the key ends it."""
    files = Files(sc, more={"reload": {"pollInterval": "200ms"}})
    files.put_one(new_pair(1).cert, "tls.crt")
    files.wait(refused=1)
    polls = time.monotonic() + 1.5
    wait_for(lambda: time.monotonic() > polls, "some polls", timeout=30)
    files.wait(refused=1, applied=0)  # not once more
    files.put_one(new_pair(1).key, "tls.key")
    files.wait(refused=1, applied=1)
    assert is_served(sc, new_pair(1))
    assert sc.s.log().count("does not belong") == 1


def test_only_what_changed_is_made_anew(sc):
    one = os.path.join(sc.directory, "one")
    os.mkdir(one)
    pair = server_pair().copy_to(one)
    other = new_pair(8)
    sc.proxy(listener=listener(pair))
    config = json.loads(json.dumps(sc.s.config))
    config["listeners"].append({"name": "second", "address": f"127.0.0.1:{free_port()}",
                                "routes": [{"upstream": "app"}], **listener(other)})
    with open(sc.s.config_path, "w") as f:
        json.dump(config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    sc.s.base_fds += 1
    new_pair(1).copy_to(one)
    wait_for(lambda: "1 of 3 listeners and upstreams have new ones" in sc.s.log(), "one is renewed")


def test_clients_ca_and_the_upstreams(sc):
    """CAs change as certificates do, and so does the pair that an upstream is shown."""
    here = os.path.join(sc.directory, "cas")
    os.mkdir(here)
    second = certs.authority("Second CA")
    ca = os.path.join(here, "ca.pem")
    shutil.copy(CA.cert, ca)
    ours = client_pair().copy_to(here, "client")
    names = []

    def app(conn):
        names.append(dict(x[0] for x in conn.sock.getpeercert()["subject"])["commonName"])
        while conn.request() is not None:
            conn.answer(b"ok")

    both = os.path.join(here, "both.pem")
    with open(both, "w") as f:
        f.write(pem(CA) + pem(second))
    sc.proxy(script=secured(app, server_context(clients=certs.Pair(both, None))),
             listener=listener(clientAuth="require", caFile=ca),
             upstream=deep_update(upstream(certFile=ours.cert, keyFile=ours.key),
                                  {"pool": {"maxRequestsPerConnection": 1}}))
    client = connect(sc, client_context(pair=client_pair()))
    assert client.ask().status == 200
    client.close()
    shutil.copy(second.cert, ca + ".new")
    os.rename(ca + ".new", ca)
    second.issue("renewed").copy_to(here, "client")
    theirs = second.issue("someone")

    def accepted(pair):
        try:
            c = TlsClient(sc.address, client_context(pair=pair))
            status = c.ask().status
            c.close()
            return status == 200
        except (OSError, EOFError):
            return False
    wait_for(lambda: accepted(theirs), "the second CA is believed")
    wait_for(lambda: not accepted(client_pair()), "the first is not")
    wait_for(lambda: accepted(theirs) and names[-1] == "renewed", "our new pair is shown")
    record = sc.s.access_log()[-1]
    assert record["tls"] == "TLSv1.3" and record["sni"] == "a.test", record


def test_access_log_names_the_client(sc):
    sc.proxy(listener=listener(clientAuth="optional", caFile=CA.cert))
    with_pair = connect(sc, client_context(pair=client_pair()))
    assert with_pair.ask().status == 200
    without = connect(sc)
    assert without.ask().status == 200
    first, second = sc.s.wait_access_log(2)
    assert first["spiffe_id"] == "spiffe://td/ns/client" and "spiffe_id" not in second
    assert first["tls"] == second["tls"] == "TLSv1.3" and first["sni"] == "a.test"


def test_expiry_is_told(sc):
    here = Files(sc, pair=new_pair(5, valid_until=7200))
    metrics = sc.s.metrics()
    left = metrics.get("sluice_certificate_expiry_seconds", listener="main",
                       file=os.path.join(here.dir, "tls.crt"))
    assert 7200 - 600 < left <= 7200
    in_force = here.state()["in_force"]
    assert [c["listener"] for c in in_force] == ["main"] and in_force[0]["not_after"]


def test_no_watch_while_it_drains(sc):
    files = Files(sc, more={"lifecycle": {"drainTimeout": "20s"}})
    client = connect(sc)
    client.send("GET / HTTP/1.1\r\nHost: a\r\n")
    sc.s.signal(signal.SIGTERM)
    wait_for(lambda: "drain begins" in sc.s.log(), "the drain has begun")
    files.put(new_pair(1))
    client.send("\r\n")
    assert client.response().status == 200
    sc.s.wait_exit()
    sc.s.check_end(0)
    assert "have new ones" not in sc.s.log()


def test_swap_under_load(sc):
    """200 connections that stand and a steady stream of new ones: none is cut by ten renewals."""
    files = Files(sc, more={"workers": 2})
    standing = []
    for _ in range(200):
        standing.append(connect(sc))
        assert standing[-1].ask().status == 200  # a first request has but headerTimeout
    errors, stop = [], threading.Event()
    done = [0]

    def keep(some):
        while not stop.is_set():
            for client in some:
                try:
                    assert client.ask().status == 200
                    done[0] += 1
                except Exception as e:  # noqa: BLE001 - told by the test
                    errors.append(("standing", repr(e)))
                    return

    def fresh():
        context = client_context()
        while not stop.is_set():
            try:
                client = TlsClient(sc.address, context)
                assert client.ask().status == 200
                client.close()
                done[0] += 1
            except Exception as e:  # noqa: BLE001
                errors.append(("fresh", repr(e)))
                return

    threads = [threading.Thread(target=keep, args=(standing[i::4],)) for i in range(4)]
    threads += [threading.Thread(target=fresh) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for n in range(1, 11):
            files.put(new_pair(n))
            files.wait(applied=n)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors, errors[:5]
    assert done[0] > 200
    for client in standing:
        assert client.ask().status == 200
        client.close()
    assert is_served(sc, new_pair(10))
