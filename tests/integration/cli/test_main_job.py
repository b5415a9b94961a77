"""`mlops run` on the lab's pipeline: from raw data to a tested endpoint, and what refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import REPOSITORY, Shell, open_shell

STEP_KEYS = {
    *("name", "type", "status", "failure_reason", "seconds", "overhead_seconds"),
    *("job_name", "attempts", "cache_hit"),
}
STEPS = ["ETL", "Train", "Evaluate", "Condition", "Register-RegisterModel"]


@pytest.fixture(scope="module")
def first(lab: Shell, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The first run: what it printed and its document."""
    file = tmp_path_factory.mktemp("out") / "run.json"
    shown = lab("run", "--json", file).stdout
    return {"shown": shown, "document": json.loads(file.read_text())}


def test_it_tells_what_happened_step_by_step(first: dict[str, Any]) -> None:
    lines = first["shown"].splitlines()
    ended = [line.split()[0] for line in lines if " ✓ " in line and " s  +" in line]
    assert ended == STEPS
    assert re.search(r"mse +0\.01\d+ · gate 0\.03 · passed", first["shown"])
    assert "DiamondPricePackageGroup/1 · Approved" in first["shown"]
    assert re.search(r"test +200 requests .* passed", first["shown"])


def test_the_document_has_what_it_promises(first: dict[str, Any]) -> None:
    document = first["document"]
    assert set(document) == {
        *("execution_arn", "status", "failure_reason", "steps", "metrics"),
        *("model_package", "endpoint", "endpoint_test"),
    }
    assert document["status"] == "Succeeded"
    assert [step["name"] for step in document["steps"]] == STEPS
    assert all(set(step) == STEP_KEYS for step in document["steps"])
    assert document["metrics"]["mse"] < 0.03
    assert all(value is not None for value in document["metrics"].values())
    assert document["model_package"]["version"] == 1
    assert document["endpoint"]["status"] == "InService"
    assert document["endpoint_test"]["status"] == "passed"
    assert document["endpoint_test"]["requests"] == 200


def test_the_report_is_there_and_stands_alone(first: dict[str, Any], lab: Shell) -> None:
    execution = first["document"]["execution_arn"].rpartition("/")[2]
    page = (lab.store / "executions" / execution / "report.html").read_text()
    assert "Predicted against actual" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_anyone_can_ask_the_endpoint(first: dict[str, Any], lab: Shell) -> None:
    row = "0.23,Ideal,E,SI2,61.5,55,3.95,3.98,2.43"
    price = float(lab("endpoints", "invoke", "diamond-price-dev", row).stdout)
    assert 200 < price < 600
    answer = lab("endpoints", "invoke", "diamond-price-dev", "no,such,row", code=1)
    assert "columns" in answer.stderr or "values" in answer.stderr


def test_a_second_run_registers_and_serves_version_2(first: dict[str, Any], lab: Shell) -> None:
    document = run(lab)
    assert document["model_package"]["version"] == 2
    assert document["metrics"] == first["document"]["metrics"]
    shown = lab("endpoints", "show", "diamond-price-dev").stdout
    assert "DiamondPricePackageGroup/2" in shown
    assert [endpoint["EndpointStatus"] for endpoint in lab.json("endpoints", "list", "--json")] == [
        "InService"
    ]


def test_a_gate_that_nothing_passes_ends_in_the_labs_message(lab: Shell) -> None:
    before = len(lab.json("models", "list", "--json"))
    document = run(lab, "-p", "MseThreshold=0.000001", code=1)
    failed = document["steps"][-1]
    assert document["status"] == "Failed"
    assert failed["name"] == "Fail"
    assert failed["failure_reason"] == "Execution failed due to MSE greater than 0.000001"
    assert document["model_package"] is None
    assert document["endpoint"] is None
    assert len(lab.json("models", "list", "--json")) == before


def test_a_package_that_waits_for_approval_is_not_deployed(lab: Shell) -> None:
    document = run(lab, "-p", "ModelApprovalStatus=PendingManualApproval")
    version = document["model_package"]["version"]
    package = f"DiamondPricePackageGroup/{version}"
    assert document["model_package"]["approval_status"] == "PendingManualApproval"
    assert document["endpoint"] is None
    refused = lab("deploy", package, code=2)
    assert f"mlops models approve {package}" in refused.stderr
    lab("models", "approve", package, "--note", "looked at")
    assert "Approved" in lab("models", "show", package).stdout
    lab("models", "reject", package)
    assert "Rejected" in lab("deploy", package, code=2).stderr


def test_what_ran_is_listed_and_shown(first: dict[str, Any], lab: Shell) -> None:
    execution = first["document"]["execution_arn"].rpartition("/")[2]
    assert execution in [found["id"] for found in lab.json("executions", "list", "--json")]
    assert lab.json("executions", "show", execution, "--json")["status"] == "Succeeded"
    assert "53,940 rows" in lab("executions", "logs", execution, "ETL").stdout
    assert "Train" in lab("executions", "logs", execution).stdout


@pytest.mark.docker
def test_in_containers_the_same_seed_gives_the_same_metrics(
    first: dict[str, Any], docker_engine: Any, tmp_path: Path
) -> None:
    for containers in open_shell(REPOSITORY, tmp_path / "store"):
        document = run(containers, "--runtime", "docker", "--build-images", "--no-deploy")
        assert document["metrics"] == first["document"]["metrics"]
        assert document["model_package"]["version"] == 1
        assert document["endpoint"] is None


def run(lab: Shell, *arguments: str, code: int = 0) -> dict[str, Any]:
    file = lab.store.parent / "again.json"
    lab("run", "--quiet", "--json", file, *arguments, code=code, timeout=300)
    document: dict[str, Any] = json.loads(Path(file).read_text())
    return document
