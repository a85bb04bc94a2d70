"""The history of the shares' tables: each file in ``versions`` is one step.

A new step: change ``share/store/tables.py``, copy the newest file in ``versions`` under the next number, name the one
before it in ``down_revision``, and write what changes. A test compares the outcome of the steps with the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bridge.storage.migrations import Schema

SHARES: Final = Schema(Path(__file__).parent / "versions", version_table="alembic_version")
"""The version table is Alembic's default, since the first release had no other schema; new schemas name their own."""
