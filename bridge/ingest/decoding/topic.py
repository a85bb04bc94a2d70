"""Device ids in topics."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bridge.core.errors import PayloadCause, PayloadError

MAX_TOPIC_BYTES: Final = 1024
"""Longer topics are refused: MQTT allows 65,535, real ones are under 200, and we remember them."""
_REMEMBERED_TOPICS: Final = 16_384
_PLACE: Final = "{device_id}"


class TopicRule:
    """Reads the device id out of a topic by a pattern such as ``fleet/{device_id}/position``.

    ``{device_id}`` stands for one level, or for a part of one; ``+`` for any one level and a final ``#``
    for any rest, as in topic filters (MQTT 5.0 section 4.7.1). An empty pattern never finds an id but
    still checks the topic.
    """

    def __init__(self, pattern: str) -> None:
        """ValueError, with what to write instead, when ``pattern`` cannot be read."""
        self._match = _compile(pattern).fullmatch if pattern else None
        self.device_id = lru_cache(maxsize=_REMEMBERED_TOPICS)(self._device_id)

    def _device_id(self, topic: bytes) -> str | None:
        """The device id in ``topic``, or None where the pattern does not fit.

        PayloadError ``bad_topic`` for a topic that MQTT forbids: not UTF-8, NUL, a wildcard, empty, or
        longer than 1,024 bytes.
        """
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            raise PayloadError(PayloadCause.BAD_TOPIC) from None
        if not text or len(topic) > MAX_TOPIC_BYTES or any(c in text for c in "\0+#"):
            raise PayloadError(PayloadCause.BAD_TOPIC)
        found = self._match(text) if self._match else None
        return found["device_id"] if found else None


def _compile(pattern: str) -> re.Pattern[str]:
    if pattern.count(_PLACE) != 1:
        raise ValueError(f"{pattern!r} must hold {_PLACE} exactly once, for example fleet/{_PLACE}/position")
    levels = pattern.split("/")
    pieces = []
    for number, level in enumerate(levels):
        slash = "/" if number else ""
        if level == "#" and number == len(levels) - 1:
            pieces.append(f"(?:{slash}.*)?")  # the parent level too: sport/# fits sport
        elif level == "+":
            pieces.append(f"{slash}[^/]*")
        elif "#" in level or "+" in level:
            raise ValueError(f"{pattern!r}: + must fill a whole level and # must be the whole last level")
        else:
            before, place, after = level.partition(_PLACE)
            pieces.append(slash + re.escape(before) + ("(?P<device_id>[^/]+)" if place else "") + re.escape(after))
    return re.compile("".join(pieces), re.DOTALL)
