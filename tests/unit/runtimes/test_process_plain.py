"""The rule for jobs without an /opt/ml of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlops.errors import RuntimeUnavailable
from mlops.ports import JobSpec, Mount, MountMode
from mlops.runtimes.process_plain import check_runs_plain, plain_environment, rewrite

PATH = "/usr/local/bin:/usr/bin:/bin"
ASKS = "import os\nbase = os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml')\n"
DOES_NOT_ASK = "open('/opt/ml/input/data/train/train.csv')\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/opt/ml", "/job"),
        ("/opt/ml/model", "/job/model"),
        ("--data=/opt/ml/input", "--data=/job/input"),
        ("/usr/lib:/opt/ml/code:/opt/ml", "/usr/lib:/job/code:/job"),
        ("a=/opt/ml/a,b=/opt/ml/b", "a=/job/a,b=/job/b"),
        ("/opt/mlops", "/opt/mlops"),
        ("/srv/opt/ml", "/srv/opt/ml"),
        ("s3://bucket/opt/ml/x", "s3://bucket/opt/ml/x"),
        ("", ""),
    ],
)
def test_opt_ml_at_the_start_of_a_path_becomes_the_folder(text: str, expected: str) -> None:
    assert rewrite(text, Path("/job")) == expected


def test_a_folder_with_odd_characters_is_taken_as_it_is() -> None:
    assert rewrite("/opt/ml/x", Path(r"/a\1 b")) == r"/a\1 b/x"


def test_the_environment_names_the_folder() -> None:
    environment = plain_environment({"DATA": "/opt/ml/input"}, Path("/job"))
    assert environment == {"SAGEMAKER_BASE_DIR": "/job", "DATA": "/job/input"}


def test_a_base_folder_of_the_jobs_own_is_rewritten_too() -> None:
    environment = plain_environment({"SAGEMAKER_BASE_DIR": "/opt/ml"}, Path("/job"))
    assert environment == {"SAGEMAKER_BASE_DIR": "/job"}


def job(folder: Path, *argv: str, mounts: tuple[Mount, ...] = ()) -> JobSpec:
    return JobSpec("Step", "python:3", folder, folder / "log", command=argv, mounts=mounts)


def runs(spec: JobSpec) -> bool:
    try:
        check_runs_plain(spec, PATH, "seccomp")
    except RuntimeUnavailable:
        return False
    return True


def test_a_refusal_names_the_job_the_cause_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "preprocess.py").write_text(DOES_NOT_ASK)
    with pytest.raises(RuntimeUnavailable) as caught:
        check_runs_plain(job(tmp_path, "python3", "/opt/ml/preprocess.py"), PATH, "seccomp")
    said = str(caught.value)
    assert caught.value.exit_code == 3
    for word in ("Step", "seccomp", "/opt/ml/preprocess.py", "SAGEMAKER_BASE_DIR", "Docker"):
        assert word in said


@pytest.mark.parametrize("text", [ASKS, "import os\nos.environ['SM_MODEL_DIR']\n"])
@pytest.mark.parametrize("flags", [(), ("-u",), ("-u", "-B")])
def test_a_script_that_asks_for_its_folders_runs(
    tmp_path: Path, text: str, flags: tuple[str, ...]
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/preprocess.py").write_text(text)
    assert runs(job(tmp_path, "python3", *flags, "/opt/ml/code/preprocess.py", "--x", "1"))


@pytest.mark.parametrize("text", [DOES_NOT_ASK, "", "ASM_X = PRISM_Y = 1\n"])
def test_a_script_that_does_not_ask_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocess.py").write_text(text)
    assert not runs(job(tmp_path, "python3", "/opt/ml/preprocess.py"))


@pytest.mark.parametrize("text", [ASKS, DOES_NOT_ASK])
def test_a_script_is_read_where_its_mount_has_it(tmp_path: Path, text: str) -> None:
    code = tmp_path / "objects/code"
    code.mkdir(parents=True)
    (code / "preprocess.py").write_text(text)
    (tmp_path / "ml").mkdir()
    mount = Mount(code, "/opt/ml/processing/input/code", MountMode.COPY_ON_WRITE)
    spec = job(
        tmp_path / "ml",
        "python3",
        "/opt/ml/processing/input/code/preprocess.py",
        mounts=(mount,),
    )
    assert runs(spec) is (text == ASKS)


@pytest.mark.parametrize(
    "argv",
    [
        ("python3", "/opt/ml/nothing.py"),
        ("python3", "-m", "module"),
        ("python3",),
        ("python3", "-c", "print(1)"),
        ("sh", "-c", "ls /opt/ml"),
        ("/bin/ls", "/opt/ml"),
    ],
)
def test_what_cannot_be_read_or_does_not_ask_is_refused(
    tmp_path: Path, argv: tuple[str, ...]
) -> None:
    assert not runs(job(tmp_path, *argv))


@pytest.mark.parametrize(
    "argv",
    [("python3", "-c", ASKS), ("bash", "-ec", 'ls "$SAGEMAKER_BASE_DIR"'), ("no-such-program",)],
)
def test_texts_that_ask_run_and_missing_programs_are_left_to_the_start(
    tmp_path: Path, argv: tuple[str, ...]
) -> None:
    assert runs(job(tmp_path, *argv))


@pytest.mark.parametrize("text", [ASKS, DOES_NOT_ASK])
def test_train_runs_unless_the_script_at_hand_does_not_ask(tmp_path: Path, text: str) -> None:
    entry_point = tmp_path / "bin/train"
    entry_point.parent.mkdir()
    entry_point.write_text(f"#!/usr/bin/env python3\n{ASKS}")
    entry_point.chmod(0o755)
    config = tmp_path / "ml/input/config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps({"sagemaker_program": '"train.py"'}))
    (tmp_path / "ml/code").mkdir()
    (tmp_path / "ml/code/train.py").write_text(text)
    spec = job(tmp_path / "ml", "train")
    if text == ASKS:
        check_runs_plain(spec, str(tmp_path / "bin"), "seccomp")
    else:
        with pytest.raises(RuntimeUnavailable, match="seccomp") as caught:
            check_runs_plain(spec, str(tmp_path / "bin"), "seccomp")
        assert caught.value.where == str(tmp_path / "ml/code/train.py")


def test_the_sdks_repacking_is_refused_for_it_has_opt_ml_written_into_it(tmp_path: Path) -> None:
    """``_repack_model.py`` reads /opt/ml/code and /opt/ml/input/data/training, and nothing else."""
    config = tmp_path / "ml/input/config"
    config.mkdir(parents=True)
    program = {"sagemaker_program": '"_repack_script_launcher.sh"'}
    (config / "hyperparameters.json").write_text(json.dumps(program))
    spec = job(tmp_path / "ml", "sh", "-c", ASKS)
    with pytest.raises(RuntimeUnavailable, match="seccomp") as caught:
        check_runs_plain(spec, os.defpath, "seccomp")
    assert caught.value.where == "_repack_script_launcher.sh"
