"""``telemetry-bridge watch`` without a token at a server that asks for one."""

from __future__ import annotations

import asyncio
import sys

from tests.environment import environment
from tests.functional.cli.fake_bridge import FakeBridge, Socket, event
from tests.functional.cli.test_watch_program import RUN_SECONDS

PROGRAM = "import sys; from bridge.cli.watch import run_watch; sys.exit(run_watch(url=sys.argv[1]))"


async def refuse(socket: Socket) -> None:
    """What the bridge says to nobody."""
    await event(socket, "error", {"code": "token_required", "message": "present an access token"})
    await socket.close(code=1008, message=b"credential refused")


async def test_refusal_says_where_a_token_goes() -> None:
    """Not ``connected`` first, and the two ways to give one."""
    async with FakeBridge(refuse) as bridge:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, bridge.url,
            env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    assert process.returncode == 3
    assert b"connected" not in err
    assert b"TELEMETRY_BRIDGE_TOKEN" in err.splitlines()[-1]
    assert b"--token-file" in err.splitlines()[-1]
