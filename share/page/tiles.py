"""What the settings say of the map's tiles, as the page needs it. Pure. ValueError with what to write instead."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlsplit

SUBDOMAINS: Final = "abc"
"""What ``{s}`` stands for, as Leaflet has it."""
_HOST: Final = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_HINT: Final = "write it as https://tile.example.com/{z}/{x}/{y}.png, or leave it empty for a map without pictures"


def tile_origins(template: str) -> tuple[str, ...]:
    """The origins from which tiles come: none for no template and for one on this host (``/tiles/{z}/…``)."""
    if not template:
        return ()
    if any(part not in template for part in ("{z}", "{x}", "{y}")) or re.search(r"\s", template):
        raise ValueError(f"not a template of tile URLs; {_HINT}")
    if template.startswith("/") and not template.startswith("//"):
        return ()
    origins = []
    for subdomain in SUBDOMAINS if "{s}" in template.split("?", maxsplit=1)[0] else "a":
        try:
            parts = urlsplit(template.replace("{s}", subdomain))
            host, port = parts.netloc.lower().rpartition("@")[2], parts.port
        except ValueError:
            raise ValueError(f"not a URL; {_HINT}") from None
        name = host.removesuffix(f":{port}")
        if parts.scheme.lower() not in ("http", "https") or "@" in parts.netloc or _HOST.fullmatch(name) is None:
            raise ValueError(f"use an http or https URL without a user name; {_HINT}")
        origins.append(f"{parts.scheme.lower()}://{host}")
    return tuple(dict.fromkeys(origins))


def read_attribution(text: str) -> list[tuple[str, str]]:
    """``(text, link)`` pieces of an attribution; the link is empty where there is none.

    Tile servers publish theirs as HTML, so that is what is read; only text and ``http(s)`` links of it are kept.
    """
    reader = _Attribution()
    reader.feed(text)
    reader.close()
    return [piece for piece in reader.pieces if piece[0]]


class _Attribution(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[tuple[str, str]] = []
        self._link = ""
        self._silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            link = dict(attrs).get("href") or ""
            self._link = link if re.match(r"https?://[^\s]+\Z", link, re.IGNORECASE) else ""
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = ""
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append((data, self._link))
