"""`mlops deploy`, `mlops test-endpoint` and `mlops endpoints`: models in service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option
from mlops.errors import UsageError

if TYPE_CHECKING:
    from mlops.gateway.client import GatewayClient


@click.command()
@click.argument("package", required=False)
@click.option("--endpoint", "endpoint", help="Its name; by default the data set's own.")
@click.option("--no-test", is_flag=True, help="Leave out the endpoint test.")
@store_option
@json_flag
def deploy(
    package: str | None, endpoint: str | None, no_test: bool, store: Path | None, as_json: bool
) -> int:
    """Deploy PACKAGE (`GROUP/VERSION`, `GROUP`, an ARN; by default the newest) and test it.

    An endpoint that exists is updated: the former version answers until the new one does, and
    again if the test fails.
    """
    from mlops import app
    from mlops.cli.models import package_arn
    from mlops.dataset import load_dataset
    from mlops.deployment import deploy_and_test

    settings = load_settings(store=store)
    client = app.client(settings)
    names = load_dataset(settings.dataset).names
    arn = package_arn(client, package or names.model_package_group)
    outcome = deploy_and_test(
        client,
        settings,
        arn,
        endpoint or names.endpoint,
        test=not no_test,
        progress=lambda line: click.echo(line, err=as_json),
    )
    if as_json:
        print_json(outcome.as_json())
    return 0 if outcome.passed else 1


@click.command("test-endpoint")
@click.argument("name")
@click.option("--requests", type=click.IntRange(min=1), default=200, show_default=True)
@store_option
@json_flag
def test_endpoint(name: str, requests: int, store: Path | None, as_json: bool) -> int:
    """Invoke the Lambda that tests endpoint NAME with rows that training never saw."""
    from mlops import app
    from mlops.deployment import PASSED, check_endpoint, describe_test

    settings = load_settings(store=store)
    result = check_endpoint(app.client(settings), settings, name, max_requests=requests)
    if as_json:
        print_json(result)
    else:
        click.echo(describe_test(result))
    return 0 if result["status"] == PASSED else 1


@click.group()
def endpoints() -> None:
    """List, show, invoke and delete endpoints, and read their logs."""


@endpoints.command("list")
@store_option
@json_flag
def list_endpoints(store: Path | None, as_json: bool) -> None:
    """List the endpoints, the newest first."""
    from mlops import app
    from mlops.cli.console import make_console, marked, table, when

    client = app.client(load_settings(store=store))
    found = list(client.pages("ListEndpoints", {}, "Endpoints"))
    if as_json:
        print_json(found)
        return
    console = make_console()
    if not found:
        console.print("no endpoint yet · `mlops deploy` makes one")
        return
    table(
        console,
        ["endpoint", "status", "created", "changed"],
        [
            (
                endpoint["EndpointName"],
                marked(endpoint["EndpointStatus"]),
                when(endpoint["CreationTime"]),
                when(endpoint["LastModifiedTime"]),
            )
            for endpoint in found
        ],
    )


@endpoints.command()
@click.argument("name")
@store_option
@json_flag
def show(name: str, store: Path | None, as_json: bool) -> None:
    """Show endpoint NAME: status, variants, address, package."""
    from mlops import app
    from mlops.cli.console import make_console, when

    client = app.client(load_settings(store=store))
    found = _described(client, name)
    if as_json:
        print_json(found)
        return
    console = make_console()
    for variant in found.get("ProductionVariants", []):
        console.print(f"variant     {variant['VariantName']} · {_variant(variant)}", markup=False)
    for label, value in (
        ("status", found["EndpointStatus"]),
        ("reason", found.get("FailureReason")),
        ("url", f"{client.url}/endpoints/{name}/invocations"),
        ("package", _package(client, name)),
        ("config", found["EndpointConfigName"]),
        ("changed", when(found["LastModifiedTime"])),
        ("arn", found["EndpointArn"]),
    ):
        if value:
            console.print(f"{label:<11} {value}", markup=False, soft_wrap=True)


@endpoints.command()
@click.argument("name")
@click.argument("body", required=False)
@click.option("--content-type", default="text/csv", show_default=True)
@click.option("--accept", help="The form of the answer.")
@click.option(
    "--async", "queued", is_flag=True, help="Queue it; print where its result and failure go."
)
@store_option
def invoke(
    name: str,
    body: str | None,
    content_type: str,
    accept: str | None,
    queued: bool,
    store: Path | None,
) -> None:
    """Send BODY (or standard input) to endpoint NAME and print the answer."""
    from mlops import app

    client = app.client(load_settings(store=store))
    data = body.encode() if body is not None else sys.stdin.buffer.read()
    if queued:
        made = client.enqueue(name, data, content_type=content_type, accept=accept)
        for member, place in made.items():
            click.echo(f"{member:<15} {place}")
        return
    answer = client.invoke(name, data, content_type=content_type, accept=accept)
    sys.stdout.buffer.write(answer if answer.endswith(b"\n") else answer + b"\n")


@endpoints.command()
@click.argument("name")
@store_option
def logs(name: str, store: Path | None) -> None:
    """Print what the servers of endpoint NAME have written."""
    from mlops import app

    settings = load_settings(store=store)
    _described(app.client(settings), name)
    for log in sorted((settings.store / "endpoints" / name).rglob("*.txt")):
        click.echo(f"== {log.relative_to(settings.store)}")
        click.echo(log.read_text(encoding="utf-8", errors="replace"), nl=False)


@endpoints.command()
@click.argument("name")
@store_option
def delete(name: str, store: Path | None) -> None:
    """Delete endpoint NAME with its configuration and model; the package stays."""
    from mlops import app
    from mlops.deployment import delete_endpoint

    settings = load_settings(store=store)
    client = app.client(settings)
    _described(client, name)
    delete_endpoint(client, name)
    click.echo(f"deleted {name}")


def _described(client: GatewayClient, name: str) -> dict[str, Any]:
    from mlops.deployment import describe_endpoint

    found = describe_endpoint(client, name)
    if found is None:
        raise UsageError(
            f"There is no endpoint {name!r}", next_step="`mlops endpoints list` shows what there is"
        )
    return found


def _package(client: GatewayClient, name: str) -> str | None:
    from mlops.deployment import package_of

    try:
        return package_of(client, name).partition(":model-package/")[2]
    except UsageError:
        return None  # made from a container of one's own


def _variant(variant: dict[str, Any]) -> str:
    serverless = variant.get("CurrentServerlessConfig")
    size = (
        f"serverless, {serverless['MemorySizeInMB']} MB, {serverless['MaxConcurrency']} at once"
        if serverless
        else f"{variant.get('CurrentInstanceCount', 1)} instances"
    )
    weight = variant.get("CurrentWeight")
    return size if weight is None else f"{size} · weight {weight:g}"
