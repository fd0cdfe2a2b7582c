"""Cases of WebSocket conformance, by the families of the Autobahn test suite: what a client says, and
what must come back. Each is a function of a Driver (websocket_conformance.py)."""

import random
import struct

from websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

ALL = []  # (family, name, function)

FAMILIES = {1: "framing", 2: "pings and pongs", 3: "reserved bits", 4: "opcodes",
            5: "fragmentation", 6: "UTF-8", 7: "close", 9: "limits", 10: "auto-fragmentation",
            12: "compression", 13: "compression parameters"}

BAD, BAD_TEXT = (1002,), (1007,)


def case(family, name, fn):
    ALL.append((family, name, fn))


def each(family, name, values, fn):
    """A case for each of the values (a dict: by name)."""
    named = values.items() if isinstance(values, dict) else [(str(v), v) for v in values]
    for key, value in named:
        case(family, f"{name} {key}", lambda d, v=value: fn(d, v))


def text(n):
    return (b"*" * n) if n < 1000 else (b"The quick brown fox. " * (n // 21 + 1))[:n]


def data(opcode, n):
    return text(n) if opcode == TEXT else noise(n)


def noise(n):
    """The same each time, as what is seen is compared."""
    return random.Random(n).randbytes(n)


# --- 1: framing ---------------------------------------------------------------------------------

for size in (0, 125, 126, 127, 128, 65535, 65536):
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
        case(1, f"{kind} of {size}", lambda d, o=opcode, n=size: d.echo(o, data(o, n)))
        case(1, f"{kind} of {size}, in pieces",
             lambda d, o=opcode, n=size: d.chopped(1 if n < 1000 else 997).echo(o, data(o, n)))

# --- 2: pings and pongs -------------------------------------------------------------------------

each(2, "ping of", (0, 1, 5, 124, 125), lambda d, n: d.ping(noise(n)))
each(2, "ping, byte by byte, of", (0, 5, 125), lambda d, n: d.chopped(1).ping(noise(n)))
each(2, "ping too long:", (126, 127, 1000, 70000),
     lambda d, n: d.send(PING, bytes(n)).fails(BAD))
each(2, "pong too long:", (126, 70000), lambda d, n: d.send(PONG, bytes(n)).fails(BAD))
each(2, "unsolicited pong of", (0, 5, 125),
     lambda d, n: d.send(PONG, bytes(n)).ping(b"payload"))
case(2, "ten pings at once", lambda d: d.pings([b"payload %d" % i for i in range(10)]))
case(2, "ten pings at once, byte by byte",
     lambda d: d.chopped(1).pings([b"payload %d" % i for i in range(10)]))
case(2, "ping in fragments", lambda d: d.send(PING, b"pi", fin=False).fails(BAD))
case(2, "pong in fragments", lambda d: d.send(PONG, b"po", fin=False).fails(BAD))

# --- 3: reserved bits, none negotiated ----------------------------------------------------------

OPCODES = {"text": TEXT, "binary": BINARY, "close": CLOSE, "ping": PING, "pong": PONG}
for kind, opcode in OPCODES.items():
    payload = struct.pack(">H", 1000) if opcode == CLOSE else b"Hello"
    for rsv in range(1, 8):
        case(3, f"{kind} with {rsv}",
             lambda d, o=opcode, r=rsv, p=payload: d.send(o, p, rsv=r).fails(BAD))
for rsv in range(1, 8):
    case(3, f"after a message, {rsv}",
         lambda d, r=rsv: d.echo(TEXT, b"Hello").send(TEXT, b"Hello", rsv=r).fails(BAD))
    case(3, f"behind a message and before a ping, {rsv}",
         lambda d, r=rsv: d.hold().echo(TEXT, b"Hello").send(TEXT, b"Hello", rsv=r).send(PING)
         .release().fails(BAD))
    case(3, f"continuation with {rsv}",
         lambda d, r=rsv: d.send(TEXT, b"a", fin=False).send(CONTINUATION, b"b", rsv=r).fails(BAD))
    case(3, f"byte by byte, {rsv}",
         lambda d, r=rsv: d.echo(TEXT, b"Hello").chopped(1).send(TEXT, b"Hello", rsv=r).fails(BAD))

# --- 4: opcodes ---------------------------------------------------------------------------------

for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    case(4, f"{opcode}", lambda d, o=opcode: d.send(o).fails(BAD))
    case(4, f"{opcode} with a payload", lambda d, o=opcode: d.send(o, b"reserved").fails(BAD))
    case(4, f"{opcode} after a message",
         lambda d, o=opcode: d.echo(TEXT, b"Hello").send(o, b"reserved").fails(BAD))
    case(4, f"{opcode} behind a message and before a ping",
         lambda d, o=opcode: d.hold().echo(TEXT, b"Hello").send(o).send(PING).release().fails(BAD))
    case(4, f"{opcode} within a message",
         lambda d, o=opcode: d.send(TEXT, b"a", fin=False).send(o).fails(BAD))

# --- 5: fragmentation ---------------------------------------------------------------------------


def split(d, opcode, parts, between=None):
    for i, part in enumerate(parts):
        d.send(CONTINUATION if i else opcode, part, fin=i == len(parts) - 1)
        if between and i < len(parts) - 1:
            between(d)
    return d


def fragments(d, opcode, parts, between=None):
    return split(d, opcode, parts, between).want(opcode, b"".join(parts))


PARTS = [b"fragment1", b"fragment2", b"fragment3", b"fragment4", b"fragment5"]
for step in (0, 1, 7):
    how = f", in pieces of {step}" if step else ""
    for n in (2, 3, 5):
        case(5, f"{n} fragments{how}",
             lambda d, n=n, s=step: fragments(d.chopped(s), TEXT, PARTS[:n]).await_all())
        case(5, f"{n} binary fragments{how}",
             lambda d, n=n, s=step: fragments(d.chopped(s), BINARY, PARTS[:n]).await_all())
    case(5, f"a ping between fragments{how}",
         lambda d, s=step: fragments(d.chopped(s), TEXT, PARTS[:2],
                                     lambda d: d.ping(b"between")).await_all())
    case(5, f"pings at once between fragments{how}",
         lambda d, s=step: fragments(
             d.chopped(s), TEXT, PARTS,
             lambda d: d.send(PING, b"p").want(PONG, b"p")).await_all())
    case(5, f"pongs between fragments{how}",
         lambda d, s=step: fragments(d.chopped(s), TEXT, PARTS,
                                     lambda d: d.send(PONG, b"p")).await_all())
each(5, "empty fragments:", {
    "first": [b"", b"a", b"b"], "middle": [b"a", b"", b"b"], "last": [b"a", b"b", b""],
    "all": [b"", b"", b""]}, lambda d, parts: fragments(d, TEXT, parts).await_all())
for fin in (True, False):
    case(5, f"a continuation of nothing, fin {fin}",
         lambda d, f=fin: d.send(CONTINUATION, b"non", fin=f).fails(BAD))
    case(5, f"a continuation after a message, fin {fin}",
         lambda d, f=fin: d.echo(TEXT, b"Hello").send(CONTINUATION, b"non", fin=f).fails(BAD))
    case(5, f"a continuation behind a message, fin {fin}",
         lambda d, f=fin: d.hold().echo(TEXT, b"Hello").send(CONTINUATION, b"non", fin=f)
         .release().fails(BAD))
    case(5, f"a continuation after a fragmented message, fin {fin}",
         lambda d, f=fin: fragments(d, TEXT, PARTS[:2]).await_all()
         .send(CONTINUATION, b"non", fin=f).fails(BAD))
    for opcode in (TEXT, BINARY):
        case(5, f"a new message of {opcode} within one, fin {fin}",
             lambda d, f=fin, o=opcode: d.send(TEXT, b"one", fin=False)
             .send(o, b"two", fin=f).fails(BAD))
case(5, "Close within a message", lambda d: d.send(TEXT, b"one", fin=False).close(1000))
case(5, "a message, and the next within a fragmented one",
     lambda d: fragments(d, TEXT, PARTS[:3]).await_all().echo(TEXT, b"next")
     .send(TEXT, b"one", fin=False).send(TEXT, b"two").fails(BAD))

# --- 6: UTF-8 -----------------------------------------------------------------------------------

VALID = {
    "ASCII": b"Hello-World", "two bytes": "äöüß".encode(), "three bytes": "κόσμε €".encode(),
    "four bytes": "𝄞 \U0001f600".encode(), "mixed": "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "U+0000": b"\x00", "U+007F": b"\x7f", "U+0080": b"\xc2\x80", "U+07FF": b"\xdf\xbf",
    "U+0800": b"\xe0\xa0\x80", "U+FFFF": b"\xef\xbf\xbf", "U+10000": b"\xf0\x90\x80\x80",
    "U+10FFFF": b"\xf4\x8f\xbf\xbf", "U+D7FF": b"\xed\x9f\xbf", "U+E000": b"\xee\x80\x80",
    "U+FFFD": b"\xef\xbf\xbd", "U+FFFE": b"\xef\xbf\xbe", "U+FEFF": b"\xef\xbb\xbfbom",
    **{f"U+{p:X}FFFF": chr(p << 16 | 0xffff).encode() for p in range(1, 17)},
}
INVALID = {
    "a surrogate in a text": "κόσμε".encode() + b"\xed\xa0\x80edited",
    "beyond U+10FFFF in a text": "κόσμε".encode() + b"\xf4\x90\x80\x80edited",
    **{f"continuation {n}": bytes(range(0x80, 0x80 + n)) for n in range(1, 8)},
    "all continuations": bytes(range(0x80, 0xc0)),
    "first of two, alone": b"".join(bytes([b, 0x20]) for b in range(0xc0, 0xe0)),
    "first of three, alone": b"".join(bytes([b, 0x20]) for b in range(0xe0, 0xf0)),
    "first of four, alone": b"".join(bytes([b, 0x20]) for b in range(0xf0, 0xf8)),
    "first of five": b"\xf8\x88\x80\x80\x80", "first of six": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe", "FF": b"\xff", "FE FE FF FF": b"\xfe\xfe\xff\xff",
    "cut: two": b"\xc0", "cut: three": b"\xe0\x80", "cut: four": b"\xf0\x80\x80",
    "cut: valid three": b"\xe2\x82", "cut: valid four": b"\xf0\x9d\x84", "cut: valid two": b"\xc3",
    "U+110000": b"\xf4\x90\x80\x80", "U+1FFFFF": b"\xf7\xbf\xbf\xbf",
    "overlong / in two": b"\xc0\xaf", "overlong / in three": b"\xe0\x80\xaf",
    "overlong / in four": b"\xf0\x80\x80\xaf", "overlong / in five": b"\xf8\x80\x80\x80\xaf",
    "overlong U+007F": b"\xc1\xbf", "overlong U+07FF": b"\xe0\x9f\xbf",
    "overlong U+FFFF": b"\xf0\x8f\xbf\xbf", "overlong U+0000": b"\xc0\x80",
    "U+D800": b"\xed\xa0\x80", "U+DB7F": b"\xed\xad\xbf", "U+DB80": b"\xed\xae\x80",
    "U+DBFF": b"\xed\xaf\xbf", "U+DC00": b"\xed\xb0\x80", "U+DFFF": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80", "last pair": b"\xed\xaf\xbf\xed\xbf\xbf",
}


def bytewise(payload):
    return [payload[i:i + 1] for i in range(len(payload))]


for name, payload in VALID.items():
    case(6, f"valid: {name}", lambda d, p=payload: d.echo(TEXT, p))
    case(6, f"valid, in fragments: {name}",
         lambda d, p=payload: fragments(d, TEXT, bytewise(p)).await_all())
    case(6, f"valid, byte by byte: {name}", lambda d, p=payload: d.chopped(1).echo(TEXT, p))
    case(6, f"each prefix: {name}",
         lambda d, p=payload: d.send(BINARY, p[:-1]).want(BINARY, p[:-1]).await_all()
         .echo(TEXT, p))
for name, payload in INVALID.items():
    case(6, f"invalid: {name}", lambda d, p=payload: d.send(TEXT, p).fails(BAD_TEXT))
    case(6, f"invalid, in fragments: {name}",
         lambda d, p=payload: split(d, TEXT, bytewise(p)).fails(BAD_TEXT))
    case(6, f"invalid, byte by byte: {name}",
         lambda d, p=payload: d.chopped(1).send(TEXT, p).fails(BAD_TEXT))
    case(6, f"in a binary message: {name}", lambda d, p=payload: d.echo(BINARY, p))
LATE = "κόσμε".encode()
# The rest of it is never sent: it must fail at the first byte that cannot be right.
for name, payload in {"surrogate": b"\xed\xa0", "beyond": b"\xf4\x90", "FF": b"\xff"}.items():
    case(6, f"fails at once, in a fragment: {name}",
         lambda d, p=payload: d.send(TEXT, LATE, fin=False).send(CONTINUATION, p + b"\x80x", fin=False)
         .fails(BAD_TEXT))
    case(6, f"fails at once, within a frame: {name}",
         lambda d, p=payload: d.part(TEXT, LATE + p + b"\x80edited", len(LATE) + 3).fails(BAD_TEXT))
    case(6, f"fails at once, byte by byte: {name}",
         lambda d, p=payload: d.chopped(1).part(TEXT, LATE + p + b"\x80edited", len(LATE) + 3)
         .fails(BAD_TEXT))

# --- 7: close -----------------------------------------------------------------------------------

GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
each(7, "code", GOOD_CODES, lambda d, code: d.close(code))
each(7, "code with a reason", GOOD_CODES, lambda d, code: d.close(code, b"because"))
each(7, "code after a message", GOOD_CODES, lambda d, code: d.echo(TEXT, b"Hello").close(code))
each(7, "invalid code", BAD_CODES, lambda d, code: d.send(CLOSE, struct.pack(">H", code)).fails(BAD))
each(7, "invalid code with a reason", BAD_CODES,
     lambda d, code: d.send(CLOSE, struct.pack(">H", code) + b"because").fails(BAD))
case(7, "after a message", lambda d: d.echo(TEXT, b"Hello").close(1000))
case(7, "empty", lambda d: d.close(None))
case(7, "a payload of 1", lambda d: d.send(CLOSE, b"a").fails(BAD))
each(7, "a reason of", (1, 122, 123), lambda d, n: d.close(1000, b"*" * n))
each(7, "too long:", (124, 125, 65535),
     lambda d, n: d.send(CLOSE, struct.pack(">H", 1000) + b"*" * n).fails(BAD))
each(7, "a reason byte by byte of", (0, 1, 123), lambda d, n: d.chopped(1).close(1000, b"*" * n))
each(7, "a reason that is no UTF-8:", {k: v for k, v in INVALID.items() if len(v) < 100},
     lambda d, p: d.send(CLOSE, struct.pack(">H", 1000) + p).fails(BAD_TEXT))
each(7, "a reason in UTF-8:", {k: v for k, v in VALID.items() if len(v) < 100},
     lambda d, p: d.close(1000, p))
BEHIND = {"a message": (TEXT, b"Hello"), "a ping": (PING, b"Hello"), "a Close": (CLOSE, b""),
          "a reserved opcode": (3, b"")}
each(7, "behind it", BEHIND, lambda d, f: d.closing(1000, lambda d: d.send(*f)))
case(7, "in fragments", lambda d: d.send(CLOSE, b"", fin=False).fails(BAD))
case(7, "within a fragmented message, which ends behind it",
     lambda d: d.send(TEXT, b"one", fin=False)
     .closing(1000, lambda d: d.send(CONTINUATION, b"two")))
case(7, "a message of 256 KB, then Close",
     lambda d: d.send(BINARY, bytes(1 << 18)).want(BINARY, bytes(1 << 18)).close(1000))
case(7, "a message of 256 KB and a ping, then Close",
     lambda d: d.send(BINARY, bytes(1 << 18)).want(BINARY, bytes(1 << 18)).send(PING, b"p")
     .want(PONG, b"p").close(1000))
case(7, "the client ends without a Close", lambda d: d.echo(TEXT, b"Hello").leave())

# --- 9: limits ----------------------------------------------------------------------------------

KB, MB = 1 << 10, 1 << 20
for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
    for size in (64 * KB, 256 * KB, MB, 4 * MB, 16 * MB):
        case(9, f"{kind} of {size // KB} KB", lambda d, o=opcode, n=size: d.echo(o, data(o, n)))
    for part in (64, 256, KB, 4 * KB, 16 * KB, 64 * KB, 256 * KB, MB):
        size = 64 * KB if part < KB else MB if part < 64 * KB else 4 * MB
        case(9, f"{kind} of {size // KB} KB in fragments of {part}",
             lambda d, o=opcode, n=size, p=part: d.fragmented(o, data(o, n), p))
    for step in (64, 128, 256, 512, KB, 2 * KB):
        size = 64 * KB if step < 512 else 256 * KB
        case(9, f"{kind} of {size // KB} KB in pieces of {step}",
             lambda d, o=opcode, n=size, s=step: d.chopped(s).echo(o, data(o, n)))
    for size in (0, 16, 64, 256, KB, 4 * KB, 16 * KB):
        case(9, f"30 times {kind} of {size}",
             lambda d, o=opcode, n=size: [d.echo(o, data(o, n)) for _ in range(30)])

# --- 10: auto-fragmentation ---------------------------------------------------------------------

each(10, "64 KB of text in fragments of", (1, 125, 126, 1300, 65535),
     lambda d, n: d.fragmented(TEXT, text(64 * KB if n > 1 else 4 * KB), n))

# --- 12, 13: compression ------------------------------------------------------------------------

OFFERS = {
    "": "permessage-deflate",
    "client_max_window_bits": "permessage-deflate; client_max_window_bits",
    "client 9": "permessage-deflate; client_max_window_bits=9",
    "server 9": "permessage-deflate; server_max_window_bits=9",
    "both 9": "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    "both 15": "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
    "server forgets": "permessage-deflate; server_no_context_takeover",
    "client forgets": "permessage-deflate; client_no_context_takeover",
    "both forget": "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "forget and 9": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
    "several offers": "permessage-deflate; server_no_context_takeover, permessage-deflate",
    "an unknown one first": "x-unknown; a=1, permessage-deflate",
    "only an unknown one": "x-unknown",
}
SIZES = (16, 64, 256, KB, 4 * KB, 8 * KB, 16 * KB, 32 * KB, 64 * KB, 128 * KB)


def compressed(family, name, offer, fn):
    fn.offer = offer
    case(family, name, fn)


for size in SIZES:
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
        compressed(12, f"8 times {kind} of {size}", OFFERS[""],
                   lambda d, o=opcode, n=size: [d.echo(o, data(o, n)) for _ in range(8)])
        compressed(12, f"{kind} of {size}, in fragments of 64 and up", OFFERS[""],
                   lambda d, o=opcode, n=size: d.fragmented(o, data(o, n), max(64, n // 64)))
compressed(12, "empty", OFFERS[""], lambda d: d.echo(TEXT, b"").echo(BINARY, b""))
compressed(12, "not compressed, beside those that are", OFFERS[""],
           lambda d: d.echo(TEXT, text(500)).send(TEXT, b"plain", plain=True).want(TEXT, b"plain")
           .await_all().echo(TEXT, text(500)))
# wsproto 1.3 forgets at a control frame that the message around it is compressed, and fails.
compressed(12, "a ping between fragments, where the application fails", OFFERS[""],
           lambda d: d.fragmented(TEXT, text(5000), 16, lambda d: d.ping(b"between"))
           .whatever_comes())
compressed(12, "invalid UTF-8", OFFERS[""],
           lambda d: d.echo(TEXT, text(500)).send(TEXT, b"\xff" * 50).fails(BAD_TEXT))
compressed(12, "the bit on a continuation", OFFERS[""],
           lambda d: d.send(TEXT, b"a", fin=False, plain=True)
           .send(CONTINUATION, b"b", rsv=4, plain=True).fails(BAD))
compressed(12, "the bit on a ping", OFFERS[""],
           lambda d: d.send(PING, b"a", rsv=4, plain=True).fails(BAD))
for rsv in (1, 2, 3, 5, 6, 7):
    compressed(12, f"other bits: {rsv}", OFFERS[""],
               lambda d, r=rsv: d.send(TEXT, b"a", rsv=r, plain=True).fails(BAD))
for name, offer in OFFERS.items():
    for size in SIZES[::2] + SIZES[-1:]:
        compressed(13, f"{name}: 5 times text of {size}", offer,
                   lambda d, n=size: [d.echo(TEXT, data(TEXT, n)) for _ in range(5)])
