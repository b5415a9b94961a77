"""One run from the settings to its report: what `mlops run` does, as functions.

    settings → images (where asked for) → gateway ┐
                                        compile  ─┴→ submit → follow → details → report

The gateway starts while the SDK compiles: each takes seconds and neither needs the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlops import app
from mlops.errors import EnvironmentLacks
from mlops.settings import CACHE_OFF, Settings

if TYPE_CHECKING:
    from mlops.authoring import CompiledPipeline
    from mlops.definition import Gate, PipelineDefinition
    from mlops.deployment import DeploymentOutcome
    from mlops.gateway.client import GatewayClient
    from mlops.web.graph import Edge


@dataclass(frozen=True)
class RunningExecution:
    """A started execution and what is needed to follow it."""

    settings: Settings
    client: GatewayClient
    arn: str
    backend: str
    runtime: str
    pipeline_name: str
    parameters: Mapping[str, str]
    step_names: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    def reconnected(self) -> RunningExecution:
        """The same execution behind the gateway of now, which is started where none runs.

        Raises:
            EnvironmentLacks: the state folder has been removed, or no gateway starts.
        """
        if not self.settings.store.is_dir():
            raise state_folder_gone(self.settings.store)
        return replace(self, client=app.client(self.settings))

    def stop(self) -> None:
        """Ask the execution to stop; it ends as Stopped."""
        stop_execution(self.client, self.arn)

    def details(self) -> dict[str, Any]:
        """All that the gateway knows of it, and the state folder."""
        return self.client.execution(self.id) | {"store": str(self.settings.store)}


def start_run(
    settings: Settings,
    *,
    target: str | None = None,
    backend: str = "local",
    parameters: Mapping[str, str] | None = None,
    no_cache: bool = False,
    build_images: bool = False,
    progress: Callable[[str], None] = print,
) -> RunningExecution:
    """Compile TARGET (the lab's pipeline where it is None), submit it and start it.

    With `no_cache` every step runs again; else ``settings.cache_mode`` says how steps that have a
    CacheConfig find an earlier run.

    Raises:
        UsageError: target, parameters, definition or data are wrong; nothing was started.
        EnvironmentLacks: no gateway, no runtime, no image.
    """
    from mlops.backends import StartOptions

    chosen = app.backend(settings, backend)
    if build_images and backend == "local":
        build_images_for(settings, progress)
    with ThreadPoolExecutor(1) as side:
        starting = side.submit(app.start_gateway, settings) if backend == "local" else None
        pipeline = chosen.compile(target)
        if starting is not None:
            starting.result()
    options = StartOptions(cache_mode=CACHE_OFF if no_cache else settings.cache_mode)
    client = app.client(settings)
    runtime, step_names = str(client.health()["runtime"]), _step_names(pipeline)
    return RunningExecution(
        settings=settings,
        client=client,
        # The last thing that takes time: an interrupt after it finds someone to stop the execution.
        arn=chosen.submit(pipeline, parameters or {}, options),
        backend=backend,
        runtime=runtime,
        pipeline_name=pipeline.name,
        parameters=dict(parameters or {}),
        step_names=step_names,
    )


def build_images_for(settings: Settings, progress: Callable[[str], None]) -> None:
    """Build what changed, where the runtime that the settings choose runs on images."""
    if app.runtime_name(settings) != "docker":
        return
    from mlops.images import build_images

    build_images(settings, base_image=os.environ.get("BASE_IMAGE"), progress=progress)


def lab_endpoint(settings: Settings) -> str:
    """The endpoint that the data set's descriptor names."""
    from mlops.dataset import load_dataset

    return load_dataset(settings.dataset).names.endpoint


def deploy_registered(
    running: RunningExecution,
    details: Mapping[str, Any],
    endpoint: str,
    progress: Callable[[str], None],
) -> DeploymentOutcome | None:
    """Deploy and test the package that a run has registered; None where there is none to deploy.

    Raises:
        ExecutionFailed: the endpoint does not come into service, or cannot be tested.
    """
    from mlops.deployment import deploy_and_test

    package = details.get("model_package")
    if package is None:
        return None
    if package["approval_status"] != "Approved":
        short = f"{package['group']}/{package['version']}"
        progress(
            f"endpoint  not deployed: {short} is {package['approval_status']}"
            f" · mlops models approve {short} && mlops deploy {short}"
        )
        return None
    return deploy_and_test(
        running.client, running.settings, package["arn"], endpoint, progress=progress
    )


def stop_execution(client: GatewayClient, arn: str) -> None:
    client.call(
        "StopPipelineExecution", {"PipelineExecutionArn": arn, "ClientRequestToken": uuid4().hex}
    )


def resume_execution(client: GatewayClient, execution: Mapping[str, Any]) -> bool:
    """Go on with an execution that has failed or was stopped; False where it goes on by itself.

    Raises:
        ServiceError: it has succeeded.
    """
    if execution["status"] in ("Executing", "Stopping"):
        return False
    client.call(
        "RetryPipelineExecution",
        {"PipelineExecutionArn": execution["arn"], "ClientRequestToken": uuid4().hex},
    )
    return True


def state_folder_gone(store: Path) -> EnvironmentLacks:
    return EnvironmentLacks(
        "The state folder was removed while the pipeline ran, and with it what the run made",
        where=str(store),
        next_step="run it again; `mlops clean --all` is the way to remove a state folder",
    )


def write_report(settings: Settings, details: Mapping[str, Any]) -> Path:
    """Write the execution's report into its folder, whole or not at all; returns the file.

    Raises:
        EnvironmentLacks: the state folder has been removed; it is not made anew for a report.
    """
    from mlops.definition import parse_definition
    from mlops.web.report import render_report

    edges = _edges(parse_definition(json.dumps(details["definition"])))
    if not settings.store.is_dir():
        raise state_folder_gone(settings.store)
    file: Path = settings.store / "executions" / details["execution"]["id"] / "report.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(render_report(details, edges), encoding="utf-8")
    unfinished.replace(file)
    return file


def _edges(definition: PipelineDefinition) -> list[Edge]:
    """What waits for what; the ways out of a condition are labelled with its outcome."""
    from mlops.engine import dependencies
    from mlops.web.graph import Edge

    graph = dependencies(definition)
    return [
        Edge(source, name, _label(graph.gates.get(name), source))
        for name in graph.names
        for source in graph.after[name]
    ]


def _label(gate: Gate | None, source: str) -> str:
    return str(gate.outcome).lower() if gate and gate.step == source else ""


def _step_names(pipeline: CompiledPipeline) -> tuple[str, ...]:
    from mlops.definition import parse_definition

    return tuple(step.name for step in parse_definition(pipeline.definition).all_steps())
