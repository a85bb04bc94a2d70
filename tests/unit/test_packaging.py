"""The files around the code say what is true of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.settings import CONFIG_VARIABLE, PREFIX, Settings
from tests.mosquitto import REPOSITORY

LOCKS = sorted((REPOSITORY / "requirements").glob("*.txt"))
WITH_SETTINGS = sorted(
    path
    for pattern in ("Dockerfile", "deploy/*", "mosquitto/*")
    for path in REPOSITORY.glob(pattern)
    if path.is_file()
)  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_pin_by_hash_and_name_no_registry(lock: Path) -> None:
    """Every requirement is one exact release with hashes, from wherever the client's own settings say."""
    text = lock.read_text()
    requirements = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert requirements
    assert all(re.match(r"[a-z0-9-]+==\S+ (; .+ )?\\$", line) for line in requirements)
    assert text.count("==") >= len(requirements)
    assert "://" not in text
    assert len(re.findall(r"^    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)) >= len(requirements)


@pytest.mark.parametrize("path", WITH_SETTINGS, ids=lambda path: path.name)
def test_deployment_files_name_only_settings_that_exist(path: Path) -> None:
    """A setting that was renamed would stop the start of every deployment that copied these files."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", path.read_text()))
    assert named <= known


def test_compose_names_only_files_that_exist() -> None:
    """What compose mounts is in the repository, or in the folder of secrets that the README tells to make."""
    text = (REPOSITORY / "deploy" / "compose.yaml").read_text()
    mounted = re.findall(r"- (\.[\w./-]+):/", text)
    assert mounted
    missing = [path for path in mounted if not (REPOSITORY / "deploy" / path).exists()]
    assert all(path.startswith("./secrets/") for path in missing)
