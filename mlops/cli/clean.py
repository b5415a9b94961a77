"""`mlops clean`: make room in the state folder."""

from __future__ import annotations

from pathlib import Path

import click

from mlops.cli.options import load_settings, store_option


@click.command()
@store_option
@click.option("--all", "everything", is_flag=True, help="Remove the whole state folder.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(store: Path | None, everything: bool, yes: bool) -> None:
    """Remove what past runs left on the disk beside their results.

    Without --all: the job folders of ended executions and the caches. Executions, logs, reports,
    objects, models and packages stay.
    """
    from mlops import cleaning

    settings = load_settings(store=store)
    plan = cleaning.plan_clean(settings, everything=everything)
    if not plan.folders:
        click.echo(f"nothing to remove in {settings.store}")
        return
    size = f"{plan.size / 1e6:,.1f} MB"
    if everything and not yes:
        click.confirm(f"Remove {settings.store} with all its executions ({size})?", abort=True)
    cleaning.carry_out_clean(settings, plan)
    count = len(plan.folders)
    folders = "1 folder" if count == 1 else f"{count} folders"
    click.echo(f"removed {size} in {folders} of {settings.store}")
