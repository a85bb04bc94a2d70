"""What decoding and the parts of share links cost, each alone and hot: ``python bench/parts.py``.

CPU time of this process, the least of several tries: what else runs here makes a try slower, never faster.
Sockets are fakes that take everything, so what is measured with viewers is the walk through them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

# Run by its path this script knows only its own folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.errors import BenchError
from bench.machine import machine_facts
from bench.report import table
from bridge.access.paseto import KeyRing, generate_key
from bridge.core.telemetry import Position, Telemetry
from bridge.core.times import Timer, timestamp
from bridge.fanout.broker import Broker
from bridge.fanout.history import LastKnown
from bridge.fanout.outbox import OutboxLimits, Policy
from bridge.fanout.rendering import PayloadRenderer, Selection
from bridge.fanout.subscription import Subscription
from bridge.ingest.decoding.json_decoder import JsonDecoder
from bridge.settings import Settings
from share.model.grant import Grant
from share.model.limits import DEFAULT_TRAIL
from share.stream.channel import Channel
from share.stream.projection import position_json, public_position
from share.stream.tokens import mint, verify

TRIES: Final = 7
DEVICE: Final = "dev00000"
TOPIC: Final = f"fleet/{DEVICE}/position".encode()
MESSAGES: Final = 2000
"""Of a device that is heard 20 times a second; each of them moved by 11 m, so that every second one joins the trail."""
TOKEN_US: Final = 100.0
"""The mark: what verifying a token may cost."""
TELEMETRY_US: Final = 3.0
"""The mark: what bytes to Telemetry may cost, place and time of the fix included."""
HOUR: Final = 3600.0

Row = tuple[str, str]


class _Owner:
    """Of sockets that take everything at once: nothing is ever reported."""

    def overflowing(self, device_id: str) -> None: ...
    def overflowed(self) -> None: ...
    def failed(self) -> None: ...


def least_us(make: Callable[[], Callable[[], object]], count: int) -> float:
    """µs of one of the ``count`` steps that the function does which ``make`` gives, without the making."""
    best = float("inf")
    for _ in range(TRIES):
        work = make()
        start = time.process_time_ns()
        work()
        best = min(best, (time.process_time_ns() - start) / 1000 / count)
    return best


def _repeat(work: Callable[[], object], count: int) -> Callable[[], Callable[[], object]]:
    def all_of_them() -> None:
        for _ in range(count):
            work()

    return lambda: all_of_them


def _payloads() -> list[bytes]:
    """As the load generator sends them."""
    start = time.time() - HOUR
    text = (
        '{{"timestamp":"{}","data":{{"DEVICE_ID":"{}","LAT":-33.{:04},"LON":-70.6789,"SPEED":45,"HEADING":90,'
        '"T":"@@0123456789abcdef@@","P":"{}"}}}}'
    )
    return [text.format(timestamp(start + i / 20), DEVICE, i, "x" * 60).encode() for i in range(MESSAGES)]


def _decoder() -> JsonDecoder:
    fields = Settings.model_fields
    return JsonDecoder(
        id_pointers=fields["device_id_pointers"].default,
        position_pointers=fields["position_pointers"].default,
        topic_pattern="fleet/{device_id}/#",
        max_payload_bytes=fields["max_payload_bytes"].default,
    )


def _messages(payloads: list[bytes]) -> list[Telemetry]:
    """Made anew for each try: a message keeps its position once it was asked for."""
    decode = _decoder().decode
    return [decode(TOPIC, payload, False) for payload in payloads]


def _grant(number: int = 0, precision_m: float = 0.0) -> Grant:
    return Grant(
        ((DEVICE, "Device"),), starts_at=time.time() - 2 * HOUR - number, precision_m=precision_m, trail=DEFAULT_TRAIL
    )


def _broker() -> Broker:
    return Broker(LastKnown(), clock=time.time, monotonic=time.monotonic, call_soon=lambda _: None)


def _never(_seconds: float, _callback: Callable[[], None]) -> Timer:
    raise BenchError("no share here has a delay or an end on arrival")


def _channel(broker: Broker, grant: Grant) -> Channel:
    channel = Channel(grant, call_later=_never, turn=broker.render, on_arrival=lambda: None)
    broker.keep(channel.selection)
    return channel


def _join(broker: Broker, selection: Selection, count: int) -> None:
    """Sockets that take everything at once."""
    limits = OutboxLimits(100, 256 * 1024, Policy.LATEST)
    for _ in range(count):
        broker.select(Subscription(lambda _: None, limits, _Owner(), broker.tally), selection)


def _publish(broker: Broker, messages: list[Telemetry]) -> Callable[[], object]:
    """Each message in a turn of its own."""

    def work() -> None:
        for message in messages:
            broker.publish((message,))

    return work


def _tokens() -> Iterator[Row]:
    ring, now = KeyRing([generate_key()]), time.time()
    own = mint(ring, "0123456789ab", expires_at=now + 600, now=now)
    foreign = ring.seal(
        b'{"exp":"%b","iat":"%b","device_ids":["truck-001","truck-002"],"label":"Delivery 12","precision_m":500,'
        b'"fields":["speed_kmh","time"],"trail":20}' % (timestamp(now + HOUR).encode(), timestamp(now).encode())
    )
    for name, token in (("ours", own), ("made elsewhere, with a grant", foreign)):
        cost = least_us(_repeat(partial(verify, ring, token, now=now, max_seconds=2 * HOUR), 500), 500)
        yield f"a token verified: {name} (mark: {TOKEN_US:.0f})", f"{cost:.1f}"


def _public(position: Position, grant: Grant) -> bytes:
    return position_json(public_position(position, grant.fields, grant.precision_m))


def _words(payloads: list[bytes]) -> Iterator[Row]:
    decode = _decoder().decode
    cost = least_us(lambda: lambda: [decode(TOPIC, payload, False) for payload in payloads], MESSAGES)
    yield f"bytes to Telemetry, envelope format (mark: {TELEMETRY_US:.0f})", f"{cost:.2f}"
    cost = least_us(lambda: partial(_positions, _messages(payloads)), MESSAGES)
    yield "all of its position, when first asked for", f"{cost:.2f}"
    position = _messages(payloads)[0].position
    assert position is not None
    for precision_m, name in ((0.0, "exact"), (500.0, "on a grid of 500 m")):
        grant = _grant(precision_m=precision_m)
        yield f"its public JSON, {name}", f"{least_us(_repeat(partial(_public, position, grant), 5000), 5000):.1f}"


def _positions(messages: list[Telemetry]) -> list[Position | None]:
    return [message.position for message in messages]


def _turns(payloads: list[bytes]) -> Iterator[Row]:
    def nobody() -> Callable[[], object]:
        return _publish(_broker(), _messages(payloads))

    def shares(count: int) -> Callable[[], Callable[[], object]]:
        def make() -> Callable[[], object]:
            broker = _broker()
            for number in range(count):
                _channel(broker, _grant(number))
            return _publish(broker, _messages(payloads[: MESSAGES // min(count, 100)]))

        return make

    def watched(public: bool, count: int) -> Callable[[], Callable[[], object]]:
        def make() -> Callable[[], object]:
            broker = _broker()
            if public:
                channel = _channel(broker, _grant())
                channel.watched = True
                selection = channel.selection
            else:
                selection = Selection(frozenset((DEVICE,)), PayloadRenderer("epoch"))
            _join(broker, selection, count)
            return _publish(broker, _messages(payloads[:200]))

        return make

    idle = least_us(nobody, MESSAGES)
    yield "a message through the broker, for nobody", f"{idle:.1f}"
    for count in (1, 100, 1000):
        steps = MESSAGES // min(count, 100)
        cost = least_us(shares(count), steps) - idle
        yield f"a message, {count:,} shares of its device, no viewer", f"+{cost:,.1f}; {cost / count:.1f} for each"
    for public, name in ((False, "operators"), (True, "viewers of one share")):
        yield f"a message for 1,000 {name}, fake sockets", f"{least_us(watched(public, 1000), 200):.1f}"


def main() -> int:
    """The command. Prints one table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    payloads = _payloads()
    facts = machine_facts()
    print(", ".join(f"{name} {facts[name]}" for name in ("python", "cpu", "load average", "commit")) + "\n")
    print(table(("part", "µs"), [*_tokens(), *_words(payloads), *_turns(payloads)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
