"""How a pod's end, or a restart of a container, is asked for, and what must be true of it."""

import json

from cluster import PATIENCE
from wire import wait_for

NOTICE = 2.0  # s that it lasts at least, while nobody comes

# name, container, what it writes then; in this order.
STEPS = (("notice", "sluice", r"drain: notice"), ("drain", "sluice", r"drain: drain"),
         ("released", "sluice", r"drain: egress_only"), ("SIGTERM", "app", r"^SIGTERM$"),
         ("exits", "app", r"^exits$"), ("exit", "sluice", r"drain report "))


def name_of(pod):
    return pod["metadata"]["name"]


def delete(cluster, *pods):
    cluster.kubectl("delete", "pod", "--wait=false", *map(name_of, pods))


def wait_gone(cluster, *pods):
    uids = {p["metadata"]["uid"] for p in pods}
    wait_for(lambda: not uids & {p["metadata"]["uid"] for p in cluster.pods()},
             lambda: f"pods are gone: {cluster.told()}", PATIENCE, 0.1)


def make_sick(cluster, pod):
    """For App.restart_when_sick()."""
    cluster.kubectl("exec", name_of(pod), "-c", "app", "--", "sh", "-c", "echo >/tmp/sick")


def containers(cluster, pod):
    """name -> status, of the pod as it is now."""
    status = cluster.get("pod", name_of(pod))["status"]
    return {c["name"]: c for c in status["containerStatuses"] + status["initContainerStatuses"]}


def wait_restarted(cluster, pod, container):
    wait_for(lambda: containers(cluster, pod)[container]["restartCount"] == 1,
             lambda: f"{container} is restarted: {cluster.told()}", PATIENCE, 0.2)


def drain_report(cluster, name):
    mark = "drain report "
    return next(json.loads(line.text.partition(mark)[2])
                for line in cluster.logs.of(name, "sluice") if mark in line.text)


def steps(cluster, name):
    """step -> when."""
    return {step: cluster.logs.find(name, container, pattern) for step, container, pattern in STEPS}


def story(cluster, name):
    """All that its containers wrote, in time, for the message of a failure."""
    lines = cluster.logs.of(name, "sluice") + cluster.logs.of(name, "app")
    return "\n".join([f"{name}:", *map(str, sorted(lines, key=lambda line: line.at))])


def assert_in_order(cluster, name):
    """The pod of that name has ended, step by step, with nothing cut; returns when each step was."""
    when = steps(cluster, name)
    assert None not in when.values(), story(cluster, name)
    # Two lines of one write may have one time.
    times = [when[step] for step, _, _ in STEPS]
    assert times == sorted(times), story(cluster, name)
    report = drain_report(cluster, name)
    assert report["open"] == 0 and report["forced_total"] == 0, report
    return when
