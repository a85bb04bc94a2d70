"""How long the database may take, and how much may wait for it, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """Limits of one database. Times are seconds."""

    busy_seconds: float = 2.0
    """How long SQLite waits for another program's write lock. A backup or a command holds it for milliseconds."""
    connect_seconds: int = 5
    """From the first packet to a PostgreSQL session; libpq takes whole seconds, and 2 at least."""
    statement_seconds: float = 5.0
    """One PostgreSQL statement, its wait for locks included. Ours take milliseconds. 0: no limit."""
    link_seconds: float = 5.0
    """Unacknowledged bytes or an unanswered keep-alive for this long: PostgreSQL's host is gone (tcp(7))."""
    migration_seconds: float = 60.0
    """One statement of a migration, the wait for another node's migration included."""
    open_seconds: float = 120.0
    """For the check and the migrations at the start; two waits of ``migration_seconds`` fit in."""
    max_waiting: int = 256
    """Operations that may wait for the database, in all. At 5 ms for a durable write that is about a second of work."""
    begin_seconds: float = 5.0
    """An operation that has not begun by then is not begun: its caller has given up, or is about to."""
    answer_seconds: float = 10.0
    """From the call to an answer. Above what the database itself allows (``busy_seconds``, ``statement_seconds``,
    ``connect_seconds``), so it is reached only when those fail, such as with a server that is stopped but whose host
    still answers."""
    close_seconds: float = 1.0
    """What waits at the end may still begin in this time; closing takes at most twice as long, whatever hangs."""
