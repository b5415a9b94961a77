"""A user's own pipeline: nothing in it knows where it runs."""

from pathlib import Path

import sagemaker.image_uris
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.workflow.parameters import ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.steps import ProcessingStep


def build_pipeline(session, role):
    numbers = ParameterString("Numbers")
    output = ParameterString("Output")
    processor = ScriptProcessor(
        image_uri=sagemaker.image_uris.retrieve("sklearn", "us-east-1", "1.2-1"),
        command=["python3"],
        instance_type="ml.m5.large",
        instance_count=1,
        role=role,
        sagemaker_session=session,
    )
    arguments = processor.run(
        code=str(Path(__file__).with_name("double.py")),
        inputs=[ProcessingInput(source=numbers, destination="/opt/ml/processing/input")],
        outputs=[ProcessingOutput("/opt/ml/processing/output", destination=output)],
    )
    return Pipeline(
        name="Doubles",
        parameters=[numbers, output],
        steps=[ProcessingStep(name="Double", step_args=arguments)],
        sagemaker_session=session,
    )
