"""Step types that an installed package offers; a faulty one is told clearly."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops.definition import StepType, parse_definition
from mlops.errors import DefinitionError
from mlops.ports import ExecutionStatus, JsonObject

from .house import BUCKET, Build, processing

EXAMPLE = Path(__file__).parents[2] / "data" / "plugin"
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install the example package, optionally with another text of its module or entry points."""
    site = tmp_path / "site"
    names: set[str] = set()

    def do(*, code: str | None = None, package: str = "mlops_quality") -> None:
        shutil.copytree(EXAMPLE / "mlops_quality", site / package)
        info = site / f"{package}-1.0.dist-info"
        shutil.copytree(EXAMPLE / "mlops_quality-1.0.dist-info", info)
        for file in info.iterdir():
            text = file.read_text().replace("mlops_quality", package)
            file.write_text(text.replace("mlops-quality", package.replace("_", "-")))
        if code is not None:
            (site / package / "__init__.py").write_text(code)
        names.add(package)
        monkeypatch.syspath_prepend(site)

    yield do
    for name in names:
        sys.modules.pop(name, None)


def check(**more: object) -> JsonObject:
    dataset = {"Dataset": f"s3://{BUCKET}/data"}
    return {"Name": "Check", "Type": "QualityCheck", "Arguments": dataset, **more}


def refusal(*steps: JsonObject) -> str:
    with pytest.raises(DefinitionError) as refused:
        parse_definition(json.dumps({"Version": "2020-12-01", "Steps": list(steps)}))
    (problem,) = refused.value.problems
    assert problem.path == "Steps[0].Type"
    return problem.message


def test_without_a_package_the_step_is_refused_with_what_to_do() -> None:
    message = refusal(check())
    assert "'Check'" in message
    assert "install a package" in message


def test_an_installed_package_runs_its_steps(build: Build, install: Install) -> None:
    install()
    house = build()
    house.put("data/a.csv")
    count = {"Std:Join": {"On": "", "Values": [{"Get": "Steps.Check.CheckedObjects"}]}}
    execution = house.run(check(CheckType="DATA_QUALITY"), processing(Environment={"N": count}))
    assert execution.status is ExecutionStatus.SUCCEEDED
    steps = house.steps(execution)
    assert steps["Check"].outputs == {"CheckedObjects": 1}
    assert steps["Process"].outputs["Environment"] == {"N": "1"}


def test_its_exception_is_the_steps_failure(build: Build, install: Install) -> None:
    install()
    house = build()
    execution = house.run(check())
    assert execution.status is ExecutionStatus.FAILED
    assert "nothing to check" in (house.steps(execution)["Check"].failure_reason or "")


def test_its_requirements_are_checked_like_the_houses_own(install: Install) -> None:
    install()
    with pytest.raises(DefinitionError, match="Dataset"):
        parse_definition(json.dumps({"Version": "2020-12-01", "Steps": [check(Arguments={})]}))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_the_kind", "ModuleNotFoundError"),
        ("x = 1", "AttributeError"),
        ("class QualityCheckPlugin: step = 3", "no subclass of mlops.definition.Step"),
        (
            "from mlops.definition import Step\nclass QualityCheckPlugin: step = Step",
            "no method 'run'",
        ),
    ],
)
def test_a_faulty_package_is_named_with_its_fault(install: Install, code: str, told: str) -> None:
    install(code=code)
    message = refusal(check())
    assert told in message
    assert "mlops-quality" in message


READS_BADLY = """
from mlops_quality_base import QualityCheckPlugin as Base
class BadStep(Base.step):
    @classmethod
    def read(cls, common, fields, reader):
        raise KeyError("oops")
class QualityCheckPlugin:
    step, executor = BadStep, Base.executor
"""


def test_what_its_reading_raises_is_a_problem_of_the_step(install: Install, tmp_path: Path) -> None:
    install(code=READS_BADLY)
    shutil.copytree(EXAMPLE / "mlops_quality", tmp_path / "site" / "mlops_quality_base")
    message = refusal(check())
    sys.modules.pop("mlops_quality_base", None)
    assert "oops" in message
    assert "'Check'" in message


def test_two_packages_of_one_type_are_told(install: Install) -> None:
    install()
    install(package="other_quality")
    assert "mlops-quality and other-quality both offer it" in refusal(check())


def test_a_package_does_not_replace_what_runs_here(install: Install) -> None:
    install()
    text = json.dumps({"Version": "2020-12-01", "Steps": [processing()]})
    (step,) = parse_definition(text).steps
    assert step.type is StepType.PROCESSING
    assert type(step).__module__.startswith("mlops.")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("None", "no StepResult"),
        ("StepResult(status=StepStatus.EXECUTING)", "no end"),
        ("StepResult(status=StepStatus.SUCCEEDED, outputs={'a': object()})", "no JSON"),
    ],
)
def test_a_result_that_cannot_be_written_fails_the_step(
    build: Build, install: Install, returned: str, told: str
) -> None:
    code = (EXAMPLE / "mlops_quality" / "__init__.py").read_text()
    install(
        code=code.replace("        uri = run.", f"        return {returned}\n        uri = run.")
    )
    house = build()
    execution = house.run(check())
    reason = house.steps(execution)["Check"].failure_reason or ""
    assert told in reason
    assert "mlops-quality" in reason
