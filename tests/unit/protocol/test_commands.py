"""What a client may say, and what it hears when it may not."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import CommandError
from bridge.core.limits import MAX_REF_CHARS, MAX_TOKEN_BYTES
from bridge.protocol.commands import (
    ACTIONS,
    Authenticate,
    Command,
    Info,
    Ping,
    Subscribe,
    SubscribeData,
    Unsubscribe,
    UnsubscribeData,
    parse_command,
    ref_of,
)


def refusal(text: str) -> CommandError:
    """The error with which a text is refused."""
    with pytest.raises(CommandError) as caught:
        parse_command(text)
    return caught.value


@pytest.mark.parametrize(
    "text, command",
    [
        ("ping", Ping(action="ping")),
        ('{"action":"ping"}', Ping(action="ping")),
        ('{"action":"ping","ref":7}', Ping(action="ping", ref=7)),
        (' {"ref":"a","action":"info","data":{}}\n', Info(action="info", ref="a")),
        ('{"action":"info","ref":null}', Info(action="info")),
        (
            '{"action":"subscribe","data":{"device_ids":["A","B,C"],"groups":["north"],"snapshot":false}}',
            Subscribe(
                action="subscribe", data=SubscribeData(device_ids=["A", "B,C"], groups=["north"], snapshot=False)
            ),
        ),
        ('{"action":"subscribe","data":{}}', Subscribe(action="subscribe", data=SubscribeData(snapshot=True))),
        (
            '{"action":"unsubscribe","data":{"device_ids":["A"]}}',
            Unsubscribe(action="unsubscribe", data=UnsubscribeData(device_ids=["A"])),
        ),
    ],
)
def test_commands_are_read(text: str, command: Command) -> None:
    """Each action with its defaults; the bare text ``ping`` is one too."""
    assert parse_command(text) == command


def test_token_is_read_and_not_shown() -> None:
    """Neither in the command's repr nor in its text."""
    command = parse_command('{"action":"authenticate","data":{"token":"v4.local.s3cret"}}')
    assert isinstance(command, Authenticate)
    assert command.data.token.get_secret_value() == "v4.local.s3cret"
    assert "s3cret" not in repr(command) + str(command)


def test_lists_of_different_commands_are_their_own() -> None:
    """A default that one command changed must not be another's."""
    assert parse_command('{"action":"subscribe","data":{}}') is not parse_command('{"action":"subscribe","data":{}}')
    with pytest.raises(ValueError, match="frozen"):
        setattr(parse_command('{"action":"ping"}'), "ref", 1)  # noqa: B010 - mypy knows that it is frozen


@pytest.mark.parametrize(
    "text, code",
    [
        # no JSON object
        ("", "invalid_json"), (" ", "invalid_json"), ("PING", "invalid_json"), ("ping ", "invalid_json"), ("{",
        "invalid_json"),
        ("null", "invalid_json"), ("1", "invalid_json"), ('"ping"', "invalid_json"), ("[]", "invalid_json"),
        ('[{"action":"ping"}]', "invalid_json"), ('{"action":"ping"}x', "invalid_json"), ("{'action':'ping'}",
        "invalid_json"),
        ('{"action":"ping",}', "invalid_json"), ("[" * 16_000, "invalid_json"), ('{"action":' * 1600, "invalid_json"),
        ('{"action":"info","ref":' + "1" * 5000 + "}", "invalid_json"), ('{"action":"info","ref":"\\ud800"}',
        "invalid_json"),
        ("\ufeff{}", "invalid_json"), ("\x00", "invalid_json"),
        # no such action
        ("{}", "unknown_action"), ('{"action":null}', "unknown_action"), ('{"action":1}', "unknown_action"),
        ('{"action":["ping"]}', "unknown_action"), ('{"action":"publish"}', "unknown_action"), ('{"action":"Ping"}',
        "unknown_action"),
        ('{"action":"ping "}', "unknown_action"), ('{"event":"ping"}', "unknown_action"), ('{"action":""}',
        "unknown_action"),
        # fields
        ('{"action":"subscribe"}', "missing_field"), ('{"action":"authenticate","data":{}}', "missing_field"),
        ('{"action":"ping","x":1}', "unknown_field"), ('{"action":"ping","data":{"x":1}}', "unknown_field"),
        ('{"action":"info","ping":1}', "unknown_field"), ('{"action":"info","reference":1}', "unknown_field"),
        ('{"action":"info","ref.x":1}', "unknown_field"), ('{"action":"info","__proto__":{}}', "unknown_field"),
        ('{"action":"unsubscribe","data":{"snapshot":true}}', "unknown_field"), ('{"action":"info","":1}',
        "unknown_field"),
        # types: nothing is converted
        ('{"action":"subscribe","data":null}', "invalid_field"), ('{"action":"subscribe","data":[]}', "invalid_field"),
        ('{"action":"subscribe","data":"A"}', "invalid_field"), ('{"action":"subscribe","data":{"device_ids":"A"}}',
        "invalid_field"),
        ('{"action":"subscribe","data":{"device_ids":[1]}}', "invalid_field"),
        ('{"action":"subscribe","data":{"device_ids":[null]}}', "invalid_field"),
        ('{"action":"subscribe","data":{"device_ids":{"A":1}}}', "invalid_field"),
        ('{"action":"subscribe","data":{"groups":null}}', "invalid_field"),
        ('{"action":"subscribe","data":{"snapshot":1}}', "invalid_field"),
        ('{"action":"subscribe","data":{"snapshot":"true"}}', "invalid_field"),
        ('{"action":"authenticate","data":{"token":1}}', "invalid_field"),
        ('{"action":"authenticate","data":{"token":null}}', "invalid_field"),
        # refs
        ('{"action":"ping","ref":1.0}', "invalid_field"), ('{"action":"ping","ref":true}', "invalid_field"),
        ('{"action":"ping","ref":[]}', "invalid_field"),
        ('{"action":"ping","ref":{}}', "invalid_field"), ('{"action":"ping","ref":NaN}', "invalid_field"),
        ('{"action":"ping","ref":1e400}', "invalid_field"),
    ],
    ids=lambda value: value[:60],
)  # fmt: skip
def test_bad_command_is_told_apart(text: str, code: str) -> None:
    """What is wrong, where, and what to do: one code for each kind, never an exception of another kind."""
    error = refusal(text)
    assert error.code == code
    assert error.message


@pytest.mark.parametrize(
    "text, part",
    [
        ('{"action":"subscribe","data":{"device_ids":["A",1]}}', "`data.device_ids.1`"),
        ('{"action":"authenticate","data":{}}', "`data.token` is missing"),
        ('{"action":"info","ping":1}', "`ping` is not a field"),
        ('{"action":"info","data":{"info":1}}', "`data.info` is not a field"),
        ('{"action":"ping","ref":true}', "`ref` must be"),
        ('{"action":"nope"}', ", ".join(ACTIONS)),
        ('{"action":"subscribe","data":{"device_ids":["A",1]}}', "must be a text"),
        ('{"action":"subscribe","data":{"device_ids":"A"}}', "`data.device_ids` must be a list of texts"),
        ('{"action":"subscribe","data":{"snapshot":1}}', "`data.snapshot` must be true or false"),
        ('{"action":"subscribe","data":"A"}', "`data` must be an object"),
        ('{"action":"info","data":[]}', "`data` must be an object"),
        ('{"action":"authenticate","data":{"token":1}}', "`data.token` must be a text"),
        (
            '{"action":"authenticate","data":{"token":"%s"}}' % ("x" * (MAX_TOKEN_BYTES + 1)),
            f"`data.token` must have at most {MAX_TOKEN_BYTES} characters",
        ),
    ],
)
def test_error_names_the_place(text: str, part: str) -> None:
    """A programmer finds the mistake without the documentation."""
    assert part in refusal(text).message


@pytest.mark.parametrize(
    "text",
    [
        '{"action":"authenticate","data":{"token":["s3cret"]}}',
        '{"action":"authenticate","data":{"token":{"s3cret":1}}}',
        '{"action":"authenticate","data":"s3cret"}',
        '{"action":"s3cret"}',
        '{"action":"ping","ref":["s3cret"]}',
        "s3cret",
        '{"action":"authenticate","data":{"token":"s3cret%s"}}' % ("x" * MAX_TOKEN_BYTES),
    ],
    ids=lambda text: text[:50],
)
def test_values_are_never_echoed(text: str) -> None:
    """A token in the wrong place must not come back, let alone into a log."""
    error = refusal(text)
    assert "s3cret" not in f"{error} {error.message} {error.__cause__} {ref_of(text) or ''}"
    assert error.__suppress_context__


def test_name_of_an_unknown_field_is_cut() -> None:
    """It is the only thing of a client's that is echoed, so it must not amplify."""
    assert len(refusal(json.dumps({"action": "ping", "x" * 10_000: 1})).message) < 200


@pytest.mark.parametrize("ref", [0, -(2**53), 2**53, "", "x" * MAX_REF_CHARS, "é\n"])
def test_ref_within_its_limits_comes_through(ref: int | str) -> None:
    """Whole numbers that JavaScript can hold, and short text; of a bad command too."""
    assert parse_command(json.dumps({"action": "ping", "ref": ref})).ref == ref
    assert ref_of(json.dumps({"action": "nope", "ref": ref, "data": [1]})) == ref


@pytest.mark.parametrize("ref", [2**53 + 1, -(2**53) - 1, 10**30, "x" * (MAX_REF_CHARS + 1), 1.5, True, [], {}])
def test_ref_outside_its_limits_is_not_echoed(ref: Any) -> None:
    """Neither in the answer nor beside it."""
    text = json.dumps({"action": "ping", "ref": ref})
    assert refusal(text).code == "invalid_field"
    assert ref_of(text) is None


@pytest.mark.parametrize(
    "text", ["", "ping", "[]", "null", "{", '{"ref":"\\ud800"}', "[" * 16_000, '{"ref":' + "1" * 5000 + "}"]
)
def test_no_ref_is_found_in_what_has_none(text: str) -> None:
    """And nothing is raised."""
    assert ref_of(text) is None


@pytest.mark.parametrize("size, passes", [(0, True), (1, True), (MAX_TOKEN_BYTES, True), (MAX_TOKEN_BYTES + 1, False)])
def test_token_has_a_greatest_length(size: int, passes: bool) -> None:
    """A longer one is refused before any cryptography; what an empty one is worth the verifier says."""
    text = json.dumps({"action": "authenticate", "data": {"token": "x" * size}})
    if passes:
        assert isinstance(parse_command(text), Authenticate)
    else:
        assert refusal(text).code == "invalid_field"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
)


@given(
    st.text()
    | st.fixed_dictionaries(
        {"action": st.sampled_from(ACTIONS) | st.text()}, optional={"ref": json_values, "data": json_values}
    ).map(json.dumps)
)
def test_any_text_is_a_command_or_a_command_error(text: str) -> None:
    """A client cannot raise anything else."""
    ref_of(text)
    with contextlib.suppress(CommandError):
        parse_command(text)
