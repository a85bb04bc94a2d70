"""How often an address may knock: rates, what is remembered, and whose address it is."""

from __future__ import annotations

import pytest

from share.api import limiter
from share.api.limiter import Limiter, address_key


def test_all_knocks_of_a_minute_may_come_at_once_and_then_one_by_one() -> None:
    """Six a minute: six at once, the next when ten seconds have passed, and never more saved up than six."""
    doors = Limiter(6)
    assert [doors.take("a", 100.0) for _ in range(7)] == [True] * 6 + [False]
    assert not doors.take("a", 109.9)
    assert doors.take("a", 110.0)
    assert not doors.take("a", 110.0)
    assert [doors.take("a", 10_000.0) for _ in range(7)] == [True] * 6 + [False]


def test_each_key_has_its_own_rate() -> None:
    """One who knocks too often locks out nobody else."""
    doors = Limiter(1)
    assert [doors.take("a", 0.0), doors.take("a", 0.0), doors.take("b", 0.0)] == [True, False, True]


def test_no_limit_takes_and_remembers_nothing() -> None:
    """Zero is off."""
    doors = Limiter(0)
    assert all(doors.take("a", 0.0) and doors.has("a", 0.0) for _ in range(1000))
    assert not doors._buckets


def test_asking_costs_nothing() -> None:
    """``has`` is what ``take`` would say; of an unknown key it leaves no trace."""
    doors = Limiter(2)
    assert all(doors.has("a", 0.0) for _ in range(10))
    assert not doors._buckets
    assert doors.take("a", 0.0) and doors.has("a", 0.0) and doors.take("a", 0.0)
    assert not doors.has("a", 0.0) and not doors.take("a", 0.0)
    assert doors.has("a", 30.0)


def test_the_key_that_was_quiet_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded; whoever keeps knocking, or is asked for, stays known and stays refused."""
    monkeypatch.setattr(limiter, "MAX_REMEMBERED", 3)
    doors = Limiter(1)
    assert [doors.take(key, 0.0) for key in ("a", "b", "c")] == [True] * 3
    assert not doors.take("a", 0.0)
    assert not doors.has("b", 0.0)
    assert doors.take("d", 0.0)
    assert list(doors._buckets) == ["a", "b", "d"]
    assert doors.take("c", 0.0)  # forgotten, so it begins anew
    assert not doors.take("d", 0.0)
    assert len(doors._buckets) == 3


def test_strangers_do_not_pile_up() -> None:
    """At the real bound."""
    doors = Limiter(60)
    for number in range(limiter.MAX_REMEMBERED + 500):
        doors.take(number, 0.0)
    assert len(doors._buckets) == limiter.MAX_REMEMBERED


@pytest.mark.parametrize(
    "ip, key",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("", ""),
        ("unknown:", "unknown:"),
        (":::", ":::"),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_address_stands_for_its_network(ip: str, key: str) -> None:
    """Whoever has one of a /64 has all of them; IPv4 in IPv6 clothes is IPv4; what is no address is itself."""
    assert address_key(ip) == key
