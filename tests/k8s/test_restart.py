"""A restart of the application's container, which looks to `/prestop` like a pod's end until it is none;
and ends that begin, or are hit, while the application is held."""

import os
import signal

import pytest
from clients import Clients, assert_none_failed
from ends import (NOTICE, assert_in_order, containers, delete, make_sick, name_of, steps, story, wait_gone,
                  wait_restarted)
from pods import App
from wire import wait_for


def test_serving_resumes_after_a_container_restart(cluster):
    """By liveness, one of two: the other serves meanwhile, and nobody has anything fail."""
    app = App("live", replicas=2)
    app.restart_when_sick()
    with cluster.applied(app.objects()):
        pods = cluster.wait_ready(app.selector, 2)
        address = cluster.address("live")
        sidecar = cluster.sidecar(pods[0])
        with Clients(cluster, address, n=8, kinds=["new connection each", "keep-alive GET",
                                                   "keep-alive POST"]) as clients:
            make_sick(cluster, pods[0])
            wait_restarted(cluster, pods[0], "app")
            cluster.wait_ready(app.selector, 2)
            counts, notes = clients.result()
        # It is the same sidecar, and it serves.
        assert cluster.sidecar(pods[0]) == sidecar
        assert containers(cluster, pods[0])["sluice"]["restartCount"] == 0
        cluster.wait_answer(f"{pods[0]['status']['podIP']}:15080")
        assert_none_failed(counts, notes)
        # And its end is a pod's end, with all that belongs to it.
        delete(cluster, pods[0])
        wait_gone(cluster, pods[0])
        assert_in_order(cluster, name_of(pods[0]))


@pytest.mark.long
def test_a_pod_deleted_while_a_restart_is_held(cluster):
    """The kubelet hears of it when the restart goes on, and calls again, with `self`: what began as a
    restart is a pod's end, with its whole notice."""
    app = App("both", replicas=2)
    app.restart_when_sick()
    app.config["lifecycle"]["restartDrain"] = "4s"
    with cluster.applied(app.objects()):
        pods = cluster.wait_ready(app.selector, 2)
        with Clients(cluster, cluster.address("both"), n=8, kinds=[
                "new connection each", "keep-alive GET", "keep-alive POST"]) as clients:
            make_sick(cluster, pods[0])
            cluster.logs.wait(name_of(pods[0]), "sluice", r"prestop: a container restarts", 20)
            delete(cluster, pods[0])
            wait_gone(cluster, pods[0])
            counts, notes = clients.result()
        assert_none_failed(counts, notes)
        assert_in_order(cluster, name_of(pods[0]))


def test_the_serving_process_killed_while_it_holds(cluster):
    """The next one goes on with the same drain: the application is not released earlier for it."""
    app = App("killed")
    with cluster.applied(app.objects()):
        [pod] = cluster.wait_ready(app.selector, 1)
        name = name_of(pod)
        cluster.address("killed")
        before = cluster.sidecar(pod)
        assert len(before) == 2, before  # the supervisor and what it has started
        delete(cluster, pod)
        begun = cluster.logs.wait(name, "sluice", r"drain: notice")
        os.kill(before[1], signal.SIGKILL)
        wait_for(lambda: len(now := cluster.sidecar(pod)) == 2 and now != before,
                 "another process serves", 5)
        wait_gone(cluster, pod)
        when = steps(cluster, name)
        assert None not in when.values(), story(cluster, name)
        assert when["SIGTERM"] - begun > NOTICE - 0.1, story(cluster, name)
        assert when["SIGTERM"] <= when["exits"] < when["exit"], story(cluster, name)
