"""`mlops executions`: what ran, how it went, what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option
from mlops.errors import UsageError

if TYPE_CHECKING:
    from mlops.gateway.client import GatewayClient


@click.group()
def executions() -> None:
    """List, show, stop, resume executions, and read their logs."""


@executions.command("list")
@click.argument("pipeline", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@store_option
@json_flag
def list_executions(pipeline: str | None, limit: int, store: Path | None, as_json: bool) -> None:
    """List the executions of PIPELINE, or of every pipeline, newest first."""
    from mlops import app
    from mlops.cli.console import make_console, marked, table, when
    from mlops.cli.summary import last_line

    client = app.client(load_settings(store=store))
    if pipeline:
        client.call("DescribePipeline", {"PipelineName": pipeline})  # refuses an unknown one
    found = client.executions(pipeline=pipeline, limit=limit)
    if as_json:
        print_json(found)
        return
    console = make_console()
    if not found:
        console.print("no execution yet · `mlops run` starts one")
        return
    table(
        console,
        ["execution", "pipeline", "status", "started", "reason"],
        [
            (
                execution["id"],
                execution["pipeline_name"],
                marked(execution["status"]),
                when(execution["started_at"]),
                last_line(execution.get("failure_reason") or ""),
            )
            for execution in found
        ],
    )


@executions.command()
@click.argument("execution")
@store_option
@json_flag
def show(execution: str, store: Path | None, as_json: bool) -> None:
    """Show EXECUTION: its id, its ARN, or `latest`. Writes its report anew."""
    from mlops import app
    from mlops.cli.console import make_console
    from mlops.cli.summary import as_json as document
    from mlops.cli.summary import print_head, print_summary
    from mlops.runs import write_report

    settings = load_settings(store=store)
    client = app.client(settings)
    details = client.execution(chosen_id(client, execution))
    if as_json:
        print_json(document(details))
        return
    console = make_console()
    print_head(console, details)
    print_summary(console, details, store=settings.store, report=write_report(settings, details))


@executions.command()
@click.argument("execution")
@click.argument("step", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on until the execution ends.")
@store_option
def logs(execution: str, step: str | None, follow: bool, store: Path | None) -> None:
    """Print the logs of EXECUTION (an id, an ARN, `latest`), or of one STEP alone."""
    from mlops import app
    from mlops.cli.console import make_console
    from mlops.cli.follow import Follower, step_of
    from mlops.cli.view import PlainView

    client = app.client(load_settings(store=store))
    execution_id = chosen_id(client, execution)
    if step is not None:
        _check_step(client, execution_id, step)
    if follow:
        with PlainView(make_console()) as view:
            Follower(view, step).follow(client, execution_id)
        return
    found = {
        name: text
        for name, text in _whole_logs(client, execution_id).items()
        if step in (None, step_of(name))
    }
    for name, text in found.items():
        if len(found) > 1 or step is None:
            click.echo(f"== {name}")
        click.echo(text, nl=not text.endswith("\n"))


def _check_step(client: GatewayClient, execution_id: str, step: str) -> None:
    """Raises:
    UsageError: the execution's pipeline has no such step.
    """
    from mlops.definition import parse_definition

    definition = json.dumps(client.execution(execution_id)["definition"])
    names = [each.name for each in parse_definition(definition).all_steps()]
    if step not in names:
        raise UsageError(
            f"The pipeline of execution {execution_id} has no step {step!r}",
            next_step=f"its steps are: {', '.join(names)}",
        )


def _whole_logs(client: GatewayClient, execution_id: str) -> dict[str, str]:
    """Each log's whole text: one answer brings a part of a long one."""
    texts: dict[str, str] = {}
    offsets: dict[str, int] = {}
    while news := client.follow(execution_id, logs=offsets, wait=0)["logs"]:
        for name, log in news.items():
            texts[name] = texts.get(name, "") + log["text"]
            offsets[name] = log["offset"]
    return texts


@executions.command()
@click.argument("execution")
@store_option
def stop(execution: str, store: Path | None) -> None:
    """Stop EXECUTION: its jobs get a SIGTERM, then it is Stopped."""
    from mlops import app
    from mlops.runs import stop_execution

    client = app.client(load_settings(store=store))
    found = client.execution(chosen_id(client, execution))["execution"]
    stop_execution(client, found["arn"])
    click.echo(f"stopping {found['id']} · mlops executions logs -f {found['id']}")


@executions.command()
@click.argument("execution")
@click.option("--follow", "-f", is_flag=True, help="Show what it does until it ends.")
@store_option
def resume(execution: str, follow: bool, store: Path | None) -> None:
    """Go on with EXECUTION, failed or stopped, from the steps that did not succeed.

    What an earlier gateway left unfinished goes on by itself, whenever a gateway starts.
    """
    from mlops import app
    from mlops.cli.console import make_console
    from mlops.cli.follow import Follower
    from mlops.cli.view import PlainView
    from mlops.runs import resume_execution

    client = app.client(load_settings(store=store))
    found = client.execution(chosen_id(client, execution))["execution"]
    resumed = resume_execution(client, found)
    click.echo(f"{'resuming' if resumed else 'goes on by itself:'} {found['id']}")
    if follow:
        with PlainView(make_console()) as view:
            Follower(view).follow(client, found["id"])


def chosen_id(client: GatewayClient, execution: str) -> str:
    if execution.startswith("arn:"):
        return execution.rpartition("/")[2]
    if execution != "latest":
        return execution
    newest: list[dict[str, Any]] = client.executions(limit=1)
    if not newest:
        raise UsageError("There is no execution yet", next_step="`mlops run` starts one")
    return str(newest[0]["id"])
