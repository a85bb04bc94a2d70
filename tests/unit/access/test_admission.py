"""Caps, rates and the addresses that they count by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.access.admission import Admission, Refusal
from bridge.access.client_address import client_ip, parse_networks
from bridge.core.rates import EPISODE_SECONDS, Episodes, TokenBucket


def admission(connections: int = 0, per_ip: int = 0, per_principal: int = 0, rate: int = 0) -> Admission:
    """Admission with these limits; 0 means no limit."""
    return Admission(
        max_connections=connections, max_per_ip=per_ip, max_per_principal=per_principal,
        handshakes_per_second=rate, now=0.0,
    )  # fmt: skip


# --- caps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit, admitted", [(0, 5), (1, 1), (4, 4), (5, 5), (6, 5)])
def test_cap_in_all_lets_in_exactly_as_many(limit: int, admitted: int) -> None:
    """One below, the limit itself, one above, and no limit."""
    counted = admission(connections=limit)
    answers = [counted.admit(f"ip{number}", 0.0) for number in range(5)]
    assert answers == [None] * admitted + [Refusal.FULL] * (5 - admitted)
    assert counted.connections == counted.peak == admitted
    assert counted.refused.get("full", 0) == 5 - admitted


@pytest.mark.parametrize("limit, admitted", [(0, 5), (1, 1), (4, 4), (5, 5), (6, 5)])
def test_cap_per_address_is_for_each_address(limit: int, admitted: int) -> None:
    """Who has too many does not keep others out."""
    counted = admission(per_ip=limit)
    for ip in ("192.0.2.1", "192.0.2.2"):
        answers = [counted.admit(ip, 0.0) for _ in range(5)]
        assert answers == [None] * admitted + [Refusal.ADDRESS] * (5 - admitted)


@pytest.mark.parametrize("limit, admitted", [(0, 5), (1, 1), (4, 4), (5, 5), (6, 5)])
def test_cap_per_principal_is_for_each_subject(limit: int, admitted: int) -> None:
    """Counted apart from connections, since the token may come later than the socket."""
    counted = admission(per_principal=limit)
    for subject in ("anna", "bert"):
        assert [counted.admit_principal(subject) for _ in range(5)] == [True] * admitted + [False] * (5 - admitted)
    assert counted.refused.get("principal", 0) == 2 * (5 - admitted)


def test_released_place_is_free_again() -> None:
    """For the next one, of any address or subject; the peak remembers."""
    counted = admission(connections=1, per_ip=1, per_principal=1)
    for _ in range(3):
        assert counted.admit("a", 0.0) is None
        assert counted.admit("b", 0.0) is Refusal.FULL
        assert counted.admit_principal("anna")
        assert not counted.admit_principal("anna")
        counted.release("a")
        counted.release_principal("anna")
    assert (counted.connections, counted.peak) == (0, 1)
    assert not counted.by_ip
    assert not counted.by_principal


def test_draining_lets_nobody_in() -> None:
    """Whatever room there is."""
    counted = admission()
    counted.draining = True
    assert counted.admit("a", 0.0) is Refusal.DRAINING
    assert counted.connections == 0


def test_refused_stream_costs_no_place_and_no_token() -> None:
    """Hammering at a full server does not make it refuse others for the rate afterwards."""
    counted = admission(connections=1, rate=1)
    assert counted.admit("a", 0.0) is None
    assert [counted.admit("b", 0.0) for _ in range(10)] == [Refusal.FULL] * 10
    counted.release("a")
    assert counted.admit("b", 0.0) is None


@given(st.lists(st.tuples(st.sampled_from(["in", "out"]), st.sampled_from("abc")), max_size=60))
def test_counters_are_exact_and_leave_nothing_behind(steps: list[tuple[str, str]]) -> None:
    """Any coming and going: counts as in a plain list, and empty counters when all are gone."""
    counted = admission(connections=4, per_ip=2)
    inside: list[str] = []
    for step, ip in steps:
        if step == "in":
            allowed = len(inside) < 4 and inside.count(ip) < 2
            assert (counted.admit(ip, 0.0) is None) is allowed
            inside += [ip] * allowed
        elif ip in inside:
            inside.remove(ip)
            counted.release(ip)
        assert counted.connections == len(inside)
    for ip in inside:
        counted.release(ip)
    assert counted.connections == 0
    assert not counted.by_ip


@pytest.mark.parametrize("refusal", list(Refusal))
def test_refusal_says_what_to_do(refusal: Refusal) -> None:
    """503 where any client would be refused, 429 where it is this one's own doing."""
    assert refusal.status == (429 if refusal is Refusal.ADDRESS else 503)
    assert refusal.message


# --- rates --------------------------------------------------------------------------------------------------


def test_burst_is_let_in_and_then_the_rate() -> None:
    """Twice the rate at once; then one per interval; never more than the burst saved up."""
    counted = admission(rate=10)
    assert [counted.admit("a", 0.0) for _ in range(21)] == [None] * 20 + [Refusal.RATE]
    assert counted.admit("a", 0.0999) is Refusal.RATE
    assert counted.admit("a", 0.2) is None
    assert sum(counted.admit("a", 1000.0) is None for _ in range(30)) == 20


def test_rate_of_zero_is_no_limit() -> None:
    """As the settings say."""
    bucket = TokenBucket(0, 0, 0.0)
    assert all(bucket.take(0.0) for _ in range(1000))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.integers(1, 10), st.integers(1, 20))
def test_bucket_never_gives_more_than_rate_and_burst(waits: list[float], rate: int, burst: int) -> None:
    """Over any stretch from the start; and a client below the rate is never refused."""
    bucket = TokenBucket(rate, burst, 0.0)
    now, given_out = 0.0, 0
    for wait in waits:
        now += wait
        given_out += bucket.take(now)
        assert given_out <= burst + now * rate + 1e-6
    now += 1.0001 / rate
    assert bucket.take(now)


# --- addresses ----------------------------------------------------------------------------------------------

TRUSTED = parse_networks(["10.0.0.0/8", "2001:db8::/32", "192.0.2.9"])


@pytest.mark.parametrize(
    "peer, forwarded, client",
    [
        # nobody in between
        ("203.0.113.5", "", "203.0.113.5"),
        ("10.0.0.1", "", "10.0.0.1"),
        # a client that writes the header itself
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("203.0.113.5", "10.0.0.1, 10.0.0.2", "203.0.113.5"),
        # one proxy: only what it appended counts
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "10.9.9.9, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "garbage, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", ",,, 203.0.113.5 ", "203.0.113.5"),
        # two proxies
        ("10.0.0.1", "203.0.113.5, 10.0.0.2", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
        ("192.0.2.9", "203.0.113.5, 2001:db8::7", "203.0.113.5"),
        # a client inside the trusted network
        ("10.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", "10.0.0.7, 10.0.0.2", "10.0.0.7"),
        # IPv6
        ("2001:db8::1", "2a00::5", "2a00::5"),
        ("::1", "203.0.113.5", "::1"),
        # a proxy that writes no address: its own is all that is known
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5:4711", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5, _hidden, 10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", " ", "10.0.0.1"),
        ("10.0.0.1", "\r\nX: y", "10.0.0.1"),
        # a Unix socket has no peer address
        ("", "203.0.113.5", ""),
    ],
)
def test_client_address_is_what_trusted_proxies_say(peer: str, forwarded: str, client: str) -> None:
    """X-Forwarded-For from the right, as far as the proxies are ours; nothing that a client can write is believed."""
    assert client_ip(peer, forwarded, TRUSTED) == client


def test_without_trusted_proxies_the_header_is_not_read() -> None:
    """The default."""
    assert client_ip("10.0.0.1", "203.0.113.5", ()) == "10.0.0.1"


@given(st.text(max_size=60))
def test_spoofed_header_before_a_real_entry_changes_nothing(spoofed: str) -> None:
    """Whatever a client sends, the proxy appends the address that it saw."""
    assert client_ip("10.0.0.1", f"{spoofed}, 203.0.113.5", TRUSTED) == "203.0.113.5"


def test_refusals_of_a_kind_are_told_once_a_minute() -> None:
    """The first at once, then one line for all since; other kinds have other lines."""
    episodes = Episodes()
    assert episodes.due("full", 1, 0.0) == 1
    assert [episodes.due("full", count, count / 100) for count in range(2, 50)] == [0] * 48
    assert episodes.due("rate", 7, 1.0) == 7
    assert episodes.due("full", 50, EPISODE_SECONDS - 0.1) == 0
    assert episodes.due("full", 51, EPISODE_SECONDS) == 50
