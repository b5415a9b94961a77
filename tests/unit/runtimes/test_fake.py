"""What the fake has beyond the contract: scripts, patterns, refusals, a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.errors import ImageUnavailable, JobError, RuntimeUnavailable
from mlops.ports import JobSpec
from mlops.runtimes.fake import FakeContainer, FakeRuntime, Script


def spec(folder: Path, name: str = "k3j9-Train-x", image: str = "python:3") -> JobSpec:
    (folder / "ml").mkdir(exist_ok=True)
    return JobSpec(name, image, folder / "ml", folder / "log.txt", command=("train",))


def test_a_script_writes_and_ends_as_it_says(tmp_path: Path) -> None:
    script = Script(
        exit_status=3, log="epoch 1\n", files={"/opt/ml/model/1/w": b"\0", "/opt/ml/t": "€"}
    )
    outcome = FakeRuntime(script).start(spec(tmp_path)).wait(10)
    assert outcome is not None
    assert outcome.exit_status == 3
    assert (tmp_path / "log.txt").read_text() == "epoch 1\n"
    assert (tmp_path / "ml/model/1/w").read_bytes() == b"\0"
    assert (tmp_path / "ml/t").read_text(encoding="utf-8") == "€"


def test_a_script_that_takes_time_can_be_stopped(tmp_path: Path) -> None:
    job = FakeRuntime(Script(seconds=60)).start(spec(tmp_path))
    job.stop()
    outcome = job.wait(10)
    assert outcome is not None
    assert (outcome.exit_status, outcome.stopped) == (143, True)


def test_the_first_pattern_counts(tmp_path: Path) -> None:
    runtime = FakeRuntime({"*-Train-*": Script(exit_status=1), "*": Script(exit_status=2)})
    statuses = [
        runtime.start(spec(tmp_path, name)).wait(10).exit_status  # type: ignore[union-attr]  # it ends
        for name in ("a-Train-b", "a-ETL-b")
    ]
    assert statuses == [1, 2]
    assert [job.name for job in runtime.started] == ["a-Train-b", "a-ETL-b"]


def test_a_job_without_a_behaviour_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="k3j9-Train-x"):
        FakeRuntime({"*-ETL-*": Script()}).start(spec(tmp_path))


def test_a_behaviour_that_raises_fails_its_job(tmp_path: Path) -> None:
    def behave(job: FakeContainer) -> None:
        raise ValueError("no such column: price")

    outcome = FakeRuntime(behave).start(spec(tmp_path)).wait(10)
    assert outcome is not None
    assert outcome.exit_status == 1
    assert (tmp_path / "log.txt").read_text() == "ValueError: no such column: price\n"


def test_what_is_not_there_and_what_is_refused(tmp_path: Path) -> None:
    runtime = FakeRuntime(images={"python:3"}, refusals={"odd:1": "it is odd"}, commands={"sh"})
    with pytest.raises(ImageUnavailable, match="other:1"):
        runtime.start(spec(tmp_path, image="other:1"))
    with pytest.raises(RuntimeUnavailable, match="it is odd"):
        runtime.start(spec(tmp_path, image="odd:1"))
    with pytest.raises(JobError, match="train"):
        runtime.start(spec(tmp_path))
