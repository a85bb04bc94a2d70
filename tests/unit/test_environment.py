"""What the tests and the bench start has an environment that is made."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import ROOT, environment, installer_environment

STARTERS = {
    *(f"subprocess.{name}" for name in ("Popen", "run", "call", "check_call", "check_output")),
    *(f"asyncio.create_subprocess_{name}" for name in ("exec", "shell")),
}
REGISTRY = {"PIP_INDEX_URL": "a", "https_proxy": "b", "npm_config_registry": "c"}
OTHER_MACHINE = {"PYTHONUNBUFFERED": "1", "LANG": "de_DE", "BRIDGE_PORT": "1", "MAKEFLAGS": "-n", **REGISTRY}
BARE = ROOT / ".ci" / "bare"


def without_environment(file: Path) -> Iterator[str]:
    """Where a program is started, be it at once or in ``asyncio.to_thread``, without ``env=``."""
    for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
        called = {ast.unparse(part) for part in (call.func, *call.args[:1])}
        if called & STARTERS and "env" not in {keyword.arg for keyword in call.keywords}:
            yield f"{file.relative_to(ROOT)}:{call.lineno}"


def test_every_program_gets_an_environment() -> None:
    """One that inherits ours may pass here for a reason that no other machine has."""
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("bench/*.py")]
    assert [place for file in files for place in without_environment(file)] == []


def test_programs_see_no_variable_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is given, and what every program needs; pip and npm also the way to their registry."""
    for name, value in OTHER_MACHINE.items():
        monkeypatch.setenv(name, value)
    made = environment(TZ="UTC")
    assert set(made) <= {"PATH", "HOME", "TMPDIR", "PYTHONPATH", "TZ"}
    assert made["TZ"] == "UTC"
    installers = installer_environment()
    assert OTHER_MACHINE.items() & installers.items() == REGISTRY.items()


def test_ci_runs_in_the_same_environment_everywhere() -> None:
    """``.ci/bare`` leaves out what a shell happens to have, and keeps the way to the registry."""
    given = {**environment(), **OTHER_MACHINE, "CI": "true"}
    done = subprocess.run([BARE, "env"], env=given, check=True, capture_output=True, text=True)
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {name: seen[name] for name in REGISTRY} == REGISTRY
    assert seen["CI"] == "true"
    assert set(seen) <= {"PATH", "HOME", "TMPDIR", "CI", *REGISTRY}
