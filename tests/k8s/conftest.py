"""One cluster for all tests here, started for them and ended behind them."""

import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from cluster import Cluster, script  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "long: not in CI's short form")


@pytest.fixture(scope="session")
def cluster():
    reason = subprocess.run([os.path.join(HERE, "can-run.sh")], stdout=subprocess.PIPE, text=True)
    if reason.returncode != 0:
        pytest.skip(reason.stdout.strip())
    cluster = None
    try:
        cluster = Cluster()
        script("images.sh", "pods")
        yield cluster
    finally:
        if cluster and not os.environ.get("K8S_KEEP"):
            cluster.down()
