"""What streams of one kind do differently: a fleet's watcher, a share's viewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bridge.access.principal import Principal
from bridge.protocol.commands import Command


class Role(Protocol):
    """One for each stream, made by what opens it and handed to its session. Called on the loop; nothing here waits."""

    advice: Mapping[str, str]
    """The advice to the client for each code of a TokenError."""

    def verify(self, token: str | None) -> Principal:
        """The principal of ``token``, fit for this stream, which counts from now on. TokenError says why not."""

    def ended(self) -> None:
        """The stream counts no more. Called once."""

    def greeting(self) -> dict[str, object]:
        """The role's part of ``hello``."""

    def credential_data(self) -> dict[str, object]:
        """What the client hears about its credential, in ``hello`` and ``info``."""

    def info(self) -> dict[str, object]:
        """The role's part of ``info``."""

    def refreshed(self, principal: Principal) -> dict[str, object]:
        """The token was exchanged for one of ``principal``: what to add to ``info``."""

    def carry_out(self, command: Command) -> None:
        """A command that not every stream knows. CommandError when it cannot be carried out."""

    def catch_up(self) -> None:
        """The client takes data: say what it could not take before."""
