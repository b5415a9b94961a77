"""The lab's pipeline, written once with the SageMaker SDK, for both backends.

    ETL ──► Train ──► Evaluate ──► Condition ──┬──► Register   mse <= MseThreshold
     └─────(holdout)─────▲                     └──► Fail       otherwise

Names, gate and hyperparameters come from the data's descriptor, everything else from the settings.
The definition's text depends on nothing else: not on the kind of session, the clone's place on the
disk or the time. So local and cloud get the same bytes once account, region and bucket are the
same, and a step's arguments change only when what the step depends on has changed.

Raw data, descriptor and code are named by the URIs of `mlops.lab.lab_assets`, under checksums:
building uploads nothing, the backends upload what is not there yet before they start a pipeline
(in a notebook: `mlops.sessions.local.upload_lab`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sagemaker.inputs import TrainingInput
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.tensorflow import TensorFlow
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.step_collections import RegisterModel
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep

from mlops.dataset import Dataset, load_dataset
from mlops.lab import EVALUATION, HOLDOUT, PREPROCESSING, LabAssets, lab_assets
from mlops.settings import Settings

SKLEARN_VERSION = "1.4-2"
"""The newest managed scikit-learn image that the SDK knows (image_uri_config/sklearn.json)."""

JOB_INSTANCE = "ml.m5.xlarge"
INFERENCE_INSTANCES = ["ml.t2.medium", "ml.m5.xlarge", "ml.c5.large"]
TRANSFORM_INSTANCES = ["ml.m5.xlarge"]

CACHE = CacheConfig(enable_caching=True, expire_after="P30D")
"""A step whose code, data and parameters are those of a run of the last 30 days takes that over."""

SPLITS = ("train", "validation")
ETL_OUTPUTS = (*SPLITS, "test", "holdout", "preprocessing")

METRICS = [{"Name": name, "Regex": rf"{name}=([0-9.eE+-]+)"} for name in ("train_loss", "val_loss")]
"""How the service finds metrics in the log of step_code/train.py: the last match counts."""


def build_pipeline(
    session: PipelineSession, settings: Settings, assets: LabAssets | None = None
) -> Pipeline:
    """Build the pipeline that learns from ``settings.dataset``.

    Args:
        session: any session of the SDK's pipeline context, local or cloud; its default bucket
            should be ``settings.artifact_bucket``.
        assets: `lab_assets` of these settings, where the caller has them already.

    Raises:
        DataError: the descriptor or the data cannot be used.
    """
    dataset = load_dataset(settings.dataset)
    assets = assets or lab_assets(settings, dataset)
    return _LabPipeline(session, settings, dataset, assets).build()


class _Parameters:
    """The lab's pipeline parameters, in the order of their listing."""

    def __init__(self, settings: Settings, dataset: Dataset, assets: LabAssets) -> None:
        self.processing_instances = ParameterInteger("ProcessingInstanceCount", default_value=1)
        self.training_instances = ParameterInteger("TrainingInstanceCount", default_value=1)
        self.approval_status = ParameterString(
            "ModelApprovalStatus",
            default_value="Approved",
            enum_values=["Approved", "PendingManualApproval"],
        )
        self.threshold = ParameterFloat("MseThreshold", default_value=dataset.gate.maximum)
        self.mlops_bucket = ParameterString("mlops_bucket", default_value=settings.artifact_bucket)
        self.data_bucket = ParameterString("data_bucket", default_value=settings.raw_data_bucket)
        self.input_data = ParameterString("InputDataUri", default_value=assets.raw_data.uri)

    def all(self) -> list[Any]:
        return list(vars(self).values())


class _LabPipeline:
    """The steps, one method each; they share the parameters, the images and the S3 layout."""

    def __init__(
        self, session: PipelineSession, settings: Settings, dataset: Dataset, assets: LabAssets
    ) -> None:
        self.session = session
        self.dataset = dataset
        self.assets = assets
        self.parameters = _Parameters(settings, dataset, self.assets)
        self.role = settings.execution_role_arn
        self.tensorflow_image = (
            f"{settings.account_id}.dkr.ecr.{settings.region}.amazonaws.com"
            f"/mlops-tensorflow:{settings.image_tag}"
        )

    def build(self) -> Pipeline:
        etl = self.etl()
        estimator = self.estimator()
        train = self.train(etl, estimator)
        report = PropertyFile(
            name="EvaluationReport", output_name="evaluation", path="evaluation.json"
        )
        evaluate = self.evaluate(etl, train, report)
        condition = ConditionStep(
            name="Condition",
            conditions=[self.gate(evaluate, report)],
            if_steps=[self.register(etl, train, evaluate, estimator)],
            else_steps=[self.fail()],
        )
        return Pipeline(
            name=self.dataset.names.pipeline,
            parameters=self.parameters.all(),
            steps=[etl, train, evaluate, condition],
            sagemaker_session=self.session,
        )

    def run_folder(self, *names: str) -> Join:
        """A place below ``s3://{mlops_bucket}/{PipelineName}/{PipelineExecutionId}``."""
        run = (ExecutionVariables.PIPELINE_NAME, ExecutionVariables.PIPELINE_EXECUTION_ID)
        return Join(on="/", values=["s3:/", self.parameters.mlops_bucket, *run, *names])

    def etl(self) -> ProcessingStep:
        processor = SKLearnProcessor(
            framework_version=SKLEARN_VERSION,
            role=self.role,
            instance_type=JOB_INSTANCE,
            instance_count=self.parameters.processing_instances,
            sagemaker_session=self.session,
        )
        descriptor = Join(
            on="/", values=["s3:/", self.parameters.data_bucket, self.assets.descriptor.key]
        )
        arguments = processor.run(
            code=self.assets.preprocess.uri,
            inputs=[
                _input("raw", self.parameters.input_data),
                _input("dataset", descriptor),
            ],
            outputs=[_output(name, self.run_folder("input", name)) for name in ETL_OUTPUTS],
        )
        return ProcessingStep(name="ETL", step_args=arguments, cache_config=CACHE)

    def estimator(self) -> TensorFlow:
        return TensorFlow(
            image_uri=self.tensorflow_image,
            entry_point="train.py",
            source_dir=self.assets.training_source.uri,
            hyperparameters=asdict(self.dataset.training),
            metric_definitions=METRICS,
            output_path=self.run_folder("output"),
            role=self.role,
            instance_type=JOB_INSTANCE,
            instance_count=self.parameters.training_instances,
            sagemaker_session=self.session,
            # Each of these would put the time of the build into the step's arguments.
            model_dir=False,
            disable_profiler=True,
            debugger_hook_config=False,
        )

    def train(self, etl: ProcessingStep, estimator: TensorFlow) -> TrainingStep:
        channels = {
            **{name: TrainingInput(_uri(etl, name), content_type="text/csv") for name in SPLITS},
            "preprocessing": TrainingInput(
                _uri(etl, "preprocessing"), content_type="application/json"
            ),
        }
        return TrainingStep(name="Train", step_args=estimator.fit(channels), cache_config=CACHE)

    def evaluate(
        self, etl: ProcessingStep, train: TrainingStep, report: PropertyFile
    ) -> ProcessingStep:
        processor = ScriptProcessor(
            image_uri=self.tensorflow_image,
            command=["python3"],
            role=self.role,
            instance_type=JOB_INSTANCE,
            instance_count=1,
            sagemaker_session=self.session,
        )
        arguments = processor.run(
            code=self.assets.evaluate.uri,
            inputs=[
                _input("model", train.properties.ModelArtifacts.S3ModelArtifacts),
                _input("holdout", _uri(etl, "holdout")),
            ],
            outputs=[_output("evaluation", self.run_folder("evaluation"))],
        )
        return ProcessingStep(
            name="Evaluate", step_args=arguments, property_files=[report], cache_config=CACHE
        )

    def gate(self, evaluate: ProcessingStep, report: PropertyFile) -> ConditionLessThanOrEqualTo:
        mse = JsonGet(
            step_name=evaluate.name,
            property_file=report,
            json_path="regression_metrics.mse.value",
        )
        return ConditionLessThanOrEqualTo(left=mse, right=self.parameters.threshold)

    def register(
        self,
        etl: ProcessingStep,
        train: TrainingStep,
        evaluate: ProcessingStep,
        estimator: TensorFlow,
    ) -> RegisterModel:
        metrics = ModelMetrics(
            model_statistics=MetricsSource(
                s3_uri=_evaluation(evaluate),
                content_type="application/json",
            )
        )
        return RegisterModel(
            name="Register",
            estimator=estimator,
            model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=INFERENCE_INSTANCES,
            transform_instances=TRANSFORM_INSTANCES,
            model_package_group_name=self.dataset.names.model_package_group,
            approval_status=self.parameters.approval_status,
            model_metrics=metrics,
            customer_metadata_properties=self.test_rows(etl, evaluate),
        )

    def test_rows(self, etl: ProcessingStep, evaluate: ProcessingStep) -> dict[str, Any]:
        """What a package says of the rows that an endpoint of it can be tested with."""
        return {
            HOLDOUT: _uri(etl, "holdout"),
            EVALUATION: _evaluation(evaluate),
            PREPROCESSING: _uri(etl, "preprocessing"),
        }

    def fail(self) -> FailStep:
        message = ["Execution failed due to MSE greater than", self.parameters.threshold]
        return FailStep(name="Fail", error_message=Join(on=" ", values=message))


def _input(name: str, source: Any) -> ProcessingInput:
    return ProcessingInput(
        input_name=name, source=source, destination=f"/opt/ml/processing/input/{name}"
    )


def _output(name: str, destination: Any) -> ProcessingOutput:
    return ProcessingOutput(
        output_name=name, source=f"/opt/ml/processing/output/{name}", destination=destination
    )


def _evaluation(evaluate: ProcessingStep) -> Join:
    """The evaluation's report: where the step's output is, which may be an earlier run's."""
    return Join(on="/", values=[_uri(evaluate, "evaluation"), "evaluation.json"])


def _uri(step: ProcessingStep, output: str) -> Any:
    """Where a processing step puts an output: a reference, and so a dependency on the step."""
    return step.properties.ProcessingOutputConfig.Outputs[output].S3Output.S3Uri
