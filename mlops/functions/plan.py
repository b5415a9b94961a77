"""What a worker of a function is to be: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlops.functions.code import task_folder
from mlops.functions.configuration import base_image
from mlops.functions.environment import function_environment
from mlops.functions.function import Function
from mlops.ports import Mount, MountMode, ServerSpec
from mlops.surroundings import Surroundings

FUNCTIONS_LABEL = "mlops.functions-of"
"""On every worker: the state folder of the gateway that started it. A worker serves that gateway
alone; the next one ends what is left of it."""

TASK_ROOT = "/opt/ml/task"
"""Where the code of a zip is (LAMBDA_TASK_ROOT), as the runtimes mount below ``/opt/ml`` alone. In
AWS it is ``/var/task``."""


@dataclass(frozen=True, slots=True)
class FunctionFolders:
    """Where a function's files are: ``code/``, ``logs/`` and, while they run, ``workers/``."""

    root: Path

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def worker(self, worker_id: str) -> Path:
        return self.root / "workers" / worker_id

    def log(self, stream: str) -> Path:
        return self.logs / f"{stream}.log"


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The Runtime API's address joins the environment at the start."""

    spec: ServerSpec
    memory_megabytes: int
    timeout_seconds: int


def worker_plan(
    function: Function,
    folders: FunctionFolders,
    surroundings: Surroundings,
    store: str,
    worker_id: str,
    now: datetime,
) -> WorkerPlan:
    """The plan of one more worker of `function`."""
    stream = f"{now:%Y-%m-%dT%H-%M-%S.%f}-{worker_id}"  # sorts by time
    environment = function_environment(
        function.configuration,
        surroundings,
        log_stream=f"{now:%Y/%m/%d}/[$LATEST]{worker_id}",
        task_root=None if function.is_image else TASK_ROOT,
    )
    command, arguments = _command(function)
    spec = ServerSpec(
        name=f"function-{function.name}-{worker_id}",
        image=function.image if function.is_image else base_image(function.configuration),
        folder=folders.worker(worker_id),
        log=folders.log(stream),
        command=command,
        arguments=arguments,
        environment=environment,
        mounts=_mounts(function, folders),
        labels={FUNCTIONS_LABEL: store, "mlops.function": function.name},
        memory_megabytes=function.memory_megabytes,
        port=None,
    )
    return WorkerPlan(spec, function.memory_megabytes, function.timeout_seconds)


def _command(function: Function) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """ENTRYPOINT and CMD; the image's own where they are empty."""
    if not function.is_image:
        return (), (str(function.configuration["Handler"]),)
    response = function.configuration.get("ImageConfigResponse", {})
    image = response.get("ImageConfig", {})
    return tuple(image.get("EntryPoint", ())), tuple(image.get("Command", ()))


def _mounts(function: Function, folders: FunctionFolders) -> tuple[Mount, ...]:
    if function.is_image:
        return ()
    source = task_folder(folders.code, function.code["digest"])
    return (Mount(source, TASK_ROOT, MountMode.READ_ONLY),)
