"""What the commands of ``telemetry-bridge share`` do: ask the server, and report.

Results go to stdout, all else to stderr, so that a link can be piped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from bridge.cli.connection import base_url, server_address, token_reader
from share.cli.arguments import create_body, life, parse_aliases
from share.cli.client import UNSURE, Client, ServerError
from share.cli.view import as_json, details, local_time, share_id_of, summary, table, viewers, viewers_now
from share.model.share import Status

_T = TypeVar("_T")
_Answer = dict[str, Any]


def create(options: argparse.Namespace) -> None:
    """Create a share: the link on stdout, what was shared on stderr."""
    body = create_body(options)
    share = _ask(options, lambda client: client.create(body))
    try:
        _print(as_json(share) if options.json else share["url"])
    except OSError as error:  # the link is shown this once only
        _discard_stdout()
        name = share_id_of(share)
        raise ServerError(
            f"the link could not be written ({error.strerror}); end it: telemetry-bridge share revoke {name}"
        ) from None
    if not options.json:
        for line in summary(share):
            _tell(line)


def every(options: argparse.Namespace) -> None:
    """The shares as a table."""
    shares = _ask(options, lambda client: client.every(options.status))
    if options.json:
        _print(as_json({"shares": shares}))
    elif shares:
        _print("\n".join(table(shares)))
    else:
        _tell("no shares")


def show(options: argparse.Namespace) -> None:
    """One share, a line for each fact."""
    share = _ask(options, lambda client: client.find(options.id))
    _print(as_json(share) if options.json else "\n".join(details(share)))


def extend(options: argparse.Namespace) -> None:
    """Move the end."""
    share = _ask(options, lambda client: client.change(options.id, life(options)))
    _print(f"until {local_time(share.get('expires_at'))}")


def relabel(options: argparse.Namespace) -> None:
    """Change the label and aliases; those that are not named stay."""
    if options.label is None and not options.alias:
        raise ValueError("name a --label or an --alias")

    async def change(client: Client) -> _Answer:
        changes: dict[str, Any] = {} if options.label is None else {"label": options.label}
        if options.alias:
            share = await client.find(options.id)
            known = share.get("device_ids")
            if not (isinstance(known, list) and all(type(name) is str for name in known)):
                raise ServerError("the server's answer is not a share; is it a telemetry bridge?")
            changes["aliases"] = parse_aliases(options.alias, known)
        return await client.change(options.id, changes)

    share = _ask(options, change)
    _print("\n".join(line for line in details(share) if line.startswith(("label:", "devices:"))))


def revoke(options: argparse.Namespace) -> None:
    """End a share; say how many viewers were disconnected, where the server gives their number."""

    async def end(client: Client) -> tuple[_Answer, _Answer]:
        try:
            before = await client.find(options.id)
        except ServerError:  # whatever it is: ending the share is more urgent than counting
            before = {}
        return before, await client.revoke(options.id)

    before, after = _ask(options, end)
    when = local_time(before.get("ended_at") or before.get("expires_at"))
    if before.get("status") == Status.REVOKED:
        _print(f"was revoked already, {when}")
    elif before.get("status") == Status.ENDED:
        _print(f"had ended already, {when}")
    elif after.get("status") != Status.REVOKED:
        raise ServerError(f"the server did not say that the share is revoked{UNSURE}")
    elif (watched := viewers_now(before)) and viewers_now(after) is not None:
        _print(f"revoked, {viewers(watched)} " + ("being " if viewers_now(after) else "") + "disconnected")
    else:
        _print("revoked")


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace], None]]] = {
    "create": create,
    "list": every,
    "show": show,
    "extend": extend,
    "relabel": relabel,
    "revoke": revoke,
}


# --- asking and reporting ----------------------------------------------------------------------------------


def _ask(options: argparse.Namespace, work: Callable[[Client], Coroutine[Any, Any, _T]]) -> _T:
    """What ``work`` gives with a client of the options' server. ValueError for a wrong address or token."""
    base, token = base_url(options.url), token_reader(options.token, options.token_file)()
    client = Client(base, token)
    if token and server_address(base).shows_tokens():
        _tell("warning: the token travels unencrypted; prefer https://")

    async def ask() -> _T:
        async with client:
            return await work(client)

    return asyncio.run(ask())


def run(action: str, options: argparse.Namespace) -> int:
    """Carry out one action. Exit status 1 for failures that are expected; ValueError is left to the program."""
    try:
        _ACTIONS[action](options)
    except BrokenPipeError:  # the reader of stdout has gone
        _discard_stdout()
    except OSError as error:  # a full disk behind stdout
        _discard_stdout()
        return _fail(error.strerror or str(error))
    except ServerError as error:
        return _fail(str(error))
    return 0


def _print(text: str) -> None:
    """The result, on stdout, flushed: an error must show while something can be done about it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


def _fail(line: str) -> int:
    """Print the reason as the program does; returns the exit status."""
    _tell(f"telemetry-bridge: {line}")
    return 1


def _discard_stdout() -> None:
    """The interpreter flushes stdout once more at exit, which must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
