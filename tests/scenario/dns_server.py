"""A DNS server for tests, over UDP and TCP on one port, that answers as it is told: rightly, late,
wrongly, or not at all. Names without a rule do not exist.

    dns = DnsServer()
    dns.set("app.test", "A", ["127.0.0.2", "127.0.0.3"], ttl=1)
    dns.set("app.test", "A", how="servfail")        # silent, nxdomain, refused, wrong_id, ...
    dns.set("_http._tcp.app.test", "SRV", [(0, 5, 8080, "one.test")])
"""

import socket
import struct
import threading
import time

from ports import free_port

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}
RCODES = {"servfail": 2, "nxdomain": 3, "refused": 5}
LIE = "127.9.9.9"  # what no test may ever connect to


def encode_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(labels).lower(), at + 1


def encode_data(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "SRV":
        priority, weight, port, host = value
        return struct.pack(">HHH", priority, weight, port) + encode_name(host)
    return encode_name(value)


def record(owner, kind, ttl, value):
    data = encode_data(kind, value)
    return owner + struct.pack(">HHIH", TYPES[kind], 1, ttl, len(data)) + data


class Rule:
    def __init__(self, records=(), ttl=60, how="answer", delay=0.0, cname=None):
        self.records, self.ttl, self.how, self.delay = list(records), ttl, how, delay
        self.cname = cname  # the records belong to this name


class DnsServer:
    def __init__(self):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.lock = threading.Lock()
        self.rules = {}
        self.queries = []  # (name, type), in their order
        self.over_tcp = 0
        self.how = None    # for every name, in place of its rule
        self.errors = []   # none: what it is asked is not its fault
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.tcp = socket.create_server(("127.0.0.1", self.port))
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self._udp, self._tcp)]
        for thread in self.threads:
            thread.start()

    def set(self, name, kind, records=(), **more):
        with self.lock:
            self.rules[name.rstrip(".").lower(), kind] = Rule(records, **more)

    def both(self, name, **more):
        """A and AAAA the same way: how="nxdomain", or no record at all."""
        for kind in ("A", "AAAA"):
            self.set(name, kind, **more)

    def asked(self, name, kind="A"):
        with self.lock:
            return self.queries.count((name, kind))

    def stop(self):
        self.udp.close()
        try:
            self.tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.tcp.close()

    # --- answers ---

    def _truth(self, rule, query, kind, question):
        owner, answers = b"\xc0\x0c", []
        if rule.cname:
            answers.append(record(owner, "CNAME", rule.ttl, rule.cname))
            owner = encode_name(rule.cname)
        answers += [record(owner, kind, rule.ttl, value) for value in rule.records]
        return self._message(query, question, answers)

    @staticmethod
    def _message(query, question, answers=(), rcode=0, truncated=False):
        flags = 0x8480 | (0x0200 if truncated else 0) | rcode
        return (query[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0) + question
                + b"".join(answers))

    def _answers(self, query, tcp):
        """What to send, one message after the other; the last of lies is the truth."""
        name, end = decode_name(query, 12)
        number = struct.unpack(">H", query[end:end + 2])[0]
        kind, question = NAMES.get(number, str(number)), query[12:end + 4]
        with self.lock:
            self.queries.append((name, kind))
            self.over_tcp += tcp
            rule = self.rules.get((name, kind))
            known = any(key[0] == name for key in self.rules)
            how = self.how or (rule.how if rule else "answer" if known else "nxdomain")
        rule = rule or Rule()
        if rule.delay:
            time.sleep(rule.delay)
        lie = self._message(query, question, [record(b"\xc0\x0c", "A", 60, LIE)])
        truth = self._truth(rule, query, kind, question)
        if how in RCODES:
            return [self._message(query, question, rcode=RCODES[how])]
        return {
            "answer": [truth],
            "silent": [],
            "wrong_id": [bytes([lie[0] ^ 1]) + lie[1:], truth],
            "wrong_question": [lie[:13] + bytes([lie[13] ^ 1]) + lie[14:], truth],
            "truncated": [truth if tcp else self._message(query, question, truncated=True)],
            "garbage": [truth[:len(query[:12]) + len(question)] + b"\xff" * 60],
            "loop": [self._message(query, question, [struct.pack(
                ">H", 0xc000 | 12 + len(question)) + b"\0\1\0\1\0\0\0\1\0\4\1\2\3\4"])],
            "cut": [truth[:-3]],
            "empty": [b"", truth],
        }[how]

    def _serve(self, query, send, tcp):
        try:
            for message in self._answers(query, tcp):
                send(message)
        except OSError:
            pass  # the one who asked has gone

    def _udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._serve, daemon=True, args=(
                query, lambda m, peer=peer: self.udp.sendto(m, peer), False)).start()

    def _tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._tcp_conn, args=(sock,), daemon=True).start()

    def _tcp_conn(self, sock):
        with sock, sock.makefile("rb") as stream:
            sock.settimeout(5)
            try:
                while len(head := stream.read(2)) == 2:
                    query = stream.read(struct.unpack(">H", head)[0])
                    self._serve(query, lambda m: sock.sendall(struct.pack(">H", len(m)) + m), True)
            except OSError:
                pass
