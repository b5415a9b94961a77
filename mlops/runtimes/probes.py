"""What this machine can do for a run, tried out: the runtimes' part of `mlops doctor`.

Every probe returns findings and raises nothing: what it cannot find out is a finding, too.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.errors import MlopsError, RuntimeUnavailable
from mlops.ports import JobSpec, Mount, MountMode
from mlops.runtimes.findings import Finding, FindingStatus
from mlops.runtimes.layout import remove_tree
from mlops.runtimes.namespaces import Isolation, probe_namespaces
from mlops.settings import Settings

if TYPE_CHECKING:
    from mlops.runtimes.docker_engine import Engine

_WANTED_BYTES = 6 << 30  # images, environment and a few runs
_NEEDED_BYTES = 1 << 30  # a few runs
_PYTHONS = ((3, 11), (3, 12))

OK, LACKING, BROKEN = FindingStatus


def probe_machine(
    settings: Settings, *, environment: Mapping[str, str] = os.environ
) -> tuple[Finding, ...]:
    """Everything that runs depend on, in the order in which a person reads it.

    Where there is a Docker engine and an image of the project's, one container runs.
    """
    return (
        probe_python(),
        *probe_docker(settings, environment=environment),
        *probe_processes(settings),
        probe_disk(settings.store),
        probe_mmdebstrap(environment=environment),
    )


def probe_python() -> Finding:
    """The interpreter that mlops and, without Docker, the jobs run on."""
    text = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] in _PYTHONS:
        return Finding("python", OK, text)
    return Finding("python", BROKEN, text, "make a new .venv with Python 3.11 or 3.12: make setup")


def probe_docker(
    settings: Settings, *, environment: Mapping[str, str] = os.environ
) -> tuple[Finding, ...]:
    """The engine, its address for the gateway, and whether it mounts overlays."""
    from mlops.runtimes.docker_engine import find_engine  # 0.2 s: only who asks pays

    try:
        engine = find_engine(environment)
        text = f"Docker {engine.version} at {engine.url}{_kind(engine)}"
    except RuntimeUnavailable as error:
        status = LACKING if sys.platform == "linux" else BROKEN
        text = f"{error.what}: {error.where}" if error.where else error.what
        return (Finding("docker", status, text, error.next_step),)
    return (
        Finding("docker", OK, text),
        _docker_bridge(engine),
        _docker_overlays(engine, settings),
    )


def _kind(engine: Engine) -> str:
    kinds = [
        name
        for name, so in (
            ("Docker Desktop", engine.desktop),
            ("rootless", engine.rootless),
            ("users remapped", engine.remaps_users),
        )
        if so
    ]
    return f" ({', '.join(kinds)})" if kinds else ""


def _docker_bridge(engine: Engine) -> Finding:
    try:
        address = engine.gateway_host
    except MlopsError as error:
        return Finding("docker bridge", BROKEN, error.what, error.next_step)
    return Finding("docker bridge", OK, f"containers reach the gateway at {address}")


def _docker_overlays(engine: Engine, settings: Settings) -> Finding:
    """Run one container with a copy-on-write input, if an image is there to run."""
    from mlops.runtimes.docker_runtime import DockerRuntime

    name = "docker overlays"
    images = [row.local for row in settings.images if engine.has_image(row.local)]
    if not images:
        text = "not tried: there is no image yet to run"
        return Finding(name, LACKING, text, "make images")
    try:
        with _probe_folder(settings.store) as folder:
            settings = replace(settings, store=folder / "store")
            (folder / "source").mkdir()
            (folder / "ml").mkdir()
            job = JobSpec(
                name="mlops-doctor",
                image=images[0],
                folder=folder / "ml",
                log=folder / "log.txt",
                command=("true",),
                mounts=(Mount(folder / "source", "/opt/ml/input/data/x", MountMode.COPY_ON_WRITE),),
            )
            runtime = DockerRuntime(settings, engine)
            outcome = runtime.start(job).wait()
    except MlopsError as error:
        return Finding(name, BROKEN, error.what, error.next_step)
    except OSError as error:
        return Finding(name, LACKING, f"not tried: {error}", "choose another store")
    if outcome is None or outcome.exit_status != 0:
        return Finding(name, BROKEN, f"a container of {images[0]} ended with {outcome}")
    if not runtime.overlays_work:
        text = "the engine refuses them for this disk; inputs are copied for each step"
        return Finding(name, LACKING, text, "keep the store on a local disk of this host")
    return Finding(name, OK, "inputs are mounted copy-on-write, without a copy")


def probe_processes(settings: Settings) -> tuple[Finding, ...]:
    """Whether jobs can run as processes with an `/opt/ml` of their own, and overlays in it."""
    try:
        with _probe_folder(settings.store) as folder:
            found = probe_namespaces(folder)
    except RuntimeUnavailable as error:
        return (Finding("namespaces", LACKING, error.what, error.next_step),)
    except OSError as error:
        return (Finding("namespaces", LACKING, f"not tried: {error}", "choose another store"),)
    if found.isolation is Isolation.NONE:
        return (
            Finding(
                "namespaces",
                LACKING,
                f"{found.reason}; without Docker, only scripts run that take their folders from "
                "SAGEMAKER_BASE_DIR or SM_* variables",
                "allow user namespaces (in a container: --security-opt seccomp=unconfined), "
                "or use Docker",
            ),
        )
    whose = "as root" if found.isolation is Isolation.ROOT else "in user namespaces"
    namespaces = Finding("namespaces", OK, f"jobs as processes have their own /opt/ml, {whose}")
    if found.overlay_problem is not None:
        text = f"{found.overlay_problem}; inputs are copied for each step"
        mend = "keep the store on a local disk (ext4, xfs, btrfs), not on an overlay"
        return (namespaces, Finding("overlayfs", LACKING, text, mend))
    return (namespaces, Finding("overlayfs", OK, "inputs are mounted copy-on-write"))


def probe_disk(store: Path) -> Finding:
    """The space where the store is or will be."""
    place = _nearest(store)
    free = shutil.disk_usage(place).free
    text = f"{free / (1 << 30):.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        return Finding("disk", BROKEN, f"{place} cannot be written", "choose another store")
    if free >= _WANTED_BYTES:
        return Finding("disk", OK, text)
    status = LACKING if free >= _NEEDED_BYTES else BROKEN
    return Finding("disk", status, text, "free some space: mlops clean, docker system prune")


def probe_mmdebstrap(*, environment: Mapping[str, str] = os.environ) -> Finding:
    """What makes a base image where no registry can be reached."""
    path = shutil.which("mmdebstrap", path=environment.get("PATH"))
    if path:
        return Finding("mmdebstrap", OK, f"{path} makes a base image where no registry answers")
    return Finding(
        "mmdebstrap",
        LACKING,
        "not installed: images can be built only from a base that a registry gives",
        "sudo apt-get install mmdebstrap",
    )


def _nearest(store: Path) -> Path:
    """The store, or the folder that it would be made in: on the same disk."""
    place = store.absolute()
    while not place.is_dir():
        place = place.parent
    return place


@contextmanager
def _probe_folder(store: Path) -> Iterator[Path]:
    """A folder on the store's disk, for as long as it takes."""
    folder = Path(tempfile.mkdtemp(prefix=".mlops-doctor-", dir=_nearest(store)))
    try:
        yield folder
    finally:
        remove_tree(folder)
