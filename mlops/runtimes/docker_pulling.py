"""Images of the gateway's own registry, brought to the engine before a job runs on one."""

from __future__ import annotations

import logging

from mlops.errors import ImageUnavailable
from mlops.ports import ImageSource, RegistryImage
from mlops.runtimes.docker_engine import Engine, translated

_logger = logging.getLogger(__name__)


def registry_image(engine: Engine, images: ImageSource | None, uri: str) -> str | None:
    """The engine's reference of what `uri` means in the registry; None where it means nothing.

    It is by digest: what the tag points at now, and not what the engine has of an earlier pull.

    Raises:
        ImageUnavailable: the registry does not have it, or it cannot be pulled.
    """
    try:
        image = images(uri) if images is not None else None
    except ImageUnavailable:
        if engine.has_image(uri):
            return None  # built or tagged here under this name, and not pushed
        raise
    if image is None:
        return None
    if not engine.has_image(image.reference):
        _logger.info("pulling %s for %s", image.reference, uri)
        _pull(engine, image)
    return image.reference


def _pull(engine: Engine, image: RegistryImage) -> None:
    login = {"username": image.username, "password": image.password}
    with translated(f"The image {image.reference} cannot be pulled"):
        events = engine.client.pull(
            image.repository, tag=image.digest, auth_config=login, stream=True, decode=True
        )
        for event in events:
            if "error" in event:
                raise ImageUnavailable(
                    f"The image {image.reference} cannot be pulled: {event['error']}",
                    next_step="see that the engine reaches 127.0.0.1 of this machine (Docker "
                    "Desktop does not)",
                )
