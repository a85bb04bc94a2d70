"""JSON objects for which readers cannot differ (RFC 8259 section 4)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from bridge.core.limits import MAX_TOKEN_BYTES


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in ``data``, or ValueError: not UTF-8, not JSON, NaN, a name twice, not an object.

    A name twice is refused because readers differ on which one counts (RFC 8259 section 4).
    """
    if len(data) > MAX_TOKEN_BYTES:
        raise ValueError(f"JSON of more than {MAX_TOKEN_BYTES} bytes")
    try:
        value = _decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):  # not chained: the errors of json and of str.decode hold the text
        raise ValueError("not strict JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a wrong value from outside, not a wrong call
    return value


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` of json: ValueError for a name twice, since readers differ on which one counts."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError
    return fields


def refuse_constant(_: str) -> NoReturn:
    """A ``parse_constant`` of json: NaN and the infinities are no JSON."""
    raise ValueError


_decoder = json.JSONDecoder(object_pairs_hook=unique_members, parse_constant=refuse_constant)
