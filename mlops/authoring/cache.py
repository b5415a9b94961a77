"""The lab's compiled definition, kept by a checksum of everything that it depends on.

Importing the SDK and compiling takes about two seconds; looking the text up takes some
milliseconds. Only the lab's pipeline is kept: what a user's own code depends on cannot be known.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from errno import EDQUOT, ENOSPC
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from mlops.assets import checksum
from mlops.errors import DiskFull, EnvironmentLacks
from mlops.lab import LabAssets
from mlops.settings import Settings

_PACKAGE = Path(__file__).resolve().parent.parent
_SOURCES = ("assets.py", "aws.py", "dataset.py", "lab.py", "pipeline.py", "settings.py")


def cached_definition(settings: Settings, assets: LabAssets, compile_it: Callable[[], str]) -> str:
    """The definition for these settings and assets, compiled only where it is not kept yet."""
    file = settings.store / "cache" / "definitions" / f"{_key(settings, assets)}.json"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    text = compile_it()
    _write_whole(file, text)
    return text


def _key(settings: Settings, assets: LabAssets) -> str:
    sources = [_PACKAGE / name for name in _SOURCES]
    sources += sorted((_PACKAGE / "sessions").glob("*.py"))
    depends_on = (
        sys.version,
        version("sagemaker"),
        [checksum(source) for source in sources],
        [asset.uri for asset in assets.all()],  # the descriptor's checksum is in its URI
        settings.region,
        settings.account_id,
        settings.execution_role_arn,
        settings.artifact_bucket,
        settings.raw_data_bucket,
        settings.image_tag,
    )
    return hashlib.sha256(repr(depends_on).encode()).hexdigest()


def _write_whole(file: Path, text: str) -> None:
    """Write a file whole or not at all: other commands may read or write it meanwhile.

    Raises:
        DiskFull, EnvironmentLacks: nothing can be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=file.parent) as folder:
            unfinished = Path(folder) / file.name
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(file)
    except OSError as error:
        kind = DiskFull if error.errno in (ENOSPC, EDQUOT) else EnvironmentLacks
        raise kind(
            f"The state folder cannot be written: {error.strerror}",
            where=str(file.parent),
            next_step="make room, or give another folder with --store",
        ) from error
