"""How often an address may call: rates, what is remembered, and whose address it is."""

from __future__ import annotations

import pytest

from share.api.limiter import Limiter, address_key
from share.model.limits import ShareLimits

MANY = ShareLimits().max_remembered_addresses


def test_all_calls_of_a_minute_may_come_at_once_and_then_one_by_one() -> None:
    """Six a minute: six at once, the next when ten seconds have passed, and never more saved up than six."""
    limiter = Limiter(6, MANY)
    assert [limiter.take("a", 100.0) for _ in range(7)] == [True] * 6 + [False]
    assert not limiter.take("a", 109.9)
    assert limiter.take("a", 110.0)
    assert not limiter.take("a", 110.0)
    assert [limiter.take("a", 10_000.0) for _ in range(7)] == [True] * 6 + [False]


def test_each_key_has_its_own_rate() -> None:
    """One who calls too often locks out nobody else."""
    limiter = Limiter(1, MANY)
    assert [limiter.take("a", 0.0), limiter.take("a", 0.0), limiter.take("b", 0.0)] == [True, False, True]


def test_no_limit_takes_and_remembers_nothing() -> None:
    """Zero is off."""
    limiter = Limiter(0, MANY)
    assert all(limiter.take("a", 0.0) and limiter.has("a", 0.0) for _ in range(1000))
    assert len(limiter) == 0


def test_asking_costs_nothing() -> None:
    """``has`` is what ``take`` would say; of an unknown key it leaves no trace."""
    limiter = Limiter(2, MANY)
    assert all(limiter.has("a", 0.0) for _ in range(10))
    assert len(limiter) == 0
    assert limiter.take("a", 0.0) and limiter.has("a", 0.0) and limiter.take("a", 0.0)
    assert not limiter.has("a", 0.0) and not limiter.take("a", 0.0)
    assert limiter.has("a", 30.0)


def test_the_key_that_was_quiet_longest_is_forgotten_first() -> None:
    """Bounded; whoever keeps calling, or is asked for, stays known and stays refused."""
    limiter = Limiter(1, 3)
    assert [limiter.take(key, 0.0) for key in ("a", "b", "c")] == [True] * 3
    assert not limiter.take("a", 0.0)
    assert not limiter.has("b", 0.0)
    assert limiter.take("d", 0.0)
    assert limiter.take("c", 0.0)  # the only one that was forgotten, so it begins anew
    assert not limiter.take("d", 0.0)
    assert len(limiter) == 3


def test_strangers_do_not_pile_up() -> None:
    """At the real bound."""
    limiter = Limiter(60, MANY)
    for number in range(MANY + 500):
        limiter.take(number, 0.0)
    assert len(limiter) == MANY


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
