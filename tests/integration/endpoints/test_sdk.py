"""The SageMaker SDK deploys, predicts, updates and deletes through the gateway."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sagemaker.async_inference import AsyncInferenceConfig, WaiterConfig
from sagemaker.deserializers import CSVDeserializer, StringDeserializer
from sagemaker.exceptions import AsyncInferenceModelError
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.predictor_async import AsyncPredictor
from sagemaker.serializers import CSVSerializer
from sagemaker.serverless import ServerlessInferenceConfig
from sagemaker.transformer import Transformer

from mlops.runtimes.fake import FakeRuntime
from mlops.sessions.local import GatewayPipelineSession
from mlops.settings import Settings

from .conftest import IMAGE, ROLE, Account


@pytest.fixture
def session(url: str, settings: Settings) -> Any:
    """What a notebook has; not a pipeline's, whose calls are recorded and not made."""
    from sagemaker.session import Session

    class ImpatientSession(Session):  # type: ignore[misc]  # the SDK has no types
        """The SDK looks every 30 seconds, and first of all too early."""

        def wait_for_endpoint(self, endpoint: str, poll: float = 0.05, **more: Any) -> Any:
            return super().wait_for_endpoint(endpoint, poll, **more)

    pipeline_session = GatewayPipelineSession(url, settings)
    return ImpatientSession(
        boto_session=pipeline_session.boto_session,
        default_bucket=settings.artifact_bucket,
        sagemaker_config={},
    )


def test_deploy_predict_update_delete(session: Any, account: Account, runtime: FakeRuntime) -> None:
    model = Model(
        image_uri=IMAGE,
        role=ROLE,
        env={"FACTOR": "3"},
        sagemaker_session=session,
        predictor_cls=Predictor,
    )
    predictor = model.deploy(
        initial_instance_count=1, instance_type="ml.m5.large", endpoint_name="dev"
    )
    assert isinstance(predictor, Predictor)
    predictor.serializer, predictor.deserializer = CSVSerializer(), CSVDeserializer()
    assert predictor.predict([[0.23, "Ideal"], [0.3, "Good"]]) == [["6"]]
    account.model("five", Environment={"FACTOR": "5"})
    predictor.update_endpoint(
        initial_instance_count=1, instance_type="ml.m5.large", model_name="five"
    )
    assert predictor.predict("1,2") == [["5"]]
    predictor.delete_model()
    predictor.delete_endpoint()
    assert runtime.find_servers({}) == []
    assert account.sagemaker.list_endpoints()["Endpoints"] == []
    assert account.sagemaker.list_endpoint_configs()["EndpointConfigs"] != []  # the first one's


def test_a_predictor_of_an_endpoint_that_is_there(
    url: str, settings: Settings, account: Account
) -> None:
    account.model()
    account.config()
    account.endpoint()
    session = GatewayPipelineSession(url, settings)
    predictor = Predictor(
        "e",
        sagemaker_session=session,
        serializer=CSVSerializer(),
        deserializer=StringDeserializer(),
    )
    assert predictor.predict("1\n2\n3") == "3"
    assert predictor.predict("1", custom_attributes="a", inference_id="i") == "1"


def test_a_serverless_deployment(session: Any, account: Account) -> None:
    model = Model(image_uri=IMAGE, role=ROLE, sagemaker_session=session, predictor_cls=Predictor)
    model.deploy(
        serverless_inference_config=ServerlessInferenceConfig(
            memory_size_in_mb=2048, max_concurrency=20
        ),
        endpoint_name="dev",
    )
    (variant,) = account.describe("dev")["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 20}


def test_an_asynchronous_deployment(session: Any, account: Account) -> None:
    model = Model(image_uri=IMAGE, role=ROLE, sagemaker_session=session, predictor_cls=Predictor)
    predictor = model.deploy(
        initial_instance_count=1,
        instance_type="ml.m5.large",
        endpoint_name="dev",
        async_inference_config=AsyncInferenceConfig(max_concurrent_invocations_per_instance=2),
    )
    assert isinstance(predictor, AsyncPredictor)
    predictor.serializer, predictor.deserializer = CSVSerializer(), StringDeserializer()
    waiter = WaiterConfig(max_attempts=600, delay=1)
    good = predictor.predict_async([[1, 2], [3, 4]])
    bad = predictor.predict_async("bad")
    assert good.get_result(waiter) == "2"
    with pytest.raises(AsyncInferenceModelError, match="'bad' is no number"):
        bad.get_result(waiter)
    predictor.delete_endpoint()
    # The SDK goes on looking, in threads, for what did not come; they end when it does.
    for place in (good.failure_path, bad.output_path):
        bucket, _, key = place.removeprefix("s3://").partition("/")
        account.s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for thread in threading.enumerate():
        if "check_" in thread.name:
            thread.join(60)


def test_a_transformer_waits_and_shows_the_logs(
    session: Any, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.model("m", Environment={"FACTOR": "2"})
    account.s3.create_bucket(Bucket="rows")
    account.s3.put_object(Bucket="rows", Key="in/a.csv", Body=b"1\n2\n3\n")
    transformer = Transformer(
        model_name="m",
        instance_count=1,
        instance_type="ml.m5.large",
        strategy="MultiRecord",
        assemble_with="Line",
        output_path="s3://rows/out",
        sagemaker_session=session,
    )
    transformer.transform(
        "s3://rows/in", content_type="text/csv", split_type="Line", wait=True, logs=True
    )
    answer = account.s3.get_object(Bucket="rows", Key="out/a.csv.out")
    assert answer["Body"].read() == b"6\n"
    assert "MaxConcurrentTransforms=1" in capsys.readouterr().out
