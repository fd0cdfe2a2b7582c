"""What the tests run: the text of docs/guide/kubernetes.md with their own images and application."""

import copy
import os
import re

import yaml

from cluster import ROOT

TOKEN = "9f86d081884c7d659a2feaa0c55ad015"

# `sh` is process 1 of the container and says when SIGTERM comes; `seconds` later all of it ends.
APPLICATION = """
trap 'echo SIGTERM; [ {seconds} = 0 ] || sleep {seconds}; echo exits; exit 0' TERM
sluice demo-app --listen 0.0.0.0:8080 & wait"""


def guide():
    """kind -> object, of the page's first YAML."""
    with open(os.path.join(ROOT, "docs/guide/kubernetes.md")) as f:
        text = re.search(r"^```yaml\n(.*?)^```", f.read(), re.S | re.M).group(1)
    return {o["kind"]: o for o in yaml.safe_load_all(text)}


def shell(commands):
    return {"image": "localhost/app:1", "imagePullPolicy": "Never",
            "command": ["/usr/bin/sh", "-c", commands]}


def container(spec, name):
    return next(c for c in [*spec.get("initContainers", []), *spec["containers"]]
                if c["name"] == name)


class App:
    """The page's Deployment and Service as `name`; what a test changes, it changes before objects()."""

    def __init__(self, name, replicas=1, application=None, exits_after=0):
        self.name = name
        self.objects_by_kind = copy.deepcopy(guide())
        self.config = yaml.safe_load(self.objects_by_kind["ConfigMap"]["data"]["sluice.yaml"])
        self.deployment = self.objects_by_kind["Deployment"]
        self.deployment["spec"]["replicas"] = replicas
        self.spec = self.deployment["spec"]["template"]["spec"]
        self.sluice = container(self.spec, "sluice")
        self.sluice.update(image="localhost/sluice:test", imagePullPolicy="Never")
        self.app = container(self.spec, "app")
        self.app.update(shell(application or APPLICATION.format(seconds=exits_after)))

    @property
    def selector(self):
        return f"app={self.name}"

    def grace(self, seconds):
        self.spec["terminationGracePeriodSeconds"] = seconds
        self.config["lifecycle"]["terminationGracePeriod"] = f"{seconds}s"

    def restart_when_sick(self):
        """The application's container, by liveness: when /tmp/sick is there."""
        self.app["livenessProbe"] = {"exec": {"command": ["/usr/bin/sh", "-c", "[ ! -e /tmp/sick ]"]},
                                     "periodSeconds": 1, "failureThreshold": 1}

    def add_grpc(self):
        """grpc-go's server beside the application, held by a preStop of its own."""
        self.config["listeners"][0]["routes"].insert(0, {
            "match": {"pathPrefix": "/grpc.testing.TestService"}, "upstream": "grpc",
            "timeout": "0s"})
        self.config["upstreams"].append(
            {"name": "grpc", "protocol": "http2", "endpoints": ["127.0.0.1:10000"]})
        self.add_container("grpc", "exec grpc-interop-server --port=10000",
                           startupProbe={"tcpSocket": {"port": 10000}, "periodSeconds": 1})

    def add_container(self, name, commands, **more):
        self.spec["containers"].append({
            "name": name, **shell(commands), "lifecycle": copy.deepcopy(self.app["lifecycle"]), **more})

    def objects(self):
        by_kind = self.objects_by_kind
        by_kind["ConfigMap"]["data"]["sluice.yaml"] = yaml.safe_dump(self.config)
        by_kind["ConfigMap"]["metadata"]["name"] = f"{self.name}-sluice"
        next(v for v in self.spec["volumes"] if "configMap" in v)["configMap"]["name"] = (
            f"{self.name}-sluice")
        for kind in ("Deployment", "Service"):
            by_kind[kind]["metadata"]["name"] = self.name
        labels = {"app": self.name}
        self.deployment["spec"]["selector"]["matchLabels"] = labels
        self.deployment["spec"]["template"]["metadata"]["labels"] = labels
        by_kind["Service"]["spec"]["selector"] = labels
        return list(by_kind.values())
