"""Shares to store: one by hand, and any that can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from share.model.grant import FIELDS, Destination, Grant
from share.model.share import EndReason, Share

NOW: Final = 1_800_000_000.0


def a_share(number: int = 1, **changes: Any) -> Share:
    """An active share of ``NOW``; equal numbers make equal ids and codes."""
    share = Share(
        id=f"id-{number:04}",
        code_hash=f"{number:064x}",
        owner="ana",
        created_at=NOW - 10,
        starts_at=NOW - 10,
        ends_at=NOW + 3600,
        grant=Grant(aliases=(("van-1", "Van 1"),), starts_at=NOW - 10),
    )
    share = replace(share, **changes)
    return replace(share, grant=replace(share.grant, starts_at=share.starts_at))


# PostgreSQL keeps every character but this one, and requests with control characters are refused long before.
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_times = st.floats(0, 1e11)
_numbers = st.floats(0, 1e6)
_aliases = st.dictionaries(_text, _text, max_size=5).map(lambda found: tuple(found.items()))
_destinations = st.builds(Destination, st.floats(-90, 90), st.floats(-180, 180), _numbers, _text)
_grants = st.builds(
    Grant,
    aliases=_aliases,
    fields=st.frozensets(st.sampled_from(FIELDS)),
    precision_m=_numbers,
    delay_s=_numbers,
    trail=st.integers(0, 500),
    destination=st.none() | _destinations,
    end_on_arrival=st.booleans(),
)
_shares = st.builds(
    Share,
    id=_text,
    code_hash=_text,
    owner=_text,
    created_at=_times,
    starts_at=_times,
    ends_at=_times,
    grant=_grants,
    label=_text,
    password_hash=st.none() | _text,
    max_viewers=st.none() | st.integers(1, 2**63 - 1),
    ended_at=st.none() | _times,
    end_reason=st.none() | st.sampled_from(EndReason),
    viewers_total=st.integers(0, 2**63 - 1),
)
shares: Final = _shares.map(lambda share: replace(share, grant=replace(share.grant, starts_at=share.starts_at)))
"""Any share that can be stored, its grant's ``starts_at`` its own."""
