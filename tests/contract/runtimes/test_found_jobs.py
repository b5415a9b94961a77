"""What every runtime does with jobs whose gateway was killed. See `ContainerRuntime.find_jobs`."""

# Jobs are written as step code is: short, for any Python.
# ruff: noqa: PTH123

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlops.job_outcome import kept_outcome
from mlops.ports import JobOutcome, JobSpec, RunningJob

SOON = 60.0

GATEWAY = """
import json, os, signal, sys, time
from pathlib import Path
from mlops.ports import JobSpec
from mlops.settings import ImageMapping, Settings

store, kind = Path(sys.argv[1]), sys.argv[2]
if kind == "docker":
    from mlops.runtimes.docker_runtime import DockerRuntime
    mapping = ImageMapping("python:*", "mlops-test-base:local")
    runtime = DockerRuntime(Settings(store=store, images=(mapping,)))
else:
    from mlops.runtimes.namespaces import Isolation, Namespaces
    from mlops.runtimes.process_runtime import ProcessRuntime
    runtime = ProcessRuntime(Settings(store=store), namespaces=Namespaces(Isolation(kind)))
spec = json.load(sys.stdin)
for name in ("folder", "log", "outcome"):
    spec[name] = Path(spec[name])
runtime.start(JobSpec(**spec))
os.kill(os.getpid(), signal.SIGKILL)
"""


def talk(me):
    """Says a line, waits for the file `go` in its folder, says another, writes, and fails."""
    import os

    me.say("ready")
    while not os.path.exists(me.base + "/go"):  # noqa: PTH110
        me.sleep(0.02)
    me.say("went")
    with open(me.base + "/made", "a") as file:
        file.write("once\n")
    return 7


def with_outcome(spec: JobSpec) -> JobSpec:
    from dataclasses import replace

    return replace(spec, outcome=spec.folder.parent / "outcome.json")


@pytest.fixture
def orphaned(harness: Any) -> JobSpec:
    """A job whose gateway was killed as soon as it ran; the fake's is only forgotten."""
    harness.settings.store.mkdir(exist_ok=True)
    spec = with_outcome(harness.spec(talk, labels={"step": "orphan"}))
    if not harness.real:
        harness.runtime.start(spec)
        return spec
    document = {
        "name": spec.name,
        "image": spec.image,
        "folder": os.fspath(spec.folder),
        "log": os.fspath(spec.log),
        "outcome": os.fspath(spec.outcome or ""),
        "command": spec.command,
        "labels": spec.labels,
    }
    kind = harness.runtime.name
    if kind == "process":
        kind = str(harness.runtime.namespaces.isolation)
    subprocess.run(
        [sys.executable, "-c", GATEWAY, str(harness.settings.store), kind],
        input=json.dumps(document),
        text=True,
        check=False,
    )
    return spec


def found(harness: Any, spec: JobSpec) -> RunningJob:
    (one,) = harness.runtime.find_jobs(spec.labels)
    assert (one.name, one.labels) == (spec.name, spec.labels)
    return one.job


def ended(job: RunningJob) -> JobOutcome:
    outcome = job.wait(SOON)
    assert outcome is not None
    return outcome


def test_a_job_that_still_runs_is_waited_for(harness: Any, orphaned: JobSpec) -> None:
    job = found(harness, orphaned)
    assert job.wait(0.01) is None
    (orphaned.folder / "go").touch()
    outcome = ended(job)
    assert (outcome.exit_status, outcome.stopped) == (7, False)
    assert orphaned.log.read_text() == "ready\nwent\n"
    assert (orphaned.folder / "made").read_text() == "once\n"
    assert harness.runtime.find_jobs(orphaned.labels) == []


def test_finding_it_twice_gives_one_job(harness: Any, orphaned: JobSpec) -> None:
    job = found(harness, orphaned)
    assert found(harness, orphaned) is job
    job.stop(0)
    ended(job)


def test_a_job_that_ended_meanwhile_tells_how_and_what_it_said(
    harness: Any, orphaned: JobSpec
) -> None:
    if not harness.real:
        job = found(harness, orphaned)
        job.stop(0)
        ended(job)
        pytest.skip("the fake's job is cleared away by itself")
    (orphaned.folder / "go").touch()
    deadline = time.monotonic() + SOON
    while not (orphaned.folder / "made").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    outcome = ended(found(harness, orphaned))
    assert (outcome.exit_status, outcome.stopped) == (7, False)
    assert orphaned.log.read_text() == "ready\nwent\n"
    assert outcome.process_seconds is not None
    assert outcome.process_seconds > 0


def test_a_found_job_can_be_stopped(harness: Any, orphaned: JobSpec) -> None:
    job = found(harness, orphaned)
    until_ready(harness, orphaned)
    job.stop()
    outcome = ended(job)
    assert (outcome.exit_status, outcome.stopped) == (143, True)


def until_ready(harness: Any, spec: JobSpec) -> None:
    deadline = time.monotonic() + SOON
    while not (spec.log.exists() and "ready" in spec.log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_found_job_is_a_leftover(harness: Any, orphaned: JobSpec) -> None:
    job = found(harness, orphaned)
    assert list(harness.runtime.remove_leftovers(orphaned.labels)) == [orphaned.name]
    assert ended(job).exit_status == 137


def test_only_jobs_with_all_the_labels_are_found(harness: Any, orphaned: JobSpec) -> None:
    assert harness.runtime.find_jobs({**orphaned.labels, "step": "another"}) == []
    job = found(harness, orphaned)
    job.stop(0)
    ended(job)


def test_the_outcome_is_kept_before_the_job_is_cleared_away(harness: Any) -> None:
    def fail(me):
        me.say("no")
        return 3

    spec = with_outcome(harness.spec(fail))
    assert spec.outcome is not None
    assert kept_outcome(spec.outcome) is None
    outcome = ended(harness.runtime.start(spec))
    assert kept_outcome(spec.outcome) == outcome
    assert outcome.exit_status == 3


def test_servers_are_no_jobs(harness: Any) -> None:
    from mlops.ports import ServerSpec

    def wait(me):
        me.sleep(60)

    job = harness.spec(wait, labels={"step": "server"})
    server = harness.runtime.serve(
        ServerSpec(
            name=job.name,
            image=job.image,
            folder=job.folder,
            log=job.log,
            command=job.command,
            arguments=(),
            labels=job.labels,
            port=None,
        )
    )
    try:
        assert harness.runtime.find_jobs(job.labels) == []
    finally:
        server.stop(0)
        server.wait(SOON)


def test_what_was_made_and_never_started_is_cleared_away(harness: Any) -> None:
    labels = {"mlops.test": harness.folder.name, "step": "unborn"}
    if harness.runtime.name == "docker":
        _unborn_container(harness, labels)
    elif harness.runtime.name == "process":
        _unborn_process(harness, labels)
    else:
        pytest.skip("a fake job starts as it is made")
    assert harness.runtime.find_jobs(labels) == []
    assert list(harness.runtime.remove_leftovers(labels)) == []


def _unborn_container(harness: Any, labels: dict[str, str]) -> None:
    from mlops.runtimes.docker_found import RECORD_LABEL, record_of
    from mlops.runtimes.docker_runtime import JOB_LABEL, SCRATCH_LABEL

    spec = harness.spec(talk, labels={"step": "unborn"})
    marks = {JOB_LABEL: spec.name, SCRATCH_LABEL: "x", RECORD_LABEL: record_of(spec)}
    image = harness.settings.image_for(spec.image)
    harness.runtime.engine.client.create_container_from_config(
        {"Image": image.local, "Cmd": ["true"], "Labels": {**labels, **marks}}
    )


def _unborn_process(harness: Any, labels: dict[str, str]) -> None:
    from mlops.runtimes.served import ServerRecord

    spec = harness.spec(talk, labels={"step": "unborn"})
    run: Path = harness.settings.store / "runtime/process/unborn-1"
    (run / "home").mkdir(parents=True)
    record = {
        "name": spec.name,
        "labels": labels,
        "folder": os.fspath(spec.folder),
        "copies": [],
        "job": ServerRecord(spec, None).document(),
    }
    (run / "job.json").write_text(json.dumps(record))
