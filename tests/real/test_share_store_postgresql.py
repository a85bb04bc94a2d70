"""The store in a real PostgreSQL: the same promises as with SQLite, and a server that comes and goes."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings

from bridge.core.errors import StartError, StorageError
from bridge.storage.limits import StorageLimits
from bridge.storage.opening import open_database
from share.model.share import EndReason, Share, Status
from share.store.migrations import SHARES
from share.store.tables import metadata
from tests.parts import lacking
from tests.postgresql import PASSWORD, PostgreSQLServer, find_postgresql
from tests.share_rows import NOW, a_share, shares
from tests.share_store import StoredShares

ANSWER_SECONDS = 2.0
"""For a caller of a server that hangs; enough for every other call."""
_names = (f"shares_{number}" for number in count())


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQLServer]:
    """One for all tests here: making it takes a second."""
    if find_postgresql("initdb") is None:
        lacking("not installed: PostgreSQL (make parts)")
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture
def url(server: PostgreSQLServer) -> str:
    """Of a database that is empty."""
    name = next(_names)
    server.create_database(name)
    return server.url(name)


@pytest.fixture
async def store(url: str) -> AsyncIterator[StoredShares]:
    """An empty one."""
    store = StoredShares(url)
    await store.open()
    yield store
    await store.close()


async def refused(url: str) -> str:
    """What ``open`` says: one line, without the password; nor does a traceback have it."""
    with pytest.raises(StartError) as caught:
        await StoredShares(url).open()
    assert "\n" not in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


# --- the same as SQLite --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runner_and_store(server: PostgreSQLServer) -> Iterator[tuple[asyncio.Runner, StoredShares]]:
    """A separate loop and store, for all examples."""
    with asyncio.Runner() as runner:
        store = StoredShares(server.url())
        runner.run(store.open())
        yield runner, store
        runner.run(store.close())


@given(share=shares)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_every_share_comes_back_as_it_was(runner_and_store: tuple[asyncio.Runner, StoredShares], share: Share) -> None:
    """Every text, time, number and choice is the same after PostgreSQL, to the last bit."""
    runner, store = runner_and_store

    async def there_and_back() -> Share | None:
        await store.purge(float("inf"))
        await store.insert(share)
        return await store.by_id(share.id)

    assert runner.run(there_and_back()) == share


def test_the_steps_lead_to_the_tables(url: str) -> None:
    """What the migrations make in PostgreSQL is what ``tables`` says; a second start finds nothing to do."""
    for _ in range(2):
        engine = open_database(url, [SHARES], StorageLimits())
        with engine.connect() as connection:
            assert connection.dialect.driver == "psycopg"
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        engine.dispose()


async def test_lists_are_those_of_sqlite(store: StoredShares) -> None:
    """Both databases give the same pages in the same order, ids of capitals and small letters among them."""
    other = StoredShares("sqlite://")
    await other.open()
    for number in range(24):
        share = a_share(
            number,
            id=f"{'aB-_Zz'[number % 6]}{number}",
            owner=("ana", "bob")[number % 2],
            created_at=NOW + number // 8,
            ends_at=NOW + 5 - number % 3 * 5,
            ended_at=NOW if number % 5 == 0 else None,
            end_reason=EndReason.REVOKED if number % 10 == 0 else None,
        )
        await store.insert(share)
        await other.insert(share)
    for owner in (None, "ana"):
        for status in (None, *Status):
            after, seen = None, 0
            while page := await store.list(owner, status, NOW, 3, after):
                assert page == await other.list(owner, status, NOW, 3, after)
                after, seen = page[-1].id, seen + len(page)
            assert seen > 0 or status is Status.UPCOMING
    assert {share.id for share in await store.load_open(NOW)} == {share.id for share in await other.load_open(NOW)}
    assert await store.purge(NOW) == await other.purge(NOW) > 0
    await other.close()


async def test_writes_are_those_of_sqlite(store: StoredShares) -> None:
    """Replacing keeps the count, counting adds up, and what is not there is not replaced."""
    first = a_share(1)
    await store.insert(first)
    await store.add_viewers({first.id: 2, "gone": 1})
    after = replace(first, label="new", end_reason=EndReason.ARRIVED, ended_at=NOW)
    await store.replace(after)
    assert await store.by_code_hash(first.code_hash) == replace(after, viewers_total=2)
    with pytest.raises(StorageError, match="not in the database"):
        await store.replace(a_share(2))


@pytest.mark.parametrize("changes", [{"code_hash": "other"}, {"id": "other"}])
async def test_a_refusal_quotes_no_value(store: StoredShares, changes: dict[str, str]) -> None:
    """PostgreSQL's own error names the key that is there already; neither our text nor a traceback has it."""
    share = a_share()
    await store.insert(share)
    with pytest.raises(StorageError, match="exists already") as caught:
        await store.insert(replace(share, **changes))  # type: ignore[arg-type]
    told = "".join(traceback.format_exception(caught.value))
    assert share.code_hash not in told
    assert share.id not in told
    assert await store.list(None, None, NOW, 10, None) == [share]


# --- a server that comes and goes ----------------------------------------------------------------------


async def test_a_server_that_was_away_is_used_again(server: PostgreSQLServer, store: StoredShares) -> None:
    """While it is away every call fails at once; after that the same store works, and what was stored is there."""
    await store.insert(a_share(1))
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(StorageError, match=r"cannot be reached|connection is lost|shutting down") as caught:
                await store.insert(a_share(2))
            assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    finally:
        server.start()
    await store.insert(a_share(2))
    assert len(await store.load_open(NOW)) == 2


async def test_a_session_that_was_ended_is_not_noticed(store: StoredShares, url: str) -> None:
    """A database that restarts between two calls costs none of them."""
    await store.insert(a_share(1))
    with psycopg.connect(url, autocommit=True) as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
        assert ended == [(True,)]
        while other.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()").fetchall() > [
            (1,)
        ]:
            pass
    await store.insert(a_share(2))
    assert len(await store.load_open(NOW)) == 2


async def test_a_lock_of_another_is_given_up(url: str) -> None:
    """PostgreSQL itself ends a statement that waits too long; nothing was written, and the next one works."""
    store = StoredShares(url, StorageLimits(statement_seconds=3.0))  # the other statements must not take so long
    await store.open()
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE shares")
        with pytest.raises(StorageError, match="too slow"):
            await store.insert(a_share())
        other.rollback()
    assert await store.by_id("id-0001") is None
    await store.insert(a_share())
    await store.close()


async def test_a_server_that_hangs_is_not_waited_for(url: str) -> None:
    """A host that answers while its database does not: the caller hears it, it is not done later, and all goes on."""
    # 0: PostgreSQL's own limit is off.
    store = StoredShares(url, StorageLimits(statement_seconds=0.0, answer_seconds=ANSWER_SECONDS))
    await store.open()
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE shares")
        with pytest.raises(StorageError, match="it is not known whether this was done"):
            await store.insert(a_share())
        other.rollback()
    assert await store.by_id("id-0001") is None
    await store.insert(a_share())
    assert await store.by_id("id-0001") == a_share()
    await store.close()


# --- at the start --------------------------------------------------------------------------------------


async def test_nodes_that_start_together_do_not_collide(url: str) -> None:
    """One of them migrates under the advisory lock, the others wait and find it done; each sees what one writes."""
    nodes = [StoredShares(url) for _ in range(4)]
    await asyncio.gather(*(node.open() for node in nodes))
    await nodes[0].insert(a_share())
    assert [await node.by_id("id-0001") for node in nodes] == [a_share()] * 4
    for node in nodes:
        await node.close()


async def test_a_wrong_password_is_told_without_it(server: PostgreSQLServer) -> None:
    """The text names the database and PostgreSQL's reason."""
    text = await refused(server.url(password=f"not-{PASSWORD}"))
    assert text.startswith("the PostgreSQL database shares on 127.0.0.1 cannot be used: ")
    assert "password authentication failed" in text


async def test_a_database_that_is_not_there_is_told(server: PostgreSQLServer) -> None:
    """Its name is in the text."""
    assert 'database "none" does not exist' in await refused(server.url("none"))


async def test_a_server_that_is_not_there_is_told() -> None:
    """Nothing listens on port 1; the text says that it cannot be reached."""
    assert "it cannot be reached" in await refused(f"postgresql://bridge:{PASSWORD}@127.0.0.1:1/shares")


async def test_a_standby_does_not_start(url: str) -> None:
    """Not even when its tables are in their newest form: no revocation could be stored."""
    open_database(url, [SHARES], StorageLimits()).dispose()
    assert "it is read-only" in await refused(f"{url}?options=-c%20default_transaction_read_only%3Don")


async def test_a_database_of_a_newer_release_is_left_alone(url: str) -> None:
    """An older release neither reads nor changes tables that it does not know."""
    open_database(url, [SHARES], StorageLimits()).dispose()
    with psycopg.connect(url) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "made by a newer release of telemetry-bridge (9999)" in await refused(url)


async def test_tables_of_another_program_are_left_alone(url: str) -> None:
    """A database that has a table of this name, and not from us, is not taken over."""
    with psycopg.connect(url) as other:
        other.execute("CREATE TABLE shares (ticker text)")
    assert "use a separate database" in await refused(url)
