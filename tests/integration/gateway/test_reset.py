"""A gateway as new, where it was started for that; and nothing deleted where it was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops.app import compose_gateway
from mlops.errors import UsageError
from mlops.gateway.client import GatewayClient
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeRuntime
from mlops.settings import Settings

from .test_direct_jobs import processing


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", account_id="123456789012", allow_reset=True)


def test_all_is_gone_and_what_ran_has_ended(
    aws: Callable[..., Any],
    sagemaker: Any,
    client: GatewayClient,
    settings: Settings,
    start: Callable[..., str],
    lab: SimpleNamespace,
) -> None:
    s3, sqs = aws("s3"), aws("sqs")
    execution = start(lab.processing_step("Wait"))
    sagemaker.create_processing_job(**processing("a-Wait-job"))
    sagemaker.create_model_package_group(ModelPackageGroupName="Group")
    sqs.create_queue(QueueName="queue")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket="bucket", Key="a/b", Body=body)
    s3.create_multipart_upload(Bucket="bucket", Key="half")
    health = client.health()
    assert health["executions"] == [execution]
    assert health["jobs"] == ["processing-job/a-Wait-job"]
    client.reset(settings.store)
    assert (client.health()["executions"], client.health()["jobs"]) == ([], [])
    assert sagemaker.list_pipelines()["PipelineSummaries"] == []
    assert sagemaker.list_processing_jobs()["ProcessingJobSummaries"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert sqs.list_queues().get("QueueUrls", []) == []
    assert s3.list_buckets()["Buckets"] == []
    s3.create_bucket(Bucket="bucket")  # as new, and in order
    start(lab.processing_step("Wait"))


def test_not_by_accident(client: GatewayClient, settings: Settings, sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="Group")
    with pytest.raises(UsageError, match="nothing has been deleted"):
        client.reset(settings.store.parent)
    other = replace(settings, store=settings.store.with_name("other"), allow_reset=False)
    with (
        GatewayThread(compose_gateway(other, FakeRuntime())) as url,
        pytest.raises(UsageError, match="not started to be reset"),
    ):
        GatewayClient(url).reset(other.store)
    assert len(sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]) == 1
