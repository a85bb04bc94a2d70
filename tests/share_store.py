"""The stored shares with a real database, as the service puts them together."""

from __future__ import annotations

from bridge.storage.database import Database
from bridge.storage.limits import StorageLimits
from share.store.migrations import SHARES
from share.store.store import Store


class StoredShares(Store):
    """A store and the database that it has to itself."""

    def __init__(self, url: str, limits: StorageLimits = StorageLimits()) -> None:
        database = Database(url, [SHARES], limits)
        super().__init__(database)
        self.open = database.open
        self.close = database.close
