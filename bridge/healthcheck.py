"""The container's question: is the server of these settings ready?"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import Final

from bridge.settings import Settings, load_settings

TIMEOUT_SECONDS: Final = 5.0


def run_healthcheck(url: str | None) -> int:
    """0 when ``/readyz`` answers 200, else 1 with one line on stderr."""
    url = url or ready_url(load_settings())
    if not url.startswith(("http://", "https://")):
        raise ValueError("the URL must begin with http:// or https://")
    try:
        import ssl

        # The certificate names the public host, not loopback: this asks its own process, not a stranger.
        context = ssl._create_unverified_context() if url.startswith("https") else None  # noqa: S323
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=context):  # noqa: S310 - checked above
            return 0
    except urllib.error.HTTPError as error:
        print(f"not ready: {error.read(2000).decode(errors='replace')}", file=sys.stderr)
    except OSError as error:
        print(f"no answer from {url}: {error}", file=sys.stderr)
    return 1


def ready_url(settings: Settings) -> str:
    """Where this machine asks the server of ``settings`` whether it is ready."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    if settings.admin_port is not None:
        return f"http://{host}:{settings.admin_port}/readyz"
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{settings.port}/readyz"
