"""The command line as a whole."""

from __future__ import annotations

from importlib import import_module
from inspect import signature

import pytest

from bridge.cli.main import parser


@pytest.mark.parametrize("command", ["demo", "watch", "simulate", "check", "healthcheck"])
def test_command_that_is_imported_late_takes_its_options(command: str) -> None:
    """Its module and function exist, and every option is an argument of the function."""
    options = vars(parser().parse_args([command]))
    module, function = options.pop("run").args
    signature(getattr(import_module(module), function)).bind(**options)
