"""`mlops validate`, `plan`, `step`, `diff`: what a developer asks of pipelines all day."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option
from mlops.errors import UsageError
from mlops.settings import CACHE_MODES

if TYPE_CHECKING:
    from mlops.developing.differences import Difference
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


@click.command()
@click.argument("execution")
@click.argument("name", metavar="STEP")
@click.option(
    "--code",
    "code",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run it with this file in the place of its code file of the same name.",
)
@click.option("--debug", is_flag=True, help="Wait for a debugger (debugpy) in the step.")
@click.option("--shell", is_flag=True, help="Open a shell in the step's place.")
@runtime_option
@store_option
@json_flag
def step(
    execution: str,
    name: str,
    code: tuple[Path, ...],
    debug: bool,
    shell: bool,
    runtime: str | None,
    store: Path | None,
    as_json: bool,
) -> int:
    """Run STEP of EXECUTION (an id, an ARN, `latest`) again, alone, on its recorded inputs.

    What it makes goes to a place of its own; the execution stays as it is. Exit code 0 where the
    step succeeded, 1 where it did not.
    """
    from mlops import app
    from mlops.cli.executions import chosen_id
    from mlops.cli.plain_text import without_controls
    from mlops.developing.again import Manner, run_step

    if debug and shell:
        raise UsageError("--debug and --shell exclude one another", next_step="give one of them")
    settings = load_settings(store=store, runtime=runtime)
    done = run_step(
        settings,
        chosen_id(app.client(settings), execution),
        name,
        code=code,
        manner=Manner.DEBUG if debug else Manner.SHELL if shell else Manner.RUN,
        say=lambda line: click.echo(without_controls(line), err=as_json),
    )
    code_of_exit = 0 if done.succeeded else 1
    if as_json:
        print_json(asdict(done))
        return code_of_exit
    click.echo(f"{name} · {'succeeded' if done.succeeded else 'failed'} · job {done.job}")
    if done.failure_reason is not None:
        click.echo(f"reason  {done.failure_reason}")
    for address, size in done.outputs:
        click.echo(f"output  {address} · {size:,} bytes")
    click.echo(f"log     {done.log}")
    return code_of_exit


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where they differ, as git does.")
@store_option
@json_flag
def diff(first: str, second: str, exit_code: bool, store: Path | None, as_json: bool) -> int:
    """Compare the executions FIRST and SECOND (an id, an ARN, `latest`).

    Parameters, definition, how steps ended and how long they took, and metrics.
    """
    from mlops import app
    from mlops.cli.executions import chosen_id
    from mlops.developing.differences import diff as compare

    settings = load_settings(store=store)
    client = app.client(settings)
    found = compare(settings, chosen_id(client, first), chosen_id(client, second))
    if as_json:
        print_json(asdict(found) | {"differs": found.differs})
    else:
        click.echo("\n".join(_diff_lines(found)))
    return int(exit_code and found.differs)


def _diff_lines(found: Difference) -> Iterator[str]:
    yield f"--- {found.first} · {found.statuses[0]} · {_took(found.seconds[0])}"
    yield f"+++ {found.second} · {found.statuses[1]} · {_took(found.seconds[1])}"
    for title, changes in (
        ("parameters", found.parameters),
        ("definition", found.definition),
        ("metrics", found.metrics),
    ):
        yield f"{title}{'' if changes else ': the same'}"
        for each in changes:
            yield f"  {each.path}"
            yield f"    - {_one_line(each.first)}"
            yield f"    + {_one_line(each.second)}"
    yield "steps"
    for step in found.steps:
        sides = zip(step.statuses, step.seconds, step.cached, strict=True)
        one, other = (
            "did not run" if status is None else f"{status}{' cached' * cached} {_took(seconds)}"
            for status, seconds, cached in sides
        )
        yield f"  {'≠' if step.differs else ' '} {step.name:24} {one}  →  {other}"


def _took(seconds: float | None) -> str:
    return "no end yet" if seconds is None else f"{seconds:.1f} s"


def _one_line(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_LONGEST = 200
