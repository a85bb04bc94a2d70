"""JSON pointers (RFC 6901)."""

from __future__ import annotations

import re
from typing import Any, Final

Pointer = tuple[str, ...]
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
MISSING: Final = object()
"""What ``find`` gives where the pointer leads nowhere; None is a value (JSON null)."""


def parse_pointer(text: str) -> Pointer:
    """``/data/DEVICE_ID`` → its reference tokens. ValueError when ``text`` is no JSON pointer."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not a JSON pointer: it must start with /, for example /data/DEVICE_ID")
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"{text!r} is not a JSON pointer: ~ stands only in ~0 (for ~) and ~1 (for /)")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def find(document: Any, pointer: Pointer) -> Any:
    """The value that ``pointer`` leads to in a parsed JSON document, or MISSING."""
    for token in pointer:
        if type(document) is dict:
            document = document.get(token, MISSING)
        elif type(document) is list and _INDEX.fullmatch(token) and int(token) < len(document):
            document = document[int(token)]
        else:
            return MISSING
    return document
