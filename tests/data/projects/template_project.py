"""A pipeline as SageMaker's project templates write it: sessions of its own, uploads, a role.

Nothing in it knows of this project. Its form (names, defaults, sessions made from boto3 clients)
is that of the templates' pipelines/<name>/pipeline.py.
"""

from pathlib import Path

import boto3
import sagemaker
import sagemaker.session
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.workflow.parameters import ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.steps import ProcessingStep

BASE_DIR = Path(__file__).resolve().parent


def get_session(region, default_bucket):
    boto_session = boto3.Session(region_name=region)
    return sagemaker.session.Session(
        boto_session=boto_session,
        sagemaker_client=boto_session.client("sagemaker"),
        sagemaker_runtime_client=boto_session.client("sagemaker-runtime"),
        default_bucket=default_bucket,
    )


def get_pipeline_session(region, default_bucket):
    boto_session = boto3.Session(region_name=region)
    return PipelineSession(
        boto_session=boto_session,
        sagemaker_client=boto_session.client("sagemaker"),
        default_bucket=default_bucket,
    )


def get_pipeline(
    region,
    sagemaker_project_name=None,
    role=None,
    default_bucket=None,
    model_package_group_name="TemplatePackageGroup",
    pipeline_name="TemplatePipeline",
    base_job_prefix="Template",
):
    sagemaker_session = get_session(region, default_bucket)
    pipeline_session = get_pipeline_session(region, default_bucket)
    if role is None:
        role = sagemaker.session.get_execution_role(sagemaker_session)

    uploaded = sagemaker_session.upload_data(str(BASE_DIR / "rows.csv"), key_prefix="rows")
    instance_count = ParameterInteger(name="InstanceCount", default_value=1)
    input_data = ParameterString(name="InputDataUrl", default_value=uploaded)

    processor = ScriptProcessor(
        image_uri=sagemaker.image_uris.retrieve("sklearn", region, "1.2-1"),
        instance_type="ml.m5.xlarge",
        instance_count=instance_count,
        base_job_name=f"{base_job_prefix}/process",
        command=["python3"],
        sagemaker_session=pipeline_session,
        role=role,
    )
    step = ProcessingStep(
        name="Process",
        step_args=processor.run(
            inputs=[ProcessingInput(source=input_data, destination="/opt/ml/processing/input")],
            outputs=[ProcessingOutput(output_name="rows", source="/opt/ml/processing/rows")],
            code=str(BASE_DIR / "template_step.py"),
        ),
    )
    return Pipeline(
        name=pipeline_name,
        parameters=[instance_count, input_data],
        steps=[step],
        sagemaker_session=pipeline_session,
    )
