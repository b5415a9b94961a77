"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mlops.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def store_option(command: Command) -> Command:
    """``--store DIR``: the state folder."""
    return click.option(
        "--store",
        type=click.Path(file_okay=False, path_type=Path),
        help="The state folder (default .mlops, or the setting `store`).",
    )(command)


def data_options(command: Command) -> Command:
    """``--data DESCRIPTOR [--data-file CSV]``: what the lab's pipeline learns from."""
    data = click.option(
        "--data",
        "dataset",
        type=click.Path(path_type=Path),
        metavar="DESCRIPTOR",
        help="A data set's descriptor (default local_data/diamonds/dataset.json).",
    )
    data_file = click.option(
        "--data-file",
        type=click.Path(path_type=Path),
        metavar="CSV",
        help="The data, where it does not lie beside its descriptor.",
    )
    return data(data_file(command))


def json_flag(command: Command) -> Command:
    """``--json``: print the answer as JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def load_settings(**flags: object) -> Settings:
    """The settings with these flags on top; a path from a flag counts from the working folder."""
    from mlops.settings import Settings

    given = {
        name: value.absolute() if isinstance(value, Path) else value
        for name, value in flags.items()
        if value is not None
    }
    return Settings.load(flags=given)


def print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")
