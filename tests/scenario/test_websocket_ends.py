"""How a WebSocket's carriers end behind its Closes: whoever is slow to answer is waited for, and is
told by an orderly end, whatever the other one has done meanwhile."""

import signal

import h2wire
from drains import lifecycle, report
from test_websocket import each_carrier, pair  # noqa: F401 - a fixture
from websocket import CLOSE, TEXT
from wire import wait_for


def drained(sc):
    sc.s.stop()
    return {k: v for k, v in report(sc)["classes"]["websocket"].items() if v}


def answer_and_end(ws):
    """As a peer that has nothing to wait for. It is with sluice when this returns."""
    ws.close(1001)
    ws.peer.half_close()


def seen(sc, *peers):
    """What they have sent has been read: sluice has answered what was sent behind it."""
    for ws in peers:
        if hasattr(ws.peer, "conn"):
            conn, n = ws.peer.conn, len(ws.peer.conn.pings)
            conn.ping()
            conn.until(lambda: len(conn.pings) > n, "a PING's ACK")
    for _ in range(3):
        sc.s.status()


def told(ws, code=1001):
    opcode, got = ws.message()
    assert opcode == CLOSE and got.code == code, (opcode, got)


@each_carrier
def test_a_slow_server_is_waited_for(pair, sc):
    """The client's echo and end come first."""
    client, server = pair(more=lifecycle(drain="8s"))
    sc.s.signal(signal.SIGTERM)
    told(client)
    answer_and_end(client)
    seen(sc, client)
    told(server)
    assert not server.peer.is_closed()
    server.close(1001)
    server.peer.expect_fin()
    server.peer.half_close()
    client.peer.expect_fin()
    assert drained(sc) == {"closed": 1}


@each_carrier
def test_a_slow_client_is_waited_for(pair, sc):
    client, server = pair(more=lifecycle(drain="8s"))
    sc.s.signal(signal.SIGTERM)
    told(server)
    answer_and_end(server)
    seen(sc, server)
    told(client)
    assert not client.peer.is_closed()
    client.close(1001)
    client.peer.expect_fin()
    client.peer.half_close()
    server.peer.expect_fin()
    assert drained(sc) == {"closed": 1}


@each_carrier
def test_a_server_in_the_middle_of_a_message(pair, sc):
    """It has not got its Close yet when the client has answered its own and ended."""
    client, server = pair(more=lifecycle(drain="3s", last_call="1s"))
    client.text(b"one, ", fin=False)
    assert server.recv().payload == b"one, "
    sc.s.signal(signal.SIGTERM)
    told(client)
    answer_and_end(client)
    told(server)
    seen(sc, client)
    assert not server.peer.is_closed()
    server.close(1001)
    server.peer.expect_fin()
    server.peer.half_close()
    client.peer.expect_fin()
    assert drained(sc) == {"closed": 1}


@each_carrier
def test_a_server_that_never_answers(pair, sc):
    """The client has done its part: it sees an orderly end, at the latest by force."""
    client, server = pair(more=lifecycle(drain="1500ms", last_call="300ms"))
    sc.s.signal(signal.SIGTERM)
    told(server)
    told(client)
    answer_and_end(client)
    client.peer.expect_fin()
    assert drained(sc) == {"forced": 1}


@each_carrier
def test_a_server_that_answers_and_stays(pair, sc):
    """It ends nothing: after our end it is given 2 s, and then it is over for both."""
    client, server = pair(more=lifecycle(drain="8s"))
    sc.s.signal(signal.SIGTERM)
    told(client)
    answer_and_end(client)
    told(server)
    server.close(1001)
    server.peer.expect_fin()
    client.peer.expect_fin()
    assert drained(sc) == {"closed": 1}


@each_carrier
def test_a_server_that_is_gone_after_its_answer(pair, sc):
    """Its connection too. The client answers later, and sees an orderly end all the same."""
    client, server = pair(more=lifecycle(drain="8s"))
    sc.s.signal(signal.SIGTERM)
    told(server)
    answer_and_end(server)
    server.peer.close()
    wait_for(lambda: sc.s.metrics().get("sluice_upstream_connections") == 0,
             "the upstream connection is gone") if hasattr(server.peer, "conn") else None
    told(client)
    client.close(1001)
    client.peer.half_close()
    client.peer.expect_fin()
    assert drained(sc) == {"closed": 1}


@each_carrier
def test_peers_that_close_by_themselves(pair, sc):
    """Close and end in one piece; the answer comes later, and so does its end."""
    client, server = pair()
    answer_and_end(client)
    seen(sc, client)
    told(server)
    server.send(TEXT, b"what it still had to say")
    assert client.message() == (TEXT, b"what it still had to say")
    server.close(1001)
    server.peer.half_close()
    told(client)
    client.peer.expect_fin()
    server.peer.expect_fin()
    assert sc.s.wait_access_log(1)[0].get("reason", "none") == "none"


@each_carrier
def test_a_client_that_closes_both_ends_first(pair, sc):
    """The server begins, and ends at once; the client takes its time."""
    client, server = pair()
    answer_and_end(server)
    told(client)
    seen(sc, server)
    client.close(1001)
    client.peer.half_close()
    told(server)
    server.peer.expect_fin()
    client.peer.expect_fin()
    assert sc.s.wait_access_log(1)[0].get("reason", "none") == "none"
