"""What a plan foretells is what a run then does, and planning starts and writes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.errors import ParameterError
from mlops.execution.planning import Fate, PlannedStep, Planner
from mlops.ports import JsonObject
from mlops.runtimes.fake import Script

from .house import (
    BUCKET,
    Build,
    House,
    SystemClock,
    processing,
    processing_input,
    processing_outputs,
    training,
)

CACHED = {"Enabled": True, "ExpireAfter": "P30D"}
REPORT = {"PropertyFileName": "R", "OutputName": "report", "FilePath": "r.json"}


WORK = Script(
    files={
        "/opt/ml/processing/output/report/r.json": '{"mse": 1.5}',
        "/opt/ml/model/m.bin": "model",
    },
)


def pipeline(*, code: str = "one", caching: bool = True) -> list[JsonObject]:
    """Prepare → Train → Gate (reads what Prepare wrote) → Yes or No."""
    prepare = processing(
        "Prepare",
        Environment={"CODE": code},
        PropertyFiles=[REPORT],
        ProcessingOutputConfig=processing_outputs(report=f"s3://{BUCKET}/report"),
    )
    train = training("Train", DependsOn=["Prepare"])
    mse = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Prepare.PropertyFiles.R"}, "Path": "mse"}}
    question = {"Type": "LessThan", "LeftValue": mse, "RightValue": {"Get": "Parameters.Most"}}
    model = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    gate = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [question],
            "IfSteps": [processing("Yes", ProcessingInputs=[processing_input(model)])],
            "ElseSteps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
        },
    }
    if caching:
        prepare["CacheConfig"] = train["CacheConfig"] = CACHED
    return [prepare, train, gate]


PARAMETERS = [{"Name": "Most", "Type": "Float", "DefaultValue": 2.0}]


def plan(
    house: House, steps: list[JsonObject], *, mode: str | None = None, **given: str
) -> dict[str, PlannedStep]:
    planner = Planner(
        house.state, house.objects, house.runtime, house.registry, SystemClock(), house.settings
    )
    text = json.dumps({"Version": "2020-12-01", "Steps": steps, "Parameters": PARAMETERS})
    return {step.name: step for step in planner.plan("p", text, given, mode)}


def fates(planned: dict[str, PlannedStep]) -> dict[str, str]:
    return {name: str(step.fate) for name, step in planned.items()}


def test_before_the_first_run_both_branches_are_planned(build: Build) -> None:
    planned = plan(build(), pipeline())
    assert [step.wave for step in planned.values()] == [1, 2, 2, 3, 3]
    assert planned["Prepare"].reason == "it has not run before"
    assert planned["Gate"].outcome is None
    assert planned["Gate"].branches == {"true": ("Yes",), "false": ("No",)}
    assert planned["Yes"].only_if == (("Gate", True),)
    assert planned["No"].only_if == (("Gate", False),)
    ((_, address),) = planned["Yes"].inputs
    assert "<job of Train>" in address


def test_after_a_run_the_plan_says_what_comes_from_cache_and_which_branch_runs(
    build: Build,
) -> None:
    house = build(WORK)
    execution = house.run(*pipeline(), Parameters=PARAMETERS)
    assert execution.status == "Succeeded"
    planned = plan(house, pipeline())
    assert fates(planned) == {
        "Prepare": "cached",
        "Train": "cached",
        "Gate": "run",
        "Yes": "run",
        "No": "skip",
    }
    assert {planned[name].source for name in ("Prepare", "Train")} == {execution.id}
    assert planned["Gate"].outcome is True
    assert plan(house, pipeline(), Most="1.0")["Gate"].outcome is False
    again = house.steps(house.run(*pipeline(), Parameters=PARAMETERS))
    assert {name for name, step in again.items() if step.cache_hit} == {"Prepare", "Train"}
    assert "No" not in again


def test_why_a_former_run_is_not_used_is_told(build: Build) -> None:
    house = build(WORK)
    former = house.run(*pipeline(), Parameters=PARAMETERS).id
    planned = plan(house, pipeline(code="two"))
    assert planned["Prepare"].reason == f"it differs from its run in {former}: Environment.CODE"
    assert planned["Train"].fate is Fate.CACHED, "its key holds no contents"
    assert planned["Gate"].fate is Fate.OPEN, "the file that it reads is written anew"
    assert plan(house, pipeline(), mode="off")["Prepare"].reason == "caching is off"
    house.objects.delete(BUCKET, "report/r.json")
    assert "no longer there" in plan(house, pipeline())["Prepare"].reason
    off = plan(house, pipeline(caching=False))["Prepare"]
    assert off.reason == "its caching is not turned on"


def test_by_contents_what_follows_a_step_that_runs_is_open(build: Build) -> None:
    house = build(WORK)
    house.run(*pipeline(), Parameters=PARAMETERS)
    planned = plan(house, pipeline(code="two"), mode="content")
    assert planned["Prepare"].fate is Fate.RUN
    assert (planned["Train"].fate, planned["Train"].reason) == (
        Fate.OPEN,
        "that hangs on what Prepare makes",
    )


def test_planning_starts_nothing_and_writes_nothing(build: Build) -> None:
    house = build(WORK)
    plan(house, pipeline())
    assert house.runtime.find_jobs({}) == []
    assert house.state.list_executions() == []
    assert house.state.list_pipelines() == []
    assert house.object_keys() == []
    with pytest.raises(ParameterError):
        plan(house, pipeline(), Nothing="1")


def test_a_step_that_would_be_refused_says_so(build: Build) -> None:
    wrong: Any = processing("Wrong", ProcessingInputs=[processing_input("s3://b/k")])
    wrong["Arguments"]["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/elsewhere"
    planned = plan(build(), [wrong])["Wrong"]
    assert "it would fail" in planned.reason
    assert "/elsewhere" in planned.reason
