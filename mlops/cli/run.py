"""`mlops run` and `mlops compile`: from a target to a running pipeline, and to its definition."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops.cli.options import load_settings, store_option
from mlops.errors import ExecutionFailed, ServiceError, UsageError
from mlops.settings import CACHE_MODES

if TYPE_CHECKING:
    from rich.console import Console

    from mlops.runs import RunningExecution
    from mlops.settings import Settings

EXIT_CODES = {"Succeeded": 0, "Failed": 1, "Stopped": 130}


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
@click.option("--backend", type=click.Choice(["local", "cloud"]), default="local")
@click.option("--runtime", type=click.Choice(["auto", "docker", "process"]))
@click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE")
@click.option("--data", "dataset", type=click.Path(path_type=Path), help="A dataset descriptor.")
@click.option("--data-file", type=click.Path(path_type=Path), help="The data it describes.")
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
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
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
    from mlops.cli.console import make_console

    given = parse_parameters(parameters)
    settings = load_settings(
        store=store, runtime=runtime, dataset=dataset, data_file=data_file, cache_mode=cache_mode
    )
    console = make_console()
    running = runs.start_run(
        settings,
        target=target,
        backend=backend,
        parameters=given,
        no_cache=no_cache,
        build_images=build_images,
        progress=lambda text: console.print(text, markup=False, soft_wrap=True),
    )
    _print_head(console, settings, running)
    if detach:
        console.print(f"detached · mlops executions show {running.id}", markup=False)
        _write_json(json_file, {"execution_arn": running.arn, "status": "Executing"})
        return 0
    status = _follow(console, running, with_logs=not quiet)
    name = None if no_deploy else endpoint or (None if target else runs.lab_endpoint(settings))
    return _finish(console, running, status, json_file, name)


@click.command("compile")
@click.argument("target", required=False)
@click.option(
    "--out", "out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file."
)
@click.option("--data", "dataset", type=click.Path(path_type=Path), help="A dataset descriptor.")
@click.option("--data-file", type=click.Path(path_type=Path), help="The data it describes.")
@store_option
def compile_command(
    target: str | None,
    out: Path,
    dataset: Path | None,
    data_file: Path | None,
    store: Path | None,
) -> None:
    """Write the definition JSON of TARGET, or of the lab's pipeline."""
    from mlops import app

    settings = load_settings(store=store, dataset=dataset, data_file=data_file)
    text = app.backend(settings, "local").compile(target).definition
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    click.echo(f"{out} · {len(text.encode()):,} bytes · {len(json.loads(text)['Steps'])} steps")


def _print_head(console: Console, settings: Settings, running: RunningExecution) -> None:
    console.print(
        f"mlops · {running.backend} · {running.runtime} · gateway {running.client.url.removeprefix('http://')}"
        f" · store {_relative(settings.store)}",
        style="dim",
        markup=False,
        soft_wrap=True,
    )
    words = [running.pipeline_name, f"execution {running.id}"]
    words += [f"{name} {value}" for name, value in running.parameters.items()]
    console.print(" · ".join(words), style="bold", markup=False, soft_wrap=True)


def _follow(console: Console, running: RunningExecution, *, with_logs: bool) -> str:
    """Follow to the end. Ctrl-C stops the execution and follows it to Stopped."""
    from mlops.cli.follow import Follower
    from mlops.cli.view import make_view

    with make_view(console, running.step_names, with_logs=with_logs) as view:
        follower = Follower(view)
        try:
            return follower.follow(running.client, running.id)
        except KeyboardInterrupt:
            view.say("  interrupted: stopping the execution (Ctrl-C again to leave it stopping)")
            running.stop()
            follower.follow(running.client, running.id)
            return "Stopped"


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
    except (ExecutionFailed, ServiceError):
        # The pipeline's own result is told all the same, and then what failed after it.
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
    print_summary(console, details, _relative(report))
    _write_json(json_file, as_json(details))


def _teller(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(f"  {line}", markup=False, soft_wrap=True)


def _write_json(file: Path | None, document: dict[str, Any]) -> None:
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
