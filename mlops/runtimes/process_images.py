"""What an image means where there are no images: the project's own Python environment.

Images that `containers/` defines, and plain Python images, run on the environment that mlops
itself runs on: its programs come first on the PATH, after the image's own `bin`. Every other
image is refused, because nothing here could stand in for what it holds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import mlops
from mlops.errors import RuntimeUnavailable
from mlops.settings import Settings

PYTHON_IMAGES = ("python:*", "*/python:*")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class ProcessImage:
    """What stands in for an image: the folders to look for programs in, in order."""

    path: tuple[Path, ...]

    @property
    def search_path(self) -> str:
        return ":".join([*map(str, self.path), SYSTEM_PATH])


def find_image(uri: str, settings: Settings) -> ProcessImage:
    """The stand-in for an image URI.

    Raises:
        RuntimeUnavailable: nothing here can stand in for it.
    """
    environment = Path(sys.prefix) / "bin"
    mapping = settings.image_for(uri)
    if mapping is not None and mapping.folder is not None:
        return ProcessImage((_container_folder(mapping.folder) / "bin", environment))
    if any(fnmatchcase(uri, pattern) for pattern in PYTHON_IMAGES):
        return ProcessImage((environment,))
    raise RuntimeUnavailable(
        f"The process runtime has nothing that stands in for the image {uri}",
        where="the images that run without Docker are python:* and those that containers/ defines",
        next_step="run it with --runtime docker, or map it to a folder of containers/ by an "
        "[[images]] entry in mlops.toml",
    )


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
