"""Models with code of their own: SDK v2 packs the code into the model's archive by a training job.

``RegisterModel`` and ``ModelStep`` put a ``_RepackModelStep`` before what they make
(sagemaker/workflow/_utils.py) where the model's archive is known at run time only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import BUCKET, RUNTIMES, Run, archive, statuses, told, unpacked

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-tensorflow:latest"
MODEL = f"s3://{BUCKET}/trained/model.tar.gz"


@pytest.fixture(params=RUNTIMES)
def runtime_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trained(session: Any) -> Any:
    """A model's address that is a pipeline's parameter, as a training step's output would be."""
    from sagemaker.workflow.parameters import ParameterString

    body = archive(**{"1/weights": "42"})
    session.s3_client.put_object(Bucket=BUCKET, Key="trained/model.tar.gz", Body=body)
    return ParameterString("ModelData", default_value=MODEL)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "inference.py").write_text("print('serving')\n")
    (folder / "requirements.txt").write_text("a-package-that-is-nowhere\n")
    return folder


def make_model(session: Any, settings: Any, trained: Any, **more: Any) -> Any:
    from sagemaker.model import FrameworkModel

    return FrameworkModel(
        model_data=trained,
        image_uri=IMAGE,
        role=settings.execution_role_arn,
        sagemaker_session=session,
        **more,
    )


REGISTER = {
    "content_types": ["text/csv"],
    "response_types": ["text/csv"],
    "inference_instances": ["ml.m5.large"],
    "transform_instances": ["ml.m5.large"],
    "model_package_group_name": "repacked",
}


def registered(session: Any, steps: dict[str, Any], name: str) -> dict[str, Any]:
    arn = steps[name]["Metadata"]["RegisterModel"]["Arn"]
    found = session.sagemaker_client.describe_model_package(ModelPackageName=arn)
    return dict(found["InferenceSpecification"]["Containers"][0])


def artifact(session: Any, steps: dict[str, Any], name: str) -> str:
    job = steps[name]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    found = session.sagemaker_client.describe_training_job(TrainingJobName=job)
    return str(found["ModelArtifacts"]["S3ModelArtifacts"])


def test_a_model_step_registers_what_was_repacked(
    run: Run, session: Any, settings: Any, trained: Any, code: Path
) -> None:
    """requirements.txt goes into the archive and is not installed by the job that packs it."""
    from sagemaker.workflow.model_step import ModelStep

    model = make_model(
        session, settings, trained, entry_point="inference.py", source_dir=str(code), name="mine"
    )
    steps = run(ModelStep(name="Make", step_args=model.register(**REGISTER)), parameters=[trained])
    expected = dict.fromkeys(("Make-RepackModel-mine", "Make-RegisterModel"), "Succeeded")
    assert statuses(steps) == expected, told(steps)
    container = registered(session, steps, "Make-RegisterModel")
    assert container["ModelDataUrl"] == artifact(session, steps, "Make-RepackModel-mine")
    files = unpacked(session, container["ModelDataUrl"])
    assert files["1/weights"] == "42"
    assert files["code/inference.py"] == "print('serving')\n"
    assert files["code/requirements.txt"] == "a-package-that-is-nowhere\n"


def test_register_model_with_an_entry_point(
    run: Run, session: Any, settings: Any, trained: Any, code: Path
) -> None:
    """The collection's own form, with a single script and no source_dir."""
    from sagemaker.estimator import Estimator
    from sagemaker.workflow.step_collections import RegisterModel

    estimator = Estimator(
        image_uri=IMAGE,
        role=settings.execution_role_arn,
        instance_count=1,
        instance_type="ml.m5.large",
        sagemaker_session=session,
    )
    register = RegisterModel(
        name="Register",
        estimator=estimator,
        model_data=trained,
        entry_point=str(code / "inference.py"),
        **REGISTER,
    )
    steps = run(register, parameters=[trained])
    expected = dict.fromkeys(("Register-RepackModel", "Register-RegisterModel"), "Succeeded")
    assert statuses(steps) == expected, told(steps)
    uri = registered(session, steps, "Register-RegisterModel")["ModelDataUrl"]
    assert uri == artifact(session, steps, "Register-RepackModel")
    files = unpacked(session, uri)
    assert {"1/weights", "code/inference.py"} <= set(files)
