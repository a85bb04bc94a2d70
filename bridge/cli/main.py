"""The command line. Exit status: 0 done, 1 the host or a server said no, 2 wrong settings or arguments."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bridge import __version__
from bridge.cli.arguments import duration, port_number
from bridge.core.errors import SettingsError, StartError
from bridge.settings import PREFIX, Settings, load_settings
from share.cli.parser import add_parser as add_share


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Expected failures are one line each on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a console that cannot print all of Unicode
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except SettingsError as error:
        for name, reason in error.problems:
            print(f"telemetry-bridge: {name}: {reason}", file=sys.stderr)
        return 2
    except StartError as error:
        print(f"telemetry-bridge: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"telemetry-bridge: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _serve(_options: argparse.Namespace) -> int:
    from bridge.app import serve
    from bridge.server.loops import run

    settings = load_settings()
    return run(serve(settings), settings.event_loop)


def _demo(options: argparse.Namespace) -> int:
    from bridge.cli.demo import run_demo

    return run_demo(port=options.port, vehicles=options.vehicles, rate=options.rate)


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


def _check(_options: argparse.Namespace) -> int:
    from bridge.cli.check import run_check

    return run_check()


def _healthcheck(options: argparse.Namespace) -> int:
    from bridge.cli.healthcheck import run_healthcheck

    return run_healthcheck(options.url)


def _simulate(options: argparse.Namespace) -> int:
    from bridge.cli.simulate import run_simulate

    return run_simulate(
        mqtt_url=options.mqtt_url,
        vehicles=options.vehicles,
        rate=options.rate,
        seed=options.seed,
        version=options.mqtt_version,
        ca_file=options.ca_file,
    )


def _watch(options: argparse.Namespace) -> int:
    from bridge.cli.watch import run_watch

    return run_watch(
        devices=options.devices,
        groups=options.groups,
        url=options.url,
        token=options.token,
        token_file=options.token_file,
        json_lines=options.json,
        count=options.count,
    )


def _settings_help() -> str:
    """Every setting, for ``serve --help``."""
    lines = ["settings, from the environment, .env, and the TOML file that BRIDGE_CONFIG names:"]
    for name, field in Settings.model_fields.items():
        lines.append(f"  {PREFIX}{name.upper()}")
        lines.append(f"      {field.description}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="telemetry-bridge",
        description="MQTT telemetry in, authenticated live streams out.",
        epilog="Try it: `telemetry-bridge demo` needs no set-up at all.",
    )
    parser.add_argument("--version", action="version", version=f"telemetry-bridge {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: object, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.set_defaults(run=run)
        return command

    add("serve", _serve, "Run the service.", _settings_help())

    demo = add("demo", _demo, "Run the service with an embedded MQTT broker, throw-away keys and a simulated fleet.")
    demo.add_argument("--port", type=port_number, default=None, help="port to listen on (default: BRIDGE_PORT or 8000)")
    demo.add_argument("--vehicles", type=int, default=50, help="vehicles in the fleet (default 50)")
    demo.add_argument("--rate", type=float, default=1.0, help="messages per vehicle and second (default 1)")

    keygen = add("keygen", _keygen, "Print a fresh key (PASERK, k4.local) for BRIDGE_ACCESS_KEYS.")
    keygen.add_argument("purpose", choices=("access", "share"), help="what it is for; never use one key for both")

    token = add("token", _token, "Print an access token, made with the first of BRIDGE_ACCESS_KEYS.")
    token.add_argument("--subject", default="operator", help="who it is for; shown in logs (default operator)")
    token.add_argument("--devices", default="", help="ids and * patterns, comma-separated, e.g. 'A,truck-*'")
    token.add_argument("--groups", default="", help="groups of BRIDGE_GROUPS_FILE, comma-separated")
    token.add_argument("--scope", action="append", help="scopes, e.g. 'stream share'; may be repeated (default stream)")
    token.add_argument("--ttl", type=duration, default=3600.0, help="how long it works, e.g. 15m or 1h (default 1h)")

    watch = add("watch", _watch, "Show the stream in this terminal.")
    watch.add_argument(
        "devices", nargs="?", default="", help="device ids, comma-separated (default: all that the token allows)"
    )
    watch.add_argument("--groups", default="", help="groups, comma-separated")
    watch.add_argument("--url", help="the server (default: TELEMETRY_BRIDGE_URL or http://127.0.0.1:8000)")
    watch.add_argument("--token", help="access token (better: TELEMETRY_BRIDGE_TOKEN or --token-file)")
    watch.add_argument("--token-file", type=Path, help="file that holds the access token")
    watch.add_argument("--json", action="store_true", help="one event per line, as received")
    watch.add_argument("--count", type=int, help="end after so many messages")

    add_share(commands)

    simulate = add("simulate", _simulate, "Publish a believable moving fleet to an MQTT broker.")
    simulate.add_argument("--mqtt-url", default="mqtt://localhost:1883", help="mqtt[s]://[user:password@]host[:port]")
    simulate.add_argument("--vehicles", type=int, default=50)
    simulate.add_argument("--rate", type=float, default=1.0, help="messages per vehicle and second")
    simulate.add_argument("--seed", type=int, default=1, help="the same seed drives the same roads")
    simulate.add_argument("--mqtt-version", choices=("5", "3.1.1"), default="5")
    simulate.add_argument("--ca-file", type=Path, help="PEM file of a private authority")

    add("check", _check, "Check settings, keys, the MQTT broker and the topics; exit status 0 when all is well.")

    health = add(
        "healthcheck", _healthcheck, "Exit with 0 when the server of these settings is ready (for containers)."
    )
    health.add_argument("--url", help="where to ask (default: from the settings)")
    return parser
