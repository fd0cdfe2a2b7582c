"""What the tests of hostile HTTP/2 share: a client that does anything, and what must come of it."""

import h2wire
from h2wire import PROTOCOL_ERROR, frame
from harness import reasons
from wire import wait_for

MB = 1 << 20


def h2(sc, **how):
    client = h2wire.Client(sc.address, **how)
    sc.clients.append(client)
    return client.ready() if how.get("start", True) else client


def errors(sc, reason):
    return sc.s.metrics().get("sluice_errors_total", reason=reason)


def expect_failure(sc, client, code, reason):
    """GOAWAY with that code, the end, and the word for it."""
    client.expect_goaway(code)
    client.close()
    wait_for(lambda: errors(sc, reason) >= 1, lambda: f"sluice_errors_total of {reason}: "
             f"{sc.s.metrics().series('sluice_errors_total')}")


def expect_problem(client, st, code, status=None):
    """An answer of sluice's own."""
    client.response(st)
    expected, error = reasons()[code]
    assert st.status == (status or expected), st
    assert st.get("content-type") == "application/problem+json", st
    assert st.get("proxy-status") == f'sluice; error={error}; details="{code}"', st
    return st


def lives(client):
    """The connection still serves."""
    assert client.ask("GET", "/lives").status == 200


def only_honest(sc):
    sc.s.settle()
    targets = [r.target for r in sc.app.requests]
    assert set(targets) <= {"/lives"}, f"it was forwarded: {targets}"


def refuse(sc, fields, code=PROTOCOL_ERROR, end=True, **how):
    """A request that is reset, or (a word) answered by a problem; the connection goes on."""
    sc.proxy(**how)
    client = h2(sc)
    st = client.open(fields, end)
    if isinstance(code, str):
        expect_problem(client, st, code)
    else:
        client.expect_reset(st, code)
        assert st.head is None, st
    lives(client)
    client.close()
    only_honest(sc)
    return st


def flood(client, pieces):
    """Sends until the connection ends or GOAWAY comes; how many pieces went."""
    sent = 0
    try:
        for piece in pieces:
            client.send(piece)
            sent += 1
            if sent % 16 == 0:
                client.read_ready()
                if client.goaways or client.eof:
                    break
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


PING = frame(h2wire.PING, 0, 0, b"flooding")
