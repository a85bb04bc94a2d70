"""The official PASETO and PASERK test vectors, out of the sdist of pyseto.

They are not part of this repository. The sdist of the installed release is fetched once by pip, as pip is
configured here, into ``.cache/pyseto-sdist/``; to work without a network, put it there by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.environment import installer_environment
from tests.parts import lacking

CACHE = Path(__file__).parent.parent / ".cache" / "pyseto-sdist"
FETCH_SECONDS = 120.0
"""One download of 90 KB, and pip's look at the metadata for which it fetches the build back-end."""


def load(name: str) -> list[dict[str, Any]]:
    """The vectors of ``v4`` or ``PASERK/k4.lid``. Where they cannot be had: a skip, and with ``CI`` set a failure."""
    sdist = CACHE / f"pyseto-{version('pyseto')}.tar.gz"
    problem = "" if sdist.exists() else _download()
    tests: list[dict[str, Any]] = []
    if not problem:
        try:
            with tarfile.open(sdist) as archive:
                file = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/tests/vectors/{name}.json")
                assert file is not None
                tests = json.load(file)["tests"]
        except (OSError, EOFError, tarfile.TarError, KeyError, ValueError) as error:
            problem = f"{sdist.name} is not as expected ({type(error).__name__})"
    if problem:
        lacking(f"the official PASETO vectors cannot be had: {problem}")
    return tests


@lru_cache(maxsize=1)
def _download() -> str:
    """Fetch the sdist. Empty when that worked, else why not; tried once per run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:  # another test process must not find half a file
            command += ["--no-binary", "pyseto", "--dest", folder, f"pyseto=={version('pyseto')}"]
            subprocess.run(command, env=installer_environment(), check=True, capture_output=True, timeout=FETCH_SECONDS)
            for file in Path(folder).iterdir():
                file.replace(CACHE / file.name)
    except subprocess.TimeoutExpired:
        return f"pip took more than {FETCH_SECONDS:.0f} s"
    except subprocess.CalledProcessError as error:
        return f"pip download ended with {error.returncode}"  # its output may name hosts and credentials
    return ""
