"""TLS at the ends of a scenario: clients and backends that speak it, by Python's ssl."""

import os
import ssl
import subprocess
import sys

from wire import Client, TIMEOUT

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import certs  # noqa: E402

CA = certs.authority()


def server_pair():
    return CA.issue("a.test", sans=["DNS:a.test", "IP:127.0.0.1", "URI:spiffe://td/ns/server"])


def client_pair():
    return CA.issue("client", sans=["URI:spiffe://td/ns/client"])


def listener(pair=None, **more):
    """What a listener's `tls` is; more: clientAuth, spiffeIds..."""
    pair = pair or server_pair()
    return {"tls": {"certificates": [{"certFile": pair.cert, "keyFile": pair.key}], **more}}


def upstream(**more):
    return {"tls": {"caFile": CA.cert, "serverName": "a.test", **more}}


def client_context(alpn=("http/1.1",), pair=None, ca=CA, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca.cert)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def server_context(pair=None, alpn=("http/1.1",), clients=None, version=None):
    pair = pair or server_pair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if clients:
        context.load_verify_locations(clients.cert)
        context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class TlsClient(Client):
    """A client whose end without close_notify raises ssl.SSLEOFError."""

    def __init__(self, address, context=None, name="a.test", session=None, **how):
        super().__init__(address, **how)
        try:
            self.sock = (context or client_context()).wrap_socket(
                self.sock, server_hostname=name, suppress_ragged_eofs=False, session=session)
        except BaseException:
            self.sock.close()
            raise

    @property
    def tls(self):
        return self.sock

    def expect_close_notify(self):
        """The orderly end, and no byte before it."""
        rest = self.read_to_end()
        assert rest == b"", f"bytes before the end: {rest[:300]!r}"

    def expect_cut(self):
        """An end that is none for TLS."""
        try:
            rest = self.read_to_end()
        except (ssl.SSLEOFError, ConnectionResetError):
            return
        raise AssertionError(f"an orderly end behind {rest[:300]!r}")


def connect(sc, context=None, **how):
    """A client of the scenario's listener."""
    client = TlsClient(sc.address, context, **how)
    sc.clients.append(client)
    return client


def secured(script, context=None):
    """A backend's script behind a handshake; its failure ends the connection quietly."""
    def run(conn):
        try:
            conn.sock = (context or server_context()).wrap_socket(
                conn.sock, server_side=True, suppress_ragged_eofs=False)
        except OSError as e:
            conn.failed = e
            return
        try:
            script(conn)
        except ssl.SSLError as e:
            conn.failed = e
    return run


def s_client(address, *args, text="", timeout=TIMEOUT):
    """What `openssl s_client` says when that is typed."""
    run = subprocess.run(["openssl", "s_client", "-connect", address, "-CAfile", CA.cert, *args],
                         input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         timeout=timeout, check=False)
    return run.stdout


class Renewer:
    """`openssl s_client` that renews its key when it is told to: Python cannot."""

    def __init__(self, address, *args):
        self.proc = subprocess.Popen(
            ["openssl", "s_client", "-connect", address, "-CAfile", CA.cert, *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = b""
        self.until(b"Verify return code")

    def until(self, text):
        """Reads until it says so; False: it ended before."""
        while text not in self.said:
            more = os.read(self.proc.stdout.fileno(), 65536)
            if not more:
                return False
            self.said += more
        self.said = self.said.split(text, 1)[1]
        return True

    def send(self, text):
        try:
            os.write(self.proc.stdin.fileno(), text)
        except OSError:
            pass  # it has ended

    def renew(self):
        self.send(b"k\n")  # a command has to be read by itself
        return self.until(b"KEYUPDATE")

    def close(self):
        self.proc.kill()
        self.proc.communicate()
