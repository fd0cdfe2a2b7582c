"""What makes sluice read its configuration again, and what a file that is bad, gone or odd does to
what runs: nothing."""

import copy
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from harness import SLUICE, free_port
from test_supervisor import kill_serving
from wire import SLOW, SPARE, TIMEOUT, wait_for

QUIET = 0.4 * SLOW  # in which nothing must happen that would take a tenth of it
OFF = {"watch": False, "pollInterval": "0s"}
WATCH = {"watch": True, "pollInterval": "0s", "debounce": "20ms"}
POLL = {"watch": False, "pollInterval": "100ms", "debounce": "20ms"}


class Reload:
    """A sluice whose one route answers with a word, so that each answer tells its configuration."""

    def __init__(self, sc, how=OFF, word="one", **more):
        self.sc = sc
        sc.address = f"127.0.0.1:{free_port()}"
        self.config = {
            "reload": how,
            "listeners": [{"name": "main", "address": sc.address, "routes": [
                {"match": {"pathPrefix": "/"}, "directResponse": {"body": word}}]}],
            "upstreams": [],
        }
        self.s = sc.s = sc.sluice(self.config, **more)

    # --- the file ---

    def text(self, word, change=None):
        config = copy.deepcopy(self.s.config)
        config["listeners"][0]["routes"][0]["directResponse"]["body"] = word
        if change:
            change(config)
        return json.dumps(config, indent=1) + "\n"

    def put(self, text):
        """As editors and `mv` do it."""
        new = os.path.join(os.path.dirname(self.s.config_path), "new~")
        with open(new, "w") as f:
            f.write(text)
        os.rename(new, self.s.config_path)

    # --- asking ---

    def word(self):
        return self.sc.ask().body.decode()

    def told(self):
        code, response = self.s.admin("GET", "/v1/config")
        assert code == 200, response
        return json.loads(response.body)

    def post(self):
        code, response = self.s.admin("POST", "/v1/reload", timeout=30)
        return code, json.loads(response.body)

    def command(self, *args):
        run = subprocess.run([SLUICE, "reload", "--admin", self.s.socket_path, *args],
                             capture_output=True, text=True, timeout=60)
        return run.returncode, run.stdout, run.stderr

    def metric(self, name, **labels):
        return self.s.metrics().get(f"sluice_config_{name}", **labels)

    def wait_word(self, word):
        wait_for(lambda: self.word() == word, lambda: f"{word} in force\n{self.s.log_end(3000)}")

    def wait_refused(self, n=1):
        wait_for(lambda: self.told()["reloads"]["refused"] >= n,
                 lambda: f"{n} refused\n{self.s.log_end(3000)}")

    def expect_kept(self, word, generation):
        """What runs goes on, and says that the file is bad."""
        told = self.told()
        assert self.word() == word
        assert told["generation"] == generation, told
        assert told["last_error"]["problems"], told
        assert told["last_reload"]["result"] == "refused", told
        assert self.metric("last_reload_success") == 0
        assert self.metric("generation") == generation
        return told["last_error"]


BAD = "version: 1\nlisteners:\n- name: main\n  adress: 127.0.0.1:1\n"


# --- triggers ------------------------------------------------------------------------------------


def test_at_start(sc):
    r = Reload(sc)
    told = r.told()
    assert told["generation"] == 1 and told["generations_alive"] == 1
    assert told["source"] == "file" and told["file"] == r.s.config_path
    assert told["last_reload"]["trigger"] == "start" and told["last_error"] is None
    assert told["reloads"] == {"applied": 0, "unchanged": 0, "refused": 0}
    assert told["pending_restart"] == []
    assert r.metric("last_reload_success") == 1


def test_sighup(sc):
    r = Reload(sc)
    r.put(r.text("two"))
    time.sleep(QUIET)
    assert r.word() == "one"  # nobody looks
    r.s.signal(signal.SIGHUP)
    r.wait_word("two")
    told = r.told()
    assert told["generation"] == 2 and told["last_reload"]["trigger"] == "signal"
    r.s.signal(signal.SIGHUP)
    wait_for(lambda: r.told()["reloads"]["unchanged"] == 1, "the second one changes nothing")
    assert r.told()["generation"] == 2


def test_post(sc):
    r = Reload(sc)
    before = r.told()
    r.put(r.text("two"))
    code, told = r.post()
    assert (code, told["result"]) == (200, "applied"), told
    assert r.word() == "two"  # it answers when it is in force
    assert told["generation"] == 2 and told["sha256"] != before["sha256"]
    assert told["last_reload"]["trigger"] == "admin"
    code, told = r.post()
    assert (code, told["result"]) == (200, "unchanged"), told
    assert told["generation"] == 2
    r.put(BAD)
    code, problem = r.post()
    assert code == 422, problem
    assert [(p["line"], p["column"]) for p in problem["problems"] if p["path"].endswith("adress")] == [(4, 3)]
    r.expect_kept("two", 2)


def test_command(sc):
    r = Reload(sc)
    r.put(r.text("two"))
    code, out, err = r.command()
    assert (code, err) == (0, ""), err
    assert out.startswith("generation 2 in force (sha256 "), out
    assert r.word() == "two"
    assert r.command() == (0, "unchanged: generation 2\n", "")
    code, out, err = r.command("-o", "json")
    assert code == 0 and json.loads(out)["result"] == "unchanged"
    r.put(BAD)
    code, out, err = r.command()
    assert (code, out) == (1, "")
    assert f"{r.s.config_path}:4:3: listeners[0].adress: " in err, err
    validate = subprocess.run([SLUICE, "validate", r.s.config_path], capture_output=True, text=True)
    assert sorted(err.splitlines()) == sorted(validate.stderr.splitlines())
    status = subprocess.run([SLUICE, "status", "--admin", r.s.socket_path], capture_output=True, text=True)
    assert "refused: " + r.s.config_path in status.stdout, status


def test_rename(sc):
    r = Reload(sc, WATCH)
    for n, word in enumerate(["two", "three", "four"]):
        r.put(r.text(word))
        r.wait_word(word)
        assert r.told()["generation"] == n + 2
    assert r.told()["last_reload"]["trigger"] == "watch"


def test_written_in_place(sc):
    r = Reload(sc, WATCH)
    with open(r.s.config_path, "w") as f:
        f.write(r.text("two"))
    r.wait_word("two")
    assert r.told()["reloads"]["refused"] == 0


def test_same_text_makes_no_generation(sc):
    r = Reload(sc, WATCH)
    r.put(r.text("one"))
    wait_for(lambda: r.told()["reloads"]["unchanged"] >= 1, "it was looked at")
    assert r.told()["generation"] == 1


def test_other_files(sc):
    r = Reload(sc, WATCH)
    for name in ("sluice.yaml.swp", "sluice.yaml~", "other.yaml"):
        with open(os.path.join(r.s.directory, name), "w") as f:
            f.write(r.text("two"))
    time.sleep(QUIET)
    assert r.told()["reloads"] == {"applied": 0, "unchanged": 0, "refused": 0}


@pytest.mark.parametrize("how", [WATCH, POLL], ids=["watch", "poll"])
def test_config_map(sc, how):
    """The kubelet's way: a directory by the time, and ..data renamed over."""
    mount = os.path.join(sc.directory, "map")
    os.makedirs(os.path.join(mount, "..2026_1"))
    os.symlink("..2026_1", os.path.join(mount, "..data"))
    os.symlink("..data/sluice.yaml", os.path.join(mount, "sluice.yaml"))
    r = Reload(sc, how, config_path=os.path.join(mount, "sluice.yaml"))
    for n, word in enumerate(["two", "three", "four"]):
        new, old = f"..2026_{n + 2}", f"..2026_{n + 1}"
        os.mkdir(os.path.join(mount, new))
        with open(os.path.join(mount, new, "sluice.yaml"), "w") as f:
            f.write(r.text(word))
        os.symlink(new, os.path.join(mount, "..data_tmp"))
        os.rename(os.path.join(mount, "..data_tmp"), os.path.join(mount, "..data"))
        os.unlink(os.path.join(mount, old, "sluice.yaml"))
        os.rmdir(os.path.join(mount, old))
        r.wait_word(word)
    told = r.told()
    assert told["generation"] == 4 and told["reloads"]["refused"] == 0, told


def test_poll_alone(sc):
    r = Reload(sc, POLL)
    r.put(r.text("two"))
    r.wait_word("two")
    told = r.told()
    assert told["last_reload"]["trigger"] == "poll"
    time.sleep(QUIET)
    assert r.told()["reloads"] == {"applied": 1, "unchanged": 0, "refused": 0}
    r.put(BAD)
    r.wait_refused()
    time.sleep(QUIET)  # once, not with each look
    assert r.told()["reloads"]["refused"] == 1


def test_watching_can_be_changed_by_a_reload(sc):
    r = Reload(sc, OFF)
    r.s.config["reload"] = WATCH
    r.put(r.text("two"))
    assert r.post()[0] == 200
    r.put(r.text("three"))
    r.wait_word("three")
    r.s.config["reload"] = OFF
    r.put(r.text("four"))
    r.wait_word("four")
    r.put(r.text("five"))
    time.sleep(QUIET)
    assert r.word() == "four"


# --- a file that is bad --------------------------------------------------------------------------


def test_bad_file_and_back(sc):
    r = Reload(sc, WATCH)
    r.put(BAD)
    r.wait_refused()
    error = r.expect_kept("one", 1)
    assert any(p["line"] == 4 and p["column"] == 3 and "address" in p["message"] for p in error["problems"]), error
    assert f"{r.s.config_path}:4:3: listeners[0].adress: " in r.s.log()
    r.put(r.text("one"))
    wait_for(lambda: r.metric("last_reload_success") == 1, "the metric is 1 again")
    told = r.told()
    assert told["generation"] == 1 and told["last_error"] is None, told
    assert told["last_reload"]["result"] == "unchanged"
    r.put(r.text("two"))
    r.wait_word("two")
    assert r.told()["generation"] == 2


def test_file_deleted(sc):
    r = Reload(sc, WATCH)
    os.unlink(r.s.config_path)
    r.wait_refused()
    error = r.expect_kept("one", 1)
    assert "No such file" in error["problems"][0]["message"]
    assert error["sha256"] is None
    r.put(r.text("two"))
    r.wait_word("two")
    assert r.metric("last_reload_success") == 1


@pytest.mark.parametrize("what", ["directory", "fifo", "device", "loop", "large"])
def test_no_file(sc, what):
    r = Reload(sc)
    path = r.s.config_path
    os.unlink(path)
    if what == "directory":
        os.mkdir(path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        os.symlink("/dev/zero", path)
    elif what == "loop":
        os.symlink(path, path)
    else:
        with open(path, "w") as f:
            f.truncate(16 * 1024 * 1024 + 1)
    start = time.monotonic()
    code, problem = r.post()
    assert code == 422 and time.monotonic() - start < TIMEOUT
    r.expect_kept("one", 1)
    os.rmdir(path) if what == "directory" else os.unlink(path)


def test_file_unreadable(sc):
    directory = os.path.join(sc.directory, "0")
    wrap = ()
    if os.geteuid() == 0:  # who may read everything
        os.chmod(sc.directory, 0o755)
        wrap = ("sh", "-c", 'chown -R 65534:65534 "$0" && exec setpriv --reuid=65534 --regid=65534 '
                '--clear-groups "$@"', directory)
    r = Reload(sc, WATCH, wrap=wrap)
    os.chmod(r.s.config_path, 0)
    r.wait_refused()
    error = r.expect_kept("one", 1)
    assert "Permission denied" in error["problems"][0]["message"]
    os.chmod(r.s.config_path, 0o644)
    wait_for(lambda: r.metric("last_reload_success") == 1, "readable again")
    assert r.told()["generation"] == 1


def test_cut_at_every_byte(sc):
    """No beginning of a file takes effect, and each refusal has its place."""
    r = Reload(sc)
    text = r.text("two")
    r.put("")
    for n in range(len(text) - 1):
        with open(r.s.config_path, "w") as f:
            f.write(text[:n])
        code, problem = r.post()
        assert code == 422, (n, problem)
        first = problem["problems"][0]
        if n > 0:
            assert 1 <= first["line"] <= text[:n].count("\n") + 1, (n, first)
            assert first["column"] >= 1, (n, first)
    r.expect_kept("one", 1)
    r.put(text)
    assert r.post()[0] == 200
    assert r.word() == "two"


def test_address_in_use(sc):
    other = sc.backend()
    r = Reload(sc)

    def add(config):
        config["listeners"].append({"name": "more", "address": other.address, "routes": [
            {"match": {"pathPrefix": "/"}, "directResponse": {"body": "x"}}]})
    fds = r.s.rest_fds()
    r.put(r.text("two", add))
    code, problem = r.post()
    assert code == 422, problem
    assert other.address in json.dumps(problem["problems"]), problem
    r.expect_kept("one", 1)
    wait_for(lambda: r.s.count_fds() <= fds, "no socket is left of it")


def test_while_it_drains(sc):
    r = Reload(sc)
    assert r.s.admin("POST", "/v1/drain")[0] // 100 == 2
    r.put(r.text("two"))
    code, problem = r.post()
    assert code in (409, 422), problem
    assert r.told()["generation"] == 1


def test_pending_restart(sc):
    r = Reload(sc)

    def more_workers(config):
        config["workers"] = 2
    r.put(r.text("two", more_workers))
    code, told = r.post()
    assert code == 200 and told["pending_restart"] == ["workers"], told
    assert r.word() == "two"
    assert len(r.s.status()["workers"]) == 1
    assert r.metric("pending_restart") == 1
    assert "workers" in r.s.log()
    assert "note: these wait for a restart: workers" in r.command()[1]
    r.put(r.text("two"))
    assert r.post()[1]["pending_restart"] == []
    assert r.metric("pending_restart") == 0


# --- a start with a bad file ---------------------------------------------------------------------


def start_again(sc, r, text, args=()):
    """Another sluice with the first one's configuration, whose file holds `text`."""
    s = sc.sluice(r.config, text=text, wait=False, args=args)
    s.config = r.s.config
    s.socket_path, s.health, s.access_path = r.s.socket_path, r.s.health, r.s.access_path
    r.s = sc.s = s
    return s


def test_last_good_at_start(sc):
    kept = os.path.join(sc.directory, "kept")
    os.mkdir(kept)
    args = ("--last-good", kept)
    r = Reload(sc, WATCH, args=args)
    copy_path = os.path.join(kept, "last-good.yaml")
    r.put(r.text("two"))
    r.wait_word("two")
    wait_for(lambda: os.path.exists(copy_path) and open(copy_path).read() == r.text("two"), "the copy")
    assert os.stat(copy_path).st_mode & 0o777 == 0o600
    r.put(BAD)
    r.wait_refused()
    assert open(copy_path).read() == r.text("two")
    r.s.stop()
    s = start_again(sc, r, BAD, args)
    s.wait_ready()
    s.base_fds = s.rest_fds()
    assert r.word() == "two"
    told = r.told()
    assert told["source"] == "last-good", told
    assert told["last_error"]["problems"], told
    assert r.metric("last_reload_success") == 0
    assert f"{s.config_path}:4:3: listeners[0].adress: " in s.log()
    assert f"the last good copy in {kept} is taken" in s.log()
    r.put(r.text("three"))
    r.wait_word("three")
    told = r.told()
    assert told["source"] == "file" and told["last_error"] is None, told
    assert r.metric("last_reload_success") == 1
    wait_for(lambda: open(copy_path).read() == r.text("three"), "the copy follows")
    assert os.listdir(kept) == ["last-good.yaml"]


def test_nothing_good_at_start(sc):
    kept = os.path.join(sc.directory, "kept")
    os.mkdir(kept)
    r = Reload(sc, OFF)
    r.s.stop()
    for args in ((), ("--last-good", kept), ("--last-good", os.path.join(kept, "none"))):
        s = start_again(sc, r, BAD, args)
        s.check_end(s.wait_exit(), 1)
        assert ":4:3: listeners[0].adress: " in s.log()
    with open(os.path.join(kept, "last-good.yaml"), "w") as f:
        f.write("version: 2\n")  # as bad
    s = start_again(sc, r, BAD, ("--last-good", kept))
    s.check_end(s.wait_exit(), 1)


def test_last_good_cannot_be_kept(sc):
    """No directory, or a full disk: said in the log, and nothing else."""
    r = Reload(sc, OFF, args=("--last-good", os.path.join(sc.directory, "none")))
    assert r.word() == "one"
    wait_for(lambda: "No such file or directory" in r.s.log(), "it is told")
    r.put(r.text("two"))
    assert r.post()[0] == 200
    assert r.word() == "two"
    assert r.metric("last_reload_success") == 1


def test_crash_while_the_file_is_bad(sc):
    """The supervisor holds what was in force."""
    r = Reload(sc, WATCH)
    r.put(r.text("two"))
    r.wait_word("two")
    r.put(BAD)
    r.wait_refused()
    for _ in range(3):
        kill_serving(r.s)
        r.wait_word("two")
        r.s.wait_ready()
        told = r.told()
        assert told["source"] == "memory", told
        assert told["last_error"]["problems"], told
        assert r.metric("last_reload_success") == 0
    os.unlink(r.s.config_path)
    kill_serving(r.s)
    r.wait_word("two")
    r.s.wait_ready()
    r.put(r.text("three"))
    r.wait_word("three")
    assert r.told()["source"] == "file"
    assert r.metric("last_reload_success") == 1
    r.s.base_fds = r.s.rest_fds()


def test_crash_while_the_file_is_good(sc):
    """The file is what counts, if it can be read."""
    r = Reload(sc, OFF)
    r.put(r.text("two"))
    kill_serving(r.s)
    r.wait_word("two")
    r.s.wait_ready()
    assert r.told()["source"] == "file"
    r.s.base_fds = r.s.rest_fds()


# --- many ----------------------------------------------------------------------------------------


def test_twenty_in_ten_seconds(sc):
    """INPUTS, Faults: no request fails, and generations stay few."""
    r = Reload(sc, WATCH)
    failures, answers, stop = [], [0], threading.Event()

    def traffic():
        client = sc.client()
        while not stop.is_set():
            try:
                if client.ask().status != 200:
                    failures.append("status")
                answers[0] += 1
            except (OSError, EOFError, AssertionError) as e:
                failures.append(repr(e))
                return
    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    start, most = time.monotonic(), 0
    for n in range(20):
        word = f"word {n}"
        r.put(r.text(word))
        if n % 4 == 1:
            r.s.signal(signal.SIGHUP)
        elif n % 4 == 2:
            assert r.post()[0] == 200
        r.wait_word(word)
        most = max(most, r.told()["generations_alive"])
        time.sleep(max(0, start + (n + 1) * 0.4 - time.monotonic()))
    took = time.monotonic() - start
    stop.set()
    for thread in threads:
        thread.join(20)
    assert failures == [] and answers[0] > 200, (failures, answers)
    assert took < 8 + 5 * SPARE, took
    assert most <= 3, most
    wait_for(lambda: r.told()["generations_alive"] == 1, "one generation is left")
    told = r.told()
    assert told["generation"] == 21 and told["reloads"]["applied"] == 20, told
    assert told["reloads"]["refused"] == 0, told


def test_many_ask_at_once(sc):
    """Each is answered, with a configuration no older than its question."""
    r = Reload(sc, OFF)
    for n in range(5):
        word = f"word {n}"
        r.put(r.text(word))
        results = []
        threads = [threading.Thread(target=lambda: results.append(r.post())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [code for code, _ in results] == [200] * 8, results
        assert r.word() == word
        assert {told["generation"] for _, told in results} == {n + 2}, results
