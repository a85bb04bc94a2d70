"""Where a client command finds its server and its token."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli.connection import DEFAULT_URL, base_url, server_address, token_reader


@pytest.mark.parametrize(
    "text, http, ws",
    [
        ("http://example.com", "http://example.com", "ws://example.com"),
        ("wss://example.com/", "https://example.com", "wss://example.com"),
        ("https://example.com:8443/fleet/", "https://example.com:8443/fleet", "wss://example.com:8443/fleet"),
        ("ws://[::1]:8000", "http://[::1]:8000", "ws://[::1]:8000"),
        ("localhost:8000", "http://localhost:8000", "ws://localhost:8000"),
    ],
)
def test_one_address_serves_requests_and_streams(text: str, http: str, ws: str) -> None:
    """http and ws, https and wss, are the same server."""
    assert server_address(text).url("http") == http
    assert server_address(text).url("ws") == ws


@pytest.mark.parametrize(
    "text", ["", "ftp://secret", "http://", "http://[secret", "http://u:secret@x", "http://x?secret=1"]
)
def test_what_is_no_address_is_refused_without_quoting_it(text: str) -> None:
    """A secret may stand anywhere in it."""
    with pytest.raises(ValueError, match="URL") as caught:
        server_address(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text, shows",
    [
        ("http://example.com", True),
        ("ws://10.0.0.1", True),
        ("https://example.com", False),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]", False),
        ("http://localhost", False),
    ],
)
def test_a_token_without_tls_can_be_read_on_the_way(text: str, shows: bool) -> None:
    """But not on the way within this machine."""
    assert server_address(text).shows_tokens() is shows


def test_the_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And this machine comes last."""
    monkeypatch.setenv("TELEMETRY_BRIDGE_URL", "http://from-environment")
    assert base_url("http://option") == "http://option"
    assert base_url(None) == "http://from-environment"
    monkeypatch.setenv("TELEMETRY_BRIDGE_URL", "")
    assert base_url(None) == DEFAULT_URL


def test_tokens_come_from_the_option_the_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order; a file that changes is read again."""
    monkeypatch.setenv("TELEMETRY_BRIDGE_TOKEN", "environment")
    file = tmp_path / "token"
    file.write_text("file\n")
    assert token_reader("option", file)() == "option"
    assert token_reader(None, None)() == "environment"
    read = token_reader(None, file)
    assert read() == "file"
    file.write_text("renewed")
    assert read() == "renewed"


@pytest.mark.parametrize("data", [b"sec ret", b"sec\nret", b"sec\x1bret", "sécret".encode(), b"sec\xff"])
def test_what_is_no_token_is_refused_without_quoting_it(data: bytes, tmp_path: Path) -> None:
    """It would be a header line."""
    (tmp_path / "token").write_bytes(data)
    with pytest.raises(ValueError, match="token") as caught:
        token_reader(None, tmp_path / "token")()
    assert "sec" not in str(caught.value)
