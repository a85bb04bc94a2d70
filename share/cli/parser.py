"""``telemetry-bridge share …``: create, list, change and end share links on a running server.

Exit status: 0 done, 1 the server or the network refused (one line on stderr), 2 wrong arguments.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any, Final

from share.cli import arguments
from share.model.grant import FIELDS
from share.model.share import Status

CREATE_EXAMPLES: Final = """examples:
  telemetry-bridge share create --devices A --ttl 1h
  telemetry-bridge share create --devices A,B --alias 'A=Van 1' --until 2026-11-22T18:00:00Z --password-prompt
  telemetry-bridge share create --devices A --ttl 3h --destination -33.4489,-70.6693 --end-on-arrival | qrencode -t utf8
"""


class _Parser(argparse.ArgumentParser):
    """A parser for which ``--destination -33.4,-70.6`` is an option and its value: places lie south of the equator."""

    def parse_known_args(self, args: Any = (), namespace: Any = None) -> Any:
        joined: list[str] = []
        for text in args:
            if joined and joined[-1] == "--destination" and text[:1] == "-" and text[1:2].isdigit():
                joined[-1] += f"={text}"
            else:
                joined.append(text)
        return super().parse_known_args(joined, namespace)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``share`` and its commands to the program's. Each sets ``run``: options → exit status."""
    text = "Share where devices are by a link, for people without an account, until a set time."
    share = commands.add_parser("share", help=text, description=text, epilog=CREATE_EXAMPLES, **_RAW)
    verbs = share.add_subparsers(metavar="ACTION", required=True, parser_class=_Parser)

    def add(name: str, text: str, examples: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = verbs.add_parser(
            name, help=text, description=text, epilog=examples, parents=[_server_options()], **_RAW
        )
        parser.set_defaults(run=partial(_run, name))
        return parser

    create = add("create", "Create a share and print its link, which is shown only once.", CREATE_EXAMPLES)
    create.add_argument("--devices", required=True, type=arguments.names, help="device ids, comma-separated")
    _add_life(create)
    create.add_argument("--starts-at", type=arguments.moment, metavar="TIME", help="show nothing before (default: now)")
    create.add_argument("--label", help="what the page calls the journey")
    create.add_argument(
        "--alias", action="append", default=[], metavar="DEVICE=NAME", help="what viewers see instead of the id"
    )
    password = create.add_mutually_exclusive_group()
    password.add_argument("--password-prompt", action="store_true", help="prompt for a password that viewers need")
    password.add_argument("--password-file", type=Path, metavar="FILE", help="file with that password on one line")
    create.add_argument(
        "--max-viewers", type=arguments.whole_number(1), metavar="N", help="limit of viewers at the same time"
    )
    create.add_argument("--fields", type=arguments.fields, help=f"beside the position: {','.join(FIELDS)}, or none")
    create.add_argument(
        "--precision", type=arguments.metres, metavar="METRES", help="show only the middle of squares of that size"
    )
    create.add_argument("--delay", type=arguments.share_duration, help="delay everything that is shown, e.g. by 5m")
    create.add_argument(
        "--trail", type=arguments.whole_number(0), metavar="N", help="past positions that a new viewer sees"
    )
    create.add_argument("--destination", type=arguments.coordinates, metavar="LAT,LON", help="where the journey goes")
    create.add_argument(
        "--radius", type=arguments.metres, metavar="METRES", help="distance to it that counts as arrived"
    )
    create.add_argument("--destination-name", metavar="NAME", help="what the page calls it")
    create.add_argument("--end-on-arrival", action="store_true", help="end the share when all devices have arrived")
    _add_json(create)

    every = add("list", "List shares, newest first.", "example:\n  telemetry-bridge share list --status active\n")
    every.add_argument("--status", choices=[str(status) for status in Status], help="only shares with this status")
    _add_json(every)

    show = add("show", "Show one share.", "example:\n  telemetry-bridge share show ID\n")
    extend = add(
        "extend", "Set when a share ends: later or earlier.",
        "example:\n  telemetry-bridge share extend ID --ttl 1h      # an hour from now\n",
    )  # fmt: skip
    _add_life(extend)
    relabel = add(
        "relabel", "Change what viewers read.",
        "example:\n  telemetry-bridge share relabel ID --label 'Delivery 12' --alias 'A=Van 1'\n",
    )  # fmt: skip
    relabel.add_argument("--label", help="what the page calls the journey; '' removes it")
    relabel.add_argument(
        "--alias", action="append", default=[], metavar="DEVICE=NAME", help="what viewers see; the others stay"
    )
    revoke = add(
        "revoke",
        "End a share now and disconnect its viewers.",
        "example:\n  telemetry-bridge share revoke ID\n",
    )
    for parser in (show, extend, relabel, revoke):
        parser.add_argument("id", type=arguments.share_id, metavar="ID", help="as `share list` shows it")
    _add_json(show)


def _run(action: str, options: argparse.Namespace) -> int:
    from share.cli import actions  # with aiohttp, for which other commands need not wait

    return actions.run(action, options)


_RAW: Final[dict[str, Any]] = {"formatter_class": argparse.RawDescriptionHelpFormatter}


def _server_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--url", help="the server (default: TELEMETRY_BRIDGE_URL or http://127.0.0.1:8000)")
    parser.add_argument(
        "--token", help="access token with scope share (better: TELEMETRY_BRIDGE_TOKEN or --token-file)"
    )
    parser.add_argument("--token-file", type=Path, help="file that holds the access token")
    return parser


def _add_life(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--ttl", type=arguments.share_life, help="how long from now, or from its start: 15m, 1h, 30d")
    group.add_argument("--until", type=arguments.moment, metavar="TIME", help="when it ends: 2026-11-22T18:00:00Z")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the whole answer of the server, on one line")
