"""The exceptions that more than one module knows. A module may derive its own from BridgeError.

::

    BridgeError
    ├── SettingsError       a setting is wrong; the process must not start (exit status 2)
    ├── StartError          the settings are right but the host refuses, e.g. the port is in use (exit 1)
    ├── PayloadError        an MQTT message that is not delivered; counted by ``cause``
    ├── TokenError          a credential that is not accepted; ``code`` says why
    ├── CommandError        a client's request that cannot be carried out; becomes an ``error`` event
    └── StorageError        the database refused; an HTTP request is answered 503 ``storage_unavailable``
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class BridgeError(Exception):
    """The root of the tree. Never raised itself."""


class SettingsError(BridgeError):
    """One or more settings are wrong.

    ``problems`` holds ``(setting, reason)`` pairs, the setting by its full environment name
    (``BRIDGE_PORT``). No reason ever quotes the value of a secret.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in self.problems))


class StartError(BridgeError):
    """The host refuses what the settings ask for. The text is one line for the operator."""


class PayloadCause(StrEnum):
    """Why an MQTT message was not delivered. The values are the keys in the stats."""

    BAD_TOPIC = "bad_topic"
    OVERSIZE = "oversize"
    INVALID_JSON = "invalid_json"
    NO_DEVICE_ID = "no_device_id"
    BAD_DEVICE_ID = "bad_device_id"
    DEVICE_ID_MISMATCH = "device_id_mismatch"
    DECODER_BUG = "decoder_bug"


class PayloadError(BridgeError):
    """An MQTT message that cannot be delivered. Counted, never logged one by one."""

    def __init__(self, cause: PayloadCause) -> None:
        self.cause = cause
        super().__init__(cause.value)


class TokenError(BridgeError):
    """A credential that is not accepted.

    ``code`` goes to the client: ``token_required``, ``token_invalid``, ``token_expired``,
    ``token_not_yet_valid`` and what the part that refuses documents. ``detail`` is for the log only and
    never holds token text.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}" if detail else code)


class CommandError(BridgeError):
    """A client's request that cannot be carried out. Both texts go to the client as an ``error`` event."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class StorageError(BridgeError):
    """The database refused, failed, or took too long. The text is for the log and holds no stored value.

    After a write nothing was changed, unless the text says that this is not known: the connection was lost, or the
    answer did not come in time.
    """
