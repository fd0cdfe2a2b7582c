"""A gRPC server and client over raw bytes: no protoc, no generated code. What a method does, its name
says; each call is recorded."""

import concurrent.futures
import queue
import threading
import time

import h2wire  # noqa: F401 - finds the packages in build/venv
from wire import TIMEOUT, free_port, wait_for

import grpc  # noqa: E402

KINDS = {  # by how many messages go which way
    "unary": "unary_unary",
    "collect": "stream_unary",
    "count": "unary_stream",
    "chat": "stream_stream",
}
BIGGEST = 64 << 20
SIZES = [("grpc.max_receive_message_length", BIGGEST), ("grpc.max_send_message_length", BIGGEST)]


class Call:
    """As the server saw it."""

    def __init__(self, method, context):
        self.method, self.context = method, context
        self.metadata = {}
        for key, value in context.invocation_metadata():
            self.metadata.setdefault(key, value)
        self.remaining = context.time_remaining()
        self.cancelled = threading.Event()
        self.received = []
        context.add_callback(lambda: None if context.is_active() else self.cancelled.set())


class App(grpc.GenericRpcHandler):
    """`with App() as app`, or app.stop()."""

    def __init__(self, threads=32):
        self.calls, self.lock, self.errors = [], threading.Lock(), []
        self.released = threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(threads), [self],
                                  options=SIZES + [("grpc.so_reuseport", 0)])
        self.port = self.server.add_insecure_port(f"127.0.0.1:{free_port()}")
        assert self.port
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def service(self, details):
        name = details.method.rpartition("/")[2]
        kind = KINDS.get(name.partition("_")[0])
        if kind is None:
            return None
        do = getattr(self, name)

        def run(request, context):
            call = Call(name, context)
            with self.lock:
                self.calls.append(call)
            return do(call, request, context)
        return getattr(grpc, kind + "_rpc_method_handler")(run)

    def wait_calls(self, n):
        wait_for(lambda: len(self.calls) >= n, lambda: f"{n} calls, {len(self.calls)} came")
        return self.calls[n - 1]

    # --- methods ---

    def unary(self, call, request, context):
        call.received.append(len(request))
        return b"re:" + request

    def unary_metadata(self, call, request, context):
        context.send_initial_metadata([("x-initial", "first"), ("x-bits-bin", b"\0\xff\x80")])
        context.set_trailing_metadata([("x-trailing", "last"), ("x-more-bin", b"\x01\x02")])
        return request

    def unary_status(self, call, request, context):
        """Trailers only, with the status that the request asks for."""
        context.set_trailing_metadata([("x-trailing", "last")])
        context.abort(next(c for c in grpc.StatusCode if c.value[0] == int(request)),
                      "grün 100% \n")

    def unary_size(self, call, request, context):
        return b"x" * int(request)

    def unary_hang(self, call, request, context):
        call.cancelled.wait(TIMEOUT)
        return b""

    def collect(self, call, requests, context):
        n = 0
        for m in requests:
            n += len(m)
            call.received.append(len(m))
        return str(n).encode()

    def count(self, call, request, context):
        for i in range(int(request)):
            yield str(i).encode()

    def count_hang(self, call, request, context):
        for i in range(int(request)):
            yield str(i).encode()
        call.cancelled.wait(TIMEOUT)

    def count_fail(self, call, request, context):
        for i in range(int(request)):
            yield str(i).encode()
        context.abort(grpc.StatusCode.DATA_LOSS, "lost")

    def count_big(self, call, request, context):
        for i in range(int(request)):
            yield bytes([i]) * (1 << 20)

    def chat(self, call, requests, context):
        for m in requests:
            call.received.append(len(m))
            yield b"re:" + m

    def stop(self):
        self.server.stop(0).wait(TIMEOUT)


class Client:
    def __init__(self, address, options=()):
        given = {"grpc.enable_retries": 0, "grpc.initial_reconnect_backoff_ms": 50,
                 "grpc.use_local_subchannel_pool": 1, **dict(SIZES), **dict(options)}
        self.channel = grpc.insecure_channel(address, options=list(given.items()))

    def __getattr__(self, name):
        kind = KINDS.get(name.partition("_")[0])
        if kind is None:
            raise AttributeError(name)
        return getattr(self.channel, kind)(f"/test.Service/{name}")

    def close(self):
        self.channel.close()


class Talk:
    """The client's half of a bidirectional call: says one message at a time."""

    def __init__(self, method, **how):
        self.said = queue.Queue()
        self.call = method(iter(self.said.get, None), **how)

    def say(self, m):
        self.said.put(m)

    def ask(self, m):
        self.say(m)
        return next(self.call)

    def done(self):
        self.said.put(None)


def failure(fn):
    """The grpc.RpcError that fn() ends in, and how long that took."""
    began = time.monotonic()
    try:
        result = fn()
    except grpc.RpcError as e:
        return e, time.monotonic() - began
    raise AssertionError(f"no error: {result!r}"[:200])
