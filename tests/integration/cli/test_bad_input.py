"""Bad input: one clear message, its exit code, nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import REPOSITORY, Shell

HEADER = "carat,cut,color,clarity,depth,table,price,x,y,z"
ROW = "0.23,Ideal,E,SI2,61.5,55,326,3.95,3.98,2.43"


def step(name: str, *, after: str | None = None, type_: str = "Processing") -> dict[str, Any]:
    """A processing step as far as parsing looks at it."""
    return {
        "Name": name,
        "Type": type_,
        "Arguments": {
            "AppSpecification": {"ImageUri": "python:3.11-slim"},
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 1,
                }
            },
            "RoleArn": "arn:aws:iam::000000000000:role/r",
        },
        **({"DependsOn": [after]} if after else {}),
    }


def definition(shell: Shell, *steps: dict[str, Any]) -> Path:
    file = shell.folder / "pipeline.json"
    file.write_text(json.dumps({"Version": "2020-12-01", "Steps": steps}))
    return file


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
    assert lab.json("executions", "list", "--json") == []


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
    told = shell("run", definition(shell, step("A", after="B"), step("B", after="A")), code=2)
    assert "wait for one another: A → B → A" in told.stderr


def test_every_problem_of_a_definition_is_told_at_once(shell: Shell) -> None:
    file = definition(shell, step("A", after="Nowhere"), step("B", type_="EMR"), step("A"))
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
    shell: Shell, project: Path
) -> None:
    script = project / "steps" / "count.py"
    script.write_text("import sys\nprint('working')\nsys.exit('the shelf is empty')\n")
    told = shell("run", project / "pipeline.py", code=1).stdout
    assert "the shelf is empty" in told
    log = next(word for word in told.split() if word.endswith("/Count/log.txt"))
    assert "working" in Path(log).read_text()


def test_a_pipelines_own_exception_is_told_by_its_line(shell: Shell, project: Path) -> None:
    (project / "pipeline.py").write_text("def get_pipeline(region):\n    return 1 / 0\n")
    told = shell("run", project / "pipeline.py", code=2).stderr
    assert "ZeroDivisionError" in told
    assert "line 2" in told or "pipeline.py:2" in told


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read what the process says until `words` come."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came:\n{seen}")


@pytest.fixture
def sleeper(project: Path) -> Path:
    """A pipeline whose step sleeps."""
    script = project / "steps" / "count.py"
    script.write_text("import time\nprint('asleep', flush=True)\ntime.sleep(60)\n")
    return project / "pipeline.py"


def test_ctrl_c_stops_what_runs_and_ends_with_130(shell: Shell, sleeper: Path) -> None:
    process = shell.start("run", sleeper)
    wait_for(process, "asleep")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    [execution] = shell.json("executions", "list", "--json")
    assert execution["status"] == "Stopped"
    assert shell.json("status", "--json")["executions"] == []


def test_a_run_goes_on_without_its_command_and_can_be_stopped(shell: Shell, sleeper: Path) -> None:
    shown = shell("run", sleeper, "--detach").stdout
    execution = shown.split("executions show ")[1].split()[0]
    assert shell.json("executions", "show", execution, "--json")["status"] == "Executing"
    shell("executions", "stop", execution)
    shell("executions", "logs", execution, "--follow")
    assert shell.json("executions", "show", "latest", "--json")["status"] == "Stopped"


def test_a_reader_that_leaves_is_no_error_to_tell(shell: Shell, project: Path) -> None:
    shell("run", project / "pipeline.py")
    process = shell.start("executions", "logs", "latest")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=30)


def test_no_engine_is_3_when_docker_is_asked_for(shell: Shell, project: Path) -> None:
    shell.variables = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    told = shell("run", project / "pipeline.py", "--runtime", "docker", code=3).stderr
    assert "Docker" in told
    assert "next:" in told
    shown = shell("run", project / "pipeline.py", "--runtime", "auto").stdout
    assert "· process ·" in shown


def test_without_namespaces_scripts_that_ask_for_their_folder_run(
    shell: Shell, project: Path
) -> None:
    shell.variables = {"MLOPS_PROCESS_ISOLATION": "none"}
    shell("run", project / "pipeline.py")
    script = project / "steps" / "count.py"
    script.write_text("open('/opt/ml/processing/input/rows.csv')\n")
    told = shell("run", project / "pipeline.py", code=1).stdout
    assert "SAGEMAKER_BASE_DIR" in told


def test_a_port_that_is_taken_is_3(shell: Shell) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert str(port) in shell("up", "--port", port, code=3).stderr


def test_two_runs_at_once_do_not_disturb_each_other(shell: Shell, project: Path) -> None:
    processes = [shell.start("run", project / "pipeline.py") for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(shell.json("executions", "list", "--json")) == 2


def test_a_gateway_that_is_killed_while_a_run_is_followed_is_told(
    shell: Shell, sleeper: Path
) -> None:
    import os

    process = shell.start("run", sleeper)
    wait_for(process, "asleep")
    os.kill(shell.json("status", "--json")["pid"], signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 3, rest
    assert "gateway" in rest
    assert "Traceback" not in rest


def test_clean_keeps_results_and_never_removes_what_is_not_ours(
    shell: Shell, project: Path
) -> None:
    (project / "steps" / "count.py").write_text("raise SystemExit('no')\n")
    shell("run", project / "pipeline.py", code=1)
    assert list(shell.store.glob("executions/*/Count/ml"))
    shell("clean")
    assert not list(shell.store.glob("executions/*/Count/ml"))
    assert list(shell.store.glob("executions/*/Count/log.txt"))
    shell("clean", "--all", "--yes", "--store", project, code=2)
    assert (project / "pipeline.py").exists()
    shell("clean", "--all", "--yes")
    assert not shell.store.exists()


def test_a_terminal_that_knows_ascii_only_gets_its_lines(shell: Shell, project: Path) -> None:
    shell.variables = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    assert "status    + Succeeded" in shell("run", project / "pipeline.py").stdout


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
