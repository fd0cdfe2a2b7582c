"""A Job with sluice in its pod completes, and soon: the sidecar does not keep it."""

import copy
import time

from cluster import PATIENCE
from pods import App
from wire import wait_for


def test_a_job_completes(cluster):
    app = App("job", application="load --url http://127.0.0.1:15080/ -n 100 --quiet; echo exits")
    # It serves nobody: no hold, and nothing that asks whether it is ready.
    del app.app["lifecycle"], app.app["readinessProbe"], app.sluice["lifecycle"]
    app.config["listeners"][0]["routes"] = [
        {"match": {"pathPrefix": "/"}, "directResponse": {"body": "from sluice\n"}}]
    del app.config["upstreams"]
    config_map = next(o for o in app.objects() if o["kind"] == "ConfigMap")
    spec = {**copy.deepcopy(app.spec), "restartPolicy": "Never"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"},
           "spec": {"backoffLimit": 0, "template": {"spec": spec}}}
    with cluster.applied([config_map, job]):
        [pod] = wait_for(cluster.pods, "the Job has a pod", PATIENCE, 0.1)
        name = pod["metadata"]["name"]
        cluster.logs.wait(name, "app", "^exits$")
        exits = time.monotonic()
        wait_for(lambda: cluster.get("job", "job")["status"].get("succeeded") == 1,
                 lambda: f"the Job has succeeded: {cluster.told()}", PATIENCE, 0.1)
        took = time.monotonic() - exits
        print(f"\nthe Job is complete {took:.1f} s after its application's exit")
        # No notice and no waiting for anybody: drainTimeout would be 18 s.
        assert took < 15, took
        [pod] = cluster.pods()
        for status in pod["status"]["containerStatuses"] + pod["status"]["initContainerStatuses"]:
            assert status["state"]["terminated"]["exitCode"] == 0, status
