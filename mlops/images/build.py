"""Builds what the plan says, and says what is there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlops.images.base import choose_base
from mlops.images.engine import BuildStep, DockerEngine, Engine, Progress
from mlops.images.packages import PackageAccess, package_access
from mlops.images.plan import FoundImage, ImagePlan, ImageState, ImageStatus, plan_images
from mlops.images.sources import PROJECT, ImageSource, image_sources
from mlops.settings import Settings

CONNECT = """
import socket, sys
from urllib.parse import urlsplit
from pip._internal.models.index import PyPI
url = urlsplit(sys.argv[1] or PyPI.url)
port = url.port or (80 if url.scheme == "http" else 443)
socket.create_connection((url.hostname, port), 5).close()
"""
"""Run in the base image: does the network lead to where pip connects first?"""


def image_status(
    settings: Settings, *, engine: Engine | None = None, project: Path = PROJECT
) -> list[ImageStatus]:
    """What the engine has of the images that can be built here, and what is out of date.

    Raises:
        RuntimeUnavailable: no engine answers.
        ImageUnavailable: the image table names a folder that does not define an image.
    """
    engine = engine or DockerEngine()
    sources = image_sources(settings, project)
    found = find_all(engine, [source.image for source in sources])
    return [
        ImageStatus(
            plan.source.image,
            plan.source.folder,
            plan.state,
            plan.reason,
            found[plan.source.image].size if plan.source.image in found else 0,
        )
        for plan in plan_images(sources, found)
    ]


def build_images(
    settings: Settings,
    *,
    base_image: str | None = None,
    bases: Mapping[str, str] | None = None,
    force: bool = False,
    progress: Progress = print,
    engine: Engine | None = None,
    project: Path = PROJECT,
) -> list[ImageStatus]:
    """Build the images that are missing or out of date, parents first; show it line by line.

    `base_image` is what the images stand on that stand on no other image here; by default
    whatever they stand on already, else the base that can be had (`mlops.images.base`). `bases`
    gives single folders of `containers/` a base of their own, such as a region's Deep Learning
    Container. `force` builds all of them; layers that did not change come from the engine's cache.
    `project` is the folder that `containers/` lies in.

    Raises:
        RuntimeUnavailable: no engine answers.
        ImageUnavailable: no base is to be had, or a build fails (with the last output lines).
        DiskFull: the engine has no room.
    """
    engine = engine or DockerEngine()
    sources = image_sources(settings, project)
    given = given_bases(sources, base_image) | dict(bases or {})
    for base in sorted(set(given.values()) - {source.image for source in sources}):
        choose_base(engine, base, given=base, progress=quiet)
    found = find_all(engine, [source.image for source in sources] + list(given.values()))
    plans = plan_images(sources, found, bases=given, force=force)
    builder = Builder(engine, progress)
    return [builder.build(plan, found.get(plan.source.image)) for plan in plans]


def given_bases(sources: Sequence[ImageSource], base_image: str | None) -> dict[str, str]:
    """`base_image` for each image that stands on no other image of these."""
    if base_image is None:
        return {}
    ours = {source.image for source in sources}
    return {source.folder: base_image for source in sources if source.base not in ours}


def find_all(engine: Engine, names: Sequence[str]) -> dict[str, FoundImage]:
    return {name: image for name in names if (image := engine.find(name))}


def quiet(_: str) -> None:
    """For what is said later, by whoever uses it."""


@dataclass
class Builder:
    """Carries a plan out. What several builds need is found once."""

    engine: Engine
    progress: Progress
    _access: PackageAccess | None = None
    _bases: dict[tuple[str, str | None], str] = field(default_factory=dict)
    _networks: dict[str, str | None] = field(default_factory=dict)

    def build(self, plan: ImagePlan, found: FoundImage | None) -> ImageStatus:
        image, folder = plan.source.image, plan.source.folder
        if not plan.to_build:
            size = found.size if found else 0
            self.progress(f"{image}: up to date ({size / 1e6:,.0f} MB)")
            return ImageStatus(image, folder, plan.state, "", size)
        self.progress(f"{image}: {plan.reason}")
        started = time.monotonic()
        base = plan.parent or self._base(plan.source.base, plan.given_base)
        self._name(plan.source, found, self._run(plan, base))
        seconds = time.monotonic() - started
        built = self.engine.find(image)
        size = built.size if built else 0
        self.progress(f"{image}: built in {seconds:.0f} s ({size / 1e6:,.0f} MB)")
        return ImageStatus(image, folder, ImageState.BUILT, plan.reason, size, seconds)

    def _run(self, plan: ImagePlan, base: str) -> tuple[BuildStep, ...]:
        access = self._package_access()
        context: dict[str, Path | bytes] = {**plan.source.files, **access.context_files()}
        return self.engine.build(
            plan.source.image,
            dockerfile=plan.source.dockerfile,
            context=context,
            arguments={"BASE_IMAGE": base, **access.proxies},
            network=self._network(base, access),
            progress=lambda line: self.progress(f"{plan.source.image}: {line}"),
        )

    def _name(
        self, source: ImageSource, before: FoundImage | None, steps: tuple[BuildStep, ...]
    ) -> None:
        """Name what was built, and remove what it replaces.

        The stage that installs is named too: it makes the next build quick, and without a name
        it would be lost at the next `docker image prune`.
        """
        old_stage = self.engine.find(source.packages_tag)
        installed = [step.image for step in steps if step.instruction.startswith("RUN")]
        if installed and installed[-1]:
            self.engine.tag(installed[-1], source.packages_tag)
        self.engine.tag(source.image, source.content_tag)
        stem = source.content_tag.rpartition("-")[0]
        for tag in before.tags if before else ():
            if tag.startswith(stem) and tag != source.content_tag:
                self.engine.untag(tag)
        for replaced in (before, old_stage):
            if replaced:
                self.engine.discard(replaced.id)

    def _base(self, default: str, given: str | None) -> str:
        key = (default, given)
        if key not in self._bases:
            self._bases[key] = choose_base(
                self.engine, default, given=given, progress=self.progress
            )
        return self._bases[key]

    def _package_access(self) -> PackageAccess:
        if self._access is None:
            self._access = package_access()
        return self._access

    def _network(self, base: str, access: PackageAccess) -> str | None:
        """None for the engine's default, the bridge; `host` where that has no way to packages."""
        if base not in self._networks:
            command = ["python3", "-c", CONNECT, access.first_hop or ""]
            way_out = not access.only_from_this_host and self.engine.can_connect(
                base, command, "bridge"
            )
            self._networks[base] = None if way_out else "host"
            if not way_out:
                self.progress("network host: the bridge has no way to the package index")
        return self._networks[base]
