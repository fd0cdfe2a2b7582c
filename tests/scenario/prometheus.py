"""A small strict parser of the Prometheus text format, version 0.0.4."""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
SAMPLE = re.compile(rf"^({NAME})(?:\{{(.*)\}})? ([^ ]+)(?: (-?\d+))?$")
PAIR = re.compile(rf'({LABEL})="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


def _labels(text):
    labels, at = {}, 0
    while at < len(text):
        m = PAIR.match(text, at)
        assert m, f"labels {text!r} at {at}"
        assert m[1] not in labels, f"label {m[1]} twice in {text!r}"
        labels[m[1]] = re.sub(r"\\(.)", lambda e: {"n": "\n"}.get(e[1], e[1]), m[2])
        at = m.end()
        assert m[3] == "," or at == len(text)
    return labels


def _number(text):
    special = {"+Inf": math.inf, "-Inf": -math.inf, "NaN": math.nan}
    return special[text] if text in special else float(text)


class Metrics:
    def __init__(self):
        self.types = {}
        self.samples = {}  # (name, frozenset of labels) -> value

    def get(self, name, **labels):
        """The sum of the samples of that name that have these labels; 0 when there is none."""
        want = set(labels.items())
        return sum(v for (n, have), v in self.samples.items() if n == name and want <= have)

    def names(self):
        return {n for n, _ in self.samples}

    def series(self, name):
        return {have: v for (n, have), v in self.samples.items() if n == name}


def parse(text):
    """Metrics; fails on what a scraper would refuse, or would misread."""
    assert text.endswith("\n"), "the last line has no end"
    metrics = Metrics()
    helped, family, closed = set(), None, set()
    for line in text[:-1].split("\n"):
        if line == "":
            continue
        if line.startswith("#"):
            parts = line.split(" ", 3)
            if parts[1] == "HELP":
                assert re.fullmatch(NAME, parts[2]), line
                assert parts[2] not in helped, f"HELP of {parts[2]} twice"
                helped.add(parts[2])
                assert parts[2] not in closed, f"{parts[2]} is not in one piece"
            elif parts[1] == "TYPE":
                assert parts[2] not in metrics.types, f"TYPE of {parts[2]} twice"
                assert parts[3] in ("counter", "gauge", "histogram", "summary", "untyped"), line
                if family:
                    closed.add(family)
                family = parts[2]
                assert family not in closed, f"{family} is not in one piece"
                metrics.types[family] = parts[3]
            continue
        m = SAMPLE.match(line)
        assert m, f"sample {line!r}"
        name, labels, value = m[1], _labels(m[2] or ""), _number(m[3])
        assert family, f"{line!r} before any TYPE"
        allowed = [family + s for s in SUFFIXES.get(metrics.types[family], ("",))]
        assert name in allowed, f"{name} within the family {family}"
        if metrics.types[family] == "counter":
            assert name.endswith("_total"), f"counter {name}"
            assert value >= 0, line
        key = (name, frozenset(labels.items()))
        assert key not in metrics.samples, f"{line!r} twice"
        metrics.samples[key] = value
    _check_histograms(metrics)
    return metrics


def _check_histograms(metrics):
    for family, kind in metrics.types.items():
        if kind != "histogram":
            continue
        groups = {}
        for (name, labels), value in metrics.samples.items():
            if name == family + "_bucket":
                rest = frozenset(p for p in labels if p[0] != "le")
                groups.setdefault(rest, []).append((_number(dict(labels)["le"]), value))
        for rest, buckets in groups.items():
            buckets.sort()
            assert buckets[-1][0] == math.inf, f"{family}: no le=+Inf"
            values = [v for _, v in buckets]
            assert values == sorted(values), f"{family}: buckets fall"
            assert values[-1] == metrics.samples[(family + "_count", rest)], family
            assert (family + "_sum", rest) in metrics.samples, family
