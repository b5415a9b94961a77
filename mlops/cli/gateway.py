"""`mlops up | down | status`: the gateway of a state folder."""

from __future__ import annotations

from pathlib import Path

import click

from mlops.cli.options import json_flag, load_settings, print_json, store_option
from mlops.listening import LOOPBACK

_RUNNING = ("executions", "jobs")
"""What the gateway's health names of it; endpoints and functions have commands of their own."""


@click.command()
@store_option
@click.option("--runtime", type=click.Choice(["auto", "docker", "process"]))
@click.option("--port", "gateway_port", type=click.IntRange(0, 65535), help="A fixed port.")
@click.option(
    "--host",
    "gateway_host",
    help="Listen beyond this machine, too: on this IPv4 address, or on all (0.0.0.0). "
    "Whoever comes that way has to sign with the gateway's own key.",
)
def up(
    store: Path | None, runtime: str | None, gateway_port: int | None, gateway_host: str | None
) -> None:
    """Start the gateway, or find it, and say where it answers."""
    from mlops import app

    settings = load_settings(
        store=store, runtime=runtime, gateway_port=gateway_port, gateway_host=gateway_host
    )
    address = app.start_gateway(settings)
    click.echo(f"gateway {address.url} · pid {address.pid} · store {settings.store}")
    click.echo(f"export AWS_ENDPOINT_URL={address.url}")
    click.echo(f"export AWS_DEFAULT_REGION={settings.region}")
    click.echo("export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local")
    if settings.gateway_host not in (None, LOOPBACK):
        click.echo("# on other machines, over a network that you trust (docs/security.md):")
        for name, value in app.exports_beyond(settings, address.url).items():
            click.echo(f"export {name}={value}")


@click.command()
@store_option
def down(store: Path | None) -> None:
    """Stop the gateway. What runs is stopped and recorded; nothing is lost."""
    from mlops import app

    settings = load_settings(store=store)
    address = app.stop_gateway(settings)
    if address is None:
        click.echo(f"no gateway runs for {settings.store}")
    else:
        click.echo(f"gateway {address.url} stopped")


@click.command()
@store_option
@json_flag
def status(store: Path | None, as_json: bool) -> None:
    """Say whether a gateway runs here, and what runs in it."""
    from mlops import app

    settings = load_settings(store=store)
    health = app.gateway_health(settings)
    if as_json:
        print_json(health if health else {"running": False, "store": str(settings.store)})
        return
    if health is None:
        click.echo(f"no gateway runs for {settings.store}")
        return
    click.echo(
        f"gateway {health['url']} · pid {health['pid']} · version {health['version']}"
        f" · {health['runtime']} · store {settings.store}"
    )
    if health.get("host"):
        click.echo(f"listens on {health['host']}, too: whoever comes that way has to sign")
    running = [name for kind in _RUNNING for name in health.get(kind) or []]
    click.echo(f"{len(running)} running" if running else "nothing runs")
    for name in running:
        click.echo(f"  {name}")
