"""``telemetry-bridge share …`` against a server that keeps shares in memory: each command, as it is meant."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from share.cli.view import local_time
from tests.environment import environment
from tests.functional.share.fake_operator_api import CODE, TOKEN, FakeOperatorApi, run_command, share
from tests.serving import RUN_SECONDS, command, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def known_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in the environment, and nothing else of ours."""
    monkeypatch.setenv("TELEMETRY_BRIDGE_TOKEN", TOKEN)
    monkeypatch.delenv("TELEMETRY_BRIDGE_URL", raising=False)


# --- create ----------------------------------------------------------------------------------------------


async def test_create_prints_the_link_and_nothing_else_on_stdout(capsys: Capture) -> None:
    """What was shared, until when, and how to end it, stand on stderr."""
    api = FakeOperatorApi()
    async with api.serving() as url:
        assert await run_command("share", "create", "--url", url, "--devices", "A", "--ttl", "1h") == 0
    out, err = capsys.readouterr()
    assert out == f"{url}/s/{CODE}\n"
    assert err.startswith(f"shared A until {local_time('2026-11-22T18:00:00.000Z')}, id new-1\n")
    assert "telemetry-bridge share revoke new-1" in err
    assert CODE not in err
    assert api.requests == [("POST", "/api/v1/shares", {"device_ids": ["A"], "expires_in": 3600})]


async def test_every_option_of_create_reaches_the_server(tmp_path: Path, capsys: Capture) -> None:
    """In the server's words and units; a southern place needs no trick of the shell."""
    (tmp_path / "password").write_text("open sésame\n", encoding="utf-8")
    api = FakeOperatorApi()
    async with api.serving() as url:
        status = await run_command(
            "share", "create", "--url", url, "--devices", "A, B", "--until", "2026-11-22T19:00:00+01:00",
            "--starts-at", "2026-11-22T12:00:00Z", "--label", "Delivery 12", "--alias", "A=Van 1", "--alias", "B=Van=2",
            "--password-file", str(tmp_path / "password"), "--max-viewers", "5", "--fields", "time,speed_kmh",
            "--precision", "500", "--delay", "5m", "--trail", "0", "--destination", "-33.4,-70.6", "--radius", "250",
            "--destination-name", "Depot", "--end-on-arrival",
        )  # fmt: skip
    assert status == 0
    assert api.requests[0][2] == {
        "device_ids": ["A", "B"], "expires_at": "2026-11-22T18:00:00.000Z", "starts_at": "2026-11-22T12:00:00.000Z",
        "label": "Delivery 12", "aliases": {"A": "Van 1", "B": "Van=2"}, "password": "open sésame", "max_viewers": 5,
        "fields": ["time", "speed_kmh"], "precision_m": 500, "delay_s": 300, "trail": 0, "end_on_arrival": True,
        "destination": {"lat": -33.4, "lon": -70.6, "radius_m": 250, "name": "Depot"},
    }  # fmt: skip
    _, err = capsys.readouterr()
    assert "needs the password" in err
    assert "sésame" not in err


async def test_a_password_is_asked_for_and_never_shown(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Twice the same, and it goes to the server only."""
    monkeypatch.setattr("getpass.getpass", lambda prompt: "hunter2")
    api = FakeOperatorApi()
    async with api.serving() as url:
        status = await run_command(
            "share", "create", "--url", url, "--devices", "A", "--ttl", "1h", "--password-prompt"
        )
    assert status == 0
    assert api.requests[0][2]["password"] == "hunter2"
    assert "hunter2" not in "".join(capsys.readouterr())


async def test_create_as_json_is_the_whole_answer(capsys: Capture) -> None:
    """One line for a program, times as the server wrote them, and nothing beside."""
    api = FakeOperatorApi()
    async with api.serving() as url:
        assert await run_command("share", "create", "--url", url, "--devices", "A", "--ttl", "30d", "--json") == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["url"], answer["expires_at"]) == (f"{url}/s/{CODE}", "2026-11-22T18:00:00.000Z")
    assert (out.count("\n"), err) == (1, "")
    assert api.requests[0][2]["expires_in"] == 30 * 86_400


# --- list and show ---------------------------------------------------------------------------------------


async def test_list_follows_every_page(capsys: Capture) -> None:
    """Five shares on three pages are one table, newest first, as the server has them."""
    api = FakeOperatorApi(*(share(f"id-{number}") for number in range(5)))
    async with api.serving() as url:
        assert await run_command("share", "list", "--url", url) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "id-0", "id-1", "id-2", "id-3", "id-4"]
    assert [path.partition("after=")[2] for _, path, _ in api.requests] == ["", "id-1", "id-3"]


async def test_list_of_one_status_as_json(capsys: Capture) -> None:
    """The server filters; a program gets one object with all pages."""
    api = FakeOperatorApi(share("a"), share("b", status="ended"), *(share(f"c{number}") for number in range(3)))
    async with api.serving() as url:
        assert await run_command("share", "list", "--url", url, "--status", "active", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in answer["shares"]] == ["a", "c0", "c1", "c2"]
    assert all("status=active" in path for _, path, _ in api.requests)


async def test_an_empty_list_says_so_beside_stdout(capsys: Capture) -> None:
    """No header for nothing: ``wc -l`` counts none."""
    async with FakeOperatorApi().serving() as url:
        assert await run_command("share", "list", "--url", url) == 0
    assert capsys.readouterr() == ("", "no shares\n")


async def test_show_tells_all_about_one_share(capsys: Capture) -> None:
    """A line for each fact; with --json, the answer."""
    place = {"lat": -33.4, "lon": -70.6, "radius_m": 100, "name": "Depot"}
    api = FakeOperatorApi(share("a", destination=place, end_on_arrival=True, max_viewers=9, precision_m=500))
    async with api.serving() as url:
        assert await run_command("share", "show", "a", "--url", url) == 0
        lines = capsys.readouterr().out.splitlines()
        assert await run_command("share", "show", "a", "--url", url, "--json") == 0
        assert json.loads(capsys.readouterr().out) == api.shares["a"]
    facts = {line.split(":")[0]: line.partition(":")[2].strip() for line in lines}
    assert facts["devices"] == "A (Van 1), B"
    assert facts["viewers"] == "3 now, 5 in all, 9 at most"
    assert facts["destination"] == "Depot (-33.4,-70.6 within 100 m); ends on arrival"
    assert facts["precision"] == "squares of 500 m"


# --- extend, relabel, revoke -----------------------------------------------------------------------------


async def test_extend_counts_from_now_or_names_a_time(capsys: Capture) -> None:
    """The server's clock counts, not this machine's."""
    api = FakeOperatorApi(share("a"))
    async with api.serving() as url:
        assert await run_command("share", "extend", "a", "--url", url, "--ttl", "1h") == 0
        assert await run_command("share", "extend", "a", "--url", url, "--until", "2026-12-24T18:00:00Z") == 0
    assert [body for _, _, body in api.requests] == [{"expires_in": 3600}, {"expires_at": "2026-12-24T18:00:00.000Z"}]
    assert capsys.readouterr().out.splitlines()[1] == f"until {local_time('2026-12-24T18:00:00.000Z')}"


async def test_relabel_leaves_the_other_aliases(capsys: Capture) -> None:
    """Only the one that is named is sent: what another operator changed meanwhile stays."""
    api = FakeOperatorApi(share("a", aliases={"A": "Van 1", "B": "Van 2"}))
    async with api.serving() as url:
        assert await run_command("share", "relabel", "a", "--url", url, "--label", "Late", "--alias", "A=Truck") == 0
    assert api.requests[-1] == (
        "PATCH", "/api/v1/shares/a", {"label": "Late", "aliases": {"A": "Truck"}}
    )  # fmt: skip
    out = capsys.readouterr().out
    assert "Late" in out
    assert "A (Truck), B (Van 2)" in out


async def test_a_label_can_be_taken_away() -> None:
    """An empty one is sent, and one request is enough."""
    api = FakeOperatorApi(share("a", label="old"))
    async with api.serving() as url:
        assert await run_command("share", "relabel", "a", "--url", url, "--label", "") == 0
    assert api.requests == [("PATCH", "/api/v1/shares/a", {"label": ""})]


@pytest.mark.parametrize(
    "now, clears, said",
    [
        (3, True, "revoked, 3 viewers disconnected"),
        (1, True, "revoked, 1 viewer disconnected"),
        (3, False, "revoked, 3 viewers being disconnected"),
        (0, True, "revoked"),
    ],
)
async def test_revoke_says_what_the_server_said(now: int, clears: bool, said: str, capsys: Capture) -> None:
    """Viewers are gone only where the server counts none any more."""
    api = FakeOperatorApi(share("a", viewers={"now": now, "total": 5}))
    api.clears_viewers = clears
    async with api.serving() as url:
        assert await run_command("share", "revoke", "a", "--url", url) == 0
    assert capsys.readouterr() == (said + "\n", "")
    assert api.shares["a"]["status"] == "revoked"


@pytest.mark.parametrize("status, said", [("revoked", "was revoked already"), ("ended", "had ended already")])
async def test_revoke_claims_nothing_that_was_so_before(status: str, said: str, capsys: Capture) -> None:
    """Done twice, it is still done: status 0."""
    api = FakeOperatorApi(share("a", status=status, ended_at="2026-11-21T11:00:00.000Z"))
    async with api.serving() as url:
        assert await run_command("share", "revoke", "a", "--url", url) == 0
    assert capsys.readouterr().out == f"{said}, {local_time('2026-11-21T11:00:00.000Z')}\n"


# --- where the server and the token come from ------------------------------------------------------------


async def test_the_address_may_be_that_of_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One TELEMETRY_BRIDGE_URL for both: ws:// means http:// here, and the stream's path is put aside."""
    api = FakeOperatorApi()
    async with api.serving() as url:
        monkeypatch.setenv("TELEMETRY_BRIDGE_URL", url.replace("http", "ws") + "/api/v1/stream")
        assert await run_command("share", "list") == 0
    assert api.requests[0][1].startswith("/api/v1/shares?")


async def test_a_token_file_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in watch."""
    monkeypatch.setenv("TELEMETRY_BRIDGE_TOKEN", "v4.local.another")
    (tmp_path / "token").write_text(TOKEN + "\n")
    api = FakeOperatorApi()
    async with api.serving() as url:
        assert await run_command("share", "list", "--url", url, "--token-file", str(tmp_path / "token")) == 0
    assert api.tokens == [f"Bearer {TOKEN}"]


async def test_proxies_of_the_environment_do_not_see_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes to the address that was given."""
    proxy, api = FakeOperatorApi(), FakeOperatorApi()
    async with proxy.serving() as proxy_url, api.serving() as url:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy_url)
        assert await run_command("share", "list", "--url", url) == 0
    assert (len(api.requests), proxy.requests) == (1, [])


# --- as a process ----------------------------------------------------------------------------------------


async def test_the_link_goes_through_a_pipe(tmp_path: Path) -> None:
    """The program, as installed: stdout is the link, stderr the rest, and no warning of Python's is in it."""
    async with FakeOperatorApi().serving() as url:
        done = await asyncio.to_thread(
            run, "share", "create", "--devices", "A", "--ttl", "1h", "--destination", "-33.4,-70.6", folder=tmp_path,
            TELEMETRY_BRIDGE_URL=url, TELEMETRY_BRIDGE_TOKEN=TOKEN, PYTHONWARNINGS="error", TZ="ABC-3",
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{url}/s/{CODE}\n")
    assert len(done.stderr.splitlines()) == 2
    assert "until 2026-11-22 21:00 ABC" in done.stderr


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (("list",), 0, ""),
        (("create", "--devices", "A", "--ttl", "1h"), 1, "telemetry-bridge share revoke new-1"),
    ],
)
async def test_a_reader_that_has_gone_leaves_no_traceback(
    arguments: tuple[str, ...], status: int, words: str, tmp_path: Path
) -> None:
    """A list nobody reads is no failure; a link nobody will ever see is one, and the share can be ended."""
    reader, writer = os.pipe()
    os.close(reader)
    async with FakeOperatorApi(share("a")).serving() as url:
        done = await asyncio.to_thread(
            subprocess.run, [*command(), "share", *arguments], check=False, cwd=tmp_path, stdout=writer,
            stderr=subprocess.PIPE, text=True, timeout=RUN_SECONDS,
            env=environment(TELEMETRY_BRIDGE_URL=url, TELEMETRY_BRIDGE_TOKEN=TOKEN),
        )  # fmt: skip
    os.close(writer)
    assert done.returncode == status
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == status


async def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    """``share list > file`` where nothing can be written."""
    async with FakeOperatorApi(share("a")).serving() as url:
        full = os.open("/dev/full", os.O_WRONLY)
        done = await asyncio.to_thread(
            subprocess.run, [*command(), "share", "list"], check=False, cwd=tmp_path, stdout=full,
            stderr=subprocess.PIPE, text=True, timeout=RUN_SECONDS,
            env=environment(TELEMETRY_BRIDGE_URL=url, TELEMETRY_BRIDGE_TOKEN=TOKEN),
        )  # fmt: skip
        os.close(full)
    assert done.returncode == 1
    assert done.stderr == "telemetry-bridge: No space left on device\n"


async def test_password_prompt_without_a_terminal_is_refused(tmp_path: Path) -> None:
    """It would be shown while it is typed; nothing is asked of the server."""
    api = FakeOperatorApi()
    async with api.serving() as url:
        done = await asyncio.to_thread(
            subprocess.run,
            [*command(), "share", "create", "--devices", "A", "--ttl", "1h", "--password-prompt"],
            check=False, cwd=tmp_path, input="typed\ntyped\n", capture_output=True, text=True, timeout=RUN_SECONDS,
            start_new_session=True, env=environment(TELEMETRY_BRIDGE_URL=url, TELEMETRY_BRIDGE_TOKEN=TOKEN),
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "--password-file" in done.stderr.splitlines()[-1]
    assert api.requests == []
