"""The exceptions of the share package that more than one of its modules knows.

::

    BridgeError
    ├── StorageError
    │   └── GoneError       the share is not in the database, or has ended there
    └── BusyError           too many passwords wait to be hashed, or there is no memory; answered 503 ``busy``
"""

from __future__ import annotations

from bridge.core.errors import BridgeError, StorageError


class GoneError(StorageError):
    """The share is not in the database, or has ended there, so it cannot be changed. Nothing was done."""


class BusyError(BridgeError):
    """Too much waits already, or there is no memory. Nothing was done; the same request can succeed later."""
