"""The other forms of ModelStep and RegisterModel, where real jobs have nothing to add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .conftest import Run, statuses, told, unpacked
from .test_repack import REGISTER, artifact, code, make_model, registered, trained

__all__ = ["code", "trained"]


def test_a_model_step_creates_a_repacked_model(
    run: Run, session: Any, settings: Any, trained: Any, code: Path
) -> None:
    from sagemaker.workflow.model_step import ModelStep

    model = make_model(session, settings, trained, entry_point="inference.py", source_dir=str(code))
    step = ModelStep(name="Make", step_args=model.create(instance_type="ml.m5.large"))
    steps = run(step, parameters=[trained])
    expected = dict.fromkeys(("Make-RepackModel-0", "Make-CreateModel"), "Succeeded")
    assert statuses(steps) == expected, told(steps)
    name = steps["Make-CreateModel"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    made = session.sagemaker_client.describe_model(ModelName=name)["PrimaryContainer"]
    assert made["ModelDataUrl"] == artifact(session, steps, "Make-RepackModel-0")


def test_models_without_code_are_not_repacked(
    run: Run, session: Any, settings: Any, trained: Any
) -> None:
    from sagemaker.model import Model
    from sagemaker.workflow.model_step import ModelStep

    def model() -> Any:
        return Model("image:1", trained, settings.execution_role_arn, sagemaker_session=session)

    steps = run(
        ModelStep(name="Register", step_args=model().register(**REGISTER)),
        ModelStep(name="Create", step_args=model().create(instance_type="ml.m5.large")),
        parameters=[trained],
    )
    expected = dict.fromkeys(("Register-RegisterModel", "Create-CreateModel"), "Succeeded")
    assert statuses(steps) == expected, told(steps)
    container = registered(session, steps, "Register-RegisterModel")
    assert (container["Image"], container["ModelDataUrl"]) == (
        "image:1",
        str(trained.default_value),
    )


def test_of_a_pipeline_model_those_with_code_are_repacked(
    run: Run, session: Any, settings: Any, trained: Any, code: Path
) -> None:
    from sagemaker.model import Model
    from sagemaker.pipeline import PipelineModel
    from sagemaker.workflow.model_step import ModelStep

    def models() -> Any:
        plain = Model("image:1", trained, settings.execution_role_arn, sagemaker_session=session)
        coded = make_model(
            session, settings, trained, entry_point="inference.py", source_dir=str(code)
        )
        coded.name = "coded"
        return PipelineModel([plain, coded], settings.execution_role_arn, sagemaker_session=session)

    steps = run(
        ModelStep(name="Create", step_args=models().create(instance_type="ml.m5.large")),
        ModelStep(name="Make", step_args=models().register(**REGISTER)),
        parameters=[trained],
    )
    assert set(statuses(steps).values()) == {"Succeeded"}, told(steps)
    assert set(steps) == {
        "Create-RepackModel-coded",
        "Create-CreateModel",
        "Make-RepackModel-coded",
        "Make-RegisterModel",
    }
    arn = steps["Make-RegisterModel"]["Metadata"]["RegisterModel"]["Arn"]
    package = session.sagemaker_client.describe_model_package(ModelPackageName=arn)
    first, second = package["InferenceSpecification"]["Containers"]
    assert first["ModelDataUrl"] == trained.default_value
    assert second["ModelDataUrl"] == artifact(session, steps, "Make-RepackModel-coded")
    assert "code/inference.py" in unpacked(session, second["ModelDataUrl"])


def test_register_model_takes_a_pipeline_model(
    run: Run, session: Any, settings: Any, trained: Any, code: Path
) -> None:
    """Of a single script: with a source_dir the SDK itself wants a ModelStep."""
    from sagemaker.model import Model
    from sagemaker.pipeline import PipelineModel
    from sagemaker.workflow.step_collections import RegisterModel

    plain = Model("image:1", trained, settings.execution_role_arn, sagemaker_session=session)
    script = str(code / "inference.py")
    coded = make_model(session, settings, trained, entry_point=script, name="coded")
    both = PipelineModel([plain, coded], settings.execution_role_arn, sagemaker_session=session)
    steps = run(RegisterModel(name="Old", model=both, **REGISTER), parameters=[trained])
    expected = dict.fromkeys(("coded-RepackModel", "Old-RegisterModel"), "Succeeded")
    assert statuses(steps) == expected, told(steps)
    arn = steps["Old-RegisterModel"]["Metadata"]["RegisterModel"]["Arn"]
    package = session.sagemaker_client.describe_model_package(ModelPackageName=arn)
    first, second = package["InferenceSpecification"]["Containers"]
    assert first["ModelDataUrl"] == trained.default_value
    assert second["ModelDataUrl"] == artifact(session, steps, "coded-RepackModel")
