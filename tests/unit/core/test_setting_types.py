"""Single settings: what is taken, what is refused, and what a refusal never says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.addresses import check_origin, is_loopback, parse_mqtt_url
from bridge.core.setting_types import check_network, check_topic_filters, split_list


def test_lists_forgive_blanks_and_empty_items() -> None:
    """``a, b,,c`` and nothing at all."""
    assert split_list("a, b,,c ,") == ("a", "b", "c")
    assert split_list(" , ") == split_list("") == ()


# --- the MQTT broker's address ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, host, port, tls, username, password",
    [
        ("mqtt://localhost", "localhost", 1883, False, None, None),
        ("mqtts://broker.example.com", "broker.example.com", 8883, True, None, None),
        ("mqtt://h:1884/", "h", 1884, False, None, None),
        ("MQTTS://H:1", "h", 1, True, None, None),
        ("mqtt://[::1]:1883", "::1", 1883, False, None, None),
        ("mqtt://user:pass@h", "h", 1883, False, "user", "pass"),
        ("mqtt://user@h", "h", 1883, False, "user", None),
        ("mqtt://a%40b:p%3A%2F%23%25@h:65535", "h", 65535, False, "a@b", "p:/#%"),
        ("mqtt://u:p@ss@h", "h", 1883, False, "u", "p@ss"),
    ],
)
def test_mqtt_url_is_read(
    url: str, host: str, port: int, tls: bool, username: str | None, password: str | None
) -> None:
    """Default ports by scheme; user and password percent-decoded once."""
    address = parse_mqtt_url(url)
    assert address is not None
    assert (address.host, address.port, address.tls) == (host, port, tls)
    assert (address.username, address.password) == (username, password)


def test_embedded_is_no_address() -> None:
    """The word for the MQTT broker in this process."""
    assert parse_mqtt_url("embedded") is None


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "localhost:1883", "s3cret", "http://u:s3cret@h", "tcp://u:s3cret@h", "mqtt://",
     "mqtt://u:s3cret@",
     "mqtt:u:s3cret@h", "mqtt://u:s3cret@:1883", "mqtt://u:s3cret@h:0", "mqtt://u:s3cret@h:65536",
     "mqtt://u:s3cret@h:x",
     "mqtt://u:s3#cret@h", "mqtt://u:s3?cret@h", "mqtt://u:s3/cret@h", "mqtt://h/s3cret", "mqtt://h?s3cret",
     "mqtt://h#s3cret",
     "mqtt://u:s3cret@[::1", "mqtt://u:s3cret@[x]", "mqtt://s3cret@h\u2100.example", "Embedded"],
)  # fmt: skip
def test_refused_mqtt_url_is_never_quoted(url: str) -> None:
    """A typing error must not print a password, in the message or in the exception's chain."""
    with pytest.raises(ValueError, match="mqtt://") as caught:
        parse_mqtt_url(url)
    assert "cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_address_shows_no_password() -> None:
    """Neither printed nor in a traceback's repr."""
    address = parse_mqtt_url("mqtts://someone:s3cret@h")
    assert str(address) == "h:8883"
    assert repr(address) == "MqttAddress(h:8883)"
    assert f"{address}" == "h:8883"


# --- topic filters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filters",
    [["#"], ["+"], ["/"], ["fleet/#", "ships/#"], ["+/a", "+/b"], ["a/+/c", "a/b"], ["$SYS/#"], ["#", "$SYS/#"],
     ["+/x", "$SYS/x"], ["fleet/+/position", "fleet/+/status"], ["$share/g/fleet/#"], ["x" * 65_535]],
    ids=lambda filters: repr(filters)[:40],
)  # fmt: skip
def test_topic_filters_are_taken(filters: list[str]) -> None:
    """Wildcards as whole levels; a wildcard in front does not cover ``$`` topics (MQTT 5.0 section 4.7.2)."""
    check_topic_filters(filters)


@pytest.mark.parametrize(
    "text",
    ["", "a#", "#/a", "a/#/b", "a+", "a/+b", "++", "##", "a\0b", "x" * 65_536, "é" * 32_768],
    ids=lambda t: t[:9],
)
def test_what_is_no_topic_filter_is_refused(text: str) -> None:
    """MQTT 5.0 section 4.7.1 and 4.7.3: the MQTT broker would drop the link over it."""
    with pytest.raises(ValueError, match="is not a topic filter"):
        check_topic_filters(["ok", text])


def test_no_topic_filter_is_refused() -> None:
    """A bridge that subscribes to nothing looks healthy and is useless."""
    with pytest.raises(ValueError, match="at least one"):
        check_topic_filters([])


@pytest.mark.parametrize(
    "pair",
    [
        ("#", "a"),
        ("a/#", "a"),
        ("a", "a"),
        ("a/+", "a/#"),
        ("+/b", "a/+"),
        ("+/+/#", "a/b"),
        ("/#", "/"),
        ("$a/#", "$a/b"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_overlapping_filters_are_refused_by_name(pair: tuple[str, str], order: int) -> None:
    """Both are named, in either order, also when others stand between them."""
    first, second = pair[::order]
    with pytest.raises(ValueError, match="overlap") as caught:
        check_topic_filters([first, "$other/topic", second])
    assert repr(first) in str(caught.value)
    assert repr(second) in str(caught.value)


LEVELS = ["a", "b", "", "$a"]
TOPICS = ["/".join(levels) for n in (1, 2, 3, 4) for levels in itertools.product(LEVELS, repeat=n)]


def covers(text: str, topic: str) -> bool:
    """Whether a filter matches a topic: MQTT 5.0 section 4.7, written down level by level."""
    levels, parts = text.split("/"), topic.split("/")
    if topic.startswith("$") and levels[0] in ("+", "#"):
        return False
    while levels and levels[0] != "#":
        if not parts or levels[0] not in ("+", parts[0]):
            return False
        levels, parts = levels[1:], parts[1:]
    return bool(levels) or not parts


level = st.sampled_from([*LEVELS, "+"])
filters = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]), st.lists(level, max_size=3), st.sampled_from([["#"], ["a"], ["+"]])
)


@given(filters, filters)
def test_filters_overlap_exactly_when_some_topic_fits_both(first: str, second: str) -> None:
    """Against brute force over all topics of up to four levels."""
    shared = any(covers(first, topic) and covers(second, topic) for topic in TOPICS)
    try:
        check_topic_filters([first, second])
    except ValueError:
        assert shared
    else:
        assert not shared


# --- origins, networks, hosts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, origin",
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM/", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://h:80", "http://h"),
        ("http://h:443", "http://h:443"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("null", "null"),
    ],
)
def test_origins_are_written_as_browsers_send_them(text: str, origin: str) -> None:
    """Lower case, no default port, no slash (RFC 6454 section 6.2)."""
    assert check_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["", "*", "app.example.com", "https://", "https://*.example.com", "https://*", "ftp://h", "https://h/path",
     "https://h?q",
     "https://h#f", "https://u@h", "https://u:p@h", "https://h:x", "https://h:99999", "https://[::1", "https://a b",
     "https://münchen.de",
     "//h", "https:h", "https://h,https://i", "javascript:alert(1)", "NULL"],
)  # fmt: skip
def test_what_no_browser_sends_is_refused(text: str) -> None:
    """Patterns, paths, users: they would look like a rule and never fit, or fit too much."""
    with pytest.raises(ValueError, match=r"origin"):
        check_origin(text)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.7", "::1", "2001:db8::/32", "0.0.0.0/0"])
def test_networks_are_taken(text: str) -> None:
    """CIDR or a single address, IPv4 and IPv6."""
    check_network(text)


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "10.0.0.0/33", "10", "localhost", "10.0.0.0/8,::1", "fe80::1%eth0/64x"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    """Names, several at once, and networks with host bits (a typing error that would trust too much)."""
    with pytest.raises(ValueError, match="is not a network"):
        check_network(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LocalHost"])
def test_loopback_hosts_are_known(host: str) -> None:
    """The only ones on which AUTH=off is allowed."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "[::]",
        "127.1",
        "10.0.0.1",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "example.com",
        "localhost.",
    ],
)
def test_other_hosts_are_not_loopback(host: str) -> None:
    """Every interface, names that only look like it, and no name at all."""
    assert not is_loopback(host)


def test_origin_with_a_password_is_not_repeated() -> None:
    """The error says that it is wrong, and not what it was."""
    with pytest.raises(ValueError, match=r"^this is not an origin") as caught:
        check_origin("https://user:s3cret@app.example.com")
    assert "s3cret" not in str(caught.value)
