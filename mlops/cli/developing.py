"""`mlops validate`, `plan`, `step`, `diff`: what a developer asks of pipelines all day."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option

runtime_option = click.option(
    "--runtime",
    type=click.Choice(["auto", "docker", "process"]),
    help="What runs the jobs; auto takes Docker where an engine answers.",
)


@click.command()
@click.argument("target", required=False)
@runtime_option
@store_option
@json_flag
def validate(target: str | None, runtime: str | None, store: Path | None, as_json: bool) -> int:
    """Tell every problem of TARGET, or of the lab's pipeline, before anything runs.

    TARGET is a definition JSON, `module:function`, or a Python file. Exit code 2 where there is
    an error; warnings alone are 0.
    """
    from mlops.developing.validation import validate as find

    found = find(load_settings(store=store, runtime=runtime), target)
    code = 2 if found.errors else 0
    if as_json:
        print_json(asdict(found))
        return code
    for each in found.findings:
        here = " (here; SageMaker may take it)" if each.only_here else ""
        click.echo(f"{each.severity}: {each.path}: {each.message}{here}")
    counts = f"{len(found.errors)} errors · {len(found.warnings)} warnings"
    click.echo(f"{found.pipeline} · {counts if found.findings else 'no problem found'}")
    return code
