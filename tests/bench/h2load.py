"""nghttp2's h2load as a load client: HTTP/2 with m streams at once on each connection, or HTTP/1.1,
plain or by TLS. Its answer is put into the words of the project's own load client."""

import re
import shutil


def program():
    return shutil.which("h2load")


# A unary call.
GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers", "-d", "@message@")


def argv(url, seconds, load, backends):
    """`load`: -c connections, -m streams, --h1 ..., as h2load has them."""
    load = [backends.message if word == "@message@" else word for word in load]
    return [program() or "h2load", "-t", "1", "-D", f"{int(seconds * 1000)}ms", *load, url]


def parse(text):
    """What the run gave. Only the mean of the latencies is told, so it stands for p50; no p99."""
    def numbers(pattern):
        found = re.search(pattern, text)
        return [float(x) for x in found.groups()] if found else None
    requests = numbers(r"requests: \d+ total, (\d+) started, (\d+) done, (\d+) succeeded, "
                       r"(\d+) failed, (\d+) errored, (\d+) timeout")
    if not requests:
        raise ValueError(f"h2load: {text[-500:]}")
    started, done, succeeded, failed, errored, timed_out = (int(x) for x in requests)
    codes = [int(x) for x in numbers(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")]
    rps, = numbers(r"finished in .*?, ([0-9.]+) req/s")
    latency = re.search(r"time for request: +\S+ +\S+ +([0-9.]+)(us|ms|s) ", text)
    scale = {"us": 1, "ms": 1000, "s": 1000000}
    mean = float(latency[1]) * scale[latency[2]] if latency else float("nan")
    # What was under way when the time was up is no failure.
    return {"sent": started, "answered": codes[0], "failed": failed + errored + timed_out,
            "app_error": max(done - codes[0], 0), "refused": 0,
            "failed_by_kind": {"failed": failed, "errored": errored, "timeout": timed_out},
            "status": dict(zip(("2xx", "3xx", "4xx", "5xx"), codes)), "rps": rps,
            "latency_us": {"p50": mean, "p99": None}}
