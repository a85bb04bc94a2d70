"""Which URLs ``BRIDGE_DATABASE_URL`` may hold. Pure: no I/O, and no database library."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

SQLITE: Final = frozenset({"sqlite", "sqlite+pysqlite"})
POSTGRESQL: Final = frozenset({"postgresql", "postgresql+psycopg", "postgres"})
"""``postgres`` is what many hosts of databases hand out."""


def check_database_url(text: str) -> str:
    """The URL with its driver named, or ValueError with what is wrong. The reason quotes nothing of ``text``."""
    scheme, separator, rest = text.strip().partition("://")
    if scheme in SQLITE and separator:
        if rest and not rest.startswith("/"):
            raise ValueError("sqlite takes three slashes and a path: sqlite:///file, or sqlite:////folder/file")
        return f"sqlite://{rest}"
    if scheme in POSTGRESQL:
        return f"postgresql+psycopg://{_checked_address(rest)}"
    raise ValueError("write sqlite:///path or postgresql://user:password@host/name")


def _checked_address(rest: str) -> str:
    try:
        parts = urlsplit(f"//{rest}")
        _ = parts.port  # raises, and quotes what may be a part of the password
    except ValueError:
        raise ValueError(
            "host or port cannot be read; in a password write @ as %40, : as %3A, / as %2F, ? as %3F and # as %23"
        ) from None
    if parts.fragment or not parts.path.strip("/"):
        raise ValueError("the database's name is missing: postgresql://user:password@host/name")
    return rest
