"""What an operator asks for: a new share, or changes of one, and why it is refused. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from bridge.core.errors import BridgeError
from share.model.aliases import discloses, folded
from share.model.grant import Grant
from share.model.share import Share


class InvalidRequestError(BridgeError):
    """A request that cannot be carried out. ``message`` names the field and never quotes a value."""

    code: Final = "invalid_request"

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class TooManySharesError(BridgeError):
    """The limit of open shares is reached."""


class ShareEndedError(BridgeError):
    """The share has ended or was revoked, and cannot be changed."""


class Unset(Enum):
    """The value of a field that a request does not name; null is a value like any other."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Draft:
    """A share as its owner wants it. Times are wall-clock UTC in seconds since the epoch."""

    starts_at: float
    ends_at: float
    grant: Grant
    """``grant.starts_at`` equals ``starts_at``."""
    label: str = ""
    password_hash: str | None = field(default=None, repr=False)
    max_viewers: int | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What to change. UNSET leaves a field as it is."""

    ends_at: float | Unset = UNSET
    label: str | Unset = UNSET
    aliases: Mapping[str, str] = field(default_factory=dict)
    """device_id → alias; a device that is not named keeps its own."""
    password_hash: str | Unset | None = field(default=UNSET, repr=False)
    max_viewers: int | Unset | None = UNSET

    def applied(self, share: Share) -> Share:
        """``share`` with these changes. InvalidRequestError when names clash with what is there."""
        names = tuple((device_id, self.aliases.get(device_id, alias)) for device_id, alias in share.grant.aliases)
        label = share.label if self.label is UNSET else self.label
        check_names(names, label)
        return replace(
            share,
            grant=share.grant if names == share.grant.aliases else replace(share.grant, aliases=names),
            label=label,
            ends_at=share.ends_at if self.ends_at is UNSET else self.ends_at,
            password_hash=share.password_hash if self.password_hash is UNSET else self.password_hash,
            max_viewers=share.max_viewers if self.max_viewers is UNSET else self.max_viewers,
        )


def check_names(aliases: Iterable[tuple[str, str]], *shown: str) -> None:
    """InvalidRequestError unless the aliases are unique, and no alias or text ``shown`` discloses a device id."""
    pairs = tuple(aliases)
    if len({folded(alias) for _, alias in pairs}) < len(pairs):
        raise InvalidRequestError("`aliases` must be unique, ignoring case")
    ids = [device_id for device_id, _ in pairs]
    for what, texts in (("`aliases`", [alias for _, alias in pairs]), ("`label` and `destination.name`", shown)):
        if any(discloses(text, ids) for text in texts):
            raise InvalidRequestError(f"{what} must not contain a device id: viewers would see it")
