"""What stands for an image URI on this machine, before a job asks for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from mlops.errors import ImageUnavailable, MlopsError, RuntimeUnavailable
from mlops.ports import ImageSource
from mlops.runtimes.process_images import find_image, may_be_registered
from mlops.settings import Settings


class Standing(StrEnum):
    PRESENT = "present"
    """The engine has it."""
    REGISTRY = "in the registry"
    """The gateway's own registry has it: the engine gets it from there when a job asks."""
    TO_BUILD = "to build"
    """It is not there, and a folder of `containers/` defines it."""
    MISSING = "missing"
    """It is not there, and nothing here can make it."""
    ENVIRONMENT = "environment"
    """The project's own environment stands for it, in processes."""
    UNKNOWN = "unknown"
    """Nobody answers who could tell: no runtime, or no gateway for its registry."""


@dataclass(frozen=True, slots=True)
class ImageStanding:
    """``local`` is the image of the local engine that stands for ``image``."""

    image: str
    local: str
    state: Standing
    reason: str = ""
    """Of one that is missing: what to do. Of one that nobody can tell: why."""


Judge = Callable[[str], ImageStanding]


def judge_images(
    settings: Settings, registry: Callable[[], ImageSource | None] = lambda: None
) -> Judge:
    """What says of an image URI how it stands, by the runtime that the settings choose.

    `registry` is asked for the gateway's own; it answers None where no gateway runs.
    """
    if settings.runtime == "process":
        return lambda uri: _in_processes(uri, settings)
    from mlops.runtimes.docker_engine import find_engine

    try:
        engine = find_engine()
    except RuntimeUnavailable as error:
        if settings.runtime == "docker":
            reason = error.what
            return lambda uri: ImageStanding(uri, _local(uri, settings), Standing.UNKNOWN, reason)
        return lambda uri: _in_processes(uri, settings)

    def in_docker(uri: str) -> ImageStanding:
        from docker.errors import APIError

        mapping, local = settings.image_for(uri), _local(uri, settings)
        hint = f"docker pull {local}, or map {uri} by an [[images]] entry in mlops.toml"
        if mapping is None and may_be_registered(uri, settings):
            images = registry()
            try:
                found = None if images is None else images(uri)
            except ImageUnavailable as error:
                hint = error.next_step or hint
            else:
                if found is not None:
                    return ImageStanding(uri, found.reference, Standing.REGISTRY)
        with suppress(APIError):
            engine.client.inspect_image(local)
            return ImageStanding(uri, local, Standing.PRESENT)
        if mapping is not None and mapping.folder is not None:
            return ImageStanding(uri, local, Standing.TO_BUILD, "`mlops images build` builds it")
        if mapping is None and may_be_registered(uri, settings) and registry() is None:
            reason = "no gateway runs to ask for its registry: `mlops up` starts one"
            return ImageStanding(uri, local, Standing.UNKNOWN, reason)
        return ImageStanding(uri, local, Standing.MISSING, hint)

    return in_docker


def _local(uri: str, settings: Settings) -> str:
    mapping = settings.image_for(uri)
    return uri if mapping is None else mapping.local


def _in_processes(uri: str, settings: Settings) -> ImageStanding:
    try:
        find_image(uri, settings)
    except MlopsError as error:
        reason = error.next_step or error.what
        return ImageStanding(uri, _local(uri, settings), Standing.MISSING, reason)
    return ImageStanding(uri, "the project's environment", Standing.ENVIRONMENT)
