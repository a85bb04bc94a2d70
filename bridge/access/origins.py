"""Which web pages may connect (RFC 6454, RFC 6455 section 10.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from bridge.core.addresses import is_loopback


class OriginPolicy:
    """The allow-list: the pages that are listed, and this server's own.

    With a ``public_url`` this server's origin is that one. Without it, it is whatever ``Host`` says, by http or
    https; by https alone when ``tls`` is on here, because a page that came over plain http may have been
    written by anyone on the way. A request without ``Origin`` is no web page and passes: programs
    authenticate by their token. With ``loopback_only`` (AUTH=off) the ``Host`` must be a loopback name
    too, or a page that points its own name at 127.0.0.1 (DNS rebinding) could read everything.
    """

    def __init__(self, allowed: Iterable[str], *, loopback_only: bool, public_url: str = "", tls: bool = False) -> None:
        """``allowed`` and ``public_url`` are origins as ``addresses.check_origin`` returns them."""
        self._allowed = frozenset(allowed) | ({public_url} if public_url else set())
        self._own_schemes = () if public_url else ("https",) if tls else ("http", "https")
        self._loopback_only = loopback_only

    def permits(self, headers: Mapping[str, str]) -> bool:
        """Whether the request with these headers may go on."""
        host = headers.get("Host", "").lower()
        if self._loopback_only and not is_loopback(_host_name(host)):
            return False
        origin = headers.get("Origin")
        if origin is None:
            return True
        origin = origin.lower()
        return origin in self._allowed or any(origin == f"{scheme}://{host}" for scheme in self._own_schemes)


def _host_name(host: str) -> str:
    """The name in a ``Host`` header, without the port; empty when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as a bracket that is never closed
        return ""
