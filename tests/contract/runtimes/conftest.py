"""Every runtime, behind one face: a job is a Python function, run for real or by the fake."""

from __future__ import annotations

import inspect
import itertools
import signal
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mlops.ports import ContainerRuntime, JobOutcome, JobSpec, Mount, Peers, RunningJob
from mlops.runtimes.fake import EndedBySignal, FakeContainer, FakeRuntime
from mlops.runtimes.namespaces import Isolation, Namespaces, probe_namespaces
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import ImageMapping, Settings

IMAGE = "python:3.11-slim"
"""The image of all jobs: the base image in Docker, the environment itself as a process."""

SOON = 60.0  # seconds: as good as for ever on a machine with other work

JOB_SIDE = """
import json, os, signal, sys, time

class Me:
    base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    environment = dict(os.environ)

    def say(self, *words):
        print(*words, flush=True)

    def complain(self, *words):
        print(*words, flush=True, file=sys.stderr)

    def end_by(self, number):
        os.kill(os.getpid(), number)
        time.sleep(60)

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # a signal just before a long sleep waits for its end
            time.sleep(min(0.1, seconds))

    def ignore_sigterm(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


class FakeMe:
    """The same for a job that the fake runs: see JOB_SIDE."""

    def __init__(self, container: FakeContainer) -> None:
        self.base = str(container.job.folder)
        self.environment = dict(container.job.environment)
        self.say = container.print
        self.complain = container.print
        self._container = container
        self._obeys = True

    def end_by(self, number: int) -> NoReturn:
        raise EndedBySignal(number)

    def sleep(self, seconds: float) -> None:
        asked = self._container.terminated if self._obeys else self._container.killed
        if asked.wait(seconds):
            raise EndedBySignal(signal.SIGTERM)

    def ignore_sigterm(self) -> None:
        self._obeys = False


Program = Callable[[Any], int | None]


@dataclass
class Harness:
    """One runtime and what it promises beyond the contract's common part."""

    runtime: ContainerRuntime
    folder: Path
    settings: Settings
    real: bool = True
    """Jobs are real processes: they can fork, and a gateway that is killed leaves them running."""
    own_opt_ml: bool = True
    """Jobs have a mount at /opt/ml, so that read-only is enforced and nesting works."""
    unknown_image: str = "registry.invalid/nothing:1"
    counter: Iterator[int] = field(default_factory=itertools.count)
    programs: dict[str, Program] = field(default_factory=dict)

    def spec(
        self,
        program: Program | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        mounts: Sequence[Mount] = (),
        labels: Mapping[str, str] | None = None,
        image: str = IMAGE,
        command: Sequence[str] | None = None,
        peers: Peers | None = None,
    ) -> JobSpec:
        name = f"pipelines-k3j9x0q1m2ab-Step-{next(self.counter):010d}"
        if program is not None:
            self.programs[name] = program
            command = ("python3", "-c", job_source(program))
        folder = self.folder / name / "ml"
        folder.mkdir(parents=True)
        return JobSpec(
            name=name,
            image=image,
            folder=folder,
            log=self.folder / name / "log.txt",
            command=tuple(command or ()),
            environment=environment or {},
            mounts=tuple(mounts),
            labels={"mlops.test": self.folder.name, **(labels or {})},
            peers=peers,
        )

    def start(self, program: Program, **more: Any) -> tuple[RunningJob, JobSpec]:
        spec = self.spec(program, **more)
        return self.runtime.start(spec), spec

    def finish(self, job: RunningJob) -> JobOutcome:
        outcome = job.wait(SOON)
        assert outcome is not None, "the job does not end"
        return outcome

    def run(self, program: Program, **more: Any) -> tuple[JobOutcome, JobSpec]:
        job, spec = self.start(program, **more)
        return self.finish(job), spec

    def started(self, program: Program, **more: Any) -> tuple[RunningJob, JobSpec]:
        """Start a job that says "ready", and wait until it has."""
        job, spec = self.start(program, **more)
        until(lambda: spec.log.exists() and "ready" in spec.log.read_text())
        return job, spec


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.01)


def job_source(program: Program) -> str:
    """The text of a Python program that is `program`, with a `Me` for its argument."""
    source = textwrap.dedent(inspect.getsource(program))
    return f"{JOB_SIDE}\n{source}\nsys.exit({program.__name__}(Me()) or 0)\n"


def _docker(request: pytest.FixtureRequest, store: Path, *, overlay: bool) -> Harness:
    from mlops.runtimes.docker_runtime import DockerRuntime

    engine = request.getfixturevalue("docker_engine")
    mapping = ImageMapping("python:*", request.getfixturevalue("base_image"))
    settings = Settings(store=store, images=(mapping,))
    return Harness(DockerRuntime(settings, engine, overlay=overlay), store.parent, settings)


def _process(store: Path, isolation: str, *, overlay: bool = True) -> Harness:
    settings = Settings(store=store)
    if isolation == "none":
        found = Namespaces(Isolation.NONE, "the test says so")
    else:
        found = probe_namespaces(store)
        if found.isolation is Isolation.NONE:
            pytest.skip(f"no namespaces here: {found.reason}")
        if isolation == "user":
            found = _user_namespaces(found)
        if not overlay:
            found = Namespaces(found.isolation, overlay_problem="the test says so")
    runtime = ProcessRuntime(settings, namespaces=found)
    return Harness(runtime, store.parent, settings, own_opt_ml=isolation != "none")


def _user_namespaces(found: Namespaces) -> Namespaces:
    if found.isolation is Isolation.USER:
        pytest.skip("the same as process-namespaces")
    return Namespaces(Isolation.USER, overlay_problem=found.overlay_problem)


RUNTIMES = [
    pytest.param("docker", marks=pytest.mark.docker),
    "process-namespaces",
    "process-user-namespaces",
    "process-plain",
    "fake",
]
WITHOUT_OVERLAYS = [pytest.param("docker-copies", marks=pytest.mark.docker), "process-copies"]


@pytest.fixture(params=RUNTIMES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """A runtime whose machine is clean again after each test."""
    yield from _clean(request, tmp_path)


@pytest.fixture(params=[*RUNTIMES, *WITHOUT_OVERLAYS])
def mounting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """The same, for what depends on how inputs are mounted."""
    yield from _clean(request, tmp_path)


def _made(request: pytest.FixtureRequest, store: Path) -> Harness:
    match request.param.partition("-"):
        case ("docker", _, kind):
            return _docker(request, store, overlay=not kind)
        case ("process", _, "namespaces"):
            return _process(store, "root")
        case ("process", _, "user-namespaces"):
            return _process(store, "user")
        case ("process", _, "copies"):
            return _process(store, "root", overlay=False)
        case ("process", _, "plain"):
            return _process(store, "none")
    return _fake(store)


def _fake(store: Path) -> Harness:
    programs: dict[str, Program] = {}
    unknown = Harness.unknown_image
    runtime = FakeRuntime(
        lambda container: programs[container.job.name](FakeMe(container)),
        refusals={unknown: "it is unknown"},
    )
    settings = Settings(store=store)
    return Harness(runtime, store.parent, settings, real=False, own_opt_ml=False, programs=programs)


def _clean(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    store = tmp_path / "store"
    made = _made(request, store)
    mounts = Path("/proc/self/mountinfo").read_text()
    yield made
    left = made.runtime.remove_leftovers({"mlops.test": tmp_path.name})
    assert not left, "a test left jobs running"
    assert not list(store.glob("runtime/*/*")), "the runtime left files in the store"
    assert not _processes_below(store), "the runtime left processes"
    after = Path("/proc/self/mountinfo").read_text()
    assert [line for line in after.splitlines() if str(tmp_path) in line] == []
    assert ("/opt/ml" in after) == ("/opt/ml" in mounts), "a mount is left"


def _processes_below(folder: Path) -> list[str]:
    """Command lines of the processes whose home is in `folder`: jobs and their descendants."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if f"HOME={folder}".encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text())
    return found
