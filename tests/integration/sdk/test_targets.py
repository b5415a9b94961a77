"""Targets of a user's own, compiled against a real gateway and run there by the local backend."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops import aws
from mlops.backends import LocalBackend
from mlops.errors import DataError, DefinitionError, ParameterError, TargetError
from mlops.gateway.client import GatewayClient
from mlops.runtimes.fake import FakeRuntime
from mlops.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
PROJECTS = ROOT / "tests/data/projects"
LAB_FILE = ROOT / "mlops/pipeline.py"


@pytest.fixture
def backend(settings: Settings, gateway_url: str) -> LocalBackend:
    return LocalBackend(settings, lambda: GatewayClient(gateway_url))


@pytest.fixture
def s3(gateway_url: str) -> Any:
    return aws.gateway_session(gateway_url, "us-east-1").client("s3")


@pytest.fixture
def offline(gateway_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing but the loopback be resolved, and give the process no account."""
    resolve = socket.getaddrinfo

    def only_loopback(host: Any, *arguments: Any, **options: Any) -> Any:
        assert host in ("127.0.0.1", "localhost"), f"{host} was asked for"
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", only_loopback)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "project"
    shutil.copytree(PROJECTS, folder)
    monkeypatch.chdir(folder)
    return folder


def ended(backend: LocalBackend, arn: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (answer := backend.describe(arn))["PipelineExecutionStatus"] == "Executing":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "target", ["template_project:get_pipeline", "template_project.py", "./template_project.py"]
)
def test_a_template_project_compiles_and_runs(
    target: str, backend: LocalBackend, project: Path, runtime: FakeRuntime, s3: Any
) -> None:
    pipeline = backend.compile(target)
    assert pipeline.name == "TemplatePipeline"
    parameters = {p["Name"]: p for p in json.loads(pipeline.definition)["Parameters"]}
    uploaded = parameters["InputDataUrl"]["DefaultValue"]
    assert uploaded == "s3://mlops-us-east-1-000000000000/rows/rows.csv"
    body = s3.get_object(Bucket="mlops-us-east-1-000000000000", Key="rows/rows.csv")["Body"]
    assert body.read() == (project / "rows.csv").read_bytes()

    arn = backend.submit(pipeline, {"InstanceCount": "1"})
    assert ended(backend, arn)["PipelineExecutionStatus"] == "Succeeded"
    (job,) = runtime.started
    assert job.command == ("python3", "/opt/ml/processing/input/code/template_step.py")


@pytest.mark.usefixtures("offline")
def test_a_function_of_our_own_form(backend: LocalBackend, project: Path) -> None:
    (project / "own.py").write_text(
        "from template_project import get_pipeline\n"
        "def build_pipeline(session, settings):\n"
        "    assert session.default_bucket() == settings.artifact_bucket\n"
        "    return get_pipeline(settings.region, role=session.role, pipeline_name='Own',\n"
        "                        default_bucket=settings.artifact_bucket)\n"
    )
    assert backend.compile("own.py:build_pipeline").name == "Own"


@pytest.mark.usefixtures("offline")
def test_sessions_that_know_neither_bucket_nor_role(backend: LocalBackend, project: Path) -> None:
    (project / "bare.py").write_text(
        "import sagemaker\n"
        "from sagemaker.workflow.fail_step import FailStep\n"
        "from sagemaker.workflow.pipeline import Pipeline\n"
        "from sagemaker.workflow.pipeline_context import LocalPipelineSession, PipelineSession\n"
        "assert sagemaker.Session().default_bucket() == 'sagemaker-us-east-1-000000000000'\n"
        "assert ':role/' in sagemaker.get_execution_role()\n"
        "LocalPipelineSession().default_bucket()\n"
        "pipeline = Pipeline('Bare', steps=[FailStep('No', 'no')],\n"
        "                    sagemaker_session=PipelineSession())\n"
    )
    assert backend.compile("bare.py").name == "Bare"


def test_the_users_own_error_is_told_without_the_sdks(backend: LocalBackend, project: Path) -> None:
    file = project / "broken.py"
    file.write_text(
        "from sagemaker.workflow.parameters import ParameterInteger\n\n\n"
        "def get_pipeline(region):\n"
        "    return ParameterInteger(name='Count', default_value='many')\n"
    )
    with pytest.raises(TargetError, match="TypeError") as error:
        backend.compile("broken.py")
    assert error.value.where == f"{file}:5 in get_pipeline"
    assert "site-packages" not in str(error.value)


def test_a_definition_file_runs_under_its_files_name(
    backend: LocalBackend, project: Path, gateway_url: str
) -> None:
    definition = {
        "Version": "2020-12-01",
        "Steps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
    }
    (project / "my first_pipeline.json").write_text(json.dumps(definition))
    pipeline = backend.compile("my first_pipeline.json")
    assert pipeline.name == "my-first-pipeline"
    arn = backend.submit(pipeline, {})
    assert ended(backend, arn)["PipelineExecutionStatus"] == "Failed"


@pytest.mark.parametrize(
    ("text", "error"), [("{", DefinitionError), ('{"Version": "2020-12-01"}', DefinitionError)]
)
def test_a_broken_definition_file(
    backend: LocalBackend, project: Path, text: str, error: type[Exception]
) -> None:
    (project / "broken.json").write_text(text)
    with pytest.raises(error):
        backend.submit(backend.compile("broken.json"), {})


# --- the lab's own -------------------------------------------------------------------------------


def test_the_lab_runs_and_uploads_once(backend: LocalBackend, s3: Any) -> None:
    pipeline = backend.compile(None)
    first = backend.submit(pipeline, {})
    assert ended(backend, first)["PipelineExecutionStatus"] == "Succeeded"

    def uploaded() -> dict[str, Any]:
        return {
            asset.uri: s3.head_object(Bucket=asset.bucket, Key=asset.key)["LastModified"]
            for asset in pipeline.assets
        }

    before = uploaded()
    second = backend.submit(backend.compile(None), {"MseThreshold": "0.02"})
    assert second != first
    assert uploaded() == before


@pytest.mark.parametrize("target", ["upon.py", str(LAB_FILE)])
def test_a_pipeline_built_upon_the_labs_brings_its_assets(
    backend: LocalBackend, project: Path, target: str
) -> None:
    (project / "upon.py").write_text("from mlops.pipeline import build_pipeline\n")
    pipeline = backend.compile(target)
    assert pipeline.assets == backend.compile(None).assets


def test_data_that_is_in_s3_already_need_not_be_here(settings: Settings, gateway_url: str) -> None:
    descriptor = settings.dataset.parent.parent / "abalone/dataset.json"
    abalone = replace(settings, dataset=descriptor)
    backend = LocalBackend(abalone, lambda: GatewayClient(gateway_url))
    pipeline = backend.compile(None)
    with pytest.raises(DataError, match=r"abalone\.csv is not here"):
        backend.submit(pipeline, {})
    backend.submit(pipeline, {"InputDataUri": "s3://elsewhere/abalone.csv"})


def test_a_bucket_that_is_not_there(backend: LocalBackend) -> None:
    with pytest.raises(DataError, match="no bucket elsewhere"):
        backend.submit(backend.compile(None), {"mlops_bucket": "elsewhere"})


def test_a_wrong_parameter_leaves_nothing_behind(
    backend: LocalBackend, gateway_url: str, s3: Any
) -> None:
    with pytest.raises(ParameterError):
        backend.submit(backend.compile(None), {"Unknown": "1"})
    assert s3.list_buckets()["Buckets"] == []
    listed = GatewayClient(gateway_url).call("ListPipelines", {})
    assert listed["PipelineSummaries"] == []
