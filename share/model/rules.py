"""What a grant may hold, as types of pydantic: the same rules for operators' requests and for tokens. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from bridge.core.device_ids import DEVICE_ID_RULE, is_device_id
from bridge.core.times import parse_time
from share.model.limits import MAX_DELAY_SECONDS, MAX_PRECISION_M, MIN_PRECISION_M


def _device_id(text: str) -> str:
    if not is_device_id(text):
        raise ValueError(f"not a device id: use {DEVICE_ID_RULE}")
    return text


def _precision(metres: float) -> float:
    if metres and not MIN_PRECISION_M <= metres <= MAX_PRECISION_M:
        raise ValueError(f"neither 0 nor from {MIN_PRECISION_M:g} to {MAX_PRECISION_M:g}")
    return metres


Number = Annotated[float, Field(allow_inf_nan=False)]
Time = Annotated[float, BeforeValidator(parse_time)]
"""RFC 3339 with a zone → seconds since the epoch."""
DeviceId = Annotated[str, AfterValidator(_device_id)]
Precision = Annotated[Number, AfterValidator(_precision)]
Delay = Annotated[Number, Field(ge=0, le=MAX_DELAY_SECONDS)]
