"""What is removed from a state folder, and what never is."""

import json
from pathlib import Path

import pytest

from mlops.cleaning import carry_out_clean, plan_clean
from mlops.errors import UsageError
from mlops.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store")


@pytest.fixture
def store(settings: Settings) -> Path:
    """Two executions, one step's folder each, a cache, and results."""
    for execution in ("one", "two"):
        job = settings.store / "executions" / execution / "Train" / "ml"
        job.mkdir(parents=True)
        (job / "model.bin").write_bytes(b"x" * 1000)
        (job.parent / "log.txt").write_text("log")
        (job.parent.parent / "report.html").write_text("report")
    (settings.store / "cache").mkdir()
    (settings.store / "cache" / "wheel").write_bytes(b"x" * 500)
    (settings.store / "objects").mkdir()
    (settings.store / "objects" / "data").write_text("data")
    (settings.store / "state.db").write_text("state")
    return settings.store


def names(settings: Settings, folders: tuple[Path, ...]) -> set[str]:
    return {str(folder.relative_to(settings.store)) for folder in folders}


def test_the_plan_names_job_folders_and_caches_and_their_size(
    settings: Settings, store: Path
) -> None:
    plan = plan_clean(settings)
    assert names(settings, plan.folders) == {
        "executions/one/Train/ml",
        "executions/two/Train/ml",
        "cache",
    }
    assert plan.size == 2500
    assert (store / "cache" / "wheel").exists()  # a plan only looks


def test_results_stay(settings: Settings, store: Path) -> None:
    carry_out_clean(settings, plan_clean(settings))
    kept = {str(file.relative_to(store)) for file in store.rglob("*") if file.is_file()}
    assert kept == {
        "executions/one/Train/log.txt",
        "executions/one/report.html",
        "executions/two/Train/log.txt",
        "executions/two/report.html",
        "objects/data",
        "state.db",
    }
    assert plan_clean(settings).folders == ()


def test_what_a_running_execution_uses_stays(
    settings: Settings, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = {"executions": ["arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/one"]}
    monkeypatch.setattr("mlops.app.gateway_health", lambda settings: health)
    assert names(settings, plan_clean(settings).folders) == {"executions/two/Train/ml"}


def test_attempts_and_hosts_have_folders_of_their_own(settings: Settings, store: Path) -> None:
    step = store / "executions/one/Train"
    for folder in ("attempt-2/ml", "attempt-3/algo-1/ml", "algo-2/inputs", "ml/attempt-9/ml"):
        (step / folder).mkdir(parents=True)
    plan = plan_clean(settings)
    assert names(settings, plan.folders) >= {
        "executions/one/Train/attempt-2/ml",
        "executions/one/Train/attempt-3/algo-1/ml",
        "executions/one/Train/algo-2/inputs",
    }
    carry_out_clean(settings, plan)
    assert not (step / "ml").exists()


def test_jobs_without_an_execution_have_folders_of_their_own(
    settings: Settings, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ended", "runs"):
        (store / "jobs/training-job" / name / "ml").mkdir(parents=True)
    health = {"executions": [], "jobs": ["training-job/runs"]}
    monkeypatch.setattr("mlops.app.gateway_health", lambda _: health)
    found = names(settings, plan_clean(settings).folders)
    assert {name for name in found if name.startswith(("jobs", "cache"))} == {
        "jobs/training-job/ended/ml"
    }


def test_what_a_job_has_locked_is_removed_too(settings: Settings, store: Path) -> None:
    locked = store / "executions/one/Train/ml/locked"
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0)
    carry_out_clean(settings, plan_clean(settings))
    assert not locked.parent.exists()


def test_a_link_in_a_job_folder_is_removed_and_not_followed(
    settings: Settings, store: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (store / "executions/one/Train/ml/link").symlink_to(outside)
    carry_out_clean(settings, plan_clean(settings))
    assert (outside / "kept").exists()


def test_everything_of_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not made by mlops"):
        plan_clean(Settings(store=tmp_path), everything=True)


def test_everything_is_the_whole_folder(settings: Settings, store: Path) -> None:
    plan = plan_clean(settings, everything=True)
    assert plan.folders == (store,)
    carry_out_clean(settings, plan)
    assert not store.exists()


def test_there_is_nothing_to_remove_where_there_is_no_folder(settings: Settings) -> None:
    for everything in (False, True):
        assert plan_clean(settings, everything=everything).folders == ()


def test_a_stale_address_of_a_gateway_is_no_gateway(settings: Settings, store: Path) -> None:
    address = {"url": "http://127.0.0.1:9", "pid": 1, "version": "", "started_at": ""}
    (store / "gateway.json").write_text(json.dumps(address | {"runtime": "", "settings": ""}))
    assert len(plan_clean(settings).folders) == 3
