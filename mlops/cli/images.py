"""`mlops images`: the container images that stand in for the cloud's."""

from __future__ import annotations

import click

from mlops.cli.options import json_flag, load_settings, print_json


@click.group()
def images() -> None:
    """Build and list the images of `containers/`."""


@images.command()
@click.option("--base-image", help="Build on this image instead of the base that can be had.")
@click.option("--force", is_flag=True, help="Build also what did not change.")
def build(base_image: str | None, force: bool) -> None:
    """Build the images that changed."""
    from mlops import app

    for image in app.build_images(
        load_settings(), base_image=base_image, force=force, progress=click.echo
    ):
        click.echo(f"{image.tag} · {image.size / 1e6:,.0f} MB · {image.summary}")


@images.command("list")
@json_flag
def list_images(as_json: bool) -> None:
    """List the images and whether they are built."""
    from mlops import app

    found = app.image_status(load_settings())
    if as_json:
        print_json([image.as_json() for image in found])
        return
    for image in found:
        click.echo(f"{image.tag} · {image.summary}")
