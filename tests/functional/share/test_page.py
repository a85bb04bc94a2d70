"""The page of a share over HTTP: its headers, its language, and that it tells nothing of the link."""

from __future__ import annotations

import html
import logging
import re
from functools import partial

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from share.page.page import LANGUAGES, Page, choose_language, load_texts

TILES = "https://{s}.tiles.example.com/{z}/{x}/{y}.png?key=abc"
CREDIT = '&copy; <a href="https://maps.example.com/terms">Maps</a> <b onclick=x>people</b><script>alert(1)</script>'
page_of = partial(Page, silent_seconds=120.0)
Client = TestClient[web.Request, web.Application]


def make_app(page: Page) -> web.Application:
    """The page's routes and nothing else."""
    app = web.Application()
    app.add_routes(page.routes())
    return app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    """One that talks to a page with tiles on three hosts."""
    return await aiohttp_client(make_app(page_of(TILES, CREDIT)))


def policy(headers: object) -> dict[str, str]:
    """The content security policy by directive."""
    text = headers["Content-Security-Policy"]  # type: ignore[index]
    return {name: rest for name, _, rest in (part.strip().partition(" ") for part in text.split(";"))}


async def test_any_code_gets_the_same_bytes(client: Client) -> None:
    """Nothing can be learned from the page about a code: not whether it exists, not even that it was read."""
    bodies, heads = set(), set()
    for code in ("abc", "abc/", "AAAAAAAAAAAAAAAAAAAAAA", "%3Cscript%3E", "x" * 2000, "__proto__"):
        answer = await client.get(f"/s/{code}")
        assert answer.status == 200
        bodies.add(await answer.read())
        heads.add(tuple(sorted((name, value) for name, value in answer.headers.items() if name != "Date")))
    assert len(bodies) == len(heads) == 1
    assert b"AAAAAAAAAA" not in bodies.pop()


async def test_the_page_is_fenced_in(client: Client) -> None:
    """Each header that keeps the page alone with its server, its tiles and its visitor."""
    answer = await client.get("/s/abc", headers={"Host": "share.example.com:8443"})
    headers = answer.headers
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Vary"] == "Accept-Language"
    assert headers["Referrer-Policy"] == "strict-origin"
    assert headers["X-Robots-Tag"] == "noindex, nofollow"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "geolocation=()" in headers["Permissions-Policy"]
    tiles = " ".join(f"https://{letter}.tiles.example.com" for letter in "abc")
    assert policy(headers) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' data: {tiles}",
        "connect-src": "'self' ws://share.example.com:8443 wss://share.example.com:8443",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


async def test_the_page_holds_no_inline_script_or_style(client: Client) -> None:
    """The policy forbids both, so neither may stand in the page; and it turns crawlers away too."""
    text = await (await client.get("/s/abc")).text()
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", text) == []
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert '<meta name="robots" content="noindex, nofollow">' in text
    assert "user-scalable" not in text
    assert "maximum-scale" not in text
    assert "{{" not in text


@pytest.mark.parametrize(
    "host", ["evil.example; script-src *", "a b", "a,b", "'self'", "*", "evil.example/path", "user@evil.example"]
)
def test_a_host_that_is_none_stays_out_of_the_policy(host: str) -> None:
    """What a stranger writes into Host never reaches the policy unless it is a host and a port."""
    assert "connect-src 'self';" in page_of("", "")._policy(host, secure=False)


def test_the_public_url_says_where_the_stream_is() -> None:
    """With PUBLIC_URL that host alone may be connected to, whatever Host says."""
    written = page_of("", "", public_url="https://share.example.com")._policy("other.example", secure=False)
    assert "connect-src 'self' wss://share.example.com;" in written
    assert "connect-src 'self' wss://other.example;" in page_of("", "")._policy("other.example", secure=True)
    assert "img-src 'self' data:;" in written


async def test_head_is_get_without_the_body(client: Client) -> None:
    """Messengers look with HEAD first."""
    head, whole = await client.head("/s/abc"), await client.get("/s/abc")
    assert head.status == 200
    assert await head.read() == b""
    for name in ("Content-Length", "Content-Security-Policy", "Content-Type"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "accepted, language",
    [
        ("", "en"),
        ("*", "en"),
        ("es", "es"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("de, es;q=0.5, en;q=0.3", "es"),
        ("en;q=0.2, PT-pt;q=0.7", "pt"),
        ("es;q=0, en;q=0.1", "en"),
        ("es;q=junk, pt;q=0.1", "pt"),
        ("fr,de", "en"),
        (";;;,,,q=1", "en"),
        ("de," * 5000 + "es", "en"),
    ],
)
def test_the_visitors_language_is_chosen(accepted: str, language: str) -> None:
    """The best of the three by its quality; English for all others and for junk."""
    assert choose_language(accepted) == language


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_speaks_the_language(client: Client, language: str) -> None:
    """Title, lang and texts are of one language, before any script has run."""
    answer = await client.get("/s/abc", headers={"Accept-Language": language})
    text = await answer.text()
    assert answer.headers["Content-Language"] == language
    assert f'<html lang="{language}">' in text
    title = html.escape(load_texts()[language]["page_title"])
    assert f"<title>{title}</title>" in text
    assert f'<meta property="og:title" content="{title}">' in text


def test_the_three_languages_say_the_same() -> None:
    """The same keys, each with the same placeholders, and none of them empty."""
    texts = load_texts()
    assert set(texts) == set(LANGUAGES)
    for language in LANGUAGES:
        assert set(texts[language]) == set(texts["en"])
        for key, text in texts[language].items():
            assert text.strip() == text != ""
            assert sorted(re.findall(r"\{(\w+)\}", text)) == sorted(re.findall(r"\{(\w+)\}", texts["en"][key])), key
            assert "{time}." not in text, "a time may end with a full stop: 3:15 p.m."


async def test_the_settings_reach_the_page_as_text(aiohttp_client: AiohttpClient) -> None:
    """Markup in a setting stays inside the attribute that carries it."""
    hostile = "/tiles/{z}/{x}/{y}.png?a=\"'><script>x</script>"
    client = await aiohttp_client(make_app(Page(hostile, CREDIT, silent_seconds=7)))
    text = await (await client.get("/s/abc")).text()
    found = re.search(r'<body data-config="([^"]*)">', text)
    assert found is not None
    assert "<" not in found[1]
    config = orjson.loads(html.unescape(found[1]))
    assert config["tiles"] == hostile
    assert config["silent_seconds"] == 7
    assert config["attribution"] == [
        ["© ", ""],
        ["Maps", "https://maps.example.com/terms"],
        [" ", ""],
        ["people", ""],
    ]


async def test_the_code_is_in_no_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that serves the page writes it down; aiohttp's access log, which would, is off in the server."""
    caplog.set_level(logging.DEBUG)
    await client.get("/s/secret-code-1")
    await client.get("/s/secret-code-1/more")
    told = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    assert [line for line in told if "secret-code-1" in line] == []
