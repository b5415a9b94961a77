"""What ran, read again: by id, ARN and `latest`, for people and for programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import COMMAND, Shell, open_shell, script

LONG = 300_000
"""Bytes of a log: more than one answer of the gateway brings."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A state folder in which one execution succeeded, and then one failed."""
    folder = tmp_path_factory.mktemp("work")
    for shell in open_shell(folder, tmp_path_factory.mktemp("state") / "store"):
        talk = f"print('begin' + '.' * {LONG}); print('the end')"
        steps = script("Talk", talk), script("Say", "print('said')", after="Talk")
        shell("run", shell.definition(*steps, name="good"), "--quiet")
        fail = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "not today"}}
        bad = shell.definition(script("Say", "print('said')"), fail, name="bad")
        shell("run", bad, code=1)
        yield shell


@pytest.fixture
def executions(shell: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.json("executions", "list", "--json")
    return found


def test_the_list_is_newest_first_and_by_pipeline(shell: Shell, executions: Any) -> None:
    assert [found["pipeline_name"] for found in executions] == ["bad", "good"]
    [good] = shell.json("executions", "list", "good", "--json")
    assert good["status"] == "Succeeded"
    assert len(shell.json("executions", "list", "--limit", 1, "--json")) == 1
    shown = shell("executions", "list").stdout
    assert executions[0]["id"] in shown
    assert "✗ Failed" in shown


def test_one_is_shown_by_id_by_arn_and_as_the_latest(shell: Shell, executions: Any) -> None:
    newest = executions[0]
    documents = [
        shell.json("executions", "show", word, "--json")
        for word in (newest["id"], newest["arn"], "latest")
    ]
    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["execution_arn"] == newest["arn"]
    shown = shell("executions", "show", newest["id"]).stdout
    assert f"bad · execution {newest['id']}" in shown
    assert "failed    Stop: not today" in shown
    assert "/Stop/log.txt" not in shown
    assert (shell.store / "executions" / newest["id"] / "report.html").exists()


def test_a_long_log_is_told_whole(shell: Shell, executions: Any) -> None:
    good = executions[1]["id"]
    log = shell("executions", "logs", good, "Talk").stdout
    assert log.startswith("== Talk") is False
    assert len(log) > LONG
    assert log.endswith("the end\n")
    everything = shell("executions", "logs", good).stdout
    assert everything.index("== Talk") < everything.index("== Say")


def test_one_steps_log_can_be_followed_alone(shell: Shell, executions: Any) -> None:
    shown = shell("executions", "logs", executions[1]["id"], "Say", "-f").stdout
    assert "Say │ said" in shown
    assert "Talk" not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["executions", "show", "nope"], "no execution nope"),
        (["executions", "logs", "nope"], "no execution nope"),
        (["executions", "stop", "nope"], "no execution nope"),
        (["executions", "stop", "latest"], "has ended (Failed)"),
        (["executions", "list", "nope"], "does not exist"),
        (["executions", "logs", "latest", "Nope"], "has no step 'Nope'"),
        (["models", "list", "Nope"], "does not exist"),
        (["models", "show", "Nope"], "no model package 'Nope'"),
        (["models", "approve", "Nope/1"], "no model package 'Nope/1'"),
        (["models", "reject", "arn:aws:sagemaker:us-east-1:1:model-package/n/1"], "rror"),
    ],
)
def test_what_is_not_there_is_2(shell: Shell, arguments: list[str], words: str) -> None:
    assert words in shell(*arguments, code=2).stderr


def test_a_latest_needs_one(tmp_path: Any, shell: Shell) -> None:
    store = tmp_path / "empty"
    told = shell("executions", "show", "latest", "--store", store, code=2).stderr
    assert "`mlops run` starts one" in told
    assert "no execution yet" in shell("executions", "list", "--store", store).stdout
    assert "no model package yet" in shell("models", "list", "--store", store).stdout
    shell("down", "--store", store)


def test_the_document_goes_where_it_is_asked_for(shell: Shell, tmp_path: Any) -> None:
    file = shell.definition(script("Say", ""), name="document")
    document = tmp_path / "new" / "run.json"
    shell("run", file, "--json", document)
    assert json.loads(document.read_text())["status"] == "Succeeded"
    shell("run", "nowhere.py", "--json", document, code=2)
    assert not document.exists()  # nobody takes the former run's for this one's
    shown = shell("run", file, "--quiet", "--json", "/dev/stdout").stdout
    assert '"execution_arn"' in shown
    # A name of stdout's, as /dev/stdout is, and stdout a file: it has both, and the name stays.
    name, written = tmp_path / "stdout", tmp_path / "written"
    name.symlink_to("/proc/self/fd/1")
    with written.open("w") as stdout:
        subprocess.run(
            [COMMAND, "run", str(file), "--quiet", "--json", str(name)],
            cwd=shell.folder,
            env=shell.environment,
            stdout=stdout,
            check=True,
        )
    assert name.is_symlink()
    lines = written.read_text()
    assert lines.startswith("mlops · local")
    assert '"execution_arn"' in lines
    for place in (tmp_path, "/proc/nowhere/x.json"):
        assert "--json" in shell("run", file, "--json", place, code=2).stderr


def test_compile_writes_what_sagemaker_would_take(shell: Shell, tmp_path: Any) -> None:
    out = tmp_path / "new" / "out.json"
    tuning = script("Say", ""), {"Name": "Tune", "Type": "Tuning", "Arguments": {}}
    told = shell("compile", shell.definition(*tuning, name="tuned"), "--out", out).stderr
    assert "note: Steps[1].Type: The step 'Tune'" in told
    assert [step["Name"] for step in json.loads(out.read_text())["Steps"]] == ["Say", "Tune"]
    cycle = script("A", "", after="B"), script("B", "", after="A")
    out.unlink()
    shell("compile", shell.definition(*cycle, name="cycle"), "--out", out, code=2)
    assert not out.exists()


def test_data_for_a_definition_is_refused(shell: Shell) -> None:
    file = shell.definition(script("Say", ""), name="with-data")
    for command in (["run", file], ["compile", file, "--out", "x.json"]):
        assert "no effect" in shell(*command, "--data-file", "x.csv", code=2).stderr


def test_a_folder_without_the_lab_says_what_to_give(shell: Shell) -> None:
    assert "give a pipeline as TARGET" in shell("run", code=2).stderr
