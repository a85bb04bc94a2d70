"""Operators' requests and answers: JSON bytes → Draft or Changes, and Share → JSON. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from bridge.core.times import timestamp
from share.api.request_models import ChangeBody, CreateBody, must, validate
from share.model.aliases import neutral_aliases
from share.model.draft import UNSET, Changes, Draft, InvalidRequestError, check_names
from share.model.grant import DEFAULT_FIELDS, FIELDS, Destination, Grant
from share.model.limits import DAY_SECONDS, MAX_STARTED_BEFORE_SECONDS, MAX_TRAIL_IN_ALL
from share.model.share import Share


def parse_draft(data: bytes, now: float, max_seconds: float) -> tuple[Draft, str | None]:
    """The share that a body asks for at ``now``, and its password, which is not in the draft until hashed.

    ``max_seconds`` bounds the life of a share and how far ahead it may start. InvalidRequestError for all
    that is not a valid request; nothing else is raised.
    """
    body = validate(CreateBody, data)
    ids = body.device_ids
    if len(set(ids)) < len(ids):
        raise InvalidRequestError("`device_ids` must name each device once")
    if not body.aliases.keys() <= set(ids):
        raise InvalidRequestError("`aliases` must name devices of `device_ids` only")
    if body.trail * len(ids) > MAX_TRAIL_IN_ALL:
        raise InvalidRequestError(f"`trail` times the number of devices must be at most {MAX_TRAIL_IN_ALL}")
    starts_at = _start(body.starts_at, now, max_seconds)
    destination = Destination(**body.destination.model_dump()) if body.destination else None
    if body.end_on_arrival and destination is None:
        raise InvalidRequestError("`end_on_arrival` needs a `destination`")
    aliases = neutral_aliases(ids, body.aliases)
    check_names(aliases, body.label, destination.name if destination else "")
    grant = Grant(
        aliases=aliases,
        starts_at=starts_at,
        fields=DEFAULT_FIELDS if body.fields is None else frozenset(body.fields),
        precision_m=body.precision_m,
        delay_s=body.delay_s,
        trail=body.trail,
        destination=destination,
        end_on_arrival=body.end_on_arrival,
    )
    ends_at = _end(body, starts_at, now, max_seconds)
    if ends_at is None:
        raise InvalidRequestError("`expires_in` or `expires_at` is missing: say when the share ends")
    draft = Draft(starts_at, ends_at, grant, label=body.label, max_viewers=body.max_viewers)
    return draft, _revealed(body.password)


def parse_changes(data: bytes, share: Share, now: float, max_seconds: float) -> tuple[Changes, str | None]:
    """What a body asks to change of ``share`` at ``now``, and the new password, which is to be hashed.

    Where there is a password, ``password_hash`` is UNSET until the caller sets it. Errors as of ``parse_draft``.
    """
    body = validate(ChangeBody, data)
    named = body.model_fields_set
    if not named:
        raise InvalidRequestError(f"name what to change: {', '.join(ChangeBody.model_fields)}")
    for name in ("expires_in", "expires_at"):
        if name in named and getattr(body, name) is None:
            raise must(name)
    if not body.aliases.keys() <= set(share.grant.device_ids):
        raise InvalidRequestError("`aliases` must name devices of this share only")
    ends_at = _end(body, share.starts_at, now, max_seconds)
    changes = Changes(
        ends_at=UNSET if ends_at is None else ends_at,
        label=body.label if "label" in named else UNSET,
        aliases=body.aliases,
        password_hash=None if "password" in named and body.password is None else UNSET,
        max_viewers=body.max_viewers if "max_viewers" in named else UNSET,
    )
    changes.applied(share)  # applied again under the lock; here before anything is hashed
    return changes, _revealed(body.password)


def _start(at: float | None, now: float, max_seconds: float) -> float:
    if at is None:
        return now
    if at > now + max_seconds:
        raise InvalidRequestError(f"`starts_at` must be at most {_days(max_seconds)} ahead (BRIDGE_SHARE_MAX_DAYS)")
    if at < now - MAX_STARTED_BEFORE_SECONDS:
        raise InvalidRequestError(f"`starts_at` must be at most {_days(MAX_STARTED_BEFORE_SECONDS)} in the past")
    return at


def _end(body: CreateBody | ChangeBody, starts_at: float, now: float, max_seconds: float) -> float | None:
    """When the share is to end; None where the body does not say."""
    if body.expires_in is not None and body.expires_at is not None:
        raise InvalidRequestError("give `expires_in` or `expires_at`, not both")
    name, earliest = "expires_at", max(starts_at, now)
    ends_at = body.expires_at
    if body.expires_in is not None:
        name, ends_at = "expires_in", earliest + body.expires_in
    if ends_at is None:
        return None
    if ends_at <= earliest:
        raise InvalidRequestError(f"`{name}` must be later than now, and than `starts_at`")
    if ends_at - starts_at > max_seconds:
        raise InvalidRequestError(
            f"`{name}` must be at most {_days(max_seconds)} after `starts_at` (BRIDGE_SHARE_MAX_DAYS)"
        )
    return ends_at


def _revealed(password: SecretStr | None) -> str | None:
    return None if password is None else password.get_secret_value()


def _days(seconds: float) -> str:
    return f"{seconds / DAY_SECONDS:g} days" if seconds != DAY_SECONDS else "24 hours"


def share_json(share: Share, now: float, viewers_now: int, pending_total: int) -> dict[str, Any]:
    """A share at ``now`` as JSON for operators: never a code, a hash or a password.

    ``pending_total`` are viewers that are not in ``viewers_total`` yet.
    """
    grant, goal = share.grant, share.grant.destination
    return {
        "id": share.id,
        "status": share.status(now).value,
        "device_ids": list(grant.device_ids),
        "aliases": dict(grant.aliases),
        "label": share.label,
        "owner": share.owner,
        "created_at": timestamp(share.created_at),
        "starts_at": timestamp(share.starts_at),
        "expires_at": timestamp(share.ends_at),
        "ended_at": None if share.ended_at is None else timestamp(share.ended_at),
        "end_reason": share.end_reason and share.end_reason.value,
        "has_password": share.password_hash is not None,
        "max_viewers": share.max_viewers,
        "fields": [name for name in FIELDS if name in grant.fields],
        "precision_m": grant.precision_m,
        "delay_s": grant.delay_s,
        "trail": grant.trail,
        "destination": goal and {"lat": goal.lat, "lon": goal.lon, "radius_m": goal.radius_m, "name": goal.name},
        "end_on_arrival": grant.end_on_arrival,
        "viewers": {"now": viewers_now, "total": share.viewers_total + pending_total},
    }
