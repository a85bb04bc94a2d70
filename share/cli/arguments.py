"""The arguments of ``telemetry-bridge share``: text → what the server is asked. Every error says what to write."""

from __future__ import annotations

import argparse
import getpass
import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from bridge.cli.arguments import duration
from bridge.cli.terminal import escape
from bridge.core.setting_types import split_list
from bridge.core.times import parse_time, timestamp
from share.model.grant import FIELDS

MAX_PASSWORD_BYTES: Final = 1_024
"""Of a password file: a longer one is the wrong file."""

share_duration = partial(duration, days=True)


def share_life(text: str) -> float:
    """A duration above 0."""
    seconds = share_duration(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("a share must last longer than 0 seconds; write 90s, 15m, 1h or 30d")
    return seconds


def moment(text: str) -> str:
    """A time with its zone → RFC 3339 in UTC, as the server takes it."""
    try:
        return timestamp(parse_time(text.strip()))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write it with its zone, 2026-11-22T18:00:00Z or 2026-11-22T19:00:00+01:00"
        ) from None


def whole_number(least: int) -> Callable[[str], int]:
    """A type of whole numbers from ``least`` on."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return read


def metres(text: str) -> float:
    """``500``, ``500m`` or ``2.5km`` → metres."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(k?m)?", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length; write metres, such as 500, or 2.5km")
    return float(found[1]) * (1_000 if found[2] == "km" else 1)


def coordinates(text: str) -> tuple[float, float]:
    """``LAT,LON`` in degrees (WGS 84)."""
    number = r"\s*([+-]?[0-9]{1,3}(?:\.[0-9]{0,15})?)\s*"
    found = re.fullmatch(f"{number},{number}", text)
    lat, lon = (float(found[1]), float(found[2])) if found else (math.inf, math.inf)
    if abs(lat) > 90 or abs(lon) > 180:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a place; write latitude,longitude in degrees: -33.4489,-70.6693"
        )
    return lat, lon


def share_id(text: str) -> str:
    """The id of a share, not its link: a code in a request line would end up in access logs."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) is None:
        raise argparse.ArgumentTypeError("not the id of a share; `telemetry-bridge share list` shows the ids")
    return text


def names(text: str) -> list[str]:
    """Comma-separated, at least one, each once."""
    found = list(dict.fromkeys(split_list(text)))
    if not found:
        raise argparse.ArgumentTypeError("name at least one")
    return found


def fields(text: str) -> list[str]:
    """Some of FIELDS; ``none`` for a share that shows the place only."""
    found = [] if text.strip() == "none" else names(text)
    if unknown := [name for name in found if name not in FIELDS]:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is not a field; choose from {', '.join(FIELDS)}, or write none"
        )
    return found


def parse_aliases(texts: Iterable[str], device_ids: Sequence[str]) -> dict[str, str]:
    """``["A=Van 1"]`` → ``{"A": "Van 1"}``, for devices of the share only. An id may hold ``=`` itself."""
    aliases: dict[str, str] = {}
    for text in texts:
        fitting = [device_id for device_id in device_ids if text.startswith(device_id + "=")]
        if not fitting:
            raise ValueError(
                f"--alias {text!r}: write DEVICE=NAME with a device of this share ({escape(', '.join(device_ids))})"
            )
        device_id = max(fitting, key=len)
        alias = text[len(device_id) + 1 :].strip()
        if not alias or device_id in aliases:
            raise ValueError(f"--alias: {device_id!r} needs one name")
        aliases[device_id] = alias
    return aliases


def life(options: argparse.Namespace) -> dict[str, Any]:
    """``--ttl`` or ``--until`` as the server takes it. The server's clock counts the ttl, so ours does not matter."""
    return {"expires_in": options.ttl} if options.ttl is not None else {"expires_at": options.until}


def create_body(options: argparse.Namespace) -> dict[str, Any]:
    """The body of the request for a share. Only what was given is in it: the server knows the defaults.

    Asks for the password where the options say so. ValueError for what does not go together.
    """
    wishes = {
        "starts_at": options.starts_at,
        "label": options.label,
        "aliases": parse_aliases(options.alias, options.devices) or None,
        "max_viewers": options.max_viewers,
        "fields": options.fields,
        "precision_m": options.precision,
        "delay_s": options.delay,
        "trail": options.trail,
        "end_on_arrival": options.end_on_arrival or None,
    }
    body: dict[str, Any] = {"device_ids": options.devices, **life(options), **_said(wishes)}
    if options.destination is not None:
        lat, lon = options.destination
        radius, name = options.radius, options.destination_name
        body["destination"] = _said({"lat": lat, "lon": lon, "radius_m": radius, "name": name})
    elif options.end_on_arrival or options.radius is not None or options.destination_name is not None:
        raise ValueError("--end-on-arrival, --radius and --destination-name need a --destination")
    if options.password_file is not None:
        body["password"] = read_password(options.password_file)
    elif options.password_prompt:
        body["password"] = ask_password()
    return body


def _said(wishes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wishes.items() if value is not None}


def read_password(path: Path) -> str:
    """The one line in ``path``. ValueError, without the password, when it cannot be one."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PASSWORD_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise ValueError(f"the password file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("the password file is not text in UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(data) > MAX_PASSWORD_BYTES or any(char in text for char in "\r\n\0"):
        raise ValueError(f"the password file must hold one line of at most {MAX_PASSWORD_BYTES} bytes: the password")
    return text


def ask_password() -> str:
    """The password, typed twice and never shown. ValueError without a terminal that can hide it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would go on, and echo what is typed
        try:
            password = getpass.getpass("Password for viewers: ")
            again = getpass.getpass("Repeat the password: ")
        except (getpass.GetPassWarning, EOFError, OSError):
            raise ValueError("no terminal to ask for a password; use --password-file") from None
    if not password or password != again:
        raise ValueError("no password was given" if not password else "the passwords differ; nothing was shared")
    return password
