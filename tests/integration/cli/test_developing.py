"""`validate`, `plan`, `step` and `diff` as a person has them, on one small pipeline."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from typing import Any

import pytest

from .conftest import Shell, open_shell, script

BUCKET = "mlops-us-east-1-000000000000"
EXECUTION = {"Get": "Execution.PipelineExecutionId"}
CODE = (
    "import json,os,pathlib; p=pathlib.Path('/opt/ml/processing/output'); "
    "p.mkdir(parents=True,exist_ok=True); "
    "(p/'r.json').write_text(json.dumps({'mse': float(os.environ['MSE'])})); print('counted')"
)


def counting(mse: str, *, exit_status: int = 0) -> dict[str, Any]:
    step = script("Count", CODE + f"; raise SystemExit({exit_status})")
    arguments = step["Arguments"]
    arguments["Environment"] = {"MSE": mse}
    target = {
        "S3Uri": {"Std:Join": {"On": "/", "Values": [f"s3://{BUCKET}", EXECUTION]}},
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    arguments["ProcessingOutputConfig"] = {"Outputs": [{"OutputName": "o", "S3Output": target}]}
    report = {"PropertyFileName": "R", "OutputName": "o", "FilePath": "r.json"}
    return {**step, "PropertyFiles": [report], "CacheConfig": {"Enabled": True}}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A shell in whose state folder two executions of one pipeline have ended."""
    folder = tmp_path_factory.mktemp("developing")
    (folder / "work").mkdir()
    for shell in open_shell(folder / "work", folder / "store"):
        for mse in ("1.5", "2.5"):
            shell("run", shell.definition(counting(mse)), "--quiet")
        yield shell


def ids(shell: Shell) -> list[str]:
    """The executions', the oldest first."""
    return [each["id"] for each in shell.json("executions", "list", "--json")][::-1]


def test_validate_tells_every_problem_and_exits_with_2(ran: Shell) -> None:
    wrong = counting("1")
    wrong["Arguments"]["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 0
    wrong["Arguments"]["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] = "s3://gone/x"
    file = ran.definition(wrong, name="wrong")
    said = ran("validate", file, code=2).stdout
    assert "Steps[0].Arguments.ProcessingResources.ClusterConfig.InstanceCount" in said
    assert "There is no bucket 'gone'" in said
    found = json.loads(ran("validate", file, "--json", code=2).stdout)["findings"]
    assert [each["severity"] for each in found] == ["error", "error", "warning"]
    ran("validate", ran.definition(counting("1"), name="right"))


def test_a_plan_of_what_ran_comes_from_cache_and_changes_nothing(ran: Shell) -> None:
    before = ids(ran)
    (step,) = ran.json("plan", ran.definition(counting("2.5")), "--json")["steps"]
    assert (step["fate"], step["source"]) == ("cached", before[-1])
    said = ran("plan", ran.definition(counting("3.5"))).stdout
    assert f"it differs from its run in {before[-1]}: Environment.MSE" in said
    assert "python:3.11-slim" in said
    assert ids(ran) == before


def test_diff_tells_definition_and_metrics(ran: Shell) -> None:
    said = ran("diff", *ids(ran)).stdout
    assert "Steps['Count'].Arguments.Environment.MSE" in said
    found = ran.json("diff", *ids(ran), "--json")
    assert [(m["path"], m["first"], m["second"]) for m in found["metrics"]] == [
        ("Count: mse", 1.5, 2.5)
    ]
    ran("diff", *ids(ran), "--exit-code", code=1)
    ran("diff", "latest", "latest", "--exit-code")
    ran("diff", "latest", "nosuch", code=2)


def test_a_step_runs_again_alone_and_leaves_the_execution_as_it_was(ran: Shell) -> None:
    first = ids(ran)[0]
    before = ran.json("executions", "show", first, "--json")
    done = ran("step", first, "Count", "--json")
    answer = json.loads(done.stdout)
    assert "counted" in done.stderr
    ((uri, _),) = answer["outputs"]
    assert uri.startswith(f"s3://{BUCKET}/steps-again/{first}/Count/")
    file = ran.store / "objects" / uri.removeprefix("s3://")
    assert json.loads(file.read_text()) == {"mse": 1.5}, "the recorded environment, not the last"
    assert ran.json("executions", "show", first, "--json") == before
    ran("step", first, "Nothing", code=2)
    ran("step", first, "Count", "--code", ran.folder / "gone.py", code=2)


def test_a_shell_in_the_steps_place_decides_how_the_step_ends(ran: Shell) -> None:
    typed = "echo mse is $MSE; touch /opt/ml/processing/output/by-hand; exit 0\n"
    said = ran("step", "latest", "Count", "--shell", input=typed).stdout
    assert "mse is 2.5" in said
    assert "/outputs/o/by-hand" in said
    assert (
        "exit code: 3" in ran("step", "latest", "Count", "--shell", input="exit 3\n", code=1).stdout
    )


def test_a_step_waits_for_its_debugger(ran: Shell) -> None:
    process = ran.start("step", "latest", "Count", "--debug")
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.search(r"debugger at 127\.0\.0\.1:(\d+)", line)
    assert match, line
    try:
        attach(int(match[1]))
        assert process.wait(60) == 0
        assert "counted" in process.stdout.read()
    finally:
        end(process)


def test_nothing_outlives_an_interrupt(ran: Shell) -> None:
    process = ran.start("step", "latest", "Count", "--debug")
    assert process.stdout is not None
    assert "waiting for a debugger" in process.stdout.readline()
    process.terminate()
    assert process.wait(60) == 130
    assert list((ran.store / "runtime" / "process").glob("*Count*")) == []


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(30)


def attach(port: int) -> None:
    """What an editor says first, in the debug adapter protocol, until the code may run."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    stream = connection.makefile("rwb")

    def say(number: int, command: str, **arguments: Any) -> None:
        message = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        stream.flush()

    say(1, "initialize", adapterID="test")
    say(2, "attach", justMyCode=False)
    while True:
        length = 0
        while (line := stream.readline()) != b"\r\n":
            assert line, "the debugger has hung up"
            length = int(line.split(b":")[1])
        if json.loads(stream.read(length)).get("event") == "initialized":
            say(3, "configurationDone")
            break
    while stream.readline():  # until it has ended
        pass
