"""tests/lint/layers.py: does it see what a pure layer must not have?"""

import os
import subprocess
import sys

import pytest

from harness import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "lint"))
import layers  # noqa: E402

PURE, VARIABLE = True, False


@pytest.mark.parametrize("text,is_pure", [
    ("static int n; int f(void); int f(void) { return n++; }", VARIABLE),
    ("int f(void); int f(void) { static int n; return n++; }", VARIABLE),
    ("int n = 1;", VARIABLE),
    ("_Thread_local int n;", VARIABLE),
    ("const char *words[] = {\"a\"};", VARIABLE),
    ("const char *const words[] = {\"a\"};", PURE),
    ("static const int n = 3; int f(void); int f(void) { return n; }", PURE),
    ("int f(int n); int f(int n) { return n + 1; }", PURE)])
def test_variables(tmp_path, text, is_pure):
    os.mkdir(tmp_path / "policies")
    source, made = tmp_path / "policies/x.c", tmp_path / "policies/x.o"
    source.write_text(text + "\n")
    subprocess.run(["gcc", "-std=gnu17", "-O0", "-fPIE", "-c", "-o", made, source], check=True)
    checked, bad = layers.check_objects(str(tmp_path), ["policies/x.c"])
    assert checked == 1 and (bad == []) == is_pure, bad


def test_an_object_that_was_not_built(tmp_path):
    checked, bad = layers.check_objects(str(tmp_path), ["policies/x.c"])
    assert checked == 0 and "policies/x.c" in bad[0]


@pytest.mark.parametrize("text,what", [
    ("#include <time.h>\n", "may not include <time.h>"),
    ("#include <unistd.h>\n", "may not include <unistd.h>"),
    ("#include \"io/loop.h\"\n", "may not include io"),
    ("#include \"config/config.h\"\n", "may not include config"),
    ("#include \"base/clock.h\"\nusec_t t(void) { return clock_mono(); }\n", "may not call clock_mono()"),
    ("/* time() */ #define T \"clock_mono()\"\n", None)])
def test_includes_and_calls(monkeypatch, text, what):
    monkeypatch.chdir(ROOT)
    text = layers.without_comments(text)
    bad = [*layers.check_includes("policies/x.c", text), *layers.check_pure_calls("policies/x.c", text)]
    assert (len(bad) == 1 and what in bad[0]) if what else bad == [], bad
