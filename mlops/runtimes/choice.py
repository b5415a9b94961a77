"""Which runtime runs the jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from mlops.errors import RuntimeUnavailable, SettingsError
from mlops.ports import ContainerRuntime, ImageSource
from mlops.runtimes.namespaces import Isolation, Namespaces
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings

ISOLATION_VARIABLE = "MLOPS_PROCESS_ISOLATION"
"""`auto` (the default) takes namespaces where they are allowed; `namespaces` insists on them;
`none` goes without, as on a machine that refuses them (to try out whether a script runs there)."""


def choose_runtime(
    settings: Settings,
    *,
    environment: Mapping[str, str] = os.environ,
    images: ImageSource | None = None,
) -> ContainerRuntime:
    """The runtime that the settings ask for; `auto` is Docker where an engine answers.

    `images` has what the gateway's own registry has.

    Raises:
        RuntimeUnavailable: what was asked for cannot be had here, or nothing can.
        SettingsError: MLOPS_PROCESS_ISOLATION has a value that means nothing.
    """
    if settings.runtime == "process":
        return _process_runtime(settings, environment)
    # The docker package takes 0.2 s to import: only who needs it pays.
    from mlops.runtimes.docker_engine import find_engine
    from mlops.runtimes.docker_runtime import DockerRuntime

    try:
        return DockerRuntime(settings, find_engine(environment), images=images)
    except RuntimeUnavailable:
        if settings.runtime == "docker" or sys.platform != "linux":
            raise
    return _process_runtime(settings, environment)


def _process_runtime(settings: Settings, environment: Mapping[str, str]) -> ProcessRuntime:
    wanted = environment.get(ISOLATION_VARIABLE, "auto")
    if wanted not in ("auto", "namespaces", "none"):
        raise SettingsError(
            f"{ISOLATION_VARIABLE} is {wanted!r}", next_step="choose auto, namespaces or none"
        )
    if wanted == "none":
        reason = f"{ISOLATION_VARIABLE} is none"
        return ProcessRuntime(settings, namespaces=Namespaces(Isolation.NONE, reason))
    runtime = ProcessRuntime(settings)
    found = runtime.namespaces  # tried out now: a refusal is for the start to tell
    if wanted == "namespaces" and found.isolation is Isolation.NONE:
        raise RuntimeUnavailable(
            f"This machine allows no namespaces: {found.reason}",
            next_step=f"allow them, or unset {ISOLATION_VARIABLE}",
        )
    return runtime
