"""What a client may say on a socket: one model per action, and nothing beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from bridge.core.errors import CommandError
from bridge.core.limits import MAX_REF_CHARS, MAX_TOKEN_BYTES
from bridge.protocol.frames import Ref

_Ref = Annotated[int, Field(ge=-(2**53), le=2**53)] | Annotated[str, Field(max_length=MAX_REF_CHARS)] | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class UnsubscribeData(_Strict):
    """``*`` takes back ``*``."""

    device_ids: list[str] = []
    groups: list[str] = []


class SubscribeData(UnsubscribeData):
    """``device_ids`` may hold ``*`` alone for all that the token allows."""

    snapshot: bool = True


class AuthenticateData(_Strict):
    """The first token of a stream, or the next one."""

    token: Annotated[SecretStr, Field(max_length=MAX_TOKEN_BYTES)]


class NoData(_Strict):
    """For actions that need no more words."""


class _WithRef(_Strict):
    ref: _Ref = None


class Subscribe(_WithRef):
    """Select these as well."""

    action: Literal["subscribe"]
    data: SubscribeData


class Unsubscribe(_WithRef):
    """Select these no longer."""

    action: Literal["unsubscribe"]
    data: UnsubscribeData


class Authenticate(_WithRef):
    """Present a token."""

    action: Literal["authenticate"]
    data: AuthenticateData


class Info(_WithRef):
    """Ask what the server knows of this stream."""

    action: Literal["info"]
    data: NoData = NoData()


class Ping(_WithRef):
    """Ask for a pong."""

    action: Literal["ping"]
    data: NoData = NoData()


Command = Subscribe | Unsubscribe | Authenticate | Info | Ping
ACTIONS = ("subscribe", "unsubscribe", "authenticate", "info", "ping")
BARE_PING = "ping"
MAX_ECHO_CHARS = 80
"""Of the name of a field that does not exist, with the names around it."""
_WANTED = {
    "bool_type": "true or false",
    "list_type": "a list of texts",
    "model_type": "an object",
    "string_type": "a text",
    "string_unicode": "a text of valid Unicode",
}
"""pydantic's kind of error → what the field must be; its own words name our classes."""

_adapter: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="action")])


def parse_command(text: str) -> Command:
    """The command in one text message.

    CommandError says what is wrong and where. It never echoes a value, and of names only that of a field
    which does not exist, cut to MAX_ECHO_CHARS.
    """
    if text == BARE_PING:
        return Ping(action="ping")
    try:
        return _adapter.validate_json(text)
    except ValidationError as error:
        raise _explain(error) from None


def ref_of(text: str) -> Ref:
    """The ``ref`` of a command that could not be carried out, so that its error can be told apart."""
    try:
        return _RefOnly.model_validate_json(text).ref
    except ValidationError:
        return None


class _RefOnly(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    ref: _Ref = None


def _explain(error: ValidationError) -> CommandError:
    first: dict[str, Any] = dict(error.errors(include_url=False, include_input=False)[0])
    kind = first["type"]
    place = ".".join(str(part) for part in first["loc"][1:])  # the first part is the action
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return CommandError("unknown_action", f"`action` must be one of {', '.join(ACTIONS)}")
    if kind == "json_invalid" or len(first["loc"]) < 2:
        return CommandError("invalid_json", 'send one JSON object, for example {"action":"ping"}')
    if kind == "extra_forbidden":
        return CommandError("unknown_field", f"`{place[:MAX_ECHO_CHARS]}` is not a field of this command; leave it out")
    if place == "ref" or place.startswith("ref."):
        return CommandError(
            "invalid_field", f"`ref` must be a whole number or at most {MAX_REF_CHARS} characters of text"
        )
    if kind == "missing":
        return CommandError("missing_field", f"`{place}` is missing")
    if kind in ("too_long", "string_too_long"):
        return CommandError("invalid_field", f"`{place}` must have at most {first['ctx']['max_length']} characters")
    return CommandError("invalid_field", f"`{place}` must be {_WANTED.get(kind, 'of another type')}")
