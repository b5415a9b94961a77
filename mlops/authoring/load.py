"""Finding the pipeline that a Python target means, and building it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from mlops.authoring.arguments import choose_arguments
from mlops.authoring.target import FileTarget, ModuleTarget
from mlops.errors import TargetError

FUNCTIONS = ("build_pipeline", "get_pipeline", "create_pipeline")
"""What a pipeline function is called where a file's TARGET does not name one."""


@runtime_checkable
class AuthoredPipeline(Protocol):
    """As much of the SDK's Pipeline as compiling needs; other libraries' will do."""

    name: str
    steps: Any

    def definition(self) -> str: ...


def load_pipeline(target: ModuleTarget | FileTarget, known: Mapping[str, Any]) -> AuthoredPipeline:
    """Import the target's code, and call it where it is a function.

    Raises:
        TargetError: no such module or name, or what it gives is no pipeline.
        Exception: whatever the user's code raises.
    """
    module = _import(target)
    found = _find(module, target)
    if isinstance(found, AuthoredPipeline):
        return found
    if not callable(found):
        raise TargetError(
            f"{target} is {type(found).__name__}, neither a pipeline nor a function",
            next_step="name a Pipeline object, or a function that returns one",
        )
    pipeline = found(**choose_arguments(found, known))
    if not isinstance(pipeline, AuthoredPipeline):
        raise TargetError(
            f"{target} returned {type(pipeline).__name__}, not a pipeline",
            next_step="return the sagemaker.workflow.pipeline.Pipeline from the function",
        )
    return pipeline


def _import(target: ModuleTarget | FileTarget) -> ModuleType:
    if isinstance(target, FileTarget):
        return _import_file(target.file)
    try:
        return importlib.import_module(target.module)
    except ModuleNotFoundError as error:
        if error.name and f"{target.module}.".startswith(f"{error.name}."):
            raise TargetError(
                f"There is no module {error.name!r}",
                where=f"TARGET {target}; looked in {Path.cwd()} and the environment {sys.prefix}",
                next_step="run the command in the project's folder, or correct the name",
            ) from error
        raise


def _import_file(file: Path) -> ModuleType:
    # The file's own name, so that its classes and logs look right; anew each time, so that an
    # edit counts; not in sys.modules under it, where it could hide a module of the environment.
    name = f"mlops_target_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TargetError(f"{file} cannot be imported", next_step="give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    spec.loader.exec_module(module)
    return module


def _find(module: ModuleType, target: ModuleTarget | FileTarget) -> Any:
    if target.name is None:
        return _find_any(module, target)
    try:
        return attrgetter(target.name)(module)
    except AttributeError as error:
        names = [name for name, value in vars(module).items() if _could_be_meant(module, value)]
        raise TargetError(
            f"{target}: there is no {target.name!r}",
            where=module.__file__,
            next_step=f"it has {', '.join(names)}" if names else "correct the name",
        ) from error


def _could_be_meant(module: ModuleType, value: Any) -> bool:
    own_function = callable(value) and getattr(value, "__module__", None) == module.__name__
    return own_function or _is_pipeline(value)


def _is_pipeline(value: Any) -> bool:
    return isinstance(value, AuthoredPipeline) and not isinstance(value, type)


def _find_any(module: ModuleType, target: ModuleTarget | FileTarget) -> Any:
    pipelines = {name: value for name, value in vars(module).items() if _is_pipeline(value)}
    if len({id(value) for value in pipelines.values()}) == 1:
        return next(iter(pipelines.values()))
    if pipelines:
        raise TargetError(
            f"{target} has several pipelines: {', '.join(pipelines)}",
            next_step=f"name the one to run: {target}:{next(iter(pipelines))}",
        )
    for name in FUNCTIONS:
        if callable(found := getattr(module, name, None)):
            return found
    raise TargetError(
        f"{target} has no Pipeline object and no function {' or '.join(FUNCTIONS)}",
        next_step=f"name the function that returns the pipeline: {target}:FUNCTION",
    )
