"""An upgrade, and bytes through what it opens."""

import websocket


def upgrade(conn):
    """The server's end of a tunnel, as bytes."""
    websocket.accept(conn)
    return websocket.Bytes(conn, False)


def tunnel(client):
    """The client's end, after its answer."""
    client.request(headers=websocket.request_headers())
    assert client.response_head().status == 101
    return websocket.Bytes(client, True)
