"""The container's question: is the server of these settings ready?"""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Final

from bridge.core.addresses import place
from bridge.settings import Settings, load_settings

TIMEOUT_SECONDS: Final = 5.0
MAX_BODY_BYTES: Final = 2000
"""Of an answer; ours has a line or two."""


def run_healthcheck(url: str | None) -> int:
    """0 when ``/readyz`` answers 200, else 1 with one line on stderr."""
    url = url or ready_url(load_settings())
    try:
        status, body = ask(url)
    except OSError as error:
        print(f"no answer from {url}: {error}", file=sys.stderr)
        return 1
    if status == HTTPStatus.OK:
        return 0
    print(f"not ready: {body.decode(errors='replace')}", file=sys.stderr)
    return 1


def ask(url: str) -> tuple[int, bytes]:
    """Status and the beginning of the body of a GET. OSError without an answer within TIMEOUT_SECONDS."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("the URL must begin with http:// or https://")
    import ssl

    # The certificate names the public host, not loopback: this asks its own process, not a stranger.
    context = ssl._create_unverified_context() if url.startswith("https") else None  # noqa: S323
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310 - checked above
            return answer.status, answer.read(MAX_BODY_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MAX_BODY_BYTES)
    except http.client.HTTPException as error:  # something answers, but it is no HTTP server
        raise OSError(f"{type(error).__name__}: {error}") from None


def ready_url(settings: Settings) -> str:
    """Where this machine asks the server of ``settings`` whether it is ready."""
    if settings.admin_port is not None:
        return f"http://{place(settings.host, settings.admin_port)}/readyz"
    return f"{'https' if settings.tls_cert else 'http'}://{place(settings.host, settings.port)}/readyz"
