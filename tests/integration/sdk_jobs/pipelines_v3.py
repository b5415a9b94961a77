"""Runs pipelines with SDK v3 against a gateway, and tells how that went as JSON on stdout.

    PYTHON-OF-SDK-V3 pipelines_v3.py FOLDER-WITH-CODE LEAST-SCORE…

The surroundings come from the environment: AWS_ENDPOINT_URL, credentials, SAGEMAKER_VALIDATE_ROLE.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import boto3
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, ModelPackage
from sagemaker.core.shapes import (
    ContainerDefinition,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    ProductionVariant,
)
from sagemaker.core.training.configs import Compute, InputData, OutputDataConfig, SourceCode
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.step_dependency import StepDependency, TriggerCondition
from sagemaker.mlops.workflow.steps import ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer

BUCKET = "mlops-us-east-1-000000000000"
SERVER_IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny-server:latest"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-processing:latest"
ROLE = "arn:aws:iam::000000000000:role/mlops-execution"


def build(session: PipelineSession, code: Path) -> Pipeline:
    factor = ParameterInteger("Factor", default_value=3)
    least = ParameterFloat("LeastScore", default_value=5.0)

    def place(name: str) -> Join:
        return Join(
            on="/", values=[f"s3://{BUCKET}", ExecutionVariables.PIPELINE_EXECUTION_ID, name]
        )

    def processor() -> ScriptProcessor:
        return ScriptProcessor(
            image_uri=IMAGE,
            command=["python3"],
            role=ROLE,
            instance_type="ml.m5.large",
            instance_count=1,
            sagemaker_session=session,
        )

    def output(name: str) -> ProcessingOutput:
        return ProcessingOutput(
            output_name=name,
            s3_output=ProcessingS3Output(
                s3_uri=place(name),
                local_path=f"/opt/ml/processing/output/{name}",
                s3_upload_mode="EndOfJob",
            ),
        )

    prepare = ProcessingStep(
        name="Prepare",
        step_args=processor().run(code=str(code / "prepare.py"), outputs=[output("rows")]),
    )
    trainer = ModelTrainer(
        training_image=IMAGE,
        source_code=SourceCode(source_dir=str(code), entry_script="learn.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        hyperparameters={"factor": factor, "word": "yes"},
        output_data_config=OutputDataConfig(s3_output_path=place("output")),
        role=ROLE,
        sagemaker_session=session,
    )
    rows = prepare.properties.ProcessingOutputConfig.Outputs["rows"].S3Output.S3Uri
    train = TrainingStep(
        name="Train",
        step_args=trainer.train(
            input_data_config=[InputData(channel_name="train", data_source=rows)]
        ),
    )
    report = PropertyFile(name="Report", output_name="report", path="report.json")
    artifact = train.properties.ModelArtifacts.S3ModelArtifacts
    evaluate = ProcessingStep(
        name="Evaluate",
        step_args=processor().run(
            code=str(code / "evaluate.py"),
            inputs=[
                ProcessingInput(
                    input_name="model",
                    s3_input=ProcessingS3Input(
                        s3_uri=artifact,
                        local_path="/opt/ml/processing/input/model",
                        s3_data_type="S3Prefix",
                        s3_input_mode="File",
                    ),
                )
            ],
            outputs=[output("report")],
        ),
        property_files=[report],
    )
    model = ModelBuilder(
        s3_model_data_url=artifact, image_uri=SERVER_IMAGE, role_arn=ROLE, sagemaker_session=session
    )
    register = ModelStep(
        name="Register",
        step_args=model.register(
            model_package_group_name="v3",
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.m5.large"],
            transform_instances=["ml.m5.large"],
            approval_status="Approved",
        ),
    )
    gate = ConditionStep(
        name="Gate",
        conditions=[
            ConditionGreaterThanOrEqualTo(
                left=JsonGet(step_name="Evaluate", property_file=report, json_path="score"),
                right=least,
            )
        ],
        if_steps=[register],
        else_steps=[FailStep(name="TooLow", error_message=Join(on=" ", values=["below", least]))],
    )
    return Pipeline(
        name="Forms-v3",
        parameters=[factor, least],
        steps=[prepare, train, evaluate, gate],
        sagemaker_session=session,
    )


def answered(session: PipelineSession, code: Path) -> Pipeline:
    """A step that fails, and one that waits for just that."""

    def run(name: str, **more: object) -> ProcessingStep:
        processor = ScriptProcessor(
            image_uri=IMAGE,
            command=["python3"],
            role=ROLE,
            instance_type="ml.m5.large",
            instance_count=1,
            sagemaker_session=session,
        )
        return ProcessingStep(name=name, step_args=processor.run(code=str(code)), **more)

    fails = run("Fails")
    code = code.parent / "tell.py"
    tell = run("Tell", depends_on=[StepDependency(fails, TriggerCondition.FAILED)])
    return Pipeline(name="Answered-v3", steps=[fails, tell], sagemaker_session=session)


def run(pipeline: Pipeline, **parameters: float) -> dict[str, object]:
    """To its end: its status, and of each step the status and the failure reason."""
    execution = pipeline.start(parameters=parameters)
    deadline = time.monotonic() + 60
    while execution.describe()["PipelineExecutionStatus"] == "Executing":
        if time.monotonic() > deadline:
            raise SystemExit(f"{execution.arn} does not end")
        time.sleep(0.1)
    return {
        "status": execution.describe()["PipelineExecutionStatus"],
        "steps": {
            step["StepName"]: [step["StepStatus"], step.get("FailureReason")]
            for step in execution.list_steps()
        },
    }


def deploy(group: str) -> dict[str, object]:
    """The newest package of a group, as an endpoint that is asked and deleted again."""
    packages = list(ModelPackage.get_all(model_package_group_name=group))
    container = ContainerDefinition(model_package_name=packages[0].model_package_arn)
    model = Model.create(model_name="v3", containers=[container], execution_role_arn=ROLE)
    variant = ProductionVariant(
        variant_name="one",
        model_name="v3",
        initial_instance_count=1,
        instance_type="ml.m5.large",
    )
    config = EndpointConfig.create(endpoint_config_name="v3", production_variants=[variant])
    endpoint = Endpoint.create(endpoint_name="v3", endpoint_config_name="v3")
    endpoint.wait_for_status("InService", poll=1)
    told = {
        "packages": [package.model_package_version for package in packages],
        "status": endpoint.endpoint_status,
        "answer": endpoint.invoke(body="1,2", content_type="text/csv").body.read().decode(),
        "endpoints": [each.endpoint_name for each in Endpoint.get_all()],
    }
    for made in (endpoint, config, model):
        made.delete()
    told["left"] = [each.endpoint_name for each in Endpoint.get_all()]
    return told


def main() -> None:
    quiet = {
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    }
    session = PipelineSession(
        boto_session=boto3.Session(region_name="us-east-1"),
        default_bucket=BUCKET,
        sagemaker_config=quiet,
    )
    code = Path(sys.argv[1])
    pipeline = build(session, code)
    pipeline.upsert(role_arn=ROLE)
    told = {least: run(pipeline, LeastScore=float(least)) for least in sys.argv[2:]}
    other = answered(session, code / "fails.py")
    other.upsert(role_arn=ROLE)
    told["answered"] = run(other)
    told["deployed"] = deploy("v3")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
