"""What the process runtime alone has: supervisors that die, environments, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops.errors import DiskFull, ExitStatusLost, JobError, RuntimeUnavailable
from mlops.ports import JobOutcome, JobSpec, Mount, MountMode, RunningJob
from mlops.runtimes.namespaces import Isolation, Namespaces
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.runtimes.process_tree import marked
from mlops.settings import ImageMapping, Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes need Linux")

SOON = 60.0
PLAIN = Namespaces(Isolation.NONE, "the test says so")


@pytest.fixture(params=["best", "plain"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProcessRuntime]:
    """The runtime with what this machine allows, and without namespaces."""
    namespaces = PLAIN if request.param == "plain" else None
    made = ProcessRuntime(Settings(store=tmp_path / "store"), namespaces=namespaces)
    yield made
    assert not list((tmp_path / "store").glob("runtime/process/*"))


def spec(folder: Path, script: str, **more: object) -> JobSpec:
    (folder / "ml").mkdir(exist_ok=True)
    values: dict[str, object] = {
        "name": "job",
        "image": "python:3.11",
        "folder": folder / "ml",
        "log": folder / "log.txt",
        "command": ("sh", "-c", f": $SAGEMAKER_BASE_DIR; {script}"),
    }
    return JobSpec(**(values | more))  # type: ignore[arg-type]  # the fields of JobSpec


def finish(job: RunningJob) -> JobOutcome:
    outcome = job.wait(SOON)
    assert outcome is not None, "the job does not end"
    return outcome


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.01)


def supervisor_of(job_id: str) -> int:
    """The process that has the job's mark and is the child of this one."""
    me = str(os.getpid())
    for pid in marked(job_id):
        stat = Path(f"/proc/{pid}/stat").read_text()
        if stat.rpartition(")")[2].split()[1] == me:
            return pid
    raise AssertionError("the job has no supervisor")


# --- The supervisor ------------------------------------------------------------------------------


def test_a_supervisor_that_dies_takes_the_job_and_its_status_along(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    job = spec(tmp_path, "(setsid sleep 60 &) ; echo ready; exec sleep 60")
    running = runtime.start(job)
    until(lambda: "ready" in job.log.read_text())
    os.kill(supervisor_of(running.id), signal.SIGKILL)
    with pytest.raises(ExitStatusLost, match="Job job"):
        running.wait(SOON)
    assert marked(running.id) == []


DYING_GATEWAY = """
import os, sys
from pathlib import Path
from mlops.ports import JobSpec
from mlops.runtimes.namespaces import Isolation, Namespaces
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings

folder = Path(sys.argv[1])
runtime = ProcessRuntime(Settings(store=folder / "store"), namespaces=Namespaces(Isolation.NONE))
runtime.start(JobSpec("job", "python:3", folder / "ml", folder / "log.txt",
                      command=("sh", "-c", ": $SAGEMAKER_BASE_DIR; sleep 0.3; exit 7")))
os._exit(0)
"""


def test_the_status_is_on_the_disk_for_a_gateway_that_comes_later(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (tmp_path / "ml").mkdir()
    subprocess.run([sys.executable, "-c", DYING_GATEWAY, str(tmp_path)], check=True)
    until(lambda: list(store.glob("runtime/process/*/status.json")))
    (status,) = store.glob("runtime/process/*/status.json")
    assert '"exit_status": 7' in status.read_text()
    later = ProcessRuntime(Settings(store=store), namespaces=PLAIN)
    assert list(later.remove_leftovers({})) == ["job"]
    assert list(store.glob("runtime/process/*")) == []


def test_what_a_process_left_that_was_killed_while_it_probed_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    store = tmp_path / "store"
    for owner in (ended.pid, os.getpid()):
        (store / f"runtime/process/probe-{owner}-x/root").mkdir(parents=True)
    ProcessRuntime(Settings(store=store)).namespaces  # noqa: B018 - it probes
    left = [place.name for place in store.glob("runtime/process/*")]
    assert left == [f"probe-{os.getpid()}-x"]


def test_a_job_whose_record_another_version_wrote_is_ended_and_cleared_away(
    runtime: ProcessRuntime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = runtime.start(spec(tmp_path, "sleep 60", labels={"a": "b"}))
    (record,) = (tmp_path / "store").glob("runtime/process/*/job.json")
    document = json.loads(record.read_text())
    del document["copies"]
    record.write_text(json.dumps(document))
    later = ProcessRuntime(Settings(store=tmp_path / "store"), namespaces=runtime.namespaces)
    assert later.find_jobs({"a": "b"}) == []
    assert str(record) in caplog.text
    assert not record.parent.exists()
    until(lambda: not marked(record.parent.name))
    with pytest.raises(ExitStatusLost):
        job.wait(SOON)


def test_a_job_is_free_of_the_gateways_terminal_and_signals(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    code = (
        "import os, signal, sys; os.environ.get('SAGEMAKER_BASE_DIR');"
        "print(os.getsid(0) != int(sys.argv[1]), sys.stdin.read() == '',"
        "signal.getsignal(signal.SIGINT) is signal.default_int_handler,"
        "len(os.listdir('/proc/self/fd')) <= 4)"
    )
    command = ("python3", "-c", code, str(os.getsid(0)))
    job = spec(tmp_path, "", command=command)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
    try:
        finish(runtime.start(job))
    finally:
        signal.signal(signal.SIGINT, before)
    assert job.log.read_text() == "True True True True\n"


def test_a_writer_into_a_closed_pipe_ends_as_in_a_shell(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    job = spec(tmp_path, "(yes; echo status $? >&2) | head -1")
    finish(runtime.start(job))
    assert sorted(job.log.read_text().splitlines()) == ["status 141", "y"]


# --- The environment -----------------------------------------------------------------------------


def test_the_environment_is_clean_and_its_folders_go_with_the_job(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    job = spec(tmp_path, 'pwd; echo "$HOME"; touch here "$TMPDIR/there"; env')
    finish(runtime.start(job))
    where, home, *lines = job.log.read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert where == home
    assert home.startswith(str(tmp_path / "store"))
    assert not Path(home).exists()
    assert {"PATH", "HOME", "LANG", "TMPDIR", "PIP_INDEX_URL"} <= names
    assert not names & {"SOME_TOKEN", "PYTHONPATH"}


def test_the_interpreter_is_the_environments(runtime: ProcessRuntime, tmp_path: Path) -> None:
    code = "import os, sys; os.environ.get('SAGEMAKER_BASE_DIR'); print(sys.prefix)"
    programs = [name for name in ("python3", "python") if Path(sys.prefix, "bin", name).exists()]
    assert programs
    for program in programs:
        job = spec(tmp_path, "", command=(program, "-c", code), log=tmp_path / program)
        finish(runtime.start(job))
        assert job.log.read_text().strip() == sys.prefix


def test_train_is_found_for_the_training_image(runtime: ProcessRuntime, tmp_path: Path) -> None:
    job = spec(tmp_path, "command -v train", image="x/tensorflow-training:2.19-cpu")
    finish(runtime.start(job))
    assert job.log.read_text().strip().endswith("containers/shared/bin/train")


def test_without_namespaces_a_job_gets_its_folder_in_every_way(tmp_path: Path) -> None:
    runtime = ProcessRuntime(Settings(store=tmp_path / "store"), namespaces=PLAIN)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_text("1\n")
    code = (
        "import os, sys; base = os.environ['SAGEMAKER_BASE_DIR'];"
        "print(sys.argv[1] == base + '/input/data/x', os.environ['DATA'] == sys.argv[1],"
        "open(sys.argv[1] + '/a.csv').read().strip())"
    )
    job = spec(
        tmp_path,
        "",
        command=("python3", "-c", code),
        arguments=("/opt/ml/input/data/x",),
        environment={"DATA": "/opt/ml/input/data/x"},
        mounts=(Mount(source, "/opt/ml/input/data/x", MountMode.COPY_ON_WRITE),),
    )
    assert finish(runtime.start(job)).exit_status == 0
    assert job.log.read_text() == "True True 1\n"
    assert list((tmp_path / "ml/input/data/x").iterdir()) == []


# --- Refusals ------------------------------------------------------------------------------------


def test_a_script_that_needs_opt_ml_is_refused_without_namespaces(tmp_path: Path) -> None:
    runtime = ProcessRuntime(Settings(store=tmp_path / "store"), namespaces=PLAIN)
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml/p.py").write_text("open('/opt/ml/input/x')")
    job = spec(tmp_path, "", command=("python3", "/opt/ml/p.py"))
    with pytest.raises(RuntimeUnavailable, match="the test says so") as caught:
        runtime.start(job)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "store").exists()


def test_a_job_without_a_command_is_refused(runtime: ProcessRuntime, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="names no command"):
        runtime.start(spec(tmp_path, "", command=()))


def test_an_image_that_only_docker_has_is_refused(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path, images=(ImageMapping("mine:*", "mine:local"),))
    with pytest.raises(RuntimeUnavailable, match="mine:1"):
        ProcessRuntime(settings).start(spec(tmp_path, "true", image="mine:1"))


def test_a_store_that_the_job_would_hide_is_refused(tmp_path: Path) -> None:
    namespaces = Namespaces(Isolation.ROOT)
    runtime = ProcessRuntime(Settings(store=Path("/opt/ml/store")), namespaces=namespaces)
    with pytest.raises(RuntimeUnavailable, match="would hide") as caught:
        runtime.start(spec(tmp_path, "true"))
    assert "/opt/ml/store" in str(caught.value)


def test_a_program_that_is_no_program(runtime: ProcessRuntime, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("SAGEMAKER_BASE_DIR\n")
    for mode, reason in ((0o755, "Exec format error"), (0o644, "Permission denied|No such file")):
        file.chmod(mode)
        with pytest.raises(JobError, match=reason):
            runtime.start(spec(tmp_path, "", command=(str(file),)))


def test_a_folder_that_is_no_folder(runtime: ProcessRuntime, tmp_path: Path) -> None:
    job = spec(tmp_path, "true", log=tmp_path / "log.txt" / "below")
    (tmp_path / "log.txt").touch()
    with pytest.raises(JobError, match="job job"):
        runtime.start(job)


# --- No space ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("namespaces", [None, PLAIN])
def test_a_job_that_fills_the_disk_fails_by_itself(
    small_disk: Path, namespaces: Namespaces | None
) -> None:
    runtime = ProcessRuntime(Settings(store=small_disk / "store"), namespaces=namespaces)
    script = 'head -c 999999 /dev/zero > "${SAGEMAKER_BASE_DIR:-/opt/ml}/model"'
    outcome = finish(runtime.start(spec(small_disk, script)))
    assert outcome.exit_status == 1
    assert not list((small_disk / "store/runtime/process").iterdir())


@pytest.mark.parametrize("namespaces", [None, PLAIN])
def test_an_input_that_does_not_fit_is_no_space(
    small_disk: Path, tmp_path: Path, namespaces: Namespaces | None
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(b"x" * 200_000)
    found = namespaces or ProcessRuntime(Settings(store=tmp_path)).namespaces
    found = Namespaces(found.isolation, found.reason, overlay_problem="the test says so")
    runtime = ProcessRuntime(Settings(store=small_disk / "store"), namespaces=found)
    mount = Mount(source, "/opt/ml/in", MountMode.COPY_ON_WRITE)
    with pytest.raises(DiskFull, match="no space left") as caught:
        runtime.start(spec(small_disk, "true", mounts=(mount,)))
    assert caught.value.where
    assert not list((small_disk / "store/runtime/process").iterdir())
