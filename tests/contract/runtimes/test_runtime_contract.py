"""What every runtime does, whatever it runs jobs with. See `mlops.ports.ContainerRuntime`.

The jobs are functions whose text travels to the real runtimes: they see their argument and the
modules of JOB_SIDE (see conftest), and import what else they need.
"""

# Jobs are written as step code is: short, for any Python.
# ruff: noqa: PTH101, PTH103, PTH104, PTH106, PTH107, PTH110, PTH123, PTH208, PTH211, SIM115

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mlops.errors import JobError, MlopsError
from mlops.ports import Mount, MountMode

# --- How a job ends ------------------------------------------------------------------------------


def test_a_job_that_succeeds(harness: Any) -> None:
    def job(me):
        me.say("hello")

    outcome, spec = harness.run(job)
    assert (outcome.exit_status, outcome.stopped, outcome.out_of_memory) == (0, False, False)
    assert spec.log.read_text() == "hello\n"


def test_the_exit_status_is_the_jobs_own(harness: Any) -> None:
    def job(me):
        return 7

    assert harness.run(job)[0].exit_status == 7


@pytest.mark.parametrize("number", [9, 11, 15])
def test_a_signal_counts_128_and_its_number(harness: Any, number: int) -> None:
    def job(me):
        me.end_by(int(me.environment["NUMBER"]))

    outcome, _ = harness.run(job, environment={"NUMBER": str(number)})
    assert outcome.exit_status == 128 + number
    assert not outcome.stopped


def test_the_time_of_the_process_is_told_where_it_is_known(harness: Any) -> None:
    def job(me):
        me.sleep(0.2)

    outcome, _ = harness.run(job)
    assert outcome.process_seconds is None or 0.2 <= outcome.process_seconds < 20


# --- The log -------------------------------------------------------------------------------------


def test_the_log_is_whole_when_the_job_has_ended(harness: Any) -> None:
    def job(me):
        me.say("\n".join(f"line {number} " + "x" * 90 for number in range(20_000)))
        me.say("the end")

    _, spec = harness.run(job)
    lines = spec.log.read_text().splitlines()
    assert len(lines) == 20_001
    assert (lines[0].split()[1], lines[19_999].split()[1], lines[-1]) == ("0", "19999", "the end")


def test_stdout_and_stderr_come_in_order(harness: Any) -> None:
    def job(me):
        for number in range(4):
            me.say("out", number)
            me.sleep(0.05)
            me.complain("err", number)
            me.sleep(0.05)

    _, spec = harness.run(job)
    expected = [f"{stream} {number}" for number in range(4) for stream in ("out", "err")]
    assert spec.log.read_text().splitlines() == expected


def test_the_log_comes_as_it_is_written(harness: Any) -> None:
    def job(me):
        import os

        me.say("ready")
        while not os.path.exists(me.base + "/go"):
            me.sleep(0.01)

    job_, spec = harness.started(job)
    assert job_.wait(0.01) is None
    (spec.folder / "go").touch()
    assert harness.finish(job_).exit_status == 0


def test_the_log_of_an_earlier_attempt_stays(harness: Any) -> None:
    def job(me):
        me.say("second")

    spec = harness.spec(job)
    spec.log.write_text("first\n")
    harness.finish(harness.runtime.start(spec))
    assert spec.log.read_text() == "first\nsecond\n"


# --- The environment -----------------------------------------------------------------------------


def test_the_environment_arrives_as_it_is(harness: Any) -> None:
    def job(me):
        for name in sorted(me.environment):
            if name.startswith("TEST_"):
                me.say(name, ascii(me.environment[name]))

    given = {
        "TEST_A": "with space = and 'quotes' \"too\"",
        "TEST_B": "two\nlines",
        "TEST_C": "größer €",
        "TEST_D": "",
    }
    _, spec = harness.run(job, environment=given)
    expected = [f"{name} {value!a}" for name, value in given.items()]
    assert spec.log.read_text().splitlines() == expected


def test_the_gateways_secrets_stay_with_it(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def job(me):
        me.say(sorted(name for name in me.environment if "SECRET" in name))

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    assert harness.run(job)[1].log.read_text() == "[]\n"


def test_command_and_arguments_make_one_command_line(harness: Any) -> None:
    if not harness.real:
        pytest.skip("the fake runs no command")
    spec = harness.spec(command=("sh", "-c", 'echo "$SAGEMAKER_BASE_DIR$0|$1|$2"'))
    spec = _with(spec, arguments=("a b", "", "--x=*"))
    harness.finish(harness.runtime.start(spec))
    assert spec.log.read_text().endswith("a b||--x=*\n")


def _with(spec: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(spec, **changes)


# --- Files ---------------------------------------------------------------------------------------


def test_what_a_job_writes_stays_and_belongs_to_the_caller(mounting: Any) -> None:
    def job(me):
        import os

        os.makedirs(me.base + "/model/1/variables", mode=0o700)
        for name, mode in (("model/secret", 0o600), ("model/1/variables/w", 0o644)):
            with open(me.base + "/" + name, "w") as file:
                file.write("content")
            os.chmod(me.base + "/" + name, mode)
        os.symlink("secret", me.base + "/model/link")

    _, spec = mounting.run(job)
    written = sorted(spec.folder.rglob("*"))
    assert [str(path.relative_to(spec.folder)) for path in written] == [
        "model",
        "model/1",
        "model/1/variables",
        "model/1/variables/w",
        "model/link",
        "model/secret",
    ]
    assert {path.lstat().st_uid for path in written} == {os.geteuid()}
    assert (spec.folder / "model/link").read_text() == "content"


def test_what_the_caller_put_there_is_there(harness: Any) -> None:
    def job(me):
        with open(me.base + "/input/config/hyperparameters.json") as file:
            me.say(file.read())

    spec = harness.spec(job)
    config = spec.folder / "input/config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text("{}")
    harness.finish(harness.runtime.start(spec))
    assert spec.log.read_text() == "{}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as the store has them, under a name that options of mounts must survive."""
    folder = tmp_path / "store, of:objects"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.csv").write_text("1\n")
    (folder / "sub/b.csv").write_text("2\n")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


UNCHANGED = {"a.csv": "1\n", "sub/b.csv": "2\n"}
TARGET = "/opt/ml/processing/input/raw"


def test_a_read_only_mount_refuses_writes(mounting: Any, source: Path) -> None:
    def job(me):
        folder = me.base + "/processing/input/raw"
        me.say(open(folder + "/sub/b.csv").read().strip())
        for name in ("/a.csv", "/new"):
            try:
                open(folder + name, "w").close()
            except OSError as error:
                me.say(error.strerror)

    _, spec = mounting.run(job, mounts=[Mount(source, TARGET, MountMode.READ_ONLY)])
    assert contents(source) == UNCHANGED
    said = spec.log.read_text().splitlines()
    assert said == ["2"] + ["Read-only file system"] * (2 if mounting.own_opt_ml else 0)


def test_a_read_write_mount_writes_through(mounting: Any, source: Path) -> None:
    def job(me):
        with open(me.base + "/processing/input/raw/sub/c.csv", "w") as file:
            file.write("3\n")

    mounting.run(job, mounts=[Mount(source, TARGET, MountMode.READ_WRITE)])
    assert contents(source) == {**UNCHANGED, "sub/c.csv": "3\n"}
    assert (source / "sub/c.csv").stat().st_uid == os.geteuid()


def test_copy_on_write_leaves_the_source_as_it_is(mounting: Any, source: Path) -> None:
    def job(me):
        import os

        folder = me.base + "/processing/input/raw"
        with open(folder + "/a.csv", "a") as file:
            file.write("more\n")
        os.remove(folder + "/sub/b.csv")
        os.rmdir(folder + "/sub")
        os.rename(folder + "/a.csv", folder + "/renamed.csv")
        os.makedirs(folder + "/new/deep")
        me.say(sorted(os.listdir(folder)), open(folder + "/renamed.csv").read().split())

    outcome, spec = mounting.run(job, mounts=[Mount(source, TARGET, MountMode.COPY_ON_WRITE)])
    assert spec.log.read_text() == "['new', 'renamed.csv'] ['1', 'more']\n"
    assert outcome.exit_status == 0
    assert contents(source) == UNCHANGED
    assert list((spec.folder / "processing/input/raw").iterdir()) == []


def test_copy_on_write_of_one_file(mounting: Any, source: Path) -> None:
    def job(me):
        file = me.base + "/input/data/model/model.tar.gz"
        with open(file, "a") as writer:
            writer.write("more\n")
        me.say(open(file).read().split())

    mount = Mount(
        source / "a.csv", "/opt/ml/input/data/model/model.tar.gz", MountMode.COPY_ON_WRITE
    )
    _, spec = mounting.run(job, mounts=[mount])
    assert spec.log.read_text() == "['1', 'more']\n"
    assert contents(source) == UNCHANGED


def test_one_file_read_only(harness: Any, source: Path) -> None:
    def job(me):
        me.say(open(me.base + "/input/x/one.csv").read())

    mount = Mount(source / "a.csv", "/opt/ml/input/x/one.csv", MountMode.READ_ONLY)
    assert harness.run(job, mounts=[mount])[1].log.read_text() == "1\n\n"
    assert contents(source) == UNCHANGED


def test_jobs_side_by_side_change_one_source_each_for_itself(mounting: Any, source: Path) -> None:
    def job(me):
        file = me.base + "/processing/input/raw/a.csv"
        with open(file, "a") as writer:
            writer.write(me.environment["WHO"])
        me.sleep(0.2)
        me.say(open(file).read().split())

    mounts = [Mount(source, TARGET, MountMode.COPY_ON_WRITE)]
    started = [mounting.start(job, mounts=mounts, environment={"WHO": who}) for who in "xy"]
    for job_, _ in started:
        assert mounting.finish(job_).exit_status == 0
    assert [spec.log.read_text() for _, spec in started] == ["['1', 'x']\n", "['1', 'y']\n"]
    assert contents(source) == UNCHANGED


def test_a_mount_inside_a_mount(mounting: Any, source: Path, tmp_path: Path) -> None:
    def job(me):
        me.say(open(me.base + "/input/data/a.csv").read().strip())
        me.say(open(me.base + "/input/data/sub/inner.csv").read().strip())

    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "inner.csv").write_text("9\n")
    mounts = [
        Mount(inner, "/opt/ml/input/data/sub", MountMode.READ_ONLY),
        Mount(source, "/opt/ml/input/data", MountMode.COPY_ON_WRITE),
    ]
    assert mounting.run(job, mounts=mounts)[1].log.read_text() == "1\n9\n"
    assert contents(source) == UNCHANGED


# --- Stopping ------------------------------------------------------------------------------------


def test_stop_ends_a_job_at_once(harness: Any) -> None:
    def job(me):
        me.say("ready")
        me.sleep(60)

    job_, _ = harness.started(job)
    began = time.monotonic()
    job_.stop()
    outcome = harness.finish(job_)
    assert (outcome.exit_status, outcome.stopped) == (143, True)
    assert time.monotonic() - began < 9  # less than the grace: SIGTERM did it


def test_stop_ends_the_whole_tree(harness: Any) -> None:
    if not harness.real:
        pytest.skip("the fake has no processes")

    def job(me):
        import subprocess
        import sys

        mark = me.environment["MARK"]
        code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", code, mark], start_new_session=True)
        subprocess.Popen(["sh", "-c", f"(sleep 60; : {mark}) & sleep 60; : {mark}"])
        me.say("ready")
        me.sleep(60)

    mark = f"mark-{os.urandom(6).hex()}"
    job_, _ = harness.started(job, environment={"MARK": mark})
    assert len(_with_argument(mark)) >= 2
    job_.stop()
    assert harness.finish(job_).stopped
    assert _with_argument(mark) == []


def _with_argument(mark: str) -> list[str]:
    """Command lines that hold `mark`; those of containers can be seen on their host, too."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in line:
                lines.append(line.decode(errors="replace"))
    return lines


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(harness: Any) -> None:
    def job(me):
        me.ignore_sigterm()
        me.say("ready")
        me.sleep(60)

    job_, _ = harness.started(job)
    job_.stop(grace_seconds=0.3)
    outcome = harness.finish(job_)
    assert (outcome.exit_status, outcome.stopped) == (137, True)


def test_a_job_may_use_its_grace_to_clear_up(harness: Any) -> None:
    if not harness.real:
        pytest.skip("the fake has no signal handlers")

    def job(me):
        import signal
        import sys
        import time

        def clear_up(number, frame):
            time.sleep(0.3)
            me.say("cleared up")
            sys.exit(5)

        signal.signal(signal.SIGTERM, clear_up)
        me.say("ready")
        me.sleep(60)

    job_, spec = harness.started(job)
    job_.stop()
    outcome = harness.finish(job_)
    assert (outcome.exit_status, outcome.stopped) == (5, True)
    assert spec.log.read_text() == "ready\ncleared up\n"


def test_stop_may_come_twice_sooner_and_late(harness: Any) -> None:
    def job(me):
        me.ignore_sigterm()
        me.say("ready")
        me.sleep(60)

    job_, _ = harness.started(job)
    job_.stop(50)
    job_.stop(0)
    assert harness.finish(job_).exit_status == 137
    job_.stop()
    assert harness.finish(job_).exit_status == 137


def test_what_a_job_left_running_ends_with_it(harness: Any) -> None:
    if not harness.real:
        pytest.skip("the fake has no processes")

    def job(me):
        import subprocess
        import sys

        code = "import os, time; os.setsid(); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", code, me.environment["MARK"]])

    mark = f"mark-{os.urandom(6).hex()}"
    outcome, _ = harness.run(job, environment={"MARK": mark})
    assert outcome.exit_status == 0
    assert _with_argument(mark) == []


# --- Waiting -------------------------------------------------------------------------------------


def test_many_may_wait_and_each_hears_the_end(harness: Any) -> None:
    def job(me):
        me.sleep(0.3)
        return 4

    job_, _ = harness.start(job)
    heard: list[Any] = []
    waiters = [threading.Thread(target=lambda: heard.append(job_.wait())) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    assert job_.wait(0) is None
    for waiter in waiters:
        waiter.join(60)
    assert [outcome.exit_status for outcome in heard] == [4, 4, 4]
    assert job_.wait(0) == heard[0]


def test_many_jobs_side_by_side(harness: Any) -> None:
    def job(me):
        with open(me.base + "/out", "w") as file:
            file.write(me.environment["NUMBER"])
        me.say(me.environment["NUMBER"])
        return int(me.environment["NUMBER"])

    started: dict[int, Any] = {}

    def start(number: int) -> None:
        started[number] = harness.start(job, environment={"NUMBER": str(number)})

    specs = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in specs:
        thread.start()
    for thread in specs:
        thread.join()
    for number, (job_, spec) in started.items():
        assert harness.finish(job_).exit_status == number
        assert spec.log.read_text() == f"{number}\n"
        assert (spec.folder / "out").read_text() == str(number)
    assert len(started) == 8


# --- What cannot be started ----------------------------------------------------------------------


def test_an_unknown_image(harness: Any) -> None:
    def job(me):
        pass

    spec = harness.spec(job, image=harness.unknown_image)
    with pytest.raises(MlopsError) as caught:
        harness.runtime.start(spec)
    assert caught.value.exit_code == 3
    if harness.real:
        assert harness.unknown_image in str(caught.value)
        assert caught.value.next_step


def test_a_command_that_is_not_there(harness: Any) -> None:
    if not harness.real:
        pytest.skip("the fake runs no command")
    spec = harness.spec(command=("no-such-program", "--x"))
    try:
        outcome = harness.finish(harness.runtime.start(spec))
    except JobError as error:
        said = str(error)
        assert spec.name in said
    else:  # Docker's init has started by then, and finds out itself
        assert outcome.exit_status == 127
        said = spec.log.read_text()
    assert "no-such-program" in said
    assert "No such file" in said


@pytest.mark.parametrize("target", ["/opt/ml", "/etc/passwd", "/opt/ml/../x", "input"])
def test_a_mount_outside_opt_ml(harness: Any, source: Path, target: str) -> None:
    def job(me):
        pass

    spec = harness.spec(job, mounts=[Mount(source, target, MountMode.READ_ONLY)])
    with pytest.raises(JobError, match="below /opt/ml"):
        harness.runtime.start(spec)


def test_a_mount_of_nothing(harness: Any, tmp_path: Path) -> None:
    def job(me):
        pass

    mount = Mount(tmp_path / "nothing", TARGET, MountMode.COPY_ON_WRITE)
    with pytest.raises(JobError, match=TARGET) as caught:
        harness.runtime.start(harness.spec(job, mounts=[mount]))
    assert caught.value.where == str(tmp_path / "nothing")


# --- What is left --------------------------------------------------------------------------------


def test_leftovers_are_those_with_all_the_labels(harness: Any) -> None:
    def job(me):
        me.say("ready")
        me.sleep(60)

    mine, spec = harness.started(job, labels={"execution": "a", "step": "x"})
    other, _ = harness.started(job, labels={"execution": "b", "step": "x"})
    removed = harness.runtime.remove_leftovers({"execution": "a", "step": "x"})
    assert list(removed) == [spec.name]
    assert harness.finish(mine).exit_status == 137
    assert other.wait(0) is None
    other.stop(0)
    harness.finish(other)
    assert not harness.runtime.remove_leftovers({"execution": "a"})


GATEWAY = """
import os, signal, sys, time
from pathlib import Path
from mlops.ports import JobSpec
from mlops.settings import ImageMapping, Settings

store, mark, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
mapping = ImageMapping("python:*", "mlops-test-base:local")
if kind == "docker":
    from mlops.runtimes.docker_runtime import DockerRuntime
    runtime = DockerRuntime(Settings(store=store, images=(mapping,)))
else:
    from mlops.runtimes.namespaces import Isolation, Namespaces
    from mlops.runtimes.process_runtime import ProcessRuntime
    runtime = ProcessRuntime(Settings(store=store), namespaces=Namespaces(Isolation(kind)))
folder = store.parent / "killed"
folder.mkdir()
script = f": $SAGEMAKER_BASE_DIR; (sleep 60; : {mark}) & echo ready; sleep 60; : {mark}"
spec = JobSpec(name="killed", image="python:3.11-slim", folder=folder, log=folder / "log",
               command=("sh", "-c", script), labels={"mlops.test": store.parent.name})
runtime.start(spec)
while "ready" not in spec.log.read_text():
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_gateways_jobs_are_found_and_ended(harness: Any) -> None:
    if not harness.real:
        pytest.skip("the fake's jobs end with their gateway")
    mark = f"mark-{os.urandom(6).hex()}"
    store = harness.settings.store
    store.mkdir(exist_ok=True)
    kind = harness.runtime.name
    if kind == "process":
        kind = str(harness.runtime.namespaces.isolation)
    subprocess.run([sys.executable, "-c", GATEWAY, str(store), mark, kind], check=False)
    assert _with_argument(mark), "the job died with its gateway"
    assert list(harness.runtime.remove_leftovers({"mlops.test": store.parent.name})) == ["killed"]
    assert _with_argument(mark) == []


def test_what_a_job_locked_is_unlocked_with_the_scratch(mounting: Any, source: Path) -> None:
    def job(me):
        import os

        os.makedirs(me.base + "/processing/input/raw/locked/inner")
        os.chmod(me.base + "/processing/input/raw/locked", 0)

    outcome, _ = mounting.run(job, mounts=[Mount(source, TARGET, MountMode.COPY_ON_WRITE)])
    assert outcome.exit_status == 0
    assert stat.S_IMODE(source.stat().st_mode) & 0o700 == 0o700
