"""`mlops validate`, `plan`, `step`, `diff`: what a developer asks of pipelines all day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option
from mlops.settings import CACHE_MODES

if TYPE_CHECKING:
    from mlops.execution.planning import PlannedStep
    from mlops.runtimes.standing import ImageStanding

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


@click.command()
@click.argument("target", required=False)
@runtime_option
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A pipeline parameter; as often as needed.",
)
@click.option("--no-cache", is_flag=True, help="As if every step ran again.")
@click.option(
    "--cache-mode",
    type=click.Choice(CACHE_MODES),
    help="What makes two runs of a step the same: SageMaker's rules, or contents.",
)
@store_option
@json_flag
def plan(
    target: str | None,
    runtime: str | None,
    parameters: tuple[str, ...],
    no_cache: bool,
    cache_mode: str | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Show what a run of TARGET, or of the lab's pipeline, would do; nothing of it is done.

    Steps under one number can run side by side. A question mark: that hangs on what an earlier
    step makes.
    """
    from mlops.cli.run import parse_parameters
    from mlops.developing.planning import plan as make_plan

    settings = load_settings(store=store, runtime=runtime, cache_mode=cache_mode)
    given = parse_parameters(parameters)
    made = make_plan(settings, target, parameters=given, no_cache=no_cache)
    if as_json:
        print_json(asdict(made))
        return
    click.echo(f"{made.pipeline} · {made.runtime} · {len(made.steps)} steps")
    for step in made.steps:
        click.echo("\n".join(_plan_lines(step, made.images)))


_FATES = {"run": "runs", "cached": "cached", "open": "runs?", "skip": "skipped"}


def _plan_lines(step: PlannedStep, images: Mapping[str, ImageStanding]) -> Iterator[str]:
    fate = f"cached from {step.source}" if step.source else _FATES[step.fate]
    if step.branches:
        fate = "asked" if step.outcome is None else str(step.outcome).lower()
    conditions = " and ".join(f"{name} is {str(value).lower()}" for name, value in step.only_if)
    words = [fate, *([f"if {conditions}"] if conditions else [])]
    words += [step.reason] if step.reason else []
    yield f"{step.wave:3}  {step.name:24} {step.type:14} {' · '.join(words)}"
    if step.after:
        yield f"       after   {', '.join(step.after)}"
    for outcome, names in step.branches.items():
        yield f"       {outcome:7} {', '.join(names) or '(nothing)'}"
    if step.image is not None and step.fate in ("run", "open"):
        image = images[step.image]
        yield f"       image   {image.local} ({image.state}) for {image.image}"
    for name, address in step.inputs if step.fate in ("run", "open") else ():
        yield f"       input   {name}: {address}"
