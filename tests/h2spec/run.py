#!/usr/bin/env python3
"""Runs h2spec against sluice in front of the demo application: plain and by TLS, each as it is and
with --strict. Every test case counts; the last line is `N passed, N failed`.

    tests/h2spec/run.py [--only plain|tls] [--target HOST:PORT [--tls]] [SECTION...]

--target asks another server instead, to see what the tool says of one that is known."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests/scenario")]

import certs  # noqa: E402
import harness  # noqa: E402
from wire import free_port, wait_for  # noqa: E402

H2SPEC = os.path.join(ROOT, "build/gobin/h2spec")
# Seconds that a test case waits for what it expects; and that a whole run may take.
CASE_TIMEOUT, RUN_TIMEOUT = 2, 300


def cases_of(report):
    """(section, title, what went wrong or None) of each test case; skipped ones are left out."""
    for suite in ET.parse(report).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            if case.find("skipped") is not None:
                continue
            bad = case.find("failure")
            bad = bad if bad is not None else case.find("error")
            yield (case.get("package") or suite.get("name"), case.get("classname"),
                   None if bad is None else " ".join("".join(bad.itertext()).split()))


def run(title, address, flags, sections):
    """One run of h2spec; (passed, failed)."""
    host, _, port = address.rpartition(":")
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        argv = [H2SPEC, "-h", host, "-p", port, "-o", str(CASE_TIMEOUT), "-j", report.name,
                *flags, *sections]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=RUN_TIMEOUT, check=False)
            cases = list(cases_of(report.name))
        except subprocess.TimeoutExpired:
            print(f"{title}: FAILED: not done after {RUN_TIMEOUT} s")
            return 0, 1
        except (OSError, ET.ParseError) as e:
            print(f"{title}: FAILED: {e}\n{done.stdout.decode(errors='replace')[-2000:]}")
            return 0, 1
    failed = [c for c in cases if c[2] is not None]
    for section, name, why in failed:
        print(f"{title}: FAILED: {section} {name}\n    {why}")
    bad = len(failed)
    if done.returncode != 0 and bad == 0:
        print(f"{title}: FAILED: h2spec ended with {done.returncode}\n"
              f"{done.stdout.decode(errors='replace')[-2000:]}")
        bad = 1
    print(f"{title}: {len(cases) - len(failed)} of {len(cases)} cases", flush=True)
    return len(cases) - len(failed), bad


def with_strict(title, address, flags, sections):
    results = [run(title, address, flags, sections),
               run(title + " --strict", address, [*flags, "--strict"], sections)]
    return [sum(r) for r in zip(*results)]


class Rig:
    """The demo application, and a sluice with a plain listener and one with TLS."""

    def __init__(self, tls):
        self.directory = tempfile.mkdtemp(prefix="sluice-h2spec-")
        app = f"127.0.0.1:{free_port()}"
        self.app = subprocess.Popen([harness.SLUICE, "demo-app", "--listen", app],
                                    stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addresses = {"plain": f"127.0.0.1:{free_port()}"}
        # HTTP/2 alone: where HTTP/1.1 is spoken, too, what is no preface gets a 400, and h2spec wants
        # GOAWAY or no byte.
        listeners = [{"name": "plain", "address": self.addresses["plain"], "protocol": "http2",
                      "routes": [harness.forward()]}]
        if tls:
            pair = certs.authority().issue("server")
            self.addresses["tls"] = f"127.0.0.1:{free_port()}"
            listeners.append({"name": "tls", "address": self.addresses["tls"],
                              "tls": {"certificates": [{"certFile": pair.cert,
                                                        "keyFile": pair.key}]},
                              "routes": [harness.forward()]})
        self.sluice = harness.Sluice(self.directory, {
            "listeners": listeners, "upstreams": [{"name": "app", "endpoints": [app]}]})

    def stop(self):
        """Nothing is left alive, and it ends in an orderly way: (passed, failed)."""
        try:
            self.sluice.settle()
            self.sluice.stop()
            return 1, 0
        except AssertionError as e:
            print(f"the end: FAILED: {e}")
            return 0, 1

    def close(self):
        self.sluice.kill()
        self.app.kill()
        self.app.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--only", choices=("plain", "tls"))
    p.add_argument("--target", metavar="HOST:PORT")
    p.add_argument("--tls", action="store_true", help="the target speaks TLS")
    p.add_argument("sections", nargs="*", metavar="SECTION", help="http2/6.5, hpack, ...")
    args = p.parse_args()
    if not os.access(H2SPEC, os.X_OK):
        print(f"{H2SPEC} is not there: .ci/go-tools build/gobin h2spec", file=sys.stderr)
        return 1

    flags = {"plain": [], "tls": ["-t", "-k"]}
    results = []
    if args.target:
        kind = "tls" if args.tls else "plain"
        results.append(with_strict(args.target, args.target, flags[kind], args.sections))
    else:
        rig = Rig(tls=args.only != "plain")
        try:
            for kind, address in rig.addresses.items():
                if args.only in (None, kind):
                    results.append(with_strict(kind, address, flags[kind], args.sections))
            results.append(rig.stop())
        finally:
            rig.close()
    passed, failed = (sum(r) for r in zip(*results))
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
