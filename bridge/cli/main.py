"""The command line. Exit status: 0 done, 1 the host or a server refused, 2 wrong settings or arguments."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bridge import __version__
from bridge.cli.arguments import duration, port_number
from bridge.core.errors import SettingsError, StartError
from bridge.settings import PREFIX, Settings, load_settings
from share.cli.parser import add_parser as add_share


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Expected failures are one line each on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a console that cannot print all of Unicode
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SettingsError as error:
        for name, reason in error.problems:
            print(f"telemetry-bridge: {name}: {reason}", file=sys.stderr)
        return 2
    except (StartError, ValueError) as error:
        print(f"telemetry-bridge: {error}", file=sys.stderr)
        return 1 if isinstance(error, StartError) else 2
    except KeyboardInterrupt:
        return 130


def _serve(_options: argparse.Namespace) -> int:
    from bridge.app import serve
    from bridge.server.loops import run

    settings = load_settings()
    return run(serve(settings), settings.event_loop)


def _keygen(_options: argparse.Namespace) -> int:
    from bridge.access.paseto import generate_key

    print(generate_key())
    return 0


def _token(options: argparse.Namespace) -> int:
    from bridge.access.authenticator import mint
    from bridge.access.paseto import KeyRing
    from bridge.core.setting_types import split_list

    settings = load_settings(auth="required")
    try:
        ring = KeyRing(key.get_secret_value() for key in settings.access_keys)
    except ValueError as error:
        raise SettingsError([(PREFIX + "ACCESS_KEYS", str(error))]) from None
    devices, groups = split_list(options.devices), split_list(options.groups)
    if not devices and not groups:
        raise ValueError("a token without --devices or --groups would open nothing; name some, or --devices '*'")
    print(
        mint(
            ring,
            subject=options.subject,
            devices=devices,
            groups=groups,
            scopes=" ".join(options.scope or ["stream"]).replace(",", " ").split(),
            ttl=options.ttl,
            now=time.time(),
        )
    )
    return 0


def _settings_help() -> str:
    """Every setting, for ``serve --help``."""
    fields = Settings.model_fields.items()
    return "\n".join(
        [
            "settings, from the environment, .env, and the TOML file that BRIDGE_CONFIG names:",
            *(f"  {PREFIX}{name.upper()}\n      {field.description}" for name, field in fields),
        ]
    )


def _run(module: str, function: str, options: argparse.Namespace) -> int:
    """Run a command that is imported only now, so that ``--help`` is quick; ``options`` are its arguments."""
    arguments = {name: value for name, value in vars(options).items() if name != "run"}
    return int(getattr(import_module(module), function)(**arguments))


def _option(*names: str, **given: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The arguments of one ``add_argument``."""
    return names, given


def parser() -> argparse.ArgumentParser:
    """The arguments of every command. Each sets ``run``: options → exit status."""
    program = argparse.ArgumentParser(
        prog="telemetry-bridge",
        description="MQTT telemetry in, authenticated live streams out.",
        epilog="Try it: `telemetry-bridge demo` needs no set-up at all.",
    )
    program.add_argument("--version", action="version", version=f"telemetry-bridge {__version__}")
    commands = program.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        *options: tuple[tuple[str, ...], dict[str, Any]],
        epilog: str | None = None,
    ) -> None:
        command = commands.add_parser(
            name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.set_defaults(run=run)
        for names, given in options:
            command.add_argument(*names, **given)

    add("serve", _serve, "Run the service.", epilog=_settings_help())
    add(
        "demo",
        partial(_run, "bridge.cli.demo", "run_demo"),
        "Run the service with an embedded MQTT broker, throw-away keys and a simulated fleet.",
        _option("--port", type=port_number, help="port to listen on (default: BRIDGE_PORT or 8000)"),
        _option("--vehicles", type=int, default=50, help="vehicles in the fleet (default 50)"),
        _option("--rate", type=float, default=1.0, help="messages per vehicle and second (default 1)"),
    )
    add(
        "keygen",
        _keygen,
        "Print a fresh key (PASERK, k4.local) for BRIDGE_ACCESS_KEYS.",
        _option("purpose", choices=("access", "share"), help="what it is for; never use one key for both"),
    )
    add(
        "token",
        _token,
        "Print an access token, made with the first of BRIDGE_ACCESS_KEYS.",
        _option("--subject", default="operator", help="who it is for; shown in logs (default operator)"),
        _option("--devices", default="", help="ids and * patterns, comma-separated, e.g. 'A,truck-*'"),
        _option("--groups", default="", help="groups of BRIDGE_GROUPS_FILE, comma-separated"),
        _option("--scope", action="append", help="scopes, e.g. 'stream share'; may be repeated (default stream)"),
        _option("--ttl", type=duration, default=3600.0, help="how long it works, e.g. 15m or 1h (default 1h)"),
    )
    add(
        "watch",
        partial(_run, "bridge.cli.watch", "run_watch"),
        "Show the stream in this terminal.",
        _option(
            "devices", nargs="?", default="", help="device ids, comma-separated (default: all that the token allows)"
        ),
        _option("--groups", default="", help="groups, comma-separated"),
        _option("--url", help="the server (default: TELEMETRY_BRIDGE_URL or http://127.0.0.1:8000)"),
        _option("--token", help="access token (better: TELEMETRY_BRIDGE_TOKEN or --token-file)"),
        _option("--token-file", type=Path, help="file that holds the access token"),
        _option("--json", dest="json_lines", action="store_true", help="one event per line, as received"),
        _option("--count", type=int, help="end after so many messages"),
    )
    add_share(commands)
    add(
        "simulate",
        partial(_run, "bridge.cli.simulate", "run_simulate"),
        "Publish a believable moving fleet to an MQTT broker.",
        _option("--mqtt-url", default="mqtt://localhost:1883", help="mqtt[s]://[user:password@]host[:port]"),
        _option("--vehicles", type=int, default=50),
        _option("--rate", type=float, default=1.0, help="messages per vehicle and second"),
        _option("--seed", type=int, default=1, help="the same seed drives the same roads"),
        _option("--mqtt-version", dest="version", choices=("5", "3.1.1"), default="5"),
        _option("--ca-file", type=Path, help="PEM file of a private authority"),
    )
    add(
        "check",
        partial(_run, "bridge.cli.check", "run_check"),
        "Check settings, keys, the MQTT broker and the topics; exit status 0 when all is well.",
    )
    add(
        "healthcheck",
        partial(_run, "bridge.cli.healthcheck", "run_healthcheck"),
        "Exit with 0 when the server of these settings is ready (for containers).",
        _option("--url", help="where to ask (default: from the settings)"),
    )
    return program
