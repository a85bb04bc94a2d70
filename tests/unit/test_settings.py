"""Settings: where they come from, what is refused, and what is never said."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from bridge.core.errors import SettingsError
from bridge.settings import PREFIX, Settings, given_variables, load_settings

KEY = "k4.local.c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no variable of ours but AUTH=off."""
    import os

    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BRIDGE_AUTH", "off")
    monkeypatch.chdir(tmp_path)


def problems() -> dict[str, str]:
    """What loading complains about, by setting."""
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.problems
    assert len(dict(caught.value.problems)) == len(caught.value.problems)
    assert all(name in str(caught.value) and reason in str(caught.value) for name, reason in caught.value.problems)
    return dict(caught.value.problems)


# --- where values come from -----------------------------------------------------------------------------------


def test_defaults_are_enough_on_a_loopback_host() -> None:
    """All but a key, or AUTH=off, has a default that works."""
    settings = load_settings()
    assert settings == load_settings(auth="off")
    assert (settings.host, settings.port, settings.mqtt_topics) == ("127.0.0.1", 8000, ("#",))


def test_environment_wins_over_dotenv_and_dotenv_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the program itself says wins over all three."""
    Path("telemetry-bridge.toml").write_text('port = 1\nqueue_messages = 1\nmax_device_ids = 1\nlog_level = "ERROR"\n')
    Path(".env").write_text("BRIDGE_PORT=2\nBRIDGE_QUEUE_MESSAGES=2\nexport BRIDGE_MAX_DEVICE_IDS='2'\n")
    monkeypatch.setenv("BRIDGE_PORT", "3")
    monkeypatch.setenv("bridge_queue_messages", "3")
    settings = load_settings(port=4)
    assert (settings.port, settings.queue_messages, settings.max_device_ids) == (4, 3, 2)
    assert settings.log_level == "ERROR"


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_another_file_can_be_named(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By BRIDGE_CONFIG, instead of the default one."""
    Path("telemetry-bridge.toml").write_text("port = 1\n")
    Path("other.toml").write_text("port = 2\n")
    if place == ".env":
        Path(".env").write_text("BRIDGE_CONFIG=other.toml\n")
    else:
        monkeypatch.setenv("BRIDGE_CONFIG", "other.toml")
    assert load_settings().port == 2


def test_lists_are_written_with_commas_or_as_toml_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and empty items are forgiven."""
    monkeypatch.setenv("BRIDGE_MQTT_TOPICS", "fleet/#, ships/+/position,")
    Path("telemetry-bridge.toml").write_text('allowed_origins = ["https://A.example", "http://localhost:5173"]\n')
    settings = load_settings()
    assert settings.mqtt_topics == ("fleet/#", "ships/+/position")
    assert settings.allowed_origins == ("https://a.example", "http://localhost:5173")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_can_be_set_to_its_default_by_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is text: numbers, choices, lists and paths must all be readable from it."""
    default = Settings.model_fields[name].default
    text = default.get_secret_value() if hasattr(default, "get_secret_value") else default
    text = "" if text is None else ",".join(text) if isinstance(text, tuple) else str(text)
    if name != "auth":
        monkeypatch.setenv(PREFIX + name.upper(), text)
    assert getattr(load_settings(), name) == (default if name != "auth" else "off")


@pytest.mark.parametrize("name", ["mqtt_ca_file", "groups_file", "tls_cert", "tls_key", "admin_port"])
def test_empty_variable_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Compose writes ``${NAME:-}``; an empty path would be the current folder."""
    monkeypatch.setenv(PREFIX + name.upper(), "")
    assert getattr(load_settings(), name) is None


# --- names that do not exist ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BRIDGE_PROT", "bridge_nope", "BRIDGE_", "BRIDGE_MQTT_URL_"])
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_unknown_name_is_refused(name: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error would otherwise be a default that nobody chose; an empty value is no excuse."""
    if place == ".env":
        Path(".env").write_text(f"{name}=\n")
    else:
        monkeypatch.setenv(name, "s3cret")
    assert list(problems()) == [name]


@pytest.mark.parametrize("text", ["prot = 1", "bridge_port = 1", "[port]\nx = 1"])
def test_unknown_name_in_the_file_is_refused(text: str) -> None:
    """In TOML names are written without the prefix, and with it they are not silently ignored."""
    Path("telemetry-bridge.toml").write_text(text)
    assert len(problems()) == 1


def test_other_programs_variables_are_not_ours() -> None:
    """A .env is often shared, for instance with Compose."""
    Path(".env").write_text("COMPOSE_PROJECT_NAME=x\nPORT=9\nBRIDGEPORT=9\nBRIDGE_PORT=9\n")
    assert load_settings().port == 9


@pytest.mark.parametrize("text", ["port = ", "port = 1\nport = 2", "port", "\udcff", "= 1"])
def test_file_that_does_not_parse_is_named(text: str) -> None:
    """With the place of the mistake as the parser has it, beside everything else that is wrong."""
    Path("telemetry-bridge.toml").write_bytes(text.encode(errors="surrogateescape"))
    Path(".env").write_text("BRIDGE_NOPE=1\n")
    told = problems()
    assert set(told) == {"BRIDGE_CONFIG", "BRIDGE_NOPE"}
    assert "telemetry-bridge.toml" in told["BRIDGE_CONFIG"]


def test_dotenv_that_is_no_text_is_named() -> None:
    """Notepad writes UTF-16 if asked to."""
    Path(".env").write_bytes("BRIDGE_PORT=é".encode("utf-16"))
    assert list(problems()) == [".env"]
    assert "UTF-8" in problems()[".env"]


def test_what_is_given_is_known_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment, .env and the file; a default is not given."""
    monkeypatch.setenv("bridge_port", "1")
    Path(".env").write_text("BRIDGE_LOG_LEVEL=INFO\nOTHER=1\n")
    Path("telemetry-bridge.toml").write_text('mqtt_url = "mqtt://h"\n')
    assert given_variables() == {"BRIDGE_AUTH", "BRIDGE_PORT", "BRIDGE_LOG_LEVEL", "BRIDGE_MQTT_URL"}


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_named_file_must_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default one need not; a folder is no file."""
    monkeypatch.setenv("BRIDGE_CONFIG", name)
    monkeypatch.setenv("BRIDGE_PORT", "x")
    assert set(problems()) == {"BRIDGE_CONFIG", "BRIDGE_PORT"}


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, bad",
    [
        ("PORT", "-1"), ("PORT", "65536"), ("PORT", "x"), ("PORT", "80.5"), ("PORT", ""),
        ("HOST", ""), ("HOST", " "), ("HOST", "[]"),
        ("PUBLIC_URL", "telemetry.example.com"), ("PUBLIC_URL", "https://x/path"), ("PUBLIC_URL", "null"),
        ("MQTT_URL", "http://h"), ("MQTT_TOPICS", "a#"), ("MQTT_TOPICS", ""), ("MQTT_TOPICS", "fleet/#,fleet/+/pos"),
        ("MQTT_QOS", "2"), ("MQTT_QOS", "-1"), ("MQTT_QOS", ""), ("MQTT_VERSION", "4"), ("MQTT_CLIENT_ID", "x" * 129),
        ("DECODER", "protobuf"), ("MAX_PAYLOAD_BYTES", "0"), ("MAX_PAYLOAD_BYTES", str(16 * 1024 * 1024 + 1)), ("AUTH",
        "none"),
        ("ALLOWED_ORIGINS", "*"), ("ALLOWED_ORIGINS", "https://ok.example,https://*.example"),
        ("QUEUE_MESSAGES", "0"), ("QUEUE_MESSAGES", "100001"), ("QUEUE_BYTES", "1023"), ("OVERFLOW", "drop"),
        ("HEARTBEAT_SECONDS", "0.9"), ("HEARTBEAT_SECONDS", "301"), ("HEARTBEAT_SECONDS", "nan"), ("HEARTBEAT_SECONDS",
        "inf"),
        ("MAX_CONNECTIONS", "-1"), ("MAX_CONNECTIONS_PER_IP", "-1"), ("MAX_CONNECTIONS_PER_PRINCIPAL", "-1"),
        ("MAX_DEVICE_IDS", "0"),
        ("HANDSHAKES_PER_SECOND", "-1"), ("EVENT_LOOP", "trio"), ("LOG_LEVEL", "info"), ("LOG_FORMAT", "xml"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"), ("TRUSTED_PROXIES", "proxy"), ("ADMIN_PORT", "65536"),
        ("DRAIN_SECONDS", "0.4"), ("DRAIN_SECONDS", "601"), ("DRAIN_SECONDS", "nan"),
    ],
)  # fmt: skip
def test_value_out_of_range_is_refused_by_name(name: str, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One problem, by the full name of its variable."""
    monkeypatch.setenv(PREFIX + name, bad)
    assert list(problems()) == [PREFIX + name]


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"AUTH": "off", "HOST": "0.0.0.0"}, {"AUTH"}),
        ({"MAX_PAYLOAD_BYTES": "262144"}, {"QUEUE_BYTES"}),
        ({"QUEUE_BYTES": str(128 * 1024 + 1023)}, {"QUEUE_BYTES"}),
        ({"QUEUE_BYTES": str(128 * 1024 + 1024)}, set()),
        ({"QUEUE_BYTES": "2048", "MAX_PAYLOAD_BYTES": "1024"}, set()),
        ({"AUTH": "required"}, {"ACCESS_KEYS"}),
        ({"TLS_CERT": "cert.pem"}, {"TLS_CERT"}),
        ({"TLS_KEY": "key.pem"}, {"TLS_CERT"}),
        ({"ADMIN_PORT": "8000"}, {"ADMIN_PORT"}),
        ({"AUTH": "off", "HOST": "::", "TLS_KEY": "k", "PORT": "9", "ADMIN_PORT": "9"}, {"AUTH", "TLS_CERT",
        "ADMIN_PORT"}),
        ({"AUTH": "off", "HOST": "localhost"}, set()),
        ({"AUTH": "off", "HOST": "::1", "PORT": "0", "ADMIN_PORT": "0"}, set()),
        ({"AUTH": "required", "ACCESS_KEYS": KEY, "HOST": "0.0.0.0"}, set()),
        ({"TLS_CERT": "c", "TLS_KEY": "k", "ADMIN_PORT": "8001"}, set()),
    ],
    ids=count(),
)  # fmt: skip
def test_settings_must_go_together(changes: dict[str, str], told: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Open to everyone only on loopback; a key where tokens are required; certificate and key; two ports."""
    for name, value in changes.items():
        monkeypatch.setenv(PREFIX + name, value)
    if told:
        assert set(problems()) == {PREFIX + name for name in told}
    else:
        load_settings()


def test_all_problems_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at the message is enough, whatever the place where each mistake was made."""
    monkeypatch.setenv("BRIDGE_PORT", "x")
    monkeypatch.setenv("BRIDGE_NOPE", "1")
    monkeypatch.setenv("BRIDGE_MQTT_URL", "mqtt://u:s3cret@h:x")
    Path(".env").write_text("BRIDGE_OVERFLOW=all\nBRIDGE_OTHER=1\n")
    Path("telemetry-bridge.toml").write_text('log_level = "LOUD"\nthird = 1\n')
    assert set(problems()) == {
        PREFIX + name for name in ("PORT", "NOPE", "MQTT_URL", "OVERFLOW", "OTHER", "LOG_LEVEL", "THIRD")
    }


# --- secrets ------------------------------------------------------------------------------------------------------


def test_secrets_are_not_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs the settings, or gets them in a traceback, learns no password and no key."""
    monkeypatch.setenv("BRIDGE_MQTT_URL", "mqtts://u:s3cret@h")
    monkeypatch.setenv("BRIDGE_ACCESS_KEYS", f"{KEY},{KEY}")
    settings = load_settings()
    text = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "s3cret" not in text
    assert KEY not in text
    assert [key.get_secret_value() for key in settings.access_keys] == [KEY, KEY]


@pytest.mark.parametrize("place", ["environment", ".env", "file"])
def test_secrets_are_not_in_error_messages(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is the secret itself that is wrong, or another setting beside it."""
    values = {"MQTT_URL": "tcp://u:s3cret@h", "PORT": "x", "TLS_CERT": "c"}
    for name, value in values.items():
        if place == "environment":
            monkeypatch.setenv(PREFIX + name, value)
    Path(".env").write_text("".join(f"{PREFIX}{n}={v}\n" for n, v in values.items()) if place == ".env" else "")
    lines = [f'{n.lower()} = "{v}"' for n, v in values.items()] + ['access_keys = [["s3cret"]]']
    Path("telemetry-bridge.toml").write_text("\n".join(lines if place == "file" else []))
    told = problems()
    assert set(told) >= {"BRIDGE_MQTT_URL", "BRIDGE_PORT"}
    assert "s3cret" not in str(told)


def test_settings_cannot_be_changed() -> None:
    """Read once, checked as a whole, frozen."""
    with pytest.raises(ValueError, match="frozen"):
        setattr(load_settings(), "port", 1)  # noqa: B010 - mypy knows that it is frozen
