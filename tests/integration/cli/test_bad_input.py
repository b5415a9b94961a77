"""Bad input: one clear message, its exit code, nothing left behind."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Shell, script

HEADER = "carat,cut,color,clarity,depth,table,price,x,y,z"
ROW = "0.23,Ideal,E,SI2,61.5,55,326,3.95,3.98,2.43"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "Nope=1"], "no parameter 'Nope'"),
        (["-p", "MseThreshold=abc"], "no Float"),
        (["-p", "ModelApprovalStatus=Maybe"], "none of the allowed values"),
        (["-p", "MseThreshold="], "is empty"),
        (["-p", "MseThreshold"], "NAME=VALUE"),
        (["nowhere.py"], "does not exist"),
        (["no.such.module:function"], "no module"),
        (["--data", "none.json"], "none.json"),
        (["--data-file", "none.csv"], "no such data file"),
        (["--backend", "cloud"], "cloud"),
    ],
)
def test_wrong_input_is_2_and_starts_nothing(lab: Shell, arguments: list[str], words: str) -> None:
    assert words in lab("run", *arguments, code=2).stderr
    assert lab.json("status", "--json").get("executions", []) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (HEADER + "\n", "no rows"),
        (f"{HEADER}\n" + f"{ROW}\n" * 30 + "1,2\n", "columns"),
        (f"{HEADER}\n" + f"{ROW}\n" * 30 + ROW.replace("326", "much") + "\n", "much"),
        ("a,b\n1,2\n", "header"),
    ],
)
def test_a_malformed_csv_is_2_and_says_where(
    lab: Shell, tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text)
    told = lab("run", "--data-file", file, code=2).stderr
    assert words in told
    assert "next:" in told


def test_broken_json_names_line_and_column(shell: Shell) -> None:
    file = shell.folder / "broken.json"
    file.write_text('{"Version": "2020-12-01", "Steps": [')
    assert "line 1 column" in shell("run", file, code=2).stderr


def test_a_cycle_is_named_by_its_way(shell: Shell) -> None:
    file = shell.definition(script("A", "", after="B"), script("B", "", after="A"))
    told = shell("run", file, code=2)
    assert "wait for one another: A → B → A" in told.stderr


def test_every_problem_of_a_definition_is_told_at_once(shell: Shell) -> None:
    file = shell.definition(
        script("A", "", after="Nowhere"), script("B", "") | {"Type": "EMR"}, script("A", "")
    )
    told = shell("run", file, code=2).stderr
    assert "Nowhere" in told
    assert "EMR" in told
    assert "Steps[2].Name" in told


@pytest.fixture
def project(shell: Shell) -> Path:
    """The skeleton of `mlops init`."""
    shell("init", "mine")
    return shell.folder / "mine"


def test_the_skeleton_runs_as_it_is_and_fails_as_it_says(shell: Shell, project: Path) -> None:
    assert "3 >= 3" in shell("run", project / "pipeline.py").stdout
    told = shell("run", project / "pipeline.py", "-p", "MinimumRows=5", code=1).stdout
    assert "Fewer rows than 5" in told
    assert "files exist already" in shell("init", "mine", code=2).stderr


def test_a_failing_script_is_told_with_its_last_lines_and_its_log(
    shell: Shell,
) -> None:
    code = "import sys; print('working'); sys.exit('the shelf is empty')"
    told = shell("run", shell.definition(script("Count", code)), "--quiet", code=1).stdout
    assert "failed    Count: the shelf is empty, exit code: 1" in told
    assert "Count │ working" in told
    log = next(word for word in told.split() if word.endswith("/Count/log.txt"))
    assert "working" in Path(log).read_text()


def test_a_pipelines_own_exception_is_told_by_its_line(shell: Shell, project: Path) -> None:
    (project / "pipeline.py").write_text("def get_pipeline(region):\n    return 1 / 0\n")
    told = shell("run", project / "pipeline.py", code=2).stderr
    assert "ZeroDivisionError" in told
    assert "line 2" in told or "pipeline.py:2" in told


def test_no_engine_is_3_when_docker_is_asked_for(shell: Shell) -> None:
    shell.variables = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    file = shell.definition(script("Say", ""))
    told = shell("run", file, "--runtime", "docker", code=3).stderr
    assert "Docker" in told
    assert "next:" in told
    assert "· process ·" in shell("run", file, "--runtime", "auto").stdout


def test_without_namespaces_scripts_that_ask_for_their_folder_run(
    shell: Shell, project: Path
) -> None:
    shell.variables = {"MLOPS_PROCESS_ISOLATION": "none"}
    shell("run", project / "pipeline.py")
    script = project / "steps" / "count.py"
    script.write_text("open('/opt/ml/processing/input/rows.csv')\n")
    told = shell("run", project / "pipeline.py", code=1).stdout
    assert "SAGEMAKER_BASE_DIR" in told


def test_clean_keeps_results_and_never_removes_what_is_not_ours(
    shell: Shell, project: Path
) -> None:
    shell("run", shell.definition(script("Count", "raise SystemExit('no')")), code=1)
    assert list(shell.store.glob("executions/*/Count/ml"))
    shell("clean")
    assert not list(shell.store.glob("executions/*/Count/ml"))
    assert list(shell.store.glob("executions/*/Count/log.txt"))
    shell("clean", "--all", "--yes", "--store", project, code=2)
    assert (project / "pipeline.py").exists()
    shell("clean", "--all", "--yes")
    assert not shell.store.exists()


def test_compile_writes_the_definition_and_doctor_and_images_answer(lab: Shell) -> None:
    out = lab.store.parent / "compiled.json"
    lab("compile", "--out", out)
    assert [found["Name"] for found in json.loads(out.read_text())["Steps"]][:2] == ["ETL", "Train"]
    findings = lab.json("doctor", "--json")
    assert {finding["name"] for finding in findings} >= {"python", "docker", "disk"}
    assert lab.json("status", "--json")["running"] is True
    begin = time.monotonic()
    lab("--help")
    assert time.monotonic() - begin < 30  # that it ends; benchmarks measure how soon
    assert REPOSITORY.is_dir()
