"""The Autobahn cases over real sockets: the receiving half, the budget and the end of a connection together."""

from __future__ import annotations

import asyncio
import contextlib

from bridge.stream.limits import StreamLimits
from tests.autobahn import CASES, CLOSE, MAX_MESSAGE_BYTES, NO_CODE, Case
from tests.functional.stream.echoing import EchoServer
from tests.functional.stream.raw import Frame, RawClient

AT_ONCE = 50
CHUNKS_PER_TURN = 64
UNHURRIED = StreamLimits(
    linger_seconds=0.05,
    max_message_bytes=MAX_MESSAGE_BYTES,
    high_water_bytes=2 * MAX_MESSAGE_BYTES,
    low_water_bytes=MAX_MESSAGE_BYTES,
    frames_per_second=1_000_000,
    bytes_per_second=1 << 30,
)
"""The cases are about what is sent, not about how much of it."""


async def play(case: Case, port: int) -> str:
    """What is wrong about the answers to ``case``; nothing where they are as the standard says."""
    client = RawClient(port)
    try:
        await client.connect()
        await client.upgrade("/")
        sending = asyncio.create_task(send(client, case))
        frames: list[Frame] = []
        while (frame := await client.frame()) is not None:
            frames.append(frame)
        await sending
    finally:
        await client.leave()
    if not frames:
        return f"nothing came before the {client.ended}"
    *answers, (opcode, payload) = frames
    code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
    if tuple(answers) != case.answers:
        return f"answers of {[(kind, len(payload)) for kind, payload in answers]}"
    if (opcode, code) != (CLOSE, case.code):
        return f"ended by opcode {opcode}, code {code} instead of {case.code}"
    return "" if client.ended == "eof" else client.ended


async def send(client: RawClient, case: Case) -> None:
    """Some writes in each turn of the loop, so that the server sees them in pieces of all sizes."""
    try:
        for number, chunk in enumerate(case.chunks()):
            if number % CHUNKS_PER_TURN == 0:
                await asyncio.sleep(0)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                sent = client.sock.send(chunk)
            if sent < len(chunk):
                await client.send(chunk[sent:])
    except ConnectionError:
        client.ended = "reset"


async def test_every_case_ends_as_the_standard_says() -> None:
    """The messages and pongs in order, one Close frame with the right code, and the end of the connection, no reset."""
    wrong: dict[str, str] = {}
    gate = asyncio.Semaphore(AT_ONCE)
    async with EchoServer(UNHURRIED) as server:

        async def judge(case: Case) -> None:
            async with gate:
                verdict = await play(case, server.port)
            if verdict:
                wrong[case.name] = verdict

        await asyncio.gather(*map(judge, CASES))
        assert wrong == {}
        assert len(server.echoes) == len(CASES)
        assert {echo.told[-1] for echo in server.echoes} == {"gone"}
