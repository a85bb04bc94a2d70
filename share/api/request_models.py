"""The bodies of operators' requests, field by field. Pure: no I/O, no clock."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from bridge.core.device_ids import DEVICE_ID_RULE
from bridge.core.strict_json import refuse_constant, unique_members
from share.model.draft import InvalidRequestError
from share.model.grant import FIELDS, FieldName
from share.model.limits import (
    DEFAULT_RADIUS_M,
    DEFAULT_TRAIL,
    MAX_ALIAS_CHARS,
    MAX_BODY_BYTES,
    MAX_DELAY_SECONDS,
    MAX_DEVICES,
    MAX_LABEL_CHARS,
    MAX_MAX_VIEWERS,
    MAX_PASSWORD_CHARS,
    MAX_PRECISION_M,
    MAX_RADIUS_M,
    MAX_TRAIL,
    MIN_PRECISION_M,
    MIN_RADIUS_M,
)
from share.model.rules import Delay, DeviceId, Number, Precision, Time

_T = TypeVar("_T", bound=BaseModel)

MAX_ECHO_CHARS: Final = 32
"""Of the name of an unknown field, echoed to the client that sent it."""


def _line(text: str) -> str:
    """One printable line, blanks around it forgiven, in Unicode normal form C."""
    text = unicodedata.normalize("NFC", text.strip())
    if not text.isprintable():  # also no line break, no invisible mark, no change of direction
        raise ValueError
    return text


def _line_of(least: int, most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        text = _line(text)
        if not least <= len(text) <= most:
            raise ValueError
        return text

    return check


def _password(secret: SecretStr) -> SecretStr:
    text = unicodedata.normalize("NFC", secret.get_secret_value())
    if not 1 <= len(text) <= MAX_PASSWORD_CHARS:
        raise ValueError
    text.encode()  # a ValueError for half of a surrogate pair, which SecretStr lets through
    return secret


_Seconds = Annotated[Number, Field(gt=0)]
_Label = Annotated[str, AfterValidator(_line_of(0, MAX_LABEL_CHARS))]
_Aliases = Annotated[
    dict[str, Annotated[str, AfterValidator(_line_of(1, MAX_ALIAS_CHARS))]], Field(max_length=MAX_DEVICES)
]
_Password = Annotated[SecretStr, AfterValidator(_password)]
_MaxViewers = Annotated[int, Field(ge=1, le=MAX_MAX_VIEWERS)]


class StrictBody(BaseModel):
    """A request's body: no unknown field, no type that has to be guessed, and no value in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class DestinationBody(StrictBody):
    """``destination`` of a share: WGS 84 degrees and metres."""

    lat: Annotated[Number, Field(ge=-90, le=90)]
    lon: Annotated[Number, Field(ge=-180, le=180)]
    radius_m: Annotated[Number, Field(ge=MIN_RADIUS_M, le=MAX_RADIUS_M)] = DEFAULT_RADIUS_M
    name: _Label = ""


class CreateBody(StrictBody):
    """``POST /api/v1/shares``. ``expires_in`` counts from now, or from ``starts_at`` where that is later."""

    device_ids: Annotated[list[DeviceId], Field(min_length=1, max_length=MAX_DEVICES)]
    expires_in: _Seconds | None = None
    expires_at: Time | None = None
    starts_at: Time | None = None
    label: _Label = ""
    aliases: _Aliases = {}
    password: _Password | None = None
    max_viewers: _MaxViewers | None = None
    fields: list[FieldName] | None = None
    precision_m: Precision = 0.0
    delay_s: Delay = 0.0
    trail: Annotated[int, Field(ge=0, le=MAX_TRAIL)] = DEFAULT_TRAIL
    destination: DestinationBody | None = None
    end_on_arrival: bool = False


class ChangeBody(StrictBody):
    """``PATCH /api/v1/shares/{id}``. What is not named stays; null takes ``password`` or ``max_viewers`` away."""

    expires_in: _Seconds | None = None
    expires_at: Time | None = None
    label: _Label = ""
    aliases: _Aliases = {}
    password: _Password | None = None
    max_viewers: _MaxViewers | None = None


_TIME: Final = "an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z"
_RULES: Final = {
    "device_ids": f"a list of 1 to {MAX_DEVICES} device ids, each {DEVICE_ID_RULE}",
    "expires_in": "a number of seconds above 0",
    "expires_at": _TIME,
    "starts_at": _TIME,
    "label": f"one line of at most {MAX_LABEL_CHARS} printable characters",
    "aliases": f"an object: for each device at most one line of 1 to {MAX_ALIAS_CHARS} printable characters",
    "password": f"a string of 1 to {MAX_PASSWORD_CHARS} characters, or null for none",
    "max_viewers": f"a whole number from 1 to {MAX_MAX_VIEWERS}, or null for the server's limit alone",
    "fields": f"a list of some of {', '.join(FIELDS)}",
    "precision_m": f"0, or a number of metres from {MIN_PRECISION_M:.0f} to {MAX_PRECISION_M:.0f}",
    "delay_s": f"a number of seconds from 0 to {MAX_DELAY_SECONDS:.0f}",
    "trail": f"a whole number from 0 to {MAX_TRAIL}",
    "destination": "an object with lat and lon, perhaps radius_m and name; or null",
    "destination.lat": "a number of degrees from -90 to 90",
    "destination.lon": "a number of degrees from -180 to 180",
    "destination.radius_m": f"a number of metres from {MIN_RADIUS_M:.0f} to {MAX_RADIUS_M:.0f}",
    "destination.name": f"one line of at most {MAX_LABEL_CHARS} printable characters",
    "end_on_arrival": "true or false",
}
"""Field → what it must be. pydantic's own words name our classes."""


def validate(model: type[_T], data: bytes) -> _T:
    """``data`` as ``model``. InvalidRequestError says what is wrong and where; it never quotes a value."""
    if len(data) > MAX_BODY_BYTES:
        raise InvalidRequestError(f"the body must have at most {MAX_BODY_BYTES} bytes")
    try:
        value = _decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):  # not chained: the errors of json and of str.decode hold the text
        raise InvalidRequestError("the body must be one JSON object in UTF-8 that names no field twice") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("the body must be one JSON object")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise _explain(model, first["type"], first["loc"]) from None


def _explain(model: type[BaseModel], kind: str, location: tuple[int | str, ...]) -> InvalidRequestError:
    nested = location[0] == "destination" and len(location) > 1
    place = ".".join(str(part) for part in location[: 2 if nested else 1])
    if kind == "missing":
        return InvalidRequestError(f"`{place}` is missing: it must be {_RULES[place]}")
    if kind == "extra_forbidden":
        known = DestinationBody.model_fields if nested else model.model_fields
        shown = f" `{place}`" if place.isprintable() and len(place) <= MAX_ECHO_CHARS else ""
        return InvalidRequestError(f"unknown field{shown}; known are {', '.join(known)}")
    return must(place)


def must(place: str) -> InvalidRequestError:
    """What the field ``place`` must be."""
    return InvalidRequestError(f"`{place}` must be {_RULES[place]}")


def _named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = unique_members(pairs)
    "".join(fields).encode()  # half of a surrogate pair is no name; pydantic could not say where it stands
    return fields


_decoder = json.JSONDecoder(object_pairs_hook=_named, parse_constant=refuse_constant)
