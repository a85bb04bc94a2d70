"""Compiles the load generator and the floor server, when their sources have changed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.errors import BenchError
from tests.environment import environment

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror")
FLAGS = ("-std=c17", "-O2", "-pthread", *WARNINGS)


def build(name: str) -> Path:
    """The program ``load`` or ``floor``, compiled if a source is newer. BenchError shows the compiler's text."""
    sources = [HERE / f"{name}.c"]
    headers: list[Path] = []
    if name == "load":
        sources += sorted((HERE / "load").glob("*.c"))
        headers = list((HERE / "load").glob("*.h"))
    program = BUILD / name
    newest = max(path.stat().st_mtime for path in [*sources, *headers])
    if program.exists() and program.stat().st_mtime > newest:
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("no C compiler: install one (Debian: apt-get install gcc libc6-dev)")
    BUILD.mkdir(exist_ok=True)
    command = [compiler, *FLAGS, "-o", str(program), *map(str, sources)]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BenchError(f"{name} does not compile:\n{result.stderr}")
    return program
