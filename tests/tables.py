"""The README's tables, made from the code: ``python -m tests.tables`` prints them to be pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bridge.protocol.closing import CloseReason
from bridge.settings import PREFIX, Settings

README = Path(__file__).parent.parent / "README.md"


def settings_table() -> list[str]:
    """One row per setting: name, default, meaning."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |")
    return rows


def closing_table() -> list[str]:
    """One row per reason that a client can see: code, text, whether to reconnect."""
    rows = ["| code | reason | reconnect? |", "|---|---|---|"]
    rows += [
        f"| {reason.code} | {reason.text} | {reason.reconnect} |"
        for reason in CloseReason
        if reason is not CloseReason.LOST
    ]
    return rows


def _default(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(value)
    if value is None or value == "":
        return "–"
    if isinstance(value, int) and value >= 1024 and value % 1024 == 0:
        return f"`{value}` ({value // 1024} KiB)"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    print("\n".join(settings_table()), "\n", "\n".join(closing_table()), sep="\n")
