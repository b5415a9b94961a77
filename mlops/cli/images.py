"""`mlops images`: the container images that stand in for the cloud's."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlops.cli.options import json_flag, load_settings, print_json

if TYPE_CHECKING:
    from mlops.images import ImageStatus


@click.group()
def images() -> None:
    """Build and list the images of `containers/`."""


@images.command()
@click.option(
    "--base-image",
    envvar="BASE_IMAGE",
    help="Build on this image instead of the base that can be had (also: BASE_IMAGE).",
)
@click.option("--force", is_flag=True, help="Build also what did not change.")
def build(base_image: str | None, force: bool) -> None:
    """Build the images that changed."""
    from mlops.images import build_images

    settings = load_settings()
    for image in build_images(settings, base_image=base_image, force=force, progress=click.echo):
        click.echo(_line(image))


@images.command("list")
@json_flag
def list_images(as_json: bool) -> None:
    """List the images and whether they are built."""
    from mlops.images import image_status

    found = image_status(load_settings())
    if as_json:
        print_json([asdict(image) for image in found])
        return
    for image in found:
        click.echo(_line(image))


def _line(image: ImageStatus) -> str:
    words = [image.image, image.state.value]
    words += [f"{image.size / 1e6:,.0f} MB"] if image.size else []
    words += [image.reason] if image.reason else []
    words += [f"{image.seconds:.1f} s"] if image.seconds else []
    return " · ".join(words)
