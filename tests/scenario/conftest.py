"""Fixtures: `sc`, a scenario that is taken down with the proof that nothing is alive."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness  # noqa: E402


def pytest_configure(config):
    if not os.access(harness.SLUICE, os.X_OK):
        pytest.exit(f"{harness.SLUICE} is not built (make)", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call":
        item.call_failed = report.failed
        scenario = item.funcargs.get("sc")
        if report.failed and scenario:
            report.sections.append(("sluice", scenario.logs()))


@pytest.fixture
def sc(request):
    scenario = harness.Scenario()
    yield scenario
    scenario.close(getattr(request.node, "call_failed", True))
