"""Writes the definitions ``v2_*.json`` beside this file with SDK v2, without any service.

    python tests/data/definitions/author_v2.py

Run it by hand when the SDK's version changes, and read the difference.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.tensorflow import TensorFlow
from sagemaker.transformer import Transformer
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import (
    ConditionEquals,
    ConditionGreaterThan,
    ConditionGreaterThanOrEqualTo,
    ConditionIn,
    ConditionLessThan,
    ConditionLessThanOrEqualTo,
    ConditionNot,
    ConditionOr,
)
from sagemaker.workflow.endpoint_step import EndpointConfigStep, EndpointStep
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import (
    ParameterBoolean,
    ParameterFloat,
    ParameterInteger,
    ParameterString,
)
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.workflow.step_collections import RegisterModel
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TransformStep

HERE = Path(__file__).resolve().parent
ROLE = "arn:aws:iam::000000000000:role/mlops-execution"
BUCKET = "mlops-us-east-1-000000000000"


_NO_BUCKETS = b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"


class _Body:
    """What botocore reads an answer's body from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content

    def read(self, *_: Any) -> bytes:
        content, self._content = self._content, b""
        return content


def _answer(request: Any, **_: Any) -> AWSResponse:
    """Every request succeeds: the SDK looks for its bucket, uploads code, and asks no more."""
    listing = request.method == "GET" and request.url.rstrip("/").endswith("amazonaws.com")
    content = _NO_BUCKETS if listing else b""
    return AWSResponse(request.url, 200, {"ETag": '"0"'}, _Body(content))


def make_session() -> PipelineSession:
    boto = boto3.Session("test", "test", region_name="us-east-1")
    boto.events.register("before-send", _answer)
    quiet = {
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    }
    return PipelineSession(boto_session=boto, default_bucket=BUCKET, sagemaker_config=quiet)


def lab(session: PipelineSession, code: Path) -> Pipeline:
    """The lab's pipeline: ETL, Train, Evaluate, Condition, Register or Fail."""
    instances = ParameterInteger("TrainingInstanceCount", default_value=1)
    processing_instances = ParameterInteger("ProcessingInstanceCount", default_value=1)
    approval = ParameterString(
        "ModelApprovalStatus",
        default_value="Approved",
        enum_values=["Approved", "PendingManualApproval", "Rejected"],
    )
    threshold = ParameterFloat("MseThreshold", default_value=6.0)
    bucket = ParameterString("mlops_bucket", default_value=BUCKET)
    raw = ParameterString("InputDataUrl", default_value="s3://data-us-east-1-000000000000/raw.csv")
    epochs = ParameterInteger("Epochs", default_value=40)

    def artifacts(*parts: str) -> Join:
        run = [ExecutionVariables.PIPELINE_NAME, ExecutionVariables.PIPELINE_EXECUTION_ID]
        return Join(on="/", values=["s3:/", bucket, *run, *parts])

    processor = SKLearnProcessor(
        framework_version="1.2-1",
        role=ROLE,
        instance_type="ml.m5.xlarge",
        instance_count=processing_instances,
        sagemaker_session=session,
    )
    etl = ProcessingStep(
        name="ETL",
        step_args=processor.run(
            inputs=[ProcessingInput(source=raw, destination="/opt/ml/processing/input/raw")],
            outputs=[
                ProcessingOutput(
                    output_name=name,
                    source=f"/opt/ml/processing/output/{name}",
                    destination=artifacts("input", name),
                )
                for name in ("train", "validation", "test")
            ],
            code=str(code / "preprocess.py"),
        ),
        cache_config=CacheConfig(enable_caching=True, expire_after="P30D"),
    )

    def output_of(name: str) -> Any:
        return etl.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri

    estimator = TensorFlow(
        entry_point="train.py",
        source_dir=str(code),
        framework_version="2.19",
        py_version="py312",
        role=ROLE,
        instance_type="ml.m5.xlarge",
        instance_count=instances,
        hyperparameters={"epochs": epochs, "layers": 2, "learning_rate": 0.002},
        output_path=artifacts("output"),
        model_dir=False,
        disable_profiler=True,
        sagemaker_session=session,
    )
    train = TrainingStep(
        name="Train",
        step_args=estimator.fit(
            inputs={
                "train": TrainingInput(s3_data=output_of("train"), content_type="text/csv"),
                "validation": TrainingInput(s3_data=output_of("validation")),
            }
        ),
        retry_policies=[
            StepRetryPolicy([StepExceptionTypeEnum.THROTTLING], max_attempts=3),
            SageMakerJobStepRetryPolicy(
                [SageMakerJobExceptionTypeEnum.CAPACITY_ERROR], expire_after_mins=60
            ),
        ],
    )
    report = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluator = ScriptProcessor(
        image_uri=estimator.training_image_uri(),
        command=["python3"],
        role=ROLE,
        instance_type="ml.m5.xlarge",
        instance_count=1,
        sagemaker_session=session,
    )
    evaluate = ProcessingStep(
        name="Evaluate",
        step_args=evaluator.run(
            inputs=[
                ProcessingInput(
                    source=train.properties.ModelArtifacts.S3ModelArtifacts,
                    destination="/opt/ml/processing/input/model",
                ),
                ProcessingInput(
                    source=output_of("test"), destination="/opt/ml/processing/input/test"
                ),
            ],
            outputs=[
                ProcessingOutput(
                    output_name="evaluation",
                    source="/opt/ml/processing/output/evaluation",
                    destination=artifacts("evaluation"),
                )
            ],
            code=str(code / "evaluate.py"),
        ),
        property_files=[report],
    )
    metrics_uri = Join(on="/", values=[artifacts("evaluation"), "evaluation.json"])
    register = RegisterModel(
        name="Register",
        estimator=estimator,
        model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
        content_types=["text/csv"],
        response_types=["text/csv"],
        inference_instances=["ml.t2.medium", "ml.m5.xlarge", "ml.c5.large"],
        transform_instances=["ml.m5.xlarge"],
        model_package_group_name="DiamondPricePackageGroup",
        approval_status=approval,
        model_metrics=ModelMetrics(
            model_statistics=MetricsSource(s3_uri=metrics_uri, content_type="application/json")
        ),
        image_uri=estimator.training_image_uri(),
    )
    fail = FailStep(
        name="Fail",
        error_message=Join(on=" ", values=["Execution failed due to MSE greater than", threshold]),
    )
    gate = ConditionStep(
        name="Condition",
        conditions=[
            ConditionLessThanOrEqualTo(
                left=JsonGet(
                    step_name=evaluate.name,
                    property_file=report,
                    json_path="regression_metrics.mse.value",
                ),
                right=threshold,
            )
        ],
        if_steps=[register],
        else_steps=[fail],
    )
    return Pipeline(
        name="MLOps-SageMaker-Pipeline",
        parameters=[processing_instances, instances, approval, threshold, bucket, raw, epochs],
        steps=[etl, train, evaluate, gate],
        sagemaker_session=session,
    )


def all_forms(session: PipelineSession, code: Path) -> Pipeline:
    """Every condition, every kind of reference, nested branches, a Model step."""
    enabled = ParameterBoolean("Enabled", default_value=False)
    stage = ParameterString("Stage", enum_values=["dev", "prod"])
    limit = ParameterFloat("Limit", default_value=0.5)
    estimator = Estimator(
        image_uri="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-tensorflow:latest",
        role=ROLE,
        instance_type="ml.m5.xlarge",
        instance_count=1,
        metric_definitions=[{"Name": "val_loss", "Regex": "val_loss: (.*)"}],
        environment={"STAGE": stage},
        disable_profiler=True,
        sagemaker_session=session,
    )
    train = TrainingStep(name="Train-It", step_args=estimator.fit({"train": f"s3://{BUCKET}/t"}))
    model = ModelStep(
        name="Make",
        step_args=Model(
            image_uri=estimator.training_image_uri(),
            model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
            role=ROLE,
            sagemaker_session=session,
        ).create(instance_type="ml.m5.large"),
    )
    loss = train.properties.FinalMetricDataList["val_loss"].Value
    uri = Join(
        on="/", values=[f"s3://{BUCKET}", ExecutionVariables.PIPELINE_EXECUTION_ID, "m.json"]
    )
    inner = ConditionStep(
        name="Inner",
        conditions=[
            ConditionEquals(left=enabled, right=True),
            ConditionGreaterThan(left=loss, right=limit),
            ConditionGreaterThanOrEqualTo(left=loss, right=0),
            ConditionLessThan(left=JsonGet(s3_uri=uri, json_path="a['b'][0]", step=train), right=1),
        ],
        if_steps=[FailStep(name="Too-Much", error_message="enough")],
    )
    outer = ConditionStep(
        name="Outer",
        depends_on=["Train-It"],
        conditions=[
            ConditionOr(
                [
                    ConditionIn(value=stage, in_values=["dev", ExecutionVariables.PIPELINE_NAME]),
                    ConditionNot(ConditionEquals(left=stage, right="prod")),
                ]
            )
        ],
        if_steps=[inner],
        else_steps=[model],
    )
    after = ProcessingStep(
        name="After",
        step_args=ScriptProcessor(
            image_uri=estimator.training_image_uri(),
            command=["python3"],
            role=ROLE,
            instance_type="ml.m5.xlarge",
            instance_count=1,
            env={"OUTCOME": outer.properties.Outcome, "AT": ExecutionVariables.START_DATETIME},
            sagemaker_session=session,
        ).run(
            code=str(code / "evaluate.py"),
            arguments=["--first", train.properties.InputDataConfig[0].ChannelName],
        ),
        display_name="After all",
        description="Runs once the condition has been asked",
    )
    return Pipeline(
        name="all-forms",
        parameters=[enabled, stage, limit],
        steps=[train, outer, after],
        sagemaker_session=session,
    )


def deploy(session: PipelineSession, code: Path) -> Pipeline:
    """Model, endpoint configuration and endpoint, with what a later step may refer to."""
    instances = ParameterInteger("InstanceCount", default_value=1)
    model = Model(
        image_uri="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-tensorflow:latest",
        model_data=f"s3://{BUCKET}/model.tar.gz",
        role=ROLE,
        sagemaker_session=session,
    )
    create = ModelStep(name="Create", step_args=model.create(instance_type="ml.m5.large"))
    config = EndpointConfigStep(
        name="Configure",
        step_args=session.create_endpoint_config(
            name="dev-config",
            model_name=create.properties.ModelName,
            initial_instance_count=instances,
            instance_type="ml.m5.large",
        ),
        cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
        retry_policies=[
            StepRetryPolicy(exception_types=[StepExceptionTypeEnum.THROTTLING], max_attempts=2)
        ],
    )
    endpoint = EndpointStep(
        name="Deploy",
        step_args=session.create_endpoint(
            endpoint_name="dev", config_name=config.properties.EndpointConfigName
        ),
    )
    refuse = FailStep(
        name="NotUp", error_message=Join(" ", ["It is", endpoint.properties.EndpointStatus])
    )
    check = ConditionStep(
        name="Check",
        conditions=[ConditionEquals(endpoint.properties.EndpointStatus, "InService")],
        else_steps=[refuse],
    )
    return Pipeline(
        name="deploy",
        parameters=[instances],
        steps=[create, config, endpoint, check],
        sagemaker_session=session,
    )


def transform(session: PipelineSession, code: Path) -> Pipeline:
    """A Transform step."""
    transformer = Transformer(
        model_name="m",
        instance_count=1,
        instance_type="ml.m5.xlarge",
        output_path=f"s3://{BUCKET}/out",
        sagemaker_session=session,
    )
    step = TransformStep(name="Batch", step_args=transformer.transform(data=f"s3://{BUCKET}/in"))
    return Pipeline(name="transform", steps=[step], sagemaker_session=session)


def main() -> None:
    session = make_session()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # The code's key holds a hash of its path as given: only a relative one is the same again.
        code = Path()
        for name in ("preprocess.py", "train.py", "evaluate.py"):
            (code / name).write_text("print('nothing')\n")
            os.utime(code / name, (0, 0))
        for make in (lab, all_forms, deploy, transform):
            definition = json.loads(make(session, code).definition())
            text = json.dumps(definition, indent=1) + "\n"
            (HERE / f"v2_{make.__name__}.json").write_text(text)


if __name__ == "__main__":
    main()
