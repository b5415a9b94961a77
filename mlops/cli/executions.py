"""`mlops executions`: what ran, how it went, what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option
from mlops.errors import UsageError

if TYPE_CHECKING:
    from mlops.gateway.client import GatewayClient


@click.group()
def executions() -> None:
    """List, show, stop executions, and read their logs."""


@executions.command("list")
@click.argument("pipeline", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@store_option
@json_flag
def list_executions(pipeline: str | None, limit: int, store: Path | None, as_json: bool) -> None:
    """List the executions of PIPELINE, or of every pipeline, newest first."""
    from mlops import app
    from mlops.cli.console import make_console, marked, table, when

    client = app.client(load_settings(store=store))
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
                execution.get("failure_reason") or "",
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
    from mlops.cli.summary import print_summary
    from mlops.runs import write_report

    settings = load_settings(store=store)
    client = app.client(settings)
    details = client.execution(_id(client, execution))
    if as_json:
        print_json(document(details))
        return
    print_summary(make_console(), details, str(write_report(settings, details)))


@executions.command()
@click.argument("execution")
@click.argument("step", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on until the execution ends.")
@store_option
def logs(execution: str, step: str | None, follow: bool, store: Path | None) -> None:
    """Print the logs of EXECUTION (an id, an ARN, `latest`), or of one STEP alone."""
    from mlops import app
    from mlops.cli.console import make_console
    from mlops.cli.follow import Follower
    from mlops.cli.view import PlainView

    client = app.client(load_settings(store=store))
    execution_id = _id(client, execution)
    if follow:
        with PlainView(make_console()) as view:
            Follower(view).follow(client, execution_id)
        return
    found = client.follow(execution_id, events=0, logs={}, wait=0)["logs"]
    if step is not None and step not in found:
        raise UsageError(
            f"Execution {execution_id} has no log of a step {step!r}",
            next_step=f"steps with a log: {', '.join(found) or 'none'}",
        )
    for name, log in found.items():
        if step is None:
            click.echo(f"== {name}")
        if step in (None, name):
            click.echo(log["text"], nl=not log["text"].endswith("\n"))


@executions.command()
@click.argument("execution")
@store_option
def stop(execution: str, store: Path | None) -> None:
    """Stop EXECUTION: its jobs get a SIGTERM, then it is Stopped."""
    from mlops import app
    from mlops.runs import stop_execution

    client = app.client(load_settings(store=store))
    found = client.execution(_id(client, execution))["execution"]
    stop_execution(client, found["arn"])
    click.echo(f"stopping {found['id']}")


def _id(client: GatewayClient, execution: str) -> str:
    if execution.startswith("arn:"):
        return execution.rpartition("/")[2]
    if execution != "latest":
        return execution
    newest: list[dict[str, Any]] = client.executions(limit=1)
    if not newest:
        raise UsageError("There is no execution yet", next_step="`mlops run` starts one")
    return str(newest[0]["id"])
