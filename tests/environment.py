"""The environment of whatever the tests and the bench start: made, so that no variable of a machine helps or hurts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
# Debian keeps servers where an ordinary user's PATH does not lead.
SEARCH_PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
KEPT: Final = (
    "HOME",  # Chromium, npm and pip keep files there
    "TMPDIR",  # where this machine has room
)
REGISTRY: Final = (
    "PIP_", "NPM_CONFIG_",  # which registry
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",  # the way to it
    "SSL_CERT_", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",  # the authority that vouches for it
)  # fmt: skip
"""Beginnings of the names, in any case, by which a machine tells pip and npm of its registry."""


def find_program(name: str) -> str | None:
    """The path of an installed program, or None."""
    return shutil.which(name, path=SEARCH_PATH)


def environment(**variables: str) -> dict[str, str]:
    """What every program needs, our packages for Python, and ``variables``: no locale, no terminal, no settings."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {"PATH": SEARCH_PATH, "PYTHONPATH": str(ROOT), **kept, **variables}


def installer_environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For pip and npm: that, and how ``given`` leads them to their registry."""
    return environment(**{name: value for name, value in given.items() if name.upper().startswith(REGISTRY)})
