"""What defines an image: a folder of `containers/`, the files its build gets, their checksum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops.assets import checksum, source_files
from mlops.errors import ImageUnavailable
from mlops.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent.parent
SHARED_FILES = ("constraints.txt", "containers/install_packages.py")
"""What every image's build gets besides its own folder."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image that can be built here.

    ``image`` is its name in the local engine. ``base`` is the image that its Dockerfile names by
    default (``ARG BASE_IMAGE=``). ``files`` are the build's context, by the names that the
    Dockerfile knows them by; ``content`` is a checksum over them.
    """

    folder: str
    image: str
    base: str
    files: Mapping[str, Path]
    content: str

    @property
    def dockerfile(self) -> str:
        return f"containers/{self.folder}/Dockerfile"

    @property
    def content_tag(self) -> str:
        """A second name of the built image, which says what it was built from.

        A tag and not a label: a label is one more build step, which takes seconds on storage
        drivers without native differences.
        """
        return f"{self.repository}:content-{self.content[:16]}"

    @property
    def packages_tag(self) -> str:
        """The name of the build's stage that installs the packages."""
        return f"{self.repository}:packages"

    @property
    def repository(self) -> str:
        head, colon, tag = self.image.rpartition(":")
        return head if colon and "/" not in tag else self.image


def image_sources(settings: Settings, project: Path = PROJECT) -> tuple[ImageSource, ...]:
    """The images of the settings' table that a folder of `containers/` defines, in its order.

    Raises:
        ImageUnavailable: a folder that the table names is not there or has no usable Dockerfile.
    """
    wanted = {row.folder: row.local for row in settings.images if row.folder}
    return tuple(read_source(folder, image, project) for folder, image in wanted.items())


def read_source(folder: str, image: str, project: Path = PROJECT) -> ImageSource:
    files = {name: project / name for name in SHARED_FILES}
    own = project / "containers" / folder
    dockerfile = own / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8") if dockerfile.is_file() else ""
    for name in (folder, *borrowed_folders(text, folder)):
        there = project / "containers" / name
        files |= {f"containers/{name}/{each}": file for each, file in source_files(there).items()}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing or not dockerfile.is_file():
        raise ImageUnavailable(
            f"The image {image} cannot be built: {', '.join(missing) or 'Dockerfile'} is missing",
            where=str(own),
            next_step="restore the folder from the repository, or change the image table's entry",
        )
    base = default_base(text)
    if base is None:
        raise ImageUnavailable(
            f"The image {image} cannot be built: its Dockerfile names no base",
            where=str(dockerfile),
            next_step="begin it with: ARG BASE_IMAGE=<image>",
        )
    return ImageSource(folder, image, base, files, checksum_of(files))


def borrowed_folders(dockerfile: str, folder: str) -> tuple[str, ...]:
    """The folders of `containers/` that a Dockerfile copies from besides its own `folder`.

    Programs that several images have, such as `train`, lie in `containers/shared` and are there
    once: an image gets them by a line ``COPY containers/shared/bin/ /usr/local/bin/``.
    """
    copied = (line for line in dockerfile.splitlines() if line.startswith("COPY "))
    named = (re.findall(r"(?<=\scontainers/)[\w.-]+(?=/)", line) for line in copied)
    return tuple(dict.fromkeys(name for found in named for name in found if name != folder))


def checksum_of(files: Mapping[str, Path]) -> str:
    """A SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{checksum(file)}\n".encode())
    return digest.hexdigest()


def default_base(dockerfile: str) -> str | None:
    """The default of the Dockerfile's argument BASE_IMAGE."""
    found = re.search(r"^ARG\s+BASE_IMAGE=(\S+)", dockerfile, re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else None
