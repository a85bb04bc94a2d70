"""The exceptions of the share package that more than one of its modules knows.

::

    BridgeError
    ├── StorageError        the database said no; the request is answered 503 ``storage_unavailable``
    └── BusyError           more password checks wait than may, or have no memory; answered 503 ``busy``
"""

from __future__ import annotations

from bridge.core.errors import BridgeError


class StorageError(BridgeError):
    """The database refused, failed, or took too long. The text is for the log and holds no stored value.

    After a write nothing was changed, unless the text says that this is not known: the connection was lost, or the
    answer did not come in time.
    """


class GoneError(StorageError):
    """The share is not in the database, or is over there: it is not to be changed. Nothing was done."""


class BusyError(BridgeError):
    """Too much waits already, or there is no memory. Nothing was done; the same request can succeed later."""
