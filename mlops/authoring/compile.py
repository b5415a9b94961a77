"""A pipeline's definition, from any kind of target."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.assets import Asset
from mlops.authoring.target import (
    DefinitionTarget,
    FileTarget,
    LabTarget,
    ModuleTarget,
    parse_target,
)
from mlops.errors import DefinitionError, Problem, TargetError
from mlops.settings import Settings

if TYPE_CHECKING:
    from mlops.lab import LabAssets


@dataclass(frozen=True, slots=True)
class CompiledPipeline:
    """A definition, the name to create it under, and what has to be in S3 before it runs."""

    name: str
    definition: str
    assets: tuple[Asset, ...] = ()


def compile_target(
    settings: Settings, target: str | None, gateway_url: Callable[[], str]
) -> CompiledPipeline:
    """Compile TARGET, or the lab's pipeline where it is None.

    `gateway_url` is called only for a target of the user's own Python code, whose sessions and
    uploads go to the gateway: it may start one.

    Raises:
        TargetError: TARGET gives no pipeline, or the user's code failed.
        DefinitionError: a definition file is not JSON.
        DataError: the lab's pipeline cannot be built from the data set.
    """
    meant = parse_target(target, Path.cwd())
    match meant:
        case LabTarget():
            return _compile_lab(settings)
        case DefinitionTarget():
            return _read_definition(meant.file)
        case ModuleTarget() | FileTarget():
            return _compile_users(settings, meant, gateway_url())


def _compile_lab(settings: Settings) -> CompiledPipeline:
    from mlops.authoring.cache import cached_definition
    from mlops.dataset import load_dataset
    from mlops.lab import lab_assets

    dataset = load_dataset(settings.dataset)
    assets = lab_assets(settings, dataset)
    text = cached_definition(settings, assets, lambda: _build_lab(settings, assets))
    return CompiledPipeline(dataset.names.pipeline, text, assets.all())


def _build_lab(settings: Settings, assets: LabAssets) -> str:
    from mlops.sessions.environment import pointed_at_gateway
    from mlops.sessions.local import NOWHERE, CompileSession

    # After the session, which keeps the SDK's import quiet.
    from mlops.pipeline import build_pipeline  # isort: skip

    with pointed_at_gateway(NOWHERE, settings):
        return str(build_pipeline(CompileSession(settings), settings, assets).definition())


def _compile_users(
    settings: Settings, target: ModuleTarget | FileTarget, gateway_url: str
) -> CompiledPipeline:
    from mlops.authoring.arguments import known_values
    from mlops.authoring.load import load_pipeline
    from mlops.authoring.user_code import user_code
    from mlops.sessions.environment import pointed_at_gateway
    from mlops.sessions.local import GatewayPipelineSession

    folder = target.file.parent if isinstance(target, FileTarget) else Path.cwd()
    with pointed_at_gateway(gateway_url, settings):
        session = GatewayPipelineSession(gateway_url, settings)
        with user_code(folder, str(target)):
            pipeline = load_pipeline(target, known_values(session, settings))
            name, text = pipeline.name, pipeline.definition()
    return CompiledPipeline(name, text, _lab_assets_in(text, settings))


def _lab_assets_in(definition: str, settings: Settings) -> tuple[Asset, ...]:
    """What a pipeline that was built upon the lab's refers to; nothing for any other."""
    if "mlops.lab" not in sys.modules or not settings.dataset.is_file():
        return ()
    from mlops.dataset import load_dataset
    from mlops.lab import lab_assets

    assets = lab_assets(settings, load_dataset(settings.dataset))
    return tuple(asset for asset in assets.all() if asset.key in definition)


def _read_definition(file: Path) -> CompiledPipeline:
    try:
        text = file.read_text(encoding="utf-8")
        json.loads(text)
    except OSError as error:
        raise TargetError(
            f"The definition cannot be read: {error.strerror}", where=str(file)
        ) from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise DefinitionError(
            [Problem(file.name, f"is not JSON: {error}")], next_step=f"correct {file}"
        ) from error
    return CompiledPipeline(_name_from(file), text)


def _name_from(file: Path) -> str:
    """A pipeline's name from its file's: a definition does not hold the name.

    botocore's sagemaker PipelineName: letters, digits and single hyphens between them.
    """
    name = re.sub(r"[^a-zA-Z0-9]+", "-", file.stem).strip("-")[:256]
    if not name:
        raise TargetError(
            f"The file's name gives no name for the pipeline: {file.name}",
            where=str(file),
            next_step="rename the file to the pipeline's name, in letters, digits and hyphens",
        )
    return name
