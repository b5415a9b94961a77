"""Tests of the pipeline, as its author would write them for CI."""

import pytest
from pipeline import build_pipeline


@pytest.fixture
def pipeline(local_pipeline_session, sagemaker_local):
    return build_pipeline(local_pipeline_session, sagemaker_local.role)


@pytest.fixture
def places(sagemaker_local):
    bucket = sagemaker_local.bucket
    return {"Numbers": f"s3://{bucket}/numbers", "Output": f"s3://{bucket}/doubles"}


def test_numbers_are_doubled(pipeline, places, sagemaker_local, run_pipeline):
    sagemaker_local.client("s3").put_object(
        Bucket=sagemaker_local.bucket, Key="numbers/numbers.txt", Body=b"1 2 3"
    )
    run = run_pipeline(pipeline, places)
    assert run.succeeded, run
    assert "doubled 3 numbers" in run.steps["Double"].log
    assert sagemaker_local.read(f"{places['Output']}/doubles.txt") == b"2\n4\n6"


def test_words_are_no_numbers(pipeline, places, sagemaker_local, run_pipeline):
    sagemaker_local.client("s3").put_object(
        Bucket=sagemaker_local.bucket, Key="numbers/numbers.txt", Body=b"one two"
    )
    run = run_pipeline(pipeline, places)
    assert run.status == "Failed"
    assert "ValueError" in run.steps["Double"].failure_reason
    assert "ValueError" in str(run)


def test_each_test_has_a_gateway_of_its_own(sagemaker_local):
    assert sagemaker_local.client("sagemaker").list_pipelines()["PipelineSummaries"] == []


def test_one_gateway_is_made_as_new(sagemaker_local):
    client = sagemaker_local.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="Group")
    sagemaker_local.reset()
    assert client.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
