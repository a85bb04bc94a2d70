"""``telemetry-bridge share …`` when a server refuses, misbehaves or is not there: one line, status 1, no secret."""

from __future__ import annotations

import re

import pytest
from aiohttp import web

from share.cli.client import MAX_PAGES
from tests.functional.share.fake_operator_api import (
    COMMANDS,
    CREATE,
    TOKEN,
    FakeOperatorApi,
    Handler,
    refusal,
    run_command,
    share,
)  # fmt: skip

Capture = pytest.CaptureFixture[str]

UNSURE = "it may have been done"


@pytest.fixture(autouse=True)
def known_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in the environment, and nothing else of ours."""
    monkeypatch.setenv("TELEMETRY_BRIDGE_TOKEN", TOKEN)
    monkeypatch.delenv("TELEMETRY_BRIDGE_URL", raising=False)


def plain(status: int, text: str, content_type: str = "text/html", **headers: str) -> Handler:
    """An answer of something that is no telemetry bridge."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=content_type, headers=headers)

    return answer


async def failure(capsys: Capture, answer: Handler, *arguments: str) -> str:
    """Run a command against a server that always gives ``answer``: its one line on stderr."""
    async with FakeOperatorApi(answer=answer).serving() as url:
        assert await run_command("share", *arguments, "--url", url) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("telemetry-bridge: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert TOKEN not in err
    return err


# --- the server refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize(
    "status, code",
    [
        (400, "invalid_request"),
        (401, "token_expired"),
        (403, "scope_missing"),
        (404, "share_not_found"),
        (409, "share_ended"),
        (503, "storage_unavailable"),
    ],
)
async def test_every_refusal_is_told_in_the_servers_words(
    status: int, code: str, arguments: tuple[str, ...], capsys: Capture
) -> None:
    """Code and message, for each command; a refusal is certain, so nothing is said about doubt."""
    line = await failure(capsys, refusal(status, code, "do this instead"), *arguments)
    assert line == f"telemetry-bridge: {code}: do this instead\n"


async def test_without_a_token_it_says_how_to_make_one(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server decides whether it wants one; then the command to make it and the places to put it are named."""
    monkeypatch.delenv("TELEMETRY_BRIDGE_TOKEN")
    api = FakeOperatorApi()
    async with api.serving() as url:
        assert await run_command("share", "list", "--url", url) == 1
    line = capsys.readouterr().err
    assert "telemetry-bridge token --devices A --scope share" in line
    assert "TELEMETRY_BRIDGE_TOKEN" in line
    assert "--token-file" in line
    assert api.tokens == [None]


async def test_it_says_when_to_try_again(capsys: Capture) -> None:
    """Retry-After in seconds is passed on."""
    headers = {"Retry-After": "7"}
    line = await failure(capsys, refusal(429, "rate_limited", "too many", **headers), "list")
    assert line == "telemetry-bridge: rate_limited: too many; try again in 7 s\n"


async def test_a_server_cannot_write_to_the_terminal(capsys: Capture) -> None:
    """Escape sequences in code, message, label and alias are made visible, and a message has an end."""
    line = await failure(capsys, refusal(403, "no\x1b[2J", "a\r\nb\x9b31m" + "x" * 10_000), "list")
    assert r"no\x1b[2J: a\r\nb\x9b31m" in line
    assert len(line) < 1_000
    evil = share("a", label="\x1b]0;owned\x07", aliases={"A": "left\u202eright"}, device_ids=["A\n"], owner="\x1b[1m")
    async with FakeOperatorApi(evil).serving() as url:
        for arguments in (["list"], ["show", "a"], ["list", "--json"], ["show", "a", "--json"]):
            assert await run_command("share", *arguments, "--url", url) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert out.count("\n") == 2 + len([line for line in out.splitlines() if re.match(r"[a-z]+:", line)]) + 2


# --- it is no telemetry bridge ---------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("status, text", [(200, "<html>"), (200, "[1]"), (204, ""), (404, "nothing"), (500, "{}")])
async def test_other_servers_are_recognised(
    status: int, text: str, arguments: tuple[str, ...], capsys: Capture
) -> None:
    """HTML, other JSON, nothing at all, an error of a framework: the error names the status, not the page."""
    line = await failure(capsys, plain(status, text), *arguments)
    assert f"HTTP {status}" in line
    assert "html" not in line


async def test_after_a_proxys_502_nobody_knows_whether_it_was_done(capsys: Capture) -> None:
    """The server behind it may have made the share. A reading command leaves no such doubt."""
    assert UNSURE in await failure(capsys, plain(502, "Bad Gateway"), *CREATE)
    assert UNSURE not in await failure(capsys, plain(502, "Bad Gateway"), "list")
    assert UNSURE not in await failure(capsys, plain(404, "nothing"), *CREATE)


async def test_redirects_are_told_and_not_followed(capsys: Capture) -> None:
    """The token stays with the address that was given."""
    other = FakeOperatorApi()
    async with other.serving() as elsewhere:
        line = await failure(capsys, plain(307, "", Location=elsewhere + "/api/v1/shares"), *CREATE)
        assert elsewhere in line
    assert "--url" in line
    assert other.requests == []


@pytest.mark.parametrize("url", [None, 7, "", "javascript:x", "https://x/\x1b[2J", "https://x/s/a b"])
async def test_only_a_link_is_printed_as_the_link(url: object, capsys: Capture) -> None:
    """What goes on to a clipboard or a QR code is a URL, or there is an error."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({**share("a"), "url": url}, status=201)

    line = await failure(capsys, answer, *CREATE)
    assert "has no link" in line
    assert UNSURE in line


@pytest.mark.parametrize("shares", [None, {}, [1]])
async def test_a_list_must_be_one(shares: object, capsys: Capture) -> None:
    """Of objects."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"shares": shares, "next": None})

    assert "no list of shares" in await failure(capsys, answer, "list")


@pytest.mark.parametrize("step", [0, 1])
async def test_a_list_without_end_is_given_up(step: int, capsys: Capture) -> None:
    """Whether ``next`` repeats itself or always names another share."""
    asked = 0

    async def answer(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response({"shares": [], "next": f"id-{asked * step}"})

    assert "does not end" in await failure(capsys, answer, "list")
    assert asked == (MAX_PAGES if step else 2)


async def test_revoked_is_said_only_by_the_server(capsys: Capture) -> None:
    """An answer of 200 that does not say so is an error."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(share("a"))

    assert "did not say that the share is revoked" in await failure(capsys, answer, "revoke", "a")


@pytest.mark.parametrize("device_ids", [None, "A", [1]])
async def test_relabel_needs_the_devices_of_the_share(device_ids: object, capsys: Capture) -> None:
    """An alias is for one of them; an answer that does not name them is no share."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(share("a", device_ids=device_ids))

    assert "is not a share" in await failure(capsys, answer, "relabel", "a", "--alias", "A=x")


async def test_revoke_does_not_depend_on_the_count(capsys: Capture) -> None:
    """The share cannot be read, yet it is ended; no number is invented."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return await refusal(503, "storage_unavailable", "later")(request)
        return web.json_response(share("a", status="revoked", viewers={"now": 0, "total": 9}))

    async with FakeOperatorApi(answer=answer).serving() as url:
        assert await run_command("share", "revoke", "a", "--url", url) == 0
    assert capsys.readouterr() == ("revoked\n", "")


# --- wrong arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "ACTION"),
        (("create", "--ttl", "1h"), "--devices"),
        (("create", "--devices", "A"), "--ttl"),
        (("create", "--devices", "A", "--ttl", "1h", "--until", "2026-11-22T18:00:00Z"), "--until"),
        (("create", "--devices", " , ", "--ttl", "1h"), "at least one"),
        (("create", "--devices", "A", "--until", "tomorrow"), "with its zone"),
        ((*CREATE, "--fields", "speed"), "choose from"),
        ((*CREATE, "--destination", "-91,0"), "latitude,longitude"),
        ((*CREATE, "--end-on-arrival"), "need a --destination"),
        ((*CREATE, "--radius", "100"), "need a --destination"),
        ((*CREATE, "--alias", "C=x"), "a device of this share"),
        ((*CREATE, "--max-viewers", "0"), "at least 1"),
        ((*CREATE, "--password-file", "/nonexistent"), "cannot be read"),
        ((*CREATE, "--password-prompt", "--password-file", "f"), "not allowed with"),
        ((*CREATE, "--url", "ftp://x"), "http://host:port"),
        ((*CREATE, "--url", "http://me:secret@x"), "only scheme, host"),
        ((*CREATE, "--token", "two words"), "not valid in a token"),
        (("list", "--status", "dead"), "dead"),
        (("show",), "ID"),
        (("show", "http://127.0.0.1/s/the-code"), "not the id of a share"),
        (("extend", "a"), "--ttl"),
        (("relabel", "a"), "--label"),
    ],
)
async def test_wrong_arguments_say_what_to_write(arguments: tuple[str, ...], words: str, capsys: Capture) -> None:
    """Status 2, before any server is asked: there is none."""
    assert await run_command("share", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert "secret" not in err
    assert "two words" not in err
    assert "the-code" not in err


@pytest.mark.parametrize("action", [(), *((arguments[0],) for arguments in COMMANDS)], ids=str)
async def test_help_is_everywhere_with_an_example(action: tuple[str, ...], capsys: Capture) -> None:
    """Each command can be copied from its own help, and no help offers a password on the command line."""
    assert await run_command("share", *action, "--help") == 0
    out = capsys.readouterr().out
    assert f"  telemetry-bridge share {action[0] if action else 'create'} " in out + " "
    assert "--password PASSWORD" not in out
