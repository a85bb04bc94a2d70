"""A certificate for the servers that are measured over TLS."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.errors import BenchError
from tests.environment import environment

OPENSSL_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: the certificate, self-signed, and its private key."""

    chain: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """A certificate on P-256 for 127.0.0.1, for a day, in ``folder``. BenchError without the program openssl."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(made.key), "-out", str(made.chain)]
    try:
        subprocess.run(command, env=environment(), check=True, capture_output=True, text=True, timeout=OPENSSL_SECONDS)
    except FileNotFoundError:
        raise BenchError("openssl is not installed: apt-get install openssl") from None
    except subprocess.CalledProcessError as error:
        raise BenchError(f"openssl made no certificate: {error.stderr}") from None
    except subprocess.TimeoutExpired:
        raise BenchError("openssl did not end in time") from None
    return made
