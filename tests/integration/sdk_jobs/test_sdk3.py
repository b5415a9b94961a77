"""One pipeline, compiled and started by SDK v3 and by SDK v2: the same outcome.

v3 lives in an environment of its own: ``scripts/sdk3 .venv-sdk3`` makes it, and
``MLOPS_SDK3_PYTHON=.venv-sdk3/bin/python`` lets this test use it (`make test` does both).
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mlops.aws import LOCAL_ACCESS_KEY
from mlops.errors import RuntimeUnavailable
from mlops.runtimes.docker_engine import find_engine
from mlops.settings import DEFAULT_IMAGES, ImageMapping, Settings

from .conftest import BUCKET, unpacked

SERVER_IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny-server:latest"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-processing:latest"
TINY_SERVER = Path(__file__).resolve().parents[2] / "data/tiny_server"
CONTAINERS = Path(__file__).resolve().parents[3] / "containers"
LEAST = ("5.0", "50.0")
"""A gate that the score of 9 passes, and one that it does not."""

CODE = {
    "prepare.py": """
        import pathlib
        pathlib.Path("/opt/ml/processing/output/rows/rows.csv").write_text("1\\n2\\n")
    """,
    "learn.py": """
        import argparse, os, pathlib
        parser = argparse.ArgumentParser()
        parser.add_argument("--factor", type=int)
        given, _ = parser.parse_known_args()
        rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "rows.csv").read_text().split()
        score = sum(map(int, rows)) * given.factor
        pathlib.Path(os.environ["SM_MODEL_DIR"], "name").write_text(str(score))
    """,
    "evaluate.py": """
        import json, pathlib, tarfile
        with tarfile.open("/opt/ml/processing/input/model/model.tar.gz") as archive:
            score = int(archive.extractfile("name").read())
        report = pathlib.Path("/opt/ml/processing/output/report/report.json")
        report.write_text(json.dumps({"score": score}))
    """,
    "fails.py": "raise SystemExit(3)\n",
    "tell.py": "print('told')\n",
}


@pytest.fixture
def runtime_name() -> str:
    """Docker where an engine answers, else processes: importing SDK v3 takes 15 s each time."""
    return "auto"


@pytest.fixture
def settings(runtime_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """What the model is served by is the tests' own little server, in either runtime."""
    tag = "mlops-test-tiny-server:local"
    with suppress(RuntimeUnavailable):
        find_engine()
        tag = request.getfixturevalue("tiny_server_image")
    place = os.path.relpath(TINY_SERVER, CONTAINERS)  # as the setting says: from there
    images = (ImageMapping("*/tiny-server:*", tag, place), *DEFAULT_IMAGES)
    return Settings(store=tmp_path / "store", runtime=runtime_name, images=images)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in CODE.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder


@pytest.fixture
def told_by_v3(session: Any, url: str, code: Path) -> dict[str, Any]:
    """What SDK v3 saw of its pipelines, in a process of its own."""
    python = os.environ.get("MLOPS_SDK3_PYTHON")
    if not python:
        pytest.skip("MLOPS_SDK3_PYTHON names no Python with SageMaker SDK v3: make sdk3")
    script = Path(__file__).parent / "pipelines_v3.py"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [str(Path(python).absolute()), str(script), str(code), *LEAST],
        env={
            **kept,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": LOCAL_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": LOCAL_ACCESS_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAGEMAKER_VALIDATE_ROLE": "false",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        },
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def build_v2(session: Any, settings: Any, code: Path) -> Any:
    """The pipeline of pipelines_v3.py in SDK v2's words."""
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput
    from sagemaker.model import Model
    from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
    from sagemaker.workflow.execution_variables import ExecutionVariables
    from sagemaker.workflow.fail_step import FailStep
    from sagemaker.workflow.functions import Join, JsonGet
    from sagemaker.workflow.model_step import ModelStep
    from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.properties import PropertyFile
    from sagemaker.workflow.steps import ProcessingStep, TrainingStep

    factor = ParameterInteger("Factor", default_value=3)
    least = ParameterFloat("LeastScore", default_value=5.0)
    machine = {
        "role": settings.execution_role_arn,
        "instance_type": "ml.m5.large",
        "instance_count": 1,
        "sagemaker_session": session,
    }

    def place(name: str) -> Any:
        run = ExecutionVariables.PIPELINE_EXECUTION_ID
        return Join(on="/", values=[f"s3://{BUCKET}", run, name])

    def process(name: str, script: str, output: str, **more: Any) -> Any:
        source = f"/opt/ml/processing/output/{output}"
        processor = ScriptProcessor(image_uri=IMAGE, command=["python3"], **machine)
        arguments = processor.run(
            code=str(code / script),
            inputs=more.pop("inputs", []),
            outputs=[ProcessingOutput(source, place(output), output_name=output)],
        )
        return ProcessingStep(name=name, step_args=arguments, **more)

    prepare = process("Prepare", "prepare.py", "rows")
    estimator = Estimator(
        image_uri=IMAGE,
        entry_point="learn.py",
        source_dir=str(code),
        hyperparameters={"factor": factor, "word": "yes"},
        output_path=place("output"),
        disable_profiler=True,
        **machine,
    )
    rows = prepare.properties.ProcessingOutputConfig.Outputs["rows"].S3Output.S3Uri
    train = TrainingStep(name="Train", step_args=estimator.fit({"train": TrainingInput(rows)}))
    artifact = train.properties.ModelArtifacts.S3ModelArtifacts
    report = PropertyFile(name="Report", output_name="report", path="report.json")
    evaluate = process(
        "Evaluate",
        "evaluate.py",
        "report",
        inputs=[ProcessingInput(artifact, "/opt/ml/processing/input/model")],
        property_files=[report],
    )
    model = Model(SERVER_IMAGE, artifact, settings.execution_role_arn, sagemaker_session=session)
    register = ModelStep(
        name="Register",
        step_args=model.register(
            model_package_group_name="v2",
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.m5.large"],
            transform_instances=["ml.m5.large"],
            approval_status="Approved",
        ),
    )
    score = JsonGet(step_name="Evaluate", property_file=report, json_path="score")
    gate = ConditionStep(
        name="Gate",
        conditions=[ConditionGreaterThanOrEqualTo(left=score, right=least)],
        if_steps=[register],
        else_steps=[FailStep(name="TooLow", error_message=Join(on=" ", values=["below", least]))],
    )
    return Pipeline(
        name="Forms-v2",
        parameters=[factor, least],
        steps=[prepare, train, evaluate, gate],
        sagemaker_session=session,
    )


def outcomes_of_v2(session: Any, settings: Any, code: Path) -> dict[str, Any]:
    from contextlib import suppress

    from botocore.exceptions import WaiterError

    pipeline = build_v2(session, settings, code)
    pipeline.upsert(role_arn=settings.execution_role_arn)
    told = {}
    for least in LEAST:
        execution = pipeline.start(parameters={"LeastScore": float(least)})
        with suppress(WaiterError):
            execution.wait(delay=0.1, max_attempts=600)
        told[least] = {
            "status": execution.describe()["PipelineExecutionStatus"],
            "steps": {
                # v3 leaves the type out of the name
                step["StepName"].removesuffix("-RegisterModel"): [
                    step["StepStatus"],
                    step.get("FailureReason"),
                ]
                for step in execution.list_steps()
            },
        }
    return told


def registered(session: Any, group: str) -> dict[str, Any]:
    client = session.sagemaker_client
    (summary,) = client.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    package = client.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
    (container,) = package["InferenceSpecification"]["Containers"]
    return {
        "status": package["ModelApprovalStatus"],
        "files": unpacked(session, container["ModelDataUrl"]),
        "image": container["Image"],
    }


def test_v3_and_v2_come_to_the_same_outcome(
    told_by_v3: dict[str, Any], session: Any, settings: Any, code: Path
) -> None:
    answered, deployed = told_by_v3.pop("answered"), told_by_v3.pop("deployed")
    passed, missed = (told_by_v3[least] for least in LEAST)
    assert passed["status"] == "Succeeded", passed
    assert set(passed["steps"]) == {"Prepare", "Train", "Evaluate", "Gate", "Register"}
    assert missed["status"] == "Failed"
    assert missed["steps"]["TooLow"] == ["Failed", "below 50.0"]
    assert told_by_v3 == outcomes_of_v2(session, settings, code)
    assert registered(session, "v3") == registered(session, "v2")
    assert registered(session, "v3")["files"] == {"name": "9"}
    # A trigger in DependsOn, which v2 does not have.
    assert answered["status"] == "CompletedWithFailures"
    statuses = {name: status for name, (status, _) in answered["steps"].items()}
    assert statuses == {"Fails": "Failed", "Tell": "Succeeded"}
    # What v3 registered, it has deployed and asked; the answer is the model's file and the row.
    assert deployed == {
        "packages": [1],
        "status": "InService",
        "answer": "91,2",
        "endpoints": ["v3"],
        "left": [],
    }
