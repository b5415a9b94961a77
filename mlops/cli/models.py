"""`mlops models`: the registry, its versions, and their approval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option
from mlops.errors import UsageError

if TYPE_CHECKING:
    from mlops.gateway.client import GatewayClient


@click.group()
def models() -> None:
    """List, show, approve and reject model packages."""


@models.command("list")
@click.argument("group", required=False)
@store_option
@json_flag
def list_models(group: str | None, store: Path | None, as_json: bool) -> None:
    """List the versions of GROUP, or of every group."""
    from mlops import app
    from mlops.cli.console import make_console, table, when

    client = app.client(load_settings(store=store))
    packages = [package for name in _groups(client, group) for package in _versions(client, name)]
    if as_json:
        print_json(packages)
        return
    console = make_console()
    if not packages:
        console.print("no model package yet · `mlops run` registers one")
        return
    table(
        console,
        ["package", "approval", "created", "description"],
        [
            (
                _short(package["ModelPackageArn"]),
                package.get("ModelApprovalStatus", ""),
                when(package["CreationTime"]),
                package.get("ModelPackageDescription", ""),
            )
            for package in packages
        ],
    )


@models.command()
@click.argument("package")
@store_option
@json_flag
def show(package: str, store: Path | None, as_json: bool) -> None:
    """Show PACKAGE: `GROUP/VERSION`, `GROUP` (its newest), or an ARN."""
    from mlops import app
    from mlops.cli.console import make_console, when

    client = app.client(load_settings(store=store))
    found = client.call("DescribeModelPackage", {"ModelPackageName": package_arn(client, package)})
    if as_json:
        print_json(found)
        return
    console = make_console()
    container = (found.get("InferenceSpecification", {}).get("Containers") or [{}])[0]
    quality = found.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
    for name, value in (
        ("package", _short(found["ModelPackageArn"])),
        ("approval", found.get("ModelApprovalStatus")),
        ("note", found.get("ApprovalDescription")),
        ("created", when(found["CreationTime"])),
        ("model data", container.get("ModelDataUrl")),
        ("image", container.get("Image")),
        ("metrics", quality.get("S3Uri")),
        ("arn", found["ModelPackageArn"]),
    ):
        if value:
            console.print(f"{name:<11} {value}", markup=False)


@models.command()
@click.argument("package")
@click.option("--note", help="Why; kept with the package.")
@store_option
def approve(package: str, note: str | None, store: Path | None) -> None:
    """Approve PACKAGE (`GROUP/VERSION`, `GROUP`, or an ARN)."""
    _set_approval(package, "Approved", note, store)


@models.command()
@click.argument("package")
@click.option("--note", help="Why; kept with the package.")
@store_option
def reject(package: str, note: str | None, store: Path | None) -> None:
    """Reject PACKAGE (`GROUP/VERSION`, `GROUP`, or an ARN)."""
    _set_approval(package, "Rejected", note, store)


def _set_approval(package: str, status: str, note: str | None, store: Path | None) -> None:
    from mlops import app

    client = app.client(load_settings(store=store))
    arn = package_arn(client, package)
    request = {"ModelPackageArn": arn, "ModelApprovalStatus": status}
    client.call("UpdateModelPackage", request | ({"ApprovalDescription": note} if note else {}))
    click.echo(f"{_short(arn)} · {status}")


def _groups(client: GatewayClient, group: str | None) -> list[str]:
    if group:
        client.call("DescribeModelPackageGroup", {"ModelPackageGroupName": group})
        return [group]
    return [
        summary["ModelPackageGroupName"]
        for summary in client.pages("ListModelPackageGroups", {}, "ModelPackageGroupSummaryList")
    ]


def _versions(client: GatewayClient, group: str) -> list[dict[str, Any]]:
    request = {"ModelPackageGroupName": group, "SortBy": "CreationTime", "SortOrder": "Descending"}
    return list(client.pages("ListModelPackages", request, "ModelPackageSummaryList"))


def package_arn(client: GatewayClient, package: str) -> str:
    """The ARN of `GROUP/VERSION`, of a group's newest version, or the ARN itself."""
    if package.startswith("arn:"):
        return package
    group, _, version = package.partition("/")
    versions = _versions(client, group) if group in _groups(client, None) else []
    for found in versions:
        if not version or str(found["ModelPackageVersion"]) == version:
            return str(found["ModelPackageArn"])
    raise UsageError(
        f"There is no model package {package!r}",
        next_step="`mlops models list` shows what there is",
    )


def _short(arn: str) -> str:
    """``arn:…:model-package/group/3`` → ``group/3``."""
    return arn.partition(":model-package/")[2] or arn
