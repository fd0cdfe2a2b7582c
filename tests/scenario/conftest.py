"""Fixtures: `sc`, a scenario that is taken down with the proof that nothing is alive."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness  # noqa: E402
import netns  # noqa: E402


LIMIT = 600  # seconds for one test, whatever it waits for


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: measures time, or needs the machine for itself; "
                            "tests/run.py runs these one after the other, behind all others")
    if not os.access(harness.SLUICE, os.X_OK):
        pytest.exit(f"{harness.SLUICE} is not built (make)", 2)


def pytest_collection_modifyitems(config, items):
    """TEST_PART=i/n, from tests/run.py: every n-th test, from the i-th on."""
    part = os.environ.get("TEST_PART")
    if part:
        i, n = map(int, part.split("/"))
        kept = items[i::n]
        config.hook.pytest_deselected(items=[it for k, it in enumerate(items) if k % n != i])
        items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call":
        item.call_failed = report.failed
        scenario = item.funcargs.get("sc")
        if report.failed and scenario:
            report.sections.append(("sluice", scenario.logs()))


def too_long(_number, _frame):
    raise AssertionError(f"the test took longer than {LIMIT} s")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)


@pytest.fixture
def space():
    """A network namespace of the test's own: what is started from here on is in it."""
    why = netns.why_not()
    if why:
        pytest.skip(f"NOT CHECKED: no network namespace: {why}")
    made = netns.Namespace()
    yield made
    made.leave()


@pytest.fixture
def sc(request):
    scenario = harness.Scenario()
    yield scenario
    scenario.close(getattr(request.node, "call_failed", True))
