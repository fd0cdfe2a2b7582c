"""A client by HTTP/2 towards sluice, and an application that answers when it may."""

import h2wire


def h2(sc, **how):
    client = h2wire.Client(sc.address, **how)
    sc.clients.append(client)
    return client.ready()


def gated(go, body=b"late"):
    """A backend whose answers to /slow wait for an event."""
    def script(conn):
        while (request := conn.request()) is not None:
            if request.target == "/slow":
                go.wait(20)
            conn.answer(body)
    return script
