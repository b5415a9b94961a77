"""`mlops run` and `mlops compile`: from a target to a running pipeline, and to its definition."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from mlops.cli.options import data_options, load_settings, store_option
from mlops.errors import (
    DefinitionError,
    GatewayUnavailable,
    MlopsError,
    ServiceError,
    UsageError,
)
from mlops.interrupts import interrupts_held
from mlops.settings import CACHE_MODES

if TYPE_CHECKING:
    from rich.console import Console

    from mlops.cli.follow import Follower
    from mlops.runs import RunningExecution

GATEWAYS_STARTED_AGAIN = 3
"""So often in one run: a gateway that is lost again and again (no memory) stays lost."""
EXIT_CODES = {"Succeeded": 0, "CompletedWithFailures": 1, "Failed": 1, "Stopped": 130}


def parse_parameters(given: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` words into names and values; the pipeline's own rules are checked at start."""
    parameters: dict[str, str] = {}
    for word in given:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise UsageError(
                f"-p {word!r} is not of the form NAME=VALUE",
                next_step="for example: -p MseThreshold=0.02",
            )
        if name in parameters:
            raise UsageError(f"-p {name} is given twice", next_step="give it once")
        parameters[name] = value
    return parameters


@click.command()
@click.argument("target", required=False)
@click.option(
    "--backend",
    type=click.Choice(["local", "cloud"]),
    default="local",
    help="Where: on this machine, or in your AWS account.",
)
@click.option(
    "--runtime",
    type=click.Choice(["auto", "docker", "process"]),
    help="What runs the jobs; auto takes Docker where an engine answers.",
)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A pipeline parameter, for example MseThreshold=0.02; as often as needed.",
)
@data_options
@click.option("--no-deploy", is_flag=True, help="Leave out the endpoint and its test.")
@click.option(
    "--endpoint", help="Where to deploy the package; by default the lab's pipeline alone deploys."
)
@click.option("--no-cache", is_flag=True, help="Run every step again.")
@click.option(
    "--cache-mode",
    type=click.Choice(CACHE_MODES),
    help="What makes two runs of a step the same: SageMaker's rules, or contents.",
)
@click.option("--build-images", is_flag=True, help="First build the images that changed.")
@click.option("--detach", is_flag=True, help="Start and leave; the gateway goes on.")
@click.option("--quiet", is_flag=True, help="Leave out the steps' logs.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write how it ended as JSON.",
)
@store_option
def run(
    target: str | None,
    backend: str,
    runtime: str | None,
    parameters: tuple[str, ...],
    dataset: Path | None,
    data_file: Path | None,
    no_deploy: bool,
    endpoint: str | None,
    no_cache: bool,
    cache_mode: str | None,
    build_images: bool,
    detach: bool,
    quiet: bool,
    json_file: Path | None,
    store: Path | None,
) -> int:
    """Run a pipeline: TARGET, or the lab's own.

    TARGET is `module:function`, a Python file, or a definition JSON.
    """
    from mlops import runs
    from mlops.cli.console import make_console, preparing
    from mlops.cli.summary import as_json

    given = parse_parameters(parameters)
    if dataset or data_file:
        _refuse_data_of(target)
    _make_way_for(json_file)
    settings = load_settings(
        store=store, runtime=runtime, dataset=dataset, data_file=data_file, cache_mode=cache_mode
    )
    console = make_console()
    with preparing(console, "preparing the run: gateway, pipeline, data"):
        running = runs.start_run(
            settings,
            target=target,
            backend=backend,
            parameters=given,
            no_cache=no_cache,
            build_images=build_images,
            progress=lambda text: console.print(text, markup=False, soft_wrap=True),
        )
    if detach:
        _print_head(console, running)
        console.print(f"detached · mlops executions show {running.id}", markup=False)
        if json_file:
            _write_json(json_file, as_json(running.details()))
        return 0
    running, status = _follow(console, running, with_logs=not quiet)
    name = None if no_deploy else endpoint or (None if target else runs.lab_endpoint(settings))
    return _finish(console, running, status, json_file, name)


@click.command("compile")
@click.argument("target", required=False)
@click.option(
    "--out", "out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file."
)
@data_options
@store_option
def compile_command(
    target: str | None,
    out: Path,
    dataset: Path | None,
    data_file: Path | None,
    store: Path | None,
) -> None:
    """Write the definition JSON of TARGET, or of the lab's pipeline.

    What SageMaker would refuse is not written; what only this machine cannot run is told.
    """
    from mlops import app

    if dataset or data_file:
        _refuse_data_of(target)
    settings = load_settings(store=store, dataset=dataset, data_file=data_file)
    text = app.backend(settings, "local").compile(target).definition
    _tell_what_runs_elsewhere(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    click.echo(f"{out} · {len(text.encode()):,} bytes · {len(json.loads(text)['Steps'])} steps")


def _tell_what_runs_elsewhere(definition: str) -> None:
    """Say which steps of a definition cannot run here.

    Raises:
        DefinitionError: SageMaker would not take it either.
    """
    from mlops.definition import parse_definition

    try:
        parse_definition(definition)
    except DefinitionError as error:
        if not all(problem.only_here for problem in error.problems):
            raise
        for problem in error.problems:
            click.echo(f"note: {problem}", err=True)


def _refuse_data_of(target: str | None) -> None:
    """A definition names its data itself: --data would change nothing about it."""
    from mlops.authoring.target import DefinitionTarget, parse_target

    if isinstance(parse_target(target, Path.cwd()), DefinitionTarget):
        raise UsageError(
            "--data and --data-file have no effect on a definition JSON, which names its data",
            where=f"TARGET {target}",
            next_step="leave them out, or give the data by a parameter: -p NAME=VALUE",
        )


def _print_head(console: Console, running: RunningExecution) -> None:
    from mlops.cli.console import shown_path

    console.print(
        f"mlops · {running.backend} · {running.runtime} · gateway {running.client.url.removeprefix('http://')}"
        f" · store {shown_path(running.settings.store)}",
        style="dim",
        markup=False,
        soft_wrap=True,
    )
    words = [running.pipeline_name, f"execution {running.id}"]
    words += [f"{name} {value}" for name, value in running.parameters.items()]
    console.print(" · ".join(words), style="bold", markup=False, soft_wrap=True)


def _follow(
    console: Console, running: RunningExecution, *, with_logs: bool
) -> tuple[RunningExecution, str]:
    """Follow to the end; gives the status, and the execution behind the gateway that told it.

    Ctrl-C stops the execution and follows it to Stopped.
    """
    from mlops.cli.follow import Follower
    from mlops.cli.view import make_view

    with make_view(console, running.step_names, with_logs=with_logs) as view:
        follower = Follower(view)
        try:
            _print_head(console, running)
            return _follow_on(follower, running)
        except KeyboardInterrupt:
            _stop(running)  # first of all: the next Ctrl-C may come at once
            view.say("  interrupted: stopping the execution (Ctrl-C again to leave it stopping)")
            return _follow_on(follower, running)[0], "Stopped"
        except BrokenPipeError:
            # Nobody reads any more (`mlops run | head`): as an interrupt, with nobody to tell.
            _stop(running)
            raise


def _follow_on(follower: Follower, running: RunningExecution) -> tuple[RunningExecution, str]:
    """Follow past gateways that are killed: the next one takes the execution up again."""
    for _ in range(GATEWAYS_STARTED_AGAIN):
        try:
            return running, follower.follow(running.client, running.id)
        except GatewayUnavailable:
            follower.view.say("  the gateway was lost; a new one takes the execution up again")
            running = running.reconnected()
    return running, follower.follow(running.client, running.id)


def _stop(running: RunningExecution) -> None:
    """Ask for the end. That the execution has ended by itself meanwhile is as good."""
    with interrupts_held():
        try:
            running.stop()
        except ServiceError as error:
            if error.code != "ValidationException":
                raise


def _finish(
    console: Console,
    running: RunningExecution,
    status: str,
    json_file: Path | None,
    endpoint: str | None,
) -> int:
    """Deploy what was registered, tell how all of it ended, and give the exit code."""
    from mlops.runs import deploy_registered

    details = running.details()
    code = EXIT_CODES[status]
    try:
        if code == 0 and endpoint is not None:
            outcome = deploy_registered(running, details, endpoint, _teller(console))
            if outcome is not None:
                details |= outcome.as_json()
                code = 0 if outcome.passed else 1
    except (MlopsError, KeyboardInterrupt):
        # The pipeline's own result is told all the same, and then what ended the rest.
        _tell(console, running, details, json_file)
        raise
    _tell(console, running, details, json_file)
    return code


def _tell(
    console: Console, running: RunningExecution, details: dict[str, Any], json_file: Path | None
) -> None:
    from mlops.cli.summary import as_json, print_summary
    from mlops.runs import write_report

    report = write_report(running.settings, details)
    if json_file:
        _write_json(json_file, as_json(details))
    print_summary(console, details, store=running.settings.store, report=report)


def _teller(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(f"  {line}", markup=False, soft_wrap=True)


def _make_way_for(json_file: Path | None) -> None:
    """Remove the document of an earlier run, so that none is there until this run has ended.

    Raises:
        UsageError: the file cannot be written; better said now than after the run.
    """
    if json_file is None or (json_file.exists() and not json_file.is_file()):
        return  # a pipe or a device, /dev/stdout for one
    if _stream_of(json_file) is not None:
        return
    try:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        with json_file.open("a"):  # one that must not be written must not be removed either
            pass
        json_file.resolve().unlink()  # of a link, what it leads to: the link stays
    except OSError as error:
        raise UsageError(
            f"The file of --json cannot be written: {os.strerror(error.errno or 0)}",
            where=str(json_file),
            next_step="give another file",
        ) from error


def _write_json(file: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2, default=str) + "\n"
    stream = _stream_of(file)
    if stream is None:
        file.write_text(text, encoding="utf-8")
    else:
        stream.write(text)
        stream.flush()


def _stream_of(file: Path) -> TextIO | None:
    """The stream of this command's own that `file` is: /dev/stdout, where a shell leads it.

    Opened anew, a file that stdout leads to would lose what has been written to it.
    """
    with suppress(OSError):
        for stream in (sys.stdout, sys.stderr):
            if os.path.samestat(file.stat(), os.fstat(stream.fileno())):
                return stream
    return None
