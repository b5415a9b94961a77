"""`mlops init`: a pipeline of one's own to start from, which runs as it is."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from mlops.errors import UsageError

SUFFIX = ".txt"  # so that no tool takes the skeleton's scripts for ours


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write the skeleton of a pipeline into FOLDER. Existing files are never touched."""
    skeleton = dict(_files(files("mlops.cli").joinpath("skeleton"), Path()))
    taken = [str(folder / name) for name in skeleton if (folder / name).exists()]
    if taken:
        raise UsageError(
            f"These files exist already: {', '.join(taken)}",
            next_step="give another folder: mlops init FOLDER",
        )
    for name, source in skeleton.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        click.echo(f"wrote {target}")
    click.echo(f"next:  mlops run {folder / 'pipeline.py'}")


def _files(folder: Traversable, below: Path) -> Iterator[tuple[Path, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, below / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield below / entry.name.removesuffix(SUFFIX), entry
