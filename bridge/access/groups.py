"""The groups file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

from bridge.core.device_ids import DEVICE_ID_RULE, Groups, is_device_id, is_pattern

MAX_GROUPS_FILE_BYTES: Final = 16 * 1024 * 1024
"""100,000 devices in ten groups each, at 15 bytes an entry; a log file given by mistake is refused, not read."""

MAX_GROUP_MEMBERS: Final = 10_000
"""Entries of one group. A stream that watches it subscribes to each of them: 4 ms of the loop."""


def load_groups(path: Path, *, max_bytes: int = MAX_GROUPS_FILE_BYTES, max_members: int = MAX_GROUP_MEMBERS) -> Groups:
    """The groups file: TOML, one table ``groups`` of lists, ``north = ["A", "truck-*"]``.

    ValueError, whose text is for the operator, when it cannot be read or anything in it is not understood:
    a group that silently lost devices would be worse than no start.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ValueError(f"the groups file cannot be read: {error.strerror}") from None
    if len(data) > max_bytes:
        raise ValueError(f"the groups file has more than {max_bytes} bytes")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the groups file is not TOML: {error}") from None
    groups = document.pop("groups", None)
    if not isinstance(groups, dict):
        raise ValueError("the groups file has no table [groups]")  # noqa: TRY004 - a wrong file, not a wrong call
    if document:
        raise ValueError(f"the groups file has an unknown key: {next(iter(document))!r}")
    return {name: _members(name, entries, max_members) for name, entries in groups.items()}


def _members(name: str, entries: object, most: int) -> frozenset[str]:
    if not is_device_id(name):  # a name stands where ids stand: in URLs, between commas
        raise ValueError(f"group {name!r}: the name must be a valid device id")
    if not isinstance(entries, list):
        raise ValueError(f"group {name!r} is not a list of device ids and patterns")  # noqa: TRY004
    if len(entries) > most:
        raise ValueError(
            f"group {name!r} has {len(entries):,} entries, the limit is {most:,}: "
            "name a pattern such as truck-* instead of its devices, or make several groups"
        )
    for position, entry in enumerate(entries, start=1):
        if not isinstance(entry, str) or not is_pattern(entry):
            raise ValueError(
                f"group {name!r}, entry {position}: neither a device id nor a pattern, which has {DEVICE_ID_RULE} "
                "(but for the * of a pattern)"
            )
    return frozenset(entries)
