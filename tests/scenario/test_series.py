"""/metrics tells a bounded number of series, whatever is configured."""

import json

from prometheus import parse
from wire import Client, wait_for

ROUTES = 200  # with 25 series each, and more once they are asked
OWN = ("sluice_metrics_series", "sluice_metrics_series_dropped")


def routes():
    return [{"name": f"r{i}", "match": {"path": f"/r{i}"}, "upstream": "app"} for i in range(ROUTES)]


def start(sc, most):
    sc.proxy(listener={"routes": routes()}, more={"limits": {"maxMetricSeries": most}})


def told(metrics):
    """What the two say is what there is."""
    assert metrics.get(OWN[0]) == len(metrics.samples)
    return len(metrics.samples), metrics.get(OWN[1])


def test_all_are_told(sc):
    start(sc, 50000)
    series, dropped = told(sc.s.metrics())
    assert series > 23 * ROUTES and dropped == 0
    assert "left out" not in sc.s.log()


def test_what_is_above_is_left_out(sc):
    """First of what there is most of: histograms of routes at the file's end, and each whole."""
    start(sc, 1500)
    for i in (0, ROUTES - 1):
        assert sc.ask("GET", f"/r{i}").status == 200
    metrics = sc.s.metrics()
    series, dropped = told(metrics)
    assert 1500 - 23 < series <= 1500 < series + dropped
    for name in ("sluice_info", "sluice_loop_lag_seconds", "sluice_connections",
                 "sluice_upstream_requests_total"):
        assert metrics.series(name), name
    assert metrics.get("sluice_requests_total", route=f"r{ROUTES - 1}", code="2xx") == 1
    counts = metrics.series("sluice_request_duration_seconds_count")
    assert 0 < len(counts) < ROUTES
    assert len(metrics.series("sluice_request_duration_seconds_bucket")) == 21 * len(counts)
    assert metrics.get("sluice_request_duration_seconds_count", route="r0") == 1
    sc.s.metrics()
    assert sc.s.log().count("series are left out") == 1, "told once"


def test_the_bound_is_live(sc):
    start(sc, 1500)
    assert told(sc.s.metrics())[1] > 0
    sc.s.config["limits"]["maxMetricSeries"] = 20000
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    wait_for(lambda: told(sc.s.metrics())[1] == 0, "all are told")


def named(metrics, name):
    return {dict(labels)["route"] for labels in metrics.series(name)}


def test_they_come_in_several_turns(sc):
    """Some scrapers go away meanwhile, and the routes become others: each text is whole and of one
    configuration."""
    start(sc, 50000)
    for turn in range(10):
        clients = [Client(sc.s.health) for _ in range(6)]
        for client in clients:
            client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        for client in clients[::2]:
            client.close()
        sc.s.config["listeners"][0]["routes"] = routes()[turn + 1:]
        with open(sc.s.config_path, "w") as f:
            json.dump(sc.s.config, f)
        assert sc.s.admin("POST", "/v1/reload")[0] == 200
        for client in clients[1::2]:
            response = client.response()
            assert response.status == 200
            metrics = parse(response.body.decode())
            told(metrics)
            of = named(metrics, "sluice_request_duration_seconds_count")
            assert len(of) in (ROUTES - turn, ROUTES - turn - 1)
            assert of == named(metrics, "sluice_split_picked_total")
            client.close()
