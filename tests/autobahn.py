"""What a client may and may not send, case by case, after the Autobahn test suite's sections 1 to 7 and 10.

Data only, for every test that has an echo server: what the client sends, and what RFC 6455 says must come back. The
ids are Autobahn's where the case is, with a word where it is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_MESSAGE_BYTES = 1 << 17
"""What a server must take to be held to these cases: the longest message is half of that."""
NO_CODE = 1005
_MASK = b"\x37\xfa\x21\x3d"  # RFC 6455 section 5.7
_GOODBYE = (1000).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """One frame as a client means it."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    masked: bool = True
    width: int | None = None
    """Bytes of the extended length; None: the shortest."""

    def encode(self, mask: bytes = _MASK) -> bytes:
        """The frame on the wire."""
        size = len(self.payload)
        width = self.width if self.width is not None else 0 if size < 126 else 2 if size < 65536 else 8
        short = {0: size, 2: 126, 8: 127}[width]
        head = bytes((self.fin << 7 | self.rsv << 4 | self.opcode, self.masked << 7 | short)) + (
            size.to_bytes(width, "big") if width else b""
        )
        if not self.masked:
            return head + self.payload
        return head + mask + apply_mask(self.payload, mask)


@dataclass(frozen=True, slots=True)
class Case:
    """What a client sends to an echo server, and the frames that it gets back before the server's Close frame."""

    name: str
    sent: tuple[ClientFrame, ...]
    answers: tuple[tuple[int, bytes], ...]
    """Opcode and payload: messages echoed whole, and pongs."""
    code: int
    """Of the server's Close frame; NO_CODE where that is empty."""
    chop_bytes: int | None = None
    """Sent in pieces of that size; None: all at once."""

    def chunks(self) -> Iterator[bytes]:
        """What the client writes, write by write."""
        data = b"".join(frame.encode() for frame in self.sent)
        size = self.chop_bytes or len(data)
        for at in range(0, len(data), size):
            yield data[at : at + size]


def _good(name: str, sent: Iterable[ClientFrame], *answers: tuple[int, bytes], chop_bytes: int | None = None) -> Case:
    """Ends with the closing handshake, so that nothing can come late."""
    return Case(name, (*sent, ClientFrame(CLOSE, _GOODBYE)), answers, 1000, chop_bytes)


def _bad(name: str, code: int, sent: Iterable[ClientFrame], *answers: tuple[int, bytes]) -> Case:
    """Goes on after the fault: what follows it must not be answered."""
    return Case(name, (*sent, ClientFrame(PING, b"late")), answers, code)


def _parts(opcode: int, *payloads: bytes) -> list[ClientFrame]:
    last = len(payloads) - 1
    return [ClientFrame(CONTINUATION if at else opcode, payload, fin=at == last) for at, payload in enumerate(payloads)]


def _framing() -> Iterator[Case]:
    sizes = (0, 125, 126, 127, 128, 65535, 65536)
    for (major, opcode, byte), (minor, size) in product(((1, TEXT, b"*"), (2, BINARY, b"\xfe")), enumerate(sizes, 1)):
        payload = byte * size
        yield _good(f"1.{major}.{minor}", [ClientFrame(opcode, payload)], (opcode, payload))
    for (major, opcode, byte), chop in product(((1, TEXT, b"*"), (2, BINARY, b"\xfe")), (1, 997)):
        yield _good(
            f"1.{major}.8 chop {chop}", [ClientFrame(opcode, byte * 65536)], (opcode, byte * 65536), chop_bytes=chop
        )
    for size, width in ((0, 2), (125, 2), (125, 8), (126, 8), (65535, 8)):
        yield _bad(f"1 length {size} in {width} bytes", 1002, [ClientFrame(BINARY, bytes(size), width=width)])
    for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
        yield _bad(f"1 unmasked {opcode}", 1002, [ClientFrame(opcode, masked=False)])


def _pings() -> Iterator[Case]:
    for minor, payload in enumerate((b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125), 1):
        yield _good(f"2.{minor}", [ClientFrame(PING, payload)], (PONG, payload))
    yield _bad("2.5", 1002, [ClientFrame(PING, b"\xfe" * 126)])
    yield _good("2.6", [ClientFrame(PING, b"\xfe" * 125)], (PONG, b"\xfe" * 125), chop_bytes=1)
    yield _good("2.7", [ClientFrame(PONG)])
    yield _good("2.8", [ClientFrame(PONG, b"unsolicited")])
    yield _good("2.9", [ClientFrame(PONG, b"unsolicited"), ClientFrame(PING, b"ping")], (PONG, b"ping"))
    pings = [ClientFrame(PING, b"payload-%d" % number) for number in range(10)]
    pongs = [(PONG, ping.payload) for ping in pings]
    yield _good("2.10", pings, *pongs)
    yield _good("2.11", pings, *pongs, chop_bytes=1)
    yield _bad("2 pong of 126 bytes", 1002, [ClientFrame(PONG, bytes(126))])


def _reserved() -> Iterator[Case]:
    hello, echo = ClientFrame(TEXT, b"Hello, world!"), (TEXT, b"Hello, world!")
    for rsv, opcode in product(range(1, 8), (TEXT, BINARY, PING, PONG, CLOSE)):
        yield _bad(f"3.{rsv} opcode {opcode}", 1002, [hello, ClientFrame(opcode, b"", rsv=rsv)], echo)
    for rsv in range(1, 8):
        sent = [ClientFrame(TEXT, b"a", fin=False), ClientFrame(CONTINUATION, b"b", rsv=rsv)]
        yield _bad(f"3.{rsv} continuation", 1002, sent)
    opcodes = [*enumerate(range(3, 8), 11), *enumerate(range(11, 16), 21)]
    for number, opcode in opcodes:
        section, minor = divmod(number, 10)
        yield _bad(f"4.{section}.{minor}", 1002, [hello, ClientFrame(opcode)], echo)
        yield _bad(f"4.{section}.{minor} payload", 1002, [hello, ClientFrame(opcode, b"reserved")], echo)


def _fragments() -> Iterator[Case]:
    one, two = b"fragment1", b"fragment2"
    ping, pong = ClientFrame(PING, b"ping"), (PONG, b"ping")
    start, end = _parts(TEXT, one, two)
    echo = (TEXT, one + two)
    yield _bad("5.1", 1002, _parts(PING, one, two))
    yield _bad("5.2", 1002, _parts(PONG, one, two))
    yield _bad("5 close in parts", 1002, [ClientFrame(CLOSE, _GOODBYE, fin=False)])
    for number, chop in ((3, None), (4, 9), (5, 1)):
        yield _good(f"5.{number}", [start, end], echo, chop_bytes=chop)
    for number, chop in ((6, None), (7, 9), (8, 1)):
        yield _good(f"5.{number}", [start, ping, end], pong, echo, chop_bytes=chop)
    for number, fin in ((9, True), (11, True), (12, False), (14, False)):
        stray = ClientFrame(CONTINUATION, b"non-continuation payload", fin=fin)
        yield _bad(f"5.{number}", 1002, [stray, ClientFrame(TEXT, b"Hello, world!")])
    yield _bad("5.15", 1002, [start, end, ClientFrame(CONTINUATION, b"stray", fin=False), ClientFrame(TEXT, one)], echo)
    for number, fin in ((16, False), (17, True)):
        yield _bad(f"5.{number}", 1002, [ClientFrame(CONTINUATION, one, fin=fin), ClientFrame(TEXT, two, fin=fin)])
    for opcode, fin in product((TEXT, BINARY), (True, False)):
        yield _bad(f"5.18 {opcode} {'final' if fin else 'begun'}", 1002, [start, ClientFrame(opcode, two, fin=fin)])
    first, *middle, last = _parts(TEXT, *(b"fragment%d" % number for number in range(1, 6)))
    whole = (TEXT, b"fragment1fragment2fragment3fragment4fragment5")
    sent = [first, middle[0], ping, middle[1], middle[2], ping, last]
    for number, chop in ((19, None), (20, 1)):
        yield _good(f"5.{number}", sent, pong, pong, whole, chop_bytes=chop)
    for opcode in (TEXT, BINARY):
        yield _good(f"5 empty fragments {opcode}", _parts(opcode, b"", b"", b""), (opcode, b""))
        yield _good(f"5 one in the middle {opcode}", _parts(opcode, b"", b"a", b""), (opcode, b"a"))
    yield Case("5 close within a message", (start, ClientFrame(CLOSE, _GOODBYE)), (), 1000)


_KOSME = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
_VALID = {
    "6.1": [b""],
    "6.2": [b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!"],
    "6.5": [_KOSME],
    "6.6 whole": [_KOSME[:size] for size in (2, 5, 7, 9, 11)],
    "6.7": [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    "6.9": [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    "6.11": [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"],
    "6.22": [chr(plane << 16 | low).encode() for plane in range(17) for low in (0xFFFE, 0xFFFF)],
    "6.23": ["\ufff9".encode(), "\ufffa".encode(), "\ufffb".encode(), "\ufffc".encode(), "\ufffd".encode()],
}
_HIGH = (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
_LOW = (b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf")
"""Surrogates: no characters in UTF-8, alone or in pairs (RFC 3629 section 3)."""
_INVALID = {
    "6.3": [_KOSME + b"\xed\xa0\x80edited"],
    "6.6 cut": [_KOSME[:size] for size in (1, 3, 4, 6, 8, 10)],
    "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.10": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    "6.11 above": [b"\xf4\x90\x80\x80"],
    "6.12": [b"\x80", b"\xbf", *((b"\x80\xbf" * 4)[:size] for size in range(2, 8)), bytes(range(0x80, 0xC0))],
    "6.13": [
        b" ".join(bytes((byte,)) for byte in range(first, last)) + b" "
        for first, last in ((0xC0, 0xE0), (0xE0, 0xF0), (0xF0, 0xF8), (0xF8, 0xFC), (0xFC, 0xFE))
    ],
    "6.14": [
        b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
        b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf",
    ],
    "6.15": [
        b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf"
    ],
    "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    "6.18": [
        b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"
    ],
    "6.19": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"],
    "6.20": [*_HIGH, *_LOW],
    "6.21": [high + low for high, low in product(_HIGH, _LOW)],
}  # fmt: skip


def _utf8() -> Iterator[Case]:
    for section, texts in _VALID.items():
        for number, text in enumerate(texts, 1):
            yield _good(f"{section}.{number}", [ClientFrame(TEXT, text)], (TEXT, text))
            octets = _parts(TEXT, *(text[at : at + 1] for at in range(len(text)))) if text else _parts(TEXT, b"", b"")
            yield _good(f"{section}.{number} octet by octet", octets, (TEXT, text))
    for section, texts in _INVALID.items():
        for number, text in enumerate(texts, 1):
            yield _bad(f"{section}.{number}", 1007, [ClientFrame(TEXT, text)])
            octets = _parts(TEXT, *(text[at : at + 1] for at in range(len(text))))
            yield _bad(f"{section}.{number} octet by octet", 1007, octets)
            yield _good(f"{section}.{number} binary", [ClientFrame(BINARY, text)], (BINARY, text))
    # Fail-fast: the message never ends, so only a server that looks into the fragments closes.
    for number, (good, bad) in enumerate(((_KOSME, b"\xf4\x90\x80\x80"), (_KOSME + b"\xf4", b"\x90")), 1):
        sent = [ClientFrame(TEXT, good, fin=False), ClientFrame(CONTINUATION, bad, fin=False)]
        yield _bad(f"6.4.{number}", 1007, sent)


def _close(code: int, reason: bytes = b"") -> ClientFrame:
    return ClientFrame(CLOSE, code.to_bytes(2, "big") + reason)


def _closing() -> Iterator[Case]:
    hello, echo = ClientFrame(TEXT, b"Hello World!"), (TEXT, b"Hello World!")
    bye = ClientFrame(CLOSE, _GOODBYE)
    yield Case("7.1.1", (hello, bye), (echo,), 1000)
    for number, late in ((2, bye), (3, ClientFrame(PING)), (4, hello), (5, ClientFrame(CONTINUATION, b"late"))):
        yield Case(f"7.1.{number}", (bye, late), (), 1000)
    yield Case(
        "7.1.6",
        (ClientFrame(TEXT, b"BAsd7&jh23" * 6_500), bye, ClientFrame(PING)),
        ((TEXT, b"BAsd7&jh23" * 6_500),),
        1000,
    )
    yield Case("7.3.1", (ClientFrame(CLOSE),), (), NO_CODE)
    yield _bad("7.3.2", 1002, [ClientFrame(CLOSE, b"a")])
    yield Case("7.3.3", (bye,), (), 1000)
    yield Case("7.3.4", (_close(1000, b"Hello World!"),), (), 1000)
    yield Case("7.3.5", (_close(1000, b"*" * 123),), (), 1000)
    yield _bad("7.3.6", 1002, [_close(1000, b"*" * 124)])
    yield _bad("7.5.1", 1007, [_close(1000, _KOSME + b"\xed\xa0\x80edited")])
    yield _bad("7.5 cut reason", 1007, [_close(1000, b"\xce")])
    codes = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    for number, code in enumerate(codes, 1):
        yield Case(f"7.7.{number} code {code}", (_close(code),), (), code)
    wrong = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    for number, code in enumerate(wrong, 1):
        yield _bad(f"7.9.{number} code {code}", 1002, [_close(code)])
        yield _bad(f"7.9.{number} code {code} with a reason", 1002, [_close(code, b"why")])


def _automatic() -> Iterator[Case]:
    text = b"*" * 65536
    for size in (1300, 65535, 32768):
        sent = _parts(TEXT, *(text[at : at + size] for at in range(0, len(text), size)))
        yield _good(f"10.1.1 in frames of {size}", sent, (TEXT, text))


CASES = [
    *_framing(), *_pings(), *_reserved(), *_fragments(), *_utf8(), *_closing(), *_automatic(),
]  # fmt: skip
