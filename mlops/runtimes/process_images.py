"""What an image means where there are no images: the project's own Python environment.

Images that `containers/` defines, and plain Python images, run on the environment that mlops
itself runs on: its programs come first on the PATH, after what the image's Dockerfile copies into
/usr/local/bin (or lies in the folder's own `bin`). Every other
image is refused, because nothing here could stand in for what it holds. What an image of
`containers/` runs by itself is what its Dockerfile says (ENTRYPOINT and CMD as JSON lists).
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import mlops
from mlops.errors import RuntimeUnavailable
from mlops.image_uri import parse_image_uri
from mlops.ports import JobSpec
from mlops.settings import Settings

PYTHON_IMAGES = ("python:*", "*/python:*")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class ProcessImage:
    """What stands in for an image: the folders to look for programs in, in order; its command."""

    path: tuple[Path, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def search_path(self) -> str:
        return ":".join([*map(str, self.path), SYSTEM_PATH])

    def command_line(self, job: JobSpec) -> tuple[str, ...]:
        """What a container of the image would run for `job`, by the rules of containers."""
        if job.command:
            return (*job.command, *job.arguments)
        return (*self.entrypoint, *(job.arguments or self.command))


def find_image(uri: str, settings: Settings) -> ProcessImage:
    """The stand-in for an image URI.

    Raises:
        RuntimeUnavailable: nothing here can stand in for it.
    """
    environment = Path(sys.prefix) / "bin"
    mapping = settings.image_for(uri)
    if mapping is not None and mapping.folder is not None:
        folder = _container_folder(mapping.folder)
        dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
        return ProcessImage(
            (*_program_folders(dockerfile, folder), environment),
            entrypoint=_last_list(dockerfile, "ENTRYPOINT"),
            command=_last_list(dockerfile, "CMD"),
        )
    if any(fnmatchcase(uri, pattern) for pattern in PYTHON_IMAGES):
        return ProcessImage((environment,))
    if may_be_registered(uri, settings):
        raise RuntimeUnavailable(
            f"The image {uri} is one of a registry, which takes a container engine to run",
            where="the process runtime runs programs of this machine and no images",
            next_step="run it with --runtime docker, or map it to a folder of containers/ by an "
            "[[images]] entry in mlops.toml",
        )
    raise RuntimeUnavailable(
        f"The process runtime has nothing that stands in for the image {uri}",
        where="the images that run without Docker are python:* and those that containers/ defines",
        next_step="run it with --runtime docker, or map it to a folder of containers/ by an "
        "[[images]] entry in mlops.toml",
    )


def may_be_registered(uri: str, settings: Settings) -> bool:
    """Whether the gateway's own registry may have it, in its local form or the cloud's."""
    named = parse_image_uri(uri)
    return named is not None and (
        named.is_local or named.is_in_cloud(settings.account_id, settings.region)
    )


def _program_folders(dockerfile: str, folder: Path) -> tuple[Path, ...]:
    """Where the image's programs lie here: its own `bin`, and what it copies to /usr/local/bin."""
    lines = re.findall(r"^COPY\s+(containers/.*)\s/usr/local/bin/\s*$", dockerfile, re.MULTILINE)
    copied = (folder.parent / name.removeprefix("containers/") for x in lines for name in x.split())
    return tuple(dict.fromkeys((folder / "bin", *copied)))


def _last_list(dockerfile: str, instruction: str) -> tuple[str, ...]:
    """The words of the last instruction of its kind; none where it has none, or is no list."""
    found = re.findall(rf"^{instruction}\s+(\[.*\])\s*$", dockerfile, re.MULTILINE)
    return tuple(json.loads(found[-1])) if found else ()


def _container_folder(name: str) -> Path:
    package = Path(mlops.__file__).parent
    candidates = [package.parent / "containers" / name, package / "containers" / name]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise RuntimeUnavailable(
        f"The image folder containers/{name} is missing",
        where=str(candidates[0]),
        next_step="correct 'folder' of the [[images]] entry, or restore the folder",
    )
