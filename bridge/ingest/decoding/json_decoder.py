"""Any JSON: the device id by JSON pointer or from the topic, the payload passed on as it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from bridge.core.device_ids import is_device_id
from bridge.core.errors import PayloadCause, PayloadError
from bridge.core.limits import MAX_DEVICE_ID_CHARS
from bridge.core.telemetry import Telemetry
from bridge.ingest.decoding.pointer import MISSING, find, parse_pointer
from bridge.ingest.decoding.position import Shapes
from bridge.ingest.decoding.topic import TopicRule

_REMEMBERED_IDS: Final = 16_384
_is_device_id = lru_cache(maxsize=_REMEMBERED_IDS)(is_device_id)


class JsonDecoder:
    """The decoder for payloads that are JSON (RFC 8259) of any shape.

    The first of ``id_pointers`` that finds something names the device; the topic names it where none
    does. Where the topic fits the pattern, the two must agree: a device that may write to its own topics
    only cannot speak as another, if the pattern fits all of them (``fleet/{device_id}/#``). A message in which one of
    ``position_pointers`` finds a number is a position. Duplicate keys: the last one counts, here and in
    every browser. orjson refuses NaN, Infinity, invalid UTF-8, lone surrogates and nesting above 1,024.
    """

    def __init__(
        self,
        *,
        id_pointers: Sequence[str],
        position_pointers: Sequence[str],
        topic_pattern: str = "",
        max_payload_bytes: int,
    ) -> None:
        """ValueError when a pointer or the topic pattern cannot be read."""
        self._id_pointers = tuple(parse_pointer(text) for text in id_pointers)
        self._locate = Shapes(position_pointers).locate
        self._topic_device_id = TopicRule(topic_pattern).device_id
        self._max_payload_bytes = max_payload_bytes

    def decode(self, topic: bytes, payload: bytes, retained: bool) -> Telemetry:
        """The message as Telemetry. PayloadError says why not; nothing else is raised for bad input."""
        from_topic = self._topic_device_id(topic)
        if len(payload) > self._max_payload_bytes:
            raise PayloadError(PayloadCause.OVERSIZE)
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise PayloadError(PayloadCause.INVALID_JSON) from None
        device_id = self._device_id(document)
        if device_id is None:
            device_id = from_topic
            if device_id is None:
                raise PayloadError(PayloadCause.NO_DEVICE_ID)
        elif from_topic is not None and from_topic != device_id:
            raise PayloadError(PayloadCause.DEVICE_ID_MISMATCH)
        if len(device_id) > MAX_DEVICE_ID_CHARS or not _is_device_id(device_id):  # long ones must not be remembered
            raise PayloadError(PayloadCause.BAD_DEVICE_ID)
        found = self._locate(document)
        if found is None:
            return Telemetry(device_id, payload, retained)
        fix, shape = found
        if shape.is_network:
            return Telemetry(device_id, payload, retained, None, fix, shape)
        return Telemetry(device_id, payload, retained, fix, None, shape)

    def _device_id(self, document: Any) -> str | None:
        for pointer in self._id_pointers:
            value = find(document, pointer)
            if type(value) is str:
                return value
            if type(value) is int:
                return str(value)
            if value is not MISSING and value is not None:
                raise PayloadError(PayloadCause.BAD_DEVICE_ID)
        return None
