"""What tests/soak/endpoints.py is made of: endpoints that turn bad on a word, and a load that comes
when it is due, whatever became of the requests before."""

import asyncio
import collections
import multiprocessing
import os
import signal
import time

from rig import Sluice, deep_update, forward, is_open, wait_for
import h2wire  # from where rig looks

Sample = collections.namedtuple("Sample", "begin end status method")  # status 0: no answer


class Endpoint:
    """A process that answers HTTP/1 on an address of its own, as late and with such a status as it is
    told; `seen` counts what it was asked."""

    def __init__(self, address):
        self.address = address
        self.delay_ms, self.status, self.seen = (multiprocessing.Value("i", v) for v in (0, 200, 0))
        self.process = multiprocessing.Process(target=self._run, daemon=True)
        self.process.start()
        wait_for(lambda: is_open(address), f"{address} listens")

    def _run(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        asyncio.run(self._serve())

    async def _serve(self):
        host, _, port = self.address.rpartition(":")
        server = await asyncio.start_server(self._connection, host, int(port), backlog=4096)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                with self.seen.get_lock():
                    self.seen.value += 1
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                if self.delay_ms.value:
                    await asyncio.sleep(self.delay_ms.value / 1000)
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\nok" % self.status.value)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def stop(self):
        if self.process.is_alive():
            self.kill()


class EndpointH2(Endpoint):
    """The same by HTTP/2; what is asked is not looked at."""

    async def _answer(self, writer, stream):
        with self.seen.get_lock():
            self.seen.value += 1
        await asyncio.sleep(self.delay_ms.value / 1000)
        writer.write(
            h2wire.frame(h2wire.HEADERS, h2wire.END_HEADERS, stream,
                         h2wire.block([(":status", str(self.status.value)), ("content-length", "2")])) +
            h2wire.frame(h2wire.DATA, h2wire.END_STREAM, stream, b"ok"))

    async def _connection(self, reader, writer):
        answers = set()
        try:
            await reader.readexactly(len(h2wire.PREFACE))
            writer.write(h2wire.frame(h2wire.SETTINGS))
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                if kind in (h2wire.SETTINGS, h2wire.PING) and not flags & h2wire.ACK:
                    writer.write(h2wire.frame(kind, h2wire.ACK, 0,
                                              payload if kind == h2wire.PING else b""))
                elif kind in (h2wire.HEADERS, h2wire.DATA) and flags & h2wire.END_STREAM:
                    answer = asyncio.create_task(self._answer(writer, stream))
                    answers.add(answer)
                    answer.add_done_callback(answers.discard)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Load:
    """`rate` requests a second on connections that are kept; every nth is a POST. A request that is
    not answered within `patience` is given up."""

    def __init__(self, address, rate, post_every=4, patience=20):
        self.host, _, port = address.rpartition(":")
        self.port, self.rate, self.post_every, self.patience = int(port), rate, post_every, patience
        self.samples, self.idle, self.open = [], [], set()

    async def _exchange(self, method):
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            body = b"" if method == "GET" else b"12345"
            length = b"" if method == "GET" else b"Content-Length: 5\r\n"
            writer.write(method.encode() + b" / HTTP/1.1\r\nHost: load\r\n" + length + b"\r\n" + body)
            head = await reader.readuntil(b"\r\n\r\n")
            keeps = True
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
                keeps = keeps and line != b"connection: close"
            if keeps:
                self.idle.append((reader, writer))
                writer = None
            return int(head.split(b" ", 2)[1])
        finally:
            if writer:
                writer.close()

    async def _one(self, method, due):
        try:
            status = await asyncio.wait_for(self._exchange(method), self.patience)
        except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            status = 0
        self.samples.append(Sample(due, time.monotonic(), status, method))

    async def run(self, seconds, events=()):
        """`events`: (after so many seconds, what is called then)."""
        begin, n, events = time.monotonic(), 0, sorted(events, key=lambda e: e[0])
        while True:
            now = time.monotonic() - begin
            while events and events[0][0] <= now:
                await asyncio.get_running_loop().run_in_executor(None, events.pop(0)[1])
            if now >= seconds:
                break
            while n / self.rate <= now:
                method = "POST" if self.post_every and n % self.post_every == 0 else "GET"
                task = asyncio.create_task(self._one(method, begin + n / self.rate))
                self.open.add(task)
                task.add_done_callback(self.open.discard)
                n += 1
            await asyncio.sleep(0.001)
        while self.open:
            await asyncio.wait(self.open)
        for _, writer in self.idle:
            writer.close()
        return self.samples


def start(directory, endpoints, workers=1, route=None, more=None, **upstream):
    """A sluice with everything to these addresses, and nothing configured but what is given."""
    os.mkdir(directory)
    from ports import free_port
    address = f"127.0.0.1:{free_port()}"
    config = {
        "workers": workers,
        "listeners": [{"name": "in", "direction": "outbound", "address": address,
                       "routes": [forward(**(route or {}))]}],
        "upstreams": [{"name": "app", "endpoints": endpoints, **upstream}]}
    s = Sluice(directory, deep_update(config, more or {}))
    s.address, s.unix = address, s.socket_path
    return s
