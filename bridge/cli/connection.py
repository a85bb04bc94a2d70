"""What every client command needs: where the server is, which token it presents, and when it tries again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bridge.core.addresses import is_loopback
from bridge.core.backoff import full_jitter

DEFAULT_URL: Final = "http://127.0.0.1:8000"
URL_VARIABLE: Final = "TELEMETRY_BRIDGE_URL"
TOKEN_VARIABLE: Final = "TELEMETRY_BRIDGE_TOKEN"  # noqa: S105 - the name of a variable, not a token

Backoff = Callable[[int], float]
"""Failed attempts, from 0 → seconds to wait before the next one."""
BACKOFF: Final[Backoff] = partial(full_jitter, uniform=random.uniform)


class ServerAddress(NamedTuple):
    """A server as its URL names it. ``host`` is written as in a URL (``[::1]``), ``path`` without a / at its end."""

    tls: bool
    host: str
    port: int | None
    path: str

    def url(self, scheme: str) -> str:
        """The address under ``http`` or ``ws``; with TLS that becomes ``https`` or ``wss``."""
        return f"{scheme}{'s' if self.tls else ''}://{self.host}{f':{self.port}' if self.port else ''}{self.path}"

    def shows_tokens(self) -> bool:
        """Whether others can read a token on its way: no TLS, and not this machine."""
        return not self.tls and not is_loopback(self.host)


def base_url(given: str | None) -> str:
    """The server's URL: as given, else from TELEMETRY_BRIDGE_URL, else this machine."""
    return given or os.environ.get(URL_VARIABLE) or DEFAULT_URL


def server_address(base: str) -> ServerAddress:
    """What ``http[s]://`` or ``ws[s]://host[:port][/path]`` names; without a scheme it is ``http``.

    ValueError says what is wrong and quotes no part of the URL, in case a secret stands there.
    """
    try:
        parts = urlsplit(base if "://" in base else f"http://{base}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the URL cannot be read; write http://host:port or https://host") from None
    if parts.scheme not in ("http", "https", "ws", "wss") or not host:
        raise ValueError("the URL must be http://host:port or https://host (ws and wss mean the same)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("only scheme, host, port and path belong in the URL; a token has its own option")
    host = f"[{host}]" if ":" in host else host
    return ServerAddress(parts.scheme in ("https", "wss"), host, port, parts.path.rstrip("/"))


def token_reader(token: str | None, token_file: Path | None) -> Callable[[], str]:
    """A function that gives the token of the moment; ``""`` for none.

    ``token`` comes first, then the file, then TELEMETRY_BRIDGE_TOKEN. The function raises ValueError, without
    the token, when it cannot be one.
    """
    given = token if token is not None else os.environ.get(TOKEN_VARIABLE, "") if token_file is None else ""

    def read() -> str:
        try:
            text = given or (token_file.read_text() if token_file else "")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the token file cannot be read: {getattr(error, 'strerror', 'not text')}") from None
        text = text.strip()
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("the token contains characters that are not valid in a token")
        return text

    return read
