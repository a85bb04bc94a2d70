"""The page behind a share's link: HTML in the visitor's language, its assets, and the headers that fence it in."""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.hdrs import ACCEPT_ENCODING

from share.page.tiles import read_attribution, tile_origins

LANGUAGES: Final = ("en", "es", "pt")
"""The languages of the page; the first is for those who ask for none of them."""
ASSET_SECONDS: Final = 31_536_000
"""How long a browser keeps an asset: a year, the longest that RFC 2616 allowed; the content's hash is in its URL."""
_VERSION_CHARACTERS: Final = 16
"""Of the hash, in the URL: 64 bits tell versions apart."""
ASSETS: Final = {
    "leaflet.js": "text/javascript",
    "leaflet.css": "text/css",
    "page.css": "text/css",
    "noscript.css": "text/css",
    "page.js": "text/javascript",
    "session.js": "text/javascript",
    "devices.js": "text/javascript",
    "map.js": "text/javascript",
    "card.js": "text/javascript",
    "words.js": "text/javascript",
    "geo.js": "text/javascript",
    "clock.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""Every file that is served, and nothing else: name → type."""
_PLACEHOLDER: Final = re.compile(r"\{\{([a-z]+)(?::([a-z_0-9]+))?\}\}")
_HOST: Final = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PAGE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Vary": "Accept-Language",
    "Referrer-Policy": "strict-origin",  # the link's code stays here; a tile server may ask for an origin
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ASSET_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    compressed: bytes
    type: str


class Page:
    """The page and its assets, made once: what is sent depends on the visitor's language, never on the code.

    A link that was never made gets the same bytes as one that works, so that nothing can be learned here.
    """

    def __init__(self, tiles_url: str, attribution: str, *, silent_seconds: float, public_url: str = "") -> None:
        """``tiles_url`` is a template with ``{z}``, ``{x}`` and ``{y}``, or empty for a map without pictures.

        ``attribution`` credits the source of the tiles, in the HTML that such sources publish: its text and its http(s)
        links are shown, the rest is left out. ``public_url`` is an origin as
        ``setting_types.check_public_url`` returns it. ValueError when the template is invalid.
        """
        self._public_url = public_url
        self._tile_origins = tile_origins(tiles_url)
        self._assets = {
            name: _Asset(data, gzip.compress(data, mtime=0), ASSETS[name]) for name, data in _load().items()
        }
        self.version = _version(self._assets)
        config = {"tiles": tiles_url, "attribution": read_attribution(attribution), "silent_seconds": silent_seconds}
        texts = load_texts()
        self._pages = {language: self._fill(language, texts[language], config) for language in LANGUAGES}

    def routes(self) -> list[web.RouteDef]:
        """The page and its assets."""
        return [
            web.get("/s/{code}", self.page),
            web.get("/s/{code}/", self.page),  # some clients add a slash to a link
            web.get("/s-assets/{version}/{name}", self.asset),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """The page, whatever the code is. The code is not read here."""
        language = choose_language(request.headers.get("Accept-Language", ""))
        policy = self._policy(request.headers.get("Host", ""), secure=request.secure)
        return web.Response(
            body=self._pages[language],
            content_type="text/html",
            charset="utf-8",
            headers={**_PAGE_HEADERS, "Content-Language": language, "Content-Security-Policy": policy},
        )

    async def asset(self, request: web.Request) -> web.Response:
        """An asset. One of another version is sent too, but must not be cached.

        A page of the server before this one, or of a neighbour that is newer, then still works.
        """
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            return web.Response(status=404, text="not found\n", headers={"Cache-Control": "no-store"})
        current = request.match_info["version"] == self.version
        lasting = f"public, max-age={ASSET_SECONDS}, immutable"
        headers = {**_ASSET_HEADERS, "Cache-Control": lasting if current else "no-store"}
        body = asset.content
        if "gzip" in request.headers.get(ACCEPT_ENCODING, "").lower():
            body = asset.compressed
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, content_type=asset.type, charset="utf-8", headers=headers)

    def _policy(self, host: str, *, secure: bool) -> str:
        # 'self' covers ws and wss of the same host since CSP 3; Safari before 15.4 wants them by name.
        streams = _stream_origins(self._public_url, host.lower(), secure=secure)
        images = " ".join(("'self'", "data:", *self._tile_origins))
        connections = " ".join(("'self'", *streams))
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; "
            f"img-src {images}; connect-src {connections}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def _fill(self, language: str, texts: Mapping[str, str], config: Mapping[str, Any]) -> bytes:
        values = {
            "language": language,
            "assets": f"/s-assets/{self.version}",
            "config": orjson.dumps({**config, "language": language, "texts": texts}).decode(),
        }

        def value(match: re.Match[str]) -> str:
            kind, key = match.groups()
            return html.escape(texts[key] if kind == "text" else values[kind])

        return _PLACEHOLDER.sub(value, _static("page.html").decode()).encode()


def load_texts() -> dict[str, dict[str, str]]:
    """The texts of the page: language → key → text, with ``{name}`` where a value goes."""
    texts: dict[str, dict[str, str]] = orjson.loads(_static("texts.json"))
    return texts


def choose_language(accepted: str) -> str:
    """The language of the page for an ``Accept-Language`` header (RFC 9110 section 12.5.4)."""
    best, best_quality = LANGUAGES[0], 0.0
    for item in accepted.split(",")[:20]:  # enough languages for anyone; the header is untrusted
        tag, _, parameter = item.partition(";")
        language = tag.strip().lower().partition("-")[0]
        quality = _quality(parameter)
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best


def _quality(parameter: str) -> float:
    match = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", parameter, re.IGNORECASE)
    if match:
        return min(1.0, float(match[1]))
    return 0.0 if parameter.strip() else 1.0


def _stream_origins(public_url: str, host: str, *, secure: bool) -> list[str]:
    if public_url:
        return [public_url.replace("http", "ws", 1)]
    if _HOST.fullmatch(host) is None:
        return []
    return [f"{scheme}://{host}" for scheme in (("wss",) if secure else ("ws", "wss"))]


def _load() -> dict[str, bytes]:
    leaflet = files("xstatic.pkg.leaflet") / "data"
    return {
        name: (leaflet / name).read_bytes() if name.startswith("leaflet.") else _static(name) for name in sorted(ASSETS)
    }


def _static(name: str) -> bytes:
    return (files("share.page") / "static" / name).read_bytes()


def _version(assets: Mapping[str, _Asset]) -> str:
    digest = hashlib.sha256()
    for name, asset in assets.items():
        digest.update(f"{name}\0{len(asset.content)}\0".encode())
        digest.update(asset.content)
    return digest.hexdigest()[:_VERSION_CHARACTERS]
