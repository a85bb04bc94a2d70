"""What a database's error means for the operator. Pure: no I/O."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

MAX_TEXT_CHARS: Final = 300
"""Of what the driver says: enough for its sentence, too little for a page about each address that it tried."""

_SQLITE: Final = {
    5: "another program holds its lock",
    6: "another program holds its lock",
    8: "it is read-only: let this user write to the file and its folder",
    10: "the disk fails",
    11: "the file is damaged: put a backup in its place",
    13: "the disk is full: make room",
    14: "the file cannot be opened: let this user read and write it and its folder",
    26: "the file is not an SQLite database: use another name",
    4874: "the disk is full: make room",  # SQLITE_IOERR_SHMSIZE: no room for the -shm file beside it
}
"""By result code, the extended one first (sqlite.org/rescode.html)."""

_POSTGRESQL: Final = {
    "08": "the connection is lost",
    "25006": "it is read-only: name the primary, not a standby",
    "28": "it rejects this user or password",
    "3D": "no database has that name",
    "42501": "this user lacks the permission: make it the owner of the tables",
    "42": "its tables belong to another program: use a separate database",
    "53100": "the disk is full: make room",
    "53": "its resources are exhausted",
    "55P03": "another program holds a lock",
    "57014": "it is too slow",
    "57P": "it is shutting down or starting",
    "58": "its disk fails",
}
"""By SQLSTATE, the longest beginning first (PostgreSQL's appendix A)."""


def explain(error: SQLAlchemyError) -> str:
    """One line for the operator: a cause, and the driver's own words without any stored value."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return type(error).__name__
    said = " ".join(_words(error.orig).split())[:MAX_TEXT_CHARS]
    return f"{_cause(error)} ({type(error.orig).__name__}: {said})"


def _words(original: BaseException) -> str:
    # PostgreSQL's other parts, DETAIL above all, quote the row.
    primary: str | None = getattr(getattr(original, "diag", None), "message_primary", None)
    return primary or str(original)


def _cause(error: DBAPIError) -> str:
    if isinstance(error, IntegrityError):
        return "the id or code exists already"
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(code) or _SQLITE.get(code & 0xFF, "SQLite refuses")
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return "it cannot be reached, or refuses the connection"
    found = [known for known in _POSTGRESQL if state.startswith(known)]
    return _POSTGRESQL[max(found, key=len)] if found else f"PostgreSQL refuses, SQLSTATE {state}"
