"""What the public sees of a share: never a device id, a code, or more than its grant."""

from __future__ import annotations

from typing import Any

import orjson

from bridge.core.times import timestamp
from share.stream.rooms import Room


def share_data(room: Room, ends_at: float, label: str = "") -> dict[str, Any]:
    """The ``share`` of ``hello`` and of the event ``share``. ``ends_at`` and ``label`` count where none is stored."""
    grant, share = room.grant, room.share
    goal = grant.destination
    return {
        "label": share.label if share else label,
        "starts_at": None if grant.starts_at is None else timestamp(grant.starts_at),
        "ends_at": timestamp(share.ends_at if share else ends_at),
        "devices": [{"alias": alias} for _, alias in grant.aliases],
        "destination": goal and {"lat": goal.lat, "lon": goal.lon, "radius_m": goal.radius_m, "name": goal.name},
        "end_on_arrival": grant.end_on_arrival,
        "precision_m": grant.precision_m,
        "delay_s": grant.delay_s,
        "trail": grant.trail,
    }


def share_answer(room: Room, ends_at: float, *, with_positions: bool) -> dict[str, Any]:
    """The same with the newest positions: the ``share`` of ``init``. Without them for one viewer too many."""
    devices = [
        {"alias": alias, "position": None if body is None or not with_positions else orjson.Fragment(body)}
        for alias, body in room.channel.last()
    ]
    return {**share_data(room, ends_at), "devices": devices}
