"""An engine in memory, and a project with two images, one over the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mlops.errors import ImageUnavailable
from mlops.images.engine import BuildStep, Progress
from mlops.images.plan import FoundImage
from mlops.images.sources import ImageSource, read_source


@dataclass
class MemoryEngine:
    """Images as values; a build adds a layer that its context decides."""

    images: dict[str, FoundImage] = field(default_factory=dict)
    registry: frozenset[str] = frozenset()
    bridge_has_a_way_out: bool = True
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def put(self, name: str, *layers: str) -> None:
        self._name(FoundImage(f"id-of-{'-'.join(layers)}", frozenset(), layers, 1000), name)

    def find(self, name: str) -> FoundImage | None:
        return next((i for i in self.images.values() if name in i.tags or name == i.id), None)

    def pull(self, name: str, progress: Progress) -> None:
        self.calls.append(("pull", name))
        if name not in self.registry:
            raise ImageUnavailable(f"The image {name} is not to be had: no such host")
        self.put(name, f"layer-of-{name}")

    def import_root(self, archive: Path, name: str) -> None:
        self.put(name, archive.read_text())

    def can_connect(self, image: str, command: list[str], network: str) -> bool:
        self.calls.append(("probe", image, network))
        return self.bridge_has_a_way_out

    def build(
        self,
        name: str,
        *,
        dockerfile: str,
        context: Mapping[str, Path | bytes],
        arguments: Mapping[str, str],
        network: str | None,
        progress: Progress,
    ) -> tuple[BuildStep, ...]:
        self.calls.append(("build", name, arguments["BASE_IMAGE"], network, frozenset(context)))
        base = self.find(arguments["BASE_IMAGE"])
        assert base is not None
        text = "+".join(f.read_text() for f in context.values() if isinstance(f, Path))
        self.put(name, *base.layers, text)
        stage = FoundImage(f"stage-of-{text}", frozenset(), (*base.layers, "stage"))
        self.images[stage.id] = self.images.get(stage.id, stage)
        return (BuildStep("FROM x AS packages", base.id), BuildStep("RUN install", stage.id))

    def tag(self, name: str, other: str) -> None:
        image = self.find(name)
        assert image is not None
        self._name(image, other)

    def untag(self, name: str) -> None:
        for key, image in self.images.items():
            self.images[key] = replace(image, tags=image.tags - {name})

    def discard(self, identity: str) -> None:
        if identity in self.images and not self.images[identity].tags:
            del self.images[identity]

    def _name(self, image: FoundImage, name: str) -> None:
        self.untag(name)
        known = self.images.get(image.id, image)
        self.images[image.id] = replace(known, tags=known.tags | {name})

    def built(self) -> list[str]:
        return [call[1] for call in self.calls if call[0] == "build"]


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder, base in (("tools", "python:slim"), ("trainer", "tools:local")):
        own = tmp_path / "containers" / folder
        own.mkdir(parents=True)
        (own / "Dockerfile").write_text(f"ARG BASE_IMAGE={base}\nFROM ${{BASE_IMAGE}}\n")
    (tmp_path / "containers" / "install_packages.py").write_text("install")
    (tmp_path / "constraints.txt").write_text("pins")
    return tmp_path


@pytest.fixture
def sources(project: Path) -> tuple[ImageSource, ...]:
    """The child first: whoever plans has to put the parent before it."""
    folders = ("trainer", "tools")
    return tuple(read_source(folder, f"{folder}:local", project) for folder in folders)
