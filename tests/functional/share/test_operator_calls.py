"""What operators do with share links, on a real server with a real database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core.times import parse_time
from share.model.limits import ShareLimits
from tests.functional.share.operators import Operators, operators
from tests.share_store import StoredShares
from tests.stored import FakeStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StoredShares]:
    """A database in the test's own folder."""
    made = StoredShares(f"sqlite:///{tmp_path / 'shares.sqlite3'}")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def office(store: StoredShares) -> AsyncIterator[Operators]:
    """A server on that database."""
    async with operators(store) as made:
        yield made


async def test_share_is_made_shown_changed_and_revoked(office: Operators) -> None:
    """The whole life, as the notes of the interface say it."""
    made = await office.make("A", "B", label="Parcel 7", aliases={"A": "Van"}, max_viewers=3, password="open")
    url = made.pop("url")
    assert url.startswith(str(office.server.make_url("/s/")))
    assert (made["status"], made["owner"], made["label"]) == ("active", "ana", "Parcel 7")
    assert (made["device_ids"], made["aliases"]) == (["A", "B"], {"A": "Van", "B": "Device 1"})
    assert (made["has_password"], made["max_viewers"], made["trail"]) == (True, 3, 100)
    assert made["viewers"] == {"now": 0, "total": 0}
    assert parse_time(made["expires_at"]) - parse_time(made["starts_at"]) == pytest.approx(3600, abs=0.01)
    path = f"/{made['id']}"
    assert (await office.call("GET", path))[:2] == (200, made)
    assert (await office.call("GET"))[:2] == (200, {"shares": [made], "next": None})

    status, changed, _ = await office.call("PATCH", path, {"label": "Parcel 8", "password": None, "expires_in": 60})
    assert status == 200
    assert changed | {"label": "", "has_password": True, "expires_at": ""} == made | {"label": "", "expires_at": ""}
    assert (changed["label"], changed["has_password"]) == ("Parcel 8", False)
    assert parse_time(changed["expires_at"]) < parse_time(made["expires_at"])
    assert (await office.call("GET", path))[1] == changed

    status, revoked, _ = await office.call("DELETE", path)
    assert (status, revoked["status"], revoked["end_reason"]) == (200, "revoked", "revoked")
    assert parse_time(revoked["ended_at"]) <= office.streaming.clock()
    assert (await office.call("DELETE", path))[:2] == (200, revoked)
    assert (await office.call("GET", path))[1] == revoked
    assert await office.refused("PATCH", path, {"label": "x"}) == (409, "share_ended")
    assert office.audience.words == ["opened", "changed", "closed revoked"]


def written(folder: Path) -> bytes:
    """All that is in the files of ``folder``: the database and its journal."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_code_is_in_the_first_answer_and_nowhere_else(
    office: Operators, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the database, but for its hash; not in the log; not in any later answer. Nor is the password."""
    caplog.set_level(logging.DEBUG)
    made = await office.make(password="open sesame", label="Blue parcel", aliases={"A": "Red van"})
    code = made["url"].rpartition("/")[2]
    assert len(code) == 22
    path = f"/{made['id']}"
    later = [
        await office.call("GET", path),
        await office.call("GET"),
        await office.call("PATCH", path, {"password": "open sesame 2"}),
        await office.call("DELETE", path),
    ]
    stored = written(tmp_path)
    assert hashlib.sha256(code.encode()).hexdigest().encode() in stored
    for secret in (code, "sesame"):
        assert secret.encode() not in stored
        assert secret not in repr(later)
        assert secret not in caplog.text
    for private in ("Blue parcel", "Red van", "$hash$", hashlib.sha256(code.encode()).hexdigest()):
        assert private not in caplog.text
    assert all("url" not in answer for _, answer, _ in later)
    assert "$hash$" not in repr(later)
    assert office.passwords.hashed == ["open sesame", "open sesame 2"]
    found = await office.links.find_by_code(code)
    assert found is not None
    assert found.id == made["id"]


async def test_list_is_newest_first_page_by_page(office: Operators) -> None:
    """By status too; the last page says that it is the last."""
    made = [(await office.make())["id"] for _ in range(5)]
    newest = (await office.make())["id"]
    await office.call("DELETE", f"/{made[1]}")
    everything = [newest, *reversed(made)]
    pages, after = [], None
    while True:
        query = {"limit": "2"} | ({"after": after} if after else {})
        _, page, _ = await office.call("GET", query=query)
        pages.append([share["id"] for share in page["shares"]])
        after = page["next"]
        if after is None:
            break
    assert pages == [everything[:2], everything[2:4], everything[4:]]
    _, revoked, _ = await office.call("GET", query={"status": "revoked"})
    assert [share["id"] for share in revoked["shares"]] == [made[1]]
    _, active, _ = await office.call("GET", query={"status": "active"})
    assert [share["id"] for share in active["shares"]] == [share for share in everything if share != made[1]]


async def test_shares_of_others_take_no_place_in_a_page(office: Operators) -> None:
    """However many there are after mine."""
    mine = await office.make()
    for _ in range(3):
        await office.make(token=office.token(subject="eve"))
    _, page, _ = await office.call("GET", query={"limit": "1"})
    assert ([share["id"] for share in page["shares"]], page["next"]) == ([mine["id"]], None)


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "201"}, {"limit": "-1"}, {"limit": "ten"}, {"limit": "٣"}, {"limit": "9" * 5000},
     {"status": "over"}, {"status": ""}, {"after": "x"}, {"after": "../x"}, {"owner": "eve"},
     [("limit", "1"), ("limit", "2")], {"token": "x"}],
)  # fmt: skip
async def test_query_is_checked(office: Operators, query: Any) -> None:
    """Known parameters, once, with values that mean something."""
    assert await office.refused("GET", query=query) == (400, "invalid_request")
    share = await office.make()
    for method in ("GET", "DELETE", "PATCH"):
        body = {"label": "x"} if method == "PATCH" else None
        assert await office.refused(method, f"/{share['id']}", body, query={"force": "1"}) == (400, "invalid_request")
    assert await office.refused("POST", "", {}, query={"force": "1"}) == (400, "invalid_request")


async def test_two_changes_at_once_are_both_made(office: Operators) -> None:
    """Neither overwrites the other, in memory or in the database."""
    share = await office.make("A", "B")
    path = f"/{share['id']}"
    changes = [{"label": "x"}, {"max_viewers": 3}, {"aliases": {"A": "Ant"}}, {"aliases": {"B": "Bee"}}]
    answers = await asyncio.gather(*(office.call("PATCH", path, change) for change in changes))
    assert [status for status, _, _ in answers] == [200] * 4
    _, after, _ = await office.call("GET", path)
    assert (after["label"], after["max_viewers"], after["aliases"]) == ("x", 3, {"A": "Ant", "B": "Bee"})


async def test_viewers_are_shown(office: Operators) -> None:
    """Now and in all, whether stored yet or not."""
    share = await office.make()
    for _ in range(3):
        office.links.count_viewer(share["id"])
    office.audience.watching[share["id"]] = 2
    assert (await office.call("GET", f"/{share['id']}"))[1]["viewers"] == {"now": 2, "total": 3}


async def test_restart_knows_all_shares(store: StoredShares) -> None:
    """Open ones are open again, with their counts; revoked ones are not."""
    patient = ShareLimits(close_seconds=30.0)  # a slow disk may lose what is not stored by then
    async with operators(store, patient) as before:
        kept, revoked = await before.make(), await before.make()
        await before.call("DELETE", f"/{revoked['id']}")
        before.links.count_viewer(kept["id"])
    async with operators(store) as after:
        assert after.audience.told == [("opened", kept["id"])]
        _, page, _ = await after.call("GET")
        found = {share["id"]: (share["status"], share["viewers"]["total"]) for share in page["shares"]}
        assert found == {kept["id"]: ("active", 1), revoked["id"]: ("revoked", 0)}


async def test_public_url_is_where_links_lead() -> None:
    """Whatever host the operator's request went to."""
    async with operators(public_url="https://track.example.com") as office:
        assert (await office.make())["url"].startswith("https://track.example.com/s/")


@pytest.mark.parametrize("host", ["evil/..", "a b", "user@host", "[::1", "", "x:y"])
async def test_strange_host_makes_no_link(host: str) -> None:
    """Nor a share."""
    async with operators(FakeStore()) as office:
        body = {"device_ids": ["A"], "expires_in": 60}
        assert await office.refused("POST", "", body, headers={"Host": host}) == (400, "invalid_request")
        assert len(office.links) == 0
