"""The files of the page: cached for ever under their content's hash, and nothing but those on the list."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from functools import partial
from importlib.resources import files

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from share.page.page import ASSETS, Page
from share.page.tiles import read_attribution, tile_origins

page_of = partial(Page, silent_seconds=120.0)
Client = TestClient[web.Request, web.Application]
PAGE = page_of("", "")


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    """One that shows bodies as they travelled."""
    app = web.Application()
    app.add_routes(PAGE.routes())
    return await aiohttp_client(app, auto_decompress=False)


def imports(text: str) -> Iterator[str]:
    """The modules that a module names."""
    yield from re.findall(r'(?:from|import) ?\(?"\./([^"]+)"', text)


async def test_all_that_the_page_names_is_served_and_kept(client: Client) -> None:
    """Every file of the page and every module that one imports is on the list, with its type and a year to live."""
    text = await (await client.get("/s/abc")).text()
    named = re.findall(r'(?:src|href)="(/s-assets/[^"]+)"', text)
    assert {url.rpartition("/")[0] for url in named} == {f"/s-assets/{PAGE.version}"}
    names = [url.rpartition("/")[2] for url in named]
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        answer = await client.get(f"/s-assets/{PAGE.version}/{name}", headers={"Accept-Encoding": "identity"})
        assert answer.status == 200, name
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Type"].split(";")[0] == ASSETS[name]
        if name.endswith(".js") and not name.startswith("leaflet"):
            names += imports(await answer.text())
    assert seen == set(ASSETS), "a file is served that nothing uses"


async def test_an_asset_travels_compressed(client: Client) -> None:
    """For those who take gzip: the same bytes, a third of the size or less."""
    url = f"/s-assets/{PAGE.version}/leaflet.js"
    plain = await client.get(url, headers={"Accept-Encoding": "identity"})
    packed = await client.get(url, headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    body = await packed.read()
    assert gzip.decompress(body) == await plain.read()
    assert len(body) * 3 < int(plain.headers["Content-Length"])


async def test_another_version_is_served_but_not_kept(client: Client) -> None:
    """A page of another version still works; nothing wrong stays in a cache under its name."""
    answer = await client.get("/s-assets/0000000000000000/page.js")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "name",
    [
        "..%2fpage.html",
        "%2e%2e%2f%2e%2e%2fpage.py",
        "page.html",
        "texts.json",
        "",
        "page.js%00",
        "PAGE.JS",
        "leaflet.js.map",
    ],
)
async def test_nothing_else_is_served(client: Client, name: str) -> None:
    """Names that are not on the list, and paths that lead out of it."""
    answer = await client.get(f"/s-assets/{PAGE.version}/{name}")
    assert answer.status == 404
    assert b"import" not in await answer.read()


def test_the_version_is_of_the_content() -> None:
    """The settings do not change it, so that every process of one release serves the same URLs."""
    assert page_of("/t/{z}/{x}/{y}", "credit").version == PAGE.version
    assert re.fullmatch(r"[0-9a-f]{16}", PAGE.version)


def test_the_static_folder_holds_only_what_is_used() -> None:
    """Each file is on the list, or is what the page is made from."""
    names = {entry.name for entry in (files("share.page") / "static").iterdir()}
    assert names == {name for name in ASSETS if not name.startswith("leaflet.")} | {"page.html", "texts.json"}


@pytest.mark.parametrize(
    "template, origins",
    [
        ("", ()),
        ("/tiles/{z}/{x}/{y}.png", ()),
        ("https://tile.example.org/{z}/{x}/{y}.png", ("https://tile.example.org",)),
        ("http://localhost:8080/{z}/{x}/{y}{r}.png?k={x}", ("http://localhost:8080",)),
        ("HTTPS://Tile.Example.org/{z}/{x}/{y}", ("https://tile.example.org",)),
        ("https://{s}.e.org/{z}/{x}/{y}", ("https://a.e.org", "https://b.e.org", "https://c.e.org")),
        ("http://[::1]:80/{z}/{x}/{y}", ("http://[::1]:80",)),
    ],
)
def test_the_origins_of_tiles_come_from_their_template(template: str, origins: tuple[str, ...]) -> None:
    """What the policy must allow for the map, and no more."""
    assert tile_origins(template) == origins


@pytest.mark.parametrize(
    "template",
    [
        "https://tile.example.org/",
        "https://tile.example.org/{z}/{x}.png",
        "ftp://tile.example.org/{z}/{x}/{y}",
        "javascript:{z}{x}{y}",
        "//tile.example.org/{z}/{x}/{y}",
        "https://user:pw@tile.example.org/{z}/{x}/{y}",
        "https://a.org; script-src */{z}/{x}/{y}",
        "https://a.org;script-src/{z}/{x}/{y}",
        "https://*/{z}/{x}/{y}",
        "https://[::1/{z}/{x}/{y}",
        "https://a.org:99999/{z}/{x}/{y}",
        "{z}{x}{y}",
    ],
)
def test_what_is_no_template_is_refused(template: str) -> None:
    """With words that say what to write, and without what was written: it may hold a key."""
    with pytest.raises(ValueError, match=r"write it as https://tile\.example\.com") as failed:
        tile_origins(template)
    assert "pw" not in str(failed.value)


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("", []),
        ("© OpenStreetMap & others", [("© OpenStreetMap & others", "")]),
        ('<a href="javascript:x">A</a>', [("A", "")]),
        ('<a href=" https://a.org">A</a>', [("A", "")]),
        ("<A HREF='http://a.org' onclick=x>A</A>B", [("A", "http://a.org"), ("B", "")]),
        ("<style>p{}</style><img src=x onerror=y>B", [("B", "")]),
    ],
)
def test_an_attribution_keeps_text_and_links(text: str, pieces: list[tuple[str, str]]) -> None:
    """Whatever else is written there is left out."""
    assert read_attribution(text) == pieces
