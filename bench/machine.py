"""The facts about this machine that a number means nothing without."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.environment import environment

LIBRARIES = ("aiohttp", "uvloop", "orjson", "paho-mqtt", "pyseto")


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def first_line(*command: str) -> str:
    """The first line that a command prints, on either stream; empty when it cannot be run."""
    try:
        result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (result.stdout or result.stderr).strip().partition("\n")[0]


def commit(tree: Path = Path(__file__).parent) -> str:
    """The commit of ``tree``, with ``-dirty`` when files differ from it; ``unknown`` outside a repository."""
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return result.stdout.strip() if result.returncode == 0 else "unknown"


def _library(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def machine_facts() -> dict[str, str]:
    """Name → value: processor, kernel, Python, libraries and the commit of this tree."""
    facts = {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cc": first_line("cc", "--version"),
        "commit": commit(),
        "load average": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }
    return facts | {name: _library(name) for name in LIBRARIES}
