"""How a run ended, for a person and for a program."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from mlops.cli.summary import as_json, last_line, print_summary

STORE = Path("/store")
STEP = {
    "name": "Train",
    "type": "Training",
    "status": "Succeeded",
    "failure_reason": None,
    "seconds": 2.0499999,
    "overhead_seconds": 0.123456,
    "job_name": "pipelines-x-Train-y",
    "attempts": 1,
    "cache_hit": False,
    "detail": "val_loss 0.1",
    "log": "executions/x/Train/log.txt",
}


@pytest.fixture
def details():
    return {
        "execution": {
            "arn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/x",
            "id": "x",
            "pipeline_name": "P",
            "status": "Succeeded",
            "failure_reason": None,
        },
        "parameters": {"MseThreshold": 0.000001},
        "steps": [dict(STEP)],
        "metrics": {},
        "model_package": None,
        "failed_logs": {},
        "runtime": "fake",
    }


def shown(details, width=140):
    output = io.StringIO()
    console = Console(file=output, width=width, color_system=None)
    print_summary(console, details, store=STORE, report=STORE / "report.html")
    return output.getvalue()


def test_the_document_has_every_key_even_where_there_is_nothing(details):
    assert as_json(details) == {
        "execution_arn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/x",
        "status": "Succeeded",
        "failure_reason": None,
        "steps": [
            {
                "name": "Train",
                "type": "Training",
                "status": "Succeeded",
                "failure_reason": None,
                "seconds": 2.05,
                "overhead_seconds": 0.123,
                "job_name": "pipelines-x-Train-y",
                "attempts": 1,
                "cache_hit": False,
            }
        ],
        "metrics": dict.fromkeys(("mse", "rmse", "mae", "r2", "standard_deviation")),
        "model_package": None,
        "endpoint": None,
        "endpoint_test": None,
    }


def test_the_document_names_the_package_without_its_group(details):
    package = {"arn": "arn:p", "group": "G", "version": 3, "approval_status": "Approved"}
    document = as_json(details | {"model_package": package, "metrics": {"mse": 0.5, "own": 1.0}})
    assert document["model_package"] == {
        "arn": "arn:p",
        "version": 3,
        "approval_status": "Approved",
    }
    assert document["metrics"]["mse"] == 0.5
    assert "own" not in document["metrics"]


@pytest.mark.parametrize(("mse", "words"), [(0.5, "missed"), (0.0000005, "passed")])
def test_a_gate_is_written_as_a_person_writes_it(details, mse, words):
    assert f"gate 0.000001 · {words}" in shown(details | {"metrics": {"mse": mse}})


def test_a_failed_step_is_told_with_the_end_and_the_path_of_its_log(details):
    details["steps"][0] |= {"status": "Failed", "failure_reason": "Traceback\n  x\nKeyError: 'y'"}
    log = "\n".join(f"line {number}" for number in range(50))
    details["failed_logs"] = {"Train": {"path": STEP["log"], "tail": log}}
    lines = [line.strip() for line in shown(details).splitlines()]
    assert "failed    Train: KeyError: 'y'" in lines
    assert "Train │ line 40" in lines
    assert "Train │ line 39" not in lines
    assert "log       /store/executions/x/Train/log.txt" in lines


def test_a_failed_step_without_a_job_has_no_log(details):
    details["steps"][0] |= {"status": "Failed", "failure_reason": "MSE greater than 6"}
    told = shown(details)
    assert "failed    Train: MSE greater than 6" in told
    assert "\nlog " not in told


def test_a_failed_steps_log_cannot_touch_the_terminal(details):
    details["steps"][0] |= {"status": "Failed", "failure_reason": "no"}
    details["failed_logs"] = {"Train": {"path": "log", "tail": "\x1b[2Jgone [red]x[/red]"}}
    told = shown(details)
    assert "\x1b" not in told
    assert "gone [red]x[/red]" in told


def test_a_narrow_terminal_leaves_out_columns_and_wraps_none(details):
    details["steps"][0] |= {"name": "Register-RegisterModel", "detail": "long " * 20}
    wide, narrow = shown(details), shown(details, width=60)
    assert "Training" in wide
    assert "Training" not in narrow
    assert "✓ Succeeded" in narrow
    assert all(len(line.rstrip()) <= 60 for line in narrow.splitlines())


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("one line", "one line"),
        ("Traceback\n  File x\nValueError: bad\n", "ValueError: bad"),
        ("It failed\n  where: there\n  next:  do this", "It failed"),
        ("", ""),
    ],
)
def test_the_last_line_of_a_reason_says_what_went_wrong(reason, line):
    assert last_line(reason) == line
