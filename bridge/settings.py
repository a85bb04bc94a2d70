"""Everything that can be set, read once at start from the environment, ``.env`` and a TOML file.

Environment variables win over ``.env``, which wins over the file that ``BRIDGE_CONFIG`` names (default
``telemetry-bridge.toml``, if there is one). The README's table of settings repeats names, defaults and
descriptions; a test holds the two together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bridge.core.errors import SettingsError
from bridge.core.setting_types import (
    check_host,
    check_network,
    check_origin,
    check_public_url,
    check_topic_filters,
    contradictions,
    parse_mqtt_url,
    split_list,
)
from share.settings import Count, Names, Secrets, ShareSettings

PREFIX = "BRIDGE_"
CONFIG_VARIABLE = "BRIDGE_CONFIG"
CONFIG_DEFAULT = "telemetry-bridge.toml"


class Settings(ShareSettings):
    """The settings of one process: frozen, checked as a whole, unknown names refused."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="forbid",
        frozen=True,
        validate_default=False,
        hide_input_in_errors=True,
    )

    host: Annotated[str, AfterValidator(check_host)] = Field(
        "127.0.0.1", description="Address to listen on. 0.0.0.0 for every interface, :: with IPv6 too."
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    public_url: Annotated[str, AfterValidator(check_public_url)] = Field(
        "", description="How clients reach this server, e.g. https://telemetry.example.com: the own origin."
    )
    mqtt_url: SecretStr = Field(
        SecretStr("mqtt://localhost:1883"),
        description="The MQTT broker: mqtt:// or mqtts://, [user:password@]host[:port]. `embedded` starts one in this "
        "process (loopback only, no passwords, for trying out).",
    )
    mqtt_topics: Annotated[Names, AfterValidator(check_topic_filters)] = Field(
        ("#",), description="Topic filters to subscribe to, comma-separated. They must not overlap."
    )
    mqtt_client_id: str = Field(
        "", max_length=128, description="MQTT client id; empty makes telemetry-bridge- with a random end."
    )
    mqtt_qos: Literal[0, 1] = Field(0, description="Highest QoS asked for. 1 costs one PUBACK per message.")
    mqtt_version: Literal["5", "3.1.1"] = Field("5", description="MQTT protocol version to speak.")
    mqtt_ca_file: Path | None = Field(
        None, description="PEM file with the authority that signed the broker's certificate, if it is a private one."
    )
    decoder: Literal["auto"] = Field("auto", description="How payloads are read; `auto` takes any JSON.")
    device_id_pointers: Names = Field(
        ("/data/DEVICE_ID", "/device/uniqueId", "/end_device_ids/device_id", "/deviceInfo/devEui", "/ident"),
        description="JSON pointers to the device id, comma-separated; the first that finds one counts.",
    )
    device_id_topic: str = Field(
        "", description="Where the id stands in the topic: fleet/{device_id}/position, with + and # if need be."
    )
    position_pointers: Names = Field(
        ("/data/LAT", "/position/latitude", "/location/latitude", "/position.latitude", "/lat", "/latitude"),
        description="JSON pointers; a message in which one finds a number is a position: a newer one may replace it.",
    )
    max_payload_bytes: int = Field(
        128 * 1024, ge=1, le=16 * 1024 * 1024, description="Largest MQTT payload that is passed on, in bytes."
    )
    groups_file: Path | None = Field(None, description='TOML file of device groups: [groups] north = ["A", "truck-*"].')
    auth: Literal["required", "off"] = Field(
        "required", description="`off` lets everyone on this machine read everything; only with a loopback HOST."
    )
    access_keys: Secrets = Field(
        (), description="PASERK keys for access tokens, comma-separated; the first mints, all verify."
    )
    allowed_origins: Names = Field(
        (),
        description="Origins of web pages that may connect, e.g. https://app.example.com, beside the own one: "
        "PUBLIC_URL or, without it, the host that was asked.",
    )
    queue_messages: int = Field(100, ge=1, le=100_000, description="Messages that wait for one socket at most.")
    queue_bytes: int = Field(
        256 * 1024, ge=1024, description="Bytes that wait for one socket at most; a payload must fit."
    )
    overflow: Literal["latest", "drop-oldest", "drop-newest", "disconnect"] = Field(
        "latest", description="What happens when a socket's queue is full."
    )
    heartbeat_seconds: float = Field(
        25.0,
        ge=1,
        le=300,
        description="Seconds between pings; below the idle time-out of any proxy on the way (often 60).",
    )
    max_connections: Count = Field(
        10_000, description="Streams at the same time; more are refused with 503. 0: no limit."
    )
    max_connections_per_ip: Count = Field(
        200, description="Streams of one client address; more are refused with 429. 0: no limit."
    )
    max_connections_per_principal: Count = Field(
        50, description="Streams of one token subject; more are closed with 1013. 0: no limit."
    )
    max_device_ids: int = Field(1000, ge=1, description="Device ids that one socket may select.")
    handshakes_per_second: Count = Field(
        500, description="New streams per second, twice that in a burst; more are refused with 503. 0: no limit."
    )
    event_loop: Literal["auto", "uvloop", "asyncio"] = Field(
        "auto", description="`auto` takes uvloop where it is installed, else asyncio."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe line that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="One readable line, or one JSON object, per event.")
    trusted_proxies: Names = Field(
        (), description="Networks (CIDR) of proxies whose X-Forwarded-For is believed, comma-separated."
    )
    tls_cert: Path | None = Field(
        None, description="PEM certificate chain; with TLS_KEY the server speaks https and wss."
    )
    tls_key: Path | None = Field(None, description="PEM private key of TLS_CERT.")
    admin_port: int | None = Field(
        None, ge=0, le=65535, description="Port for /healthz, /readyz and stats; unset leaves them on PORT."
    )
    drain_seconds: float = Field(
        20.0, ge=0.5, le=600, description="Seconds from SIGTERM until the process is gone, at most."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, the strongest first."""
        assert isinstance(dotenv_settings, EnvSettingsSource)
        # A .env is often shared with other programs; names of ours that do not exist are told by load_settings.
        dotenv_settings.env_vars = {
            name: value for name, value in dotenv_settings.env_vars.items() if name.upper() in _known_variables()
        }
        toml = TomlConfigSettingsSource(settings_cls, Path(_config_file() or CONFIG_DEFAULT))
        return init_settings, env_settings, dotenv_settings, toml

    @field_validator(
        "mqtt_topics",
        "device_id_pointers",
        "position_pointers",
        "access_keys",
        "allowed_origins",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return split_list(value) if isinstance(value, str) else value

    @field_validator("mqtt_ca_file", "groups_file", "tls_cert", "tls_key", "admin_port", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return None if value == "" else value  # as Compose writes a variable that nobody has set

    @field_validator("mqtt_qos", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value in ("0", "1") else value

    @field_validator("mqtt_url")
    @classmethod
    def _mqtt(cls, value: SecretStr) -> SecretStr:
        parse_mqtt_url(value.get_secret_value())
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_origin(origin) for origin in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            check_network(network)
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        problems = contradictions(
            auth=self.auth,
            host=self.host,
            keys=len(self.access_keys),
            tls_files=(self.tls_cert is not None) + (self.tls_key is not None),
            port=self.port,
            admin_port=self.admin_port,
            max_payload_bytes=self.max_payload_bytes,
            queue_bytes=self.queue_bytes,
        )
        if problems:
            raise ValueError("\n".join(problems))
        return self


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process. ``overrides`` (field names) win over everything else.

    SettingsError lists every problem at once, each by its full name, none with a secret in it. Whether
    settings go together is looked at once each is right by itself.
    """
    problems = _unknown_variables(os.environ) + _unknown_variables(_dotenv())
    config = _config_file()
    if config and not Path(config).is_file():
        problems.append((CONFIG_VARIABLE, f"there is no file {config!r}"))
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(problems + _problems(error)) from None
    except (OSError, ValueError) as error:  # a TOML file that cannot be read or does not parse
        problems.append((CONFIG_VARIABLE, f"{config or CONFIG_DEFAULT}: {error}"))
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _config_file() -> str | None:
    return os.environ.get(CONFIG_VARIABLE) or _dotenv().get(CONFIG_VARIABLE)


def _dotenv() -> Mapping[str, str | None]:
    try:
        return dotenv_values(".env") if Path(".env").is_file() else {}
    except UnicodeDecodeError as error:
        raise SettingsError([(".env", f"is not UTF-8 text: {error.reason} at byte {error.start}")]) from None
    except OSError as error:
        raise SettingsError([(".env", f"cannot be read: {error.strerror}")]) from None


def given_variables() -> set[str]:
    """The settings that the environment, ``.env`` or the file sets, by their full names."""
    toml = TomlConfigSettingsSource(Settings, Path(_config_file() or CONFIG_DEFAULT))()
    named = {name.upper() for name in (*os.environ, *_dotenv(), *(PREFIX + name for name in toml))}
    return named & _known_variables()


def _known_variables() -> set[str]:
    return {PREFIX + name.upper() for name in Settings.model_fields}


def _unknown_variables(variables: Mapping[str, object]) -> list[tuple[str, str]]:
    known = {*_known_variables(), CONFIG_VARIABLE}
    return [
        (name, "there is no such setting; see `telemetry-bridge serve --help` or the README")
        for name in sorted(variables)
        if name.upper().startswith(PREFIX) and name.upper() not in known
    ]


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    problems = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        text = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            if problem["type"] == "extra_forbidden":
                text = f"there is no such setting; in {CONFIG_DEFAULT} names are written without {PREFIX}"
            problems.append((PREFIX + str(problem["loc"][0]).upper(), text))
        else:
            for line in text.split("\n"):
                name, _, reason = line.partition(": ")
                problems.append((PREFIX + name, reason))
    return problems
