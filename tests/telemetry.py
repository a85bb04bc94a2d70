"""Messages as the decoder makes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import orjson

from bridge.core.telemetry import Telemetry
from bridge.ingest.decoding.json_decoder import JsonDecoder
from bridge.settings import Settings

POINTERS: tuple[str, ...] = Settings.model_fields["position_pointers"].default
MAX_PAYLOAD_BYTES = 128 * 1024


def decoded(
    document: object, device_id: str = "A", *, retained: bool = False, pointers: Sequence[str] = POINTERS
) -> Telemetry:
    """What becomes of ``document``, or of its bytes as they are, on a topic that names the device."""
    payload = document if isinstance(document, bytes) else orjson.dumps(document)
    return _decoder(tuple(pointers)).decode(device_id.encode(), payload, retained)


@cache
def _decoder(pointers: tuple[str, ...]) -> JsonDecoder:
    return JsonDecoder(
        id_pointers=(), position_pointers=pointers, topic_pattern="{device_id}", max_payload_bytes=MAX_PAYLOAD_BYTES
    )
