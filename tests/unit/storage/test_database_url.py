"""What may stand in BRIDGE_DATABASE_URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from bridge.storage.database_url import check_database_url


@pytest.mark.parametrize(
    "given_url, url",
    [
        ("sqlite://", "sqlite://"),
        ("sqlite:///shares.sqlite3", "sqlite:///shares.sqlite3"),
        (" sqlite:////var/lib/shares.sqlite3\n", "sqlite:////var/lib/shares.sqlite3"),
        ("sqlite+pysqlite:///a", "sqlite:///a"),
        ("sqlite:///file:a?mode=ro&uri=true", "sqlite:///file:a?mode=ro&uri=true"),
        ("postgresql://u:p@db.example/shares", "postgresql+psycopg://u:p@db.example/shares"),
        ("postgresql+psycopg://db/shares", "postgresql+psycopg://db/shares"),
        ("postgres://u@[::1]:5433/shares?sslmode=verify-full", "postgresql+psycopg://u@[::1]:5433/shares?sslmode=verify-full"),
        ("postgresql:///shares?host=/run/postgresql", "postgresql+psycopg:///shares?host=/run/postgresql"),
    ],
)  # fmt: skip
def test_a_url_gets_its_driver(given_url: str, url: str) -> None:
    """The plain names of both databases are enough, and what comes out may come in again."""
    assert check_database_url(given_url) == url
    assert check_database_url(url) == url
    make_url(url)


@pytest.mark.parametrize(
    "url, reason",
    [
        ("", "write sqlite:///path or postgresql://"),
        ("shares.sqlite3", "write sqlite:///path or postgresql://"),
        ("sqlite", "write sqlite:///path or postgresql://"),
        ("mysql://hush@host/name", "write sqlite:///path or postgresql://"),
        ("postgresql+asyncpg://hush@host/name", "write sqlite:///path or postgresql://"),
        ("sqlite://hush.sqlite3", "three slashes"),
        ("postgresql://u:hush@host", "the database's name is missing"),
        ("postgresql://u:hush@host/", "the database's name is missing"),
        ("postgresql://host/name#hush", "the database's name is missing"),
        ("postgresql://u:hu#sh@host/name", "in a password write @ as %40"),
        ("postgresql://u:hu/sh@host/name", "in a password write @ as %40"),
        ("postgresql://u:hush@host:hush/name", "in a password write @ as %40"),
        ("postgresql://u:hush@[host/name", "in a password write @ as %40"),
    ],
)
def test_a_wrong_url_is_told_what_to_write(url: str, reason: str) -> None:
    """The reason says what to do."""
    with pytest.raises(ValueError, match=reason):
        check_database_url(url)


@given(st.sampled_from(["postgresql", "sqlite", "mysql", "HUSH"]), st.text(max_size=30), st.text(max_size=30))
def test_no_reason_quotes_the_url(scheme: str, user: str, rest: str) -> None:
    """Whatever is written, the reason is one of ours and holds nothing of it, so no password either."""
    error = refusal(f"{scheme}://{user}:HUSH@{rest}")
    assert "HUSH" not in str(error)
    assert error is None or error.__suppress_context__ or error.__context__ is None


def refusal(url: str) -> ValueError | None:
    """Why ``url`` is refused, or None."""
    try:
        check_database_url(url)
    except ValueError as error:
        return error
    return None
