"""`mlops doctor`: what this machine can do for a run, and how to mend what it cannot."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option

if TYPE_CHECKING:
    from mlops.runtimes.findings import Finding

LOOKS = {"ok": ("✓", "green"), "lacking": ("-", "yellow"), "broken": ("✗", "red")}


@click.command()
@store_option
@json_flag
def doctor(store: Path | None, as_json: bool) -> int:
    """Try out what a run needs: Python, engine, namespaces, images, disk.

    Exit code 3 when something is missing that every run needs.
    """
    from mlops.app import probe

    findings = probe(load_settings(store=store))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    return 3 if any(finding.status.value == "broken" for finding in findings) else 0


def _print(finding: Finding) -> None:
    mark, colour = LOOKS[finding.status.value]
    click.echo(f"{click.style(mark, fg=colour)} {finding.name:<16} {finding.text}")
    if finding.mend:
        click.echo(f"{'':<19}next: {finding.mend}")
