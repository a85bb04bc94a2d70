"""Everything that can be set, read once at start from the environment, ``.env`` and a TOML file.

Environment variables win over ``.env``, which wins over the file that ``BRIDGE_CONFIG`` names (default
``telemetry-bridge.toml``, if there is one). The README's table of settings repeats names, defaults and
descriptions; a test holds the two together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dotenv import dotenv_values
from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bridge.access.settings import AccessSettings
from bridge.core.addresses import is_loopback
from bridge.core.errors import SettingsError
from bridge.ingest.settings import IngestSettings
from bridge.server.settings import ServerSettings
from bridge.stream.settings import FRAME_ALLOWANCE_BYTES, StreamSettings
from share.settings import ShareSettings

PREFIX = "BRIDGE_"
CONFIG_VARIABLE = "BRIDGE_CONFIG"
CONFIG_DEFAULT = "telemetry-bridge.toml"


class Settings(ServerSettings, IngestSettings, AccessSettings, StreamSettings, ShareSettings):
    """The settings of one process: frozen, checked as a whole, unknown names refused."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="forbid",
        frozen=True,
        validate_default=False,
        hide_input_in_errors=True,
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
        # A .env is often shared with other programs; names of ours that do not exist are reported by load_settings.
        dotenv_settings.env_vars = {
            name: value for name, value in dotenv_settings.env_vars.items() if name.upper() in _known_variables()
        }
        toml = TomlConfigSettingsSource(settings_cls, Path(_config_file() or CONFIG_DEFAULT))
        return init_settings, env_settings, dotenv_settings, toml

    @model_validator(mode="after")
    def _together(self) -> Self:
        """Settings that are each right by themselves and contradict each other: ``NAME: reason``, one line each."""
        least_queue_bytes = self.max_payload_bytes + FRAME_ALLOWANCE_BYTES
        contradictions = [
            (
                self.auth == "off" and not is_loopback(self.host),
                "AUTH: `off` works only with a loopback HOST (127.0.0.1, ::1 or localhost)",
            ),
            (
                self.auth == "required" and not self.access_keys,
                (
                    "ACCESS_KEYS: at least one key is needed; make one with `telemetry-bridge keygen access` "
                    "(or set BRIDGE_AUTH=off on a loopback HOST)"
                ),
            ),
            ((self.tls_cert is None) != (self.tls_key is None), "TLS_CERT: TLS_CERT and TLS_KEY go together"),
            (
                self.admin_port is not None and self.admin_port == self.port != 0,
                "ADMIN_PORT: must differ from PORT; leave it unset to serve both on one port",
            ),
            (
                least_queue_bytes > self.queue_bytes,
                (
                    f"QUEUE_BYTES: must be at least MAX_PAYLOAD_BYTES and {FRAME_ALLOWANCE_BYTES} for the frame "
                    f"around it ({least_queue_bytes}), or such a message could never wait for a slow socket"
                ),
            ),
        ]
        problems = [reason for wrong, reason in contradictions if wrong]
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
