"""Arguments of more than one command: text → value. Every error says what to write."""

from __future__ import annotations

import argparse
import math
import re
from datetime import timedelta
from typing import Final

MAX_DURATION_SECONDS: Final = timedelta(days=3_660).total_seconds()
"""A sum that ends in another decade is a slip of the finger. What takes a duration has a far lower limit itself."""
MAX_PORT: Final = 65_535
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration(text: str, *, days: bool = False) -> float:
    """``90``, ``90s``, ``15m``, ``1h`` and, with ``days``, ``30d`` → seconds, whole ones as an int."""
    units = "smhd" if days else "smh"
    found = re.fullmatch(rf"([0-9]{{1,12}}(?:\.[0-9]{{1,12}})?)\s*([{units}]?)", text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else math.inf
    if seconds > MAX_DURATION_SECONDS:
        works = "90s, 15m, 1h or 30d" if days else "90s, 15m or 1h"
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write {works}")
    return int(seconds) if seconds.is_integer() else seconds


def port_number(text: str) -> int:
    """``0`` to ``65535``; 0 takes a free port."""
    if re.fullmatch("[0-9]{1,5}", text) is None or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; write a number from 0 to {MAX_PORT}")
    return int(text)
