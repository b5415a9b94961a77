"""The lab's pipeline, compiled by the real SDK."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops.authoring import compile_target
from mlops.dataset import load_dataset
from mlops.definition import parse_definition
from mlops.lab import lab_assets
from mlops.sessions.local import CompileSession
from mlops.sessions.sdk import PipelineSession
from mlops.settings import Settings

from mlops.pipeline import build_pipeline  # isort: skip  # after the session

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = "123456789012"


def compiled(settings: Settings) -> str:
    return compile_target(settings, None, _no_gateway).definition


def _no_gateway() -> str:
    raise AssertionError("the lab's pipeline is compiled without a gateway")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = tmp_path_factory.mktemp("store")
    return compiled(Settings(store=store, dataset=ROOT / "local_data/diamonds/dataset.json"))


@pytest.fixture(scope="module")
def steps(text: str) -> dict[str, Any]:
    """Every step by its name, branches included."""
    named: dict[str, Any] = {}
    for step in json.loads(text)["Steps"]:
        named[step["Name"]] = step
        if step["Type"] == "Condition":
            arguments = step["Arguments"]
            named |= {one["Name"]: one for one in arguments["IfSteps"] + arguments["ElseSteps"]}
    return named


OFFLINE = """
import logging, os, socket, sys

def refuse(*arguments, **options):
    os.write(2, b"network asked for: %r" % (arguments,))
    os._exit(9)

socket.getaddrinfo = socket.socket.connect = refuse
hook = sys.excepthook
from mlops.authoring import compile_target
from mlops.settings import Settings
from pathlib import Path
compiled = compile_target(Settings(store=Path(sys.argv[1])), None, str)
assert sys.excepthook is hook
assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING
sys.stdout.write(compiled.definition)
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A compilation in a copy of the project, by a process without network and surroundings.

    It holds itself to leave no hook or log handler behind, and then writes the definition.
    """
    clone, home = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("home")
    for folder in ("mlops", "step_code", "local_data"):
        shutil.copytree(ROOT / folder, clone / folder)
    return subprocess.run(
        [sys.executable, "-c", OFFLINE, str(home)],
        cwd=clone,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "AWS_PROFILE": "missing"},
        capture_output=True,
        text=True,
    )


# --- the same bytes ------------------------------------------------------------------------------


def test_compiling_twice_gives_the_same_bytes(settings: Settings, text: str) -> None:
    assert compiled(settings) == text


def test_a_cloud_account_gets_the_same_bytes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings, account_id=ACCOUNT, region="eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    session = PipelineSession(
        boto_session=boto3.Session(region_name="eu-west-1"),
        default_bucket=settings.artifact_bucket,
    )
    buckets = {"Buckets": [{"Name": settings.artifact_bucket, "CreationDate": 0}]}
    with Stubber(session.s3_resource.meta.client) as s3:
        s3.add_response("list_buckets", buckets)
        cloud = build_pipeline(session, settings).definition()
    assert cloud == compiled(settings)


def test_a_clone_elsewhere_gets_the_same_bytes(
    text: str, elsewhere: subprocess.CompletedProcess[str]
) -> None:
    assert elsewhere.stdout == text


def test_region_account_and_buckets_come_from_the_settings(settings: Settings) -> None:
    text = compiled(replace(settings, account_id=ACCOUNT, region="eu-west-1", image_tag="7"))
    assert "us-east-1" not in text
    assert "000000000000" not in text
    assert f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/mlops-tensorflow:7" in text
    assert f"mlops-eu-west-1-{ACCOUNT}" in text


def test_a_second_compilation_imports_no_sdk(settings: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from mlops.authoring import compile_target;"
        "from mlops.settings import Settings;"
        "print(compile_target(Settings(store=Path(sys.argv[1])), None, str).definition, end='');"
        "assert 'sagemaker' not in sys.modules and 'boto3' not in sys.modules"
    )
    text = compiled(settings)
    command = [sys.executable, "-c", code, str(settings.store)]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert again.stdout == text


def test_other_settings_are_compiled_anew(settings: Settings) -> None:
    assert compiled(settings) != compiled(replace(settings, image_tag="other"))
    assert compiled(replace(settings, role_arn="arn:aws:iam::1:role/other")).count("role/other")


# --- what is in it -------------------------------------------------------------------------------


def test_the_engine_takes_it(text: str) -> None:
    definition = parse_definition(text)
    names = [step.name for step in definition.all_steps()]
    expected = ["ETL", "Train", "Evaluate", "Condition", "Register-RegisterModel", "Fail"]
    assert sorted(names) == sorted(expected)


def test_parameters_are_the_labs(text: str) -> None:
    parameters = {p["Name"]: p for p in json.loads(text)["Parameters"]}
    data_uri = parameters.pop("InputDataUri")["DefaultValue"]
    assert data_uri.startswith("s3://data-us-east-1-000000000000/input/raw/243996d7650e84e1")
    assert {
        name: (parameter["Type"], parameter["DefaultValue"])
        for name, parameter in parameters.items()
    } == {
        "ProcessingInstanceCount": ("Integer", 1),
        "TrainingInstanceCount": ("Integer", 1),
        "ModelApprovalStatus": ("String", "Approved"),
        "MseThreshold": ("Float", 0.03),
        "mlops_bucket": ("String", "mlops-us-east-1-000000000000"),
        "data_bucket": ("String", "data-us-east-1-000000000000"),
    }
    allowed = parameters["ModelApprovalStatus"]["EnumValues"]
    assert allowed == ["Approved", "PendingManualApproval"]


def test_gate_and_names_come_from_the_descriptor(settings: Settings) -> None:
    abalone = replace(settings, dataset=ROOT / "local_data/abalone/dataset.json")
    pipeline = compile_target(abalone, None, _no_gateway)
    parameters = {p["Name"]: p for p in json.loads(pipeline.definition)["Parameters"]}
    assert parameters["MseThreshold"]["DefaultValue"] == 6.0
    assert "AbalonePackageGroup" in pipeline.definition
    # The data itself is not in the project: its URI follows from the descriptor's checksum.
    assert "de37cdcdcaaa50c3" in parameters["InputDataUri"]["DefaultValue"]


def test_training_carries_no_time_and_the_descriptors_hyperparameters(
    steps: dict[str, Any], settings: Settings
) -> None:
    arguments = steps["Train"]["Arguments"]
    values = arguments["HyperParameters"]
    described = asdict(load_dataset(settings.dataset).training)
    assert {name: json.loads(values[name]) for name in described} == described
    assert json.loads(values["sagemaker_program"]) == "train.py"
    assert json.loads(values["sagemaker_submit_directory"]).endswith("/sourcedir.tar.gz")
    assert "model_dir" not in values
    assert arguments["ProfilerConfig"] == {"DisableProfiler": True}
    assert "DebugHookConfig" not in arguments
    channels = [channel["ChannelName"] for channel in arguments["InputDataConfig"]]
    assert channels == ["train", "validation", "preprocessing"]


def test_metrics_are_found_in_the_log_of_the_training_script(steps: dict[str, Any]) -> None:
    line = "epoch 12 of 12 · train_loss=0.010351 val_loss=1.1e-05"
    written = (ROOT / "step_code/train.py").read_text(encoding="utf-8")
    found = {
        metric["Name"]: re.findall(metric["Regex"], line)
        for metric in steps["Train"]["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]
    }
    assert found == {"train_loss": ["0.010351"], "val_loss": ["1.1e-05"]}
    assert all(f"{name}={{" in written for name in found)


def test_outputs_lie_below_the_run(steps: dict[str, Any]) -> None:
    run = [
        "s3:/",
        {"Get": "Parameters.mlops_bucket"},
        {"Get": "Execution.PipelineName"},
        {"Get": "Execution.PipelineExecutionId"},
    ]
    places = {
        output["OutputName"]: output["S3Output"]["S3Uri"]["Std:Join"]["Values"]
        for name in ("ETL", "Evaluate")
        for output in steps[name]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    }
    assert places == {
        "train": [*run, "input", "train"],
        "validation": [*run, "input", "validation"],
        "test": [*run, "input", "test"],
        "holdout": [*run, "input", "holdout"],
        "preprocessing": [*run, "input", "preprocessing"],
        "evaluation": [*run, "evaluation"],
    }
    model = steps["Train"]["Arguments"]["OutputDataConfig"]["S3OutputPath"]
    assert model["Std:Join"]["Values"] == [*run, "output"]


def test_fail_step_says_what_the_lab_says(steps: dict[str, Any]) -> None:
    assert steps["Fail"]["Arguments"]["ErrorMessage"]["Std:Join"] == {
        "On": " ",
        "Values": ["Execution failed due to MSE greater than", {"Get": "Parameters.MseThreshold"}],
    }


def test_registration_is_the_labs(steps: dict[str, Any]) -> None:
    arguments = steps["Register-RegisterModel"]["Arguments"]
    specification = arguments["InferenceSpecification"]
    assert arguments["ModelPackageGroupName"] == "DiamondPricePackageGroup"
    assert arguments["ModelApprovalStatus"] == {"Get": "Parameters.ModelApprovalStatus"}
    assert specification["SupportedContentTypes"] == ["text/csv"]
    assert specification["SupportedRealtimeInferenceInstanceTypes"] == [
        "ml.t2.medium",
        "ml.m5.xlarge",
        "ml.c5.large",
    ]
    (container,) = specification["Containers"]
    assert container["ModelDataUrl"] == {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}


# --- what it refers to ---------------------------------------------------------------------------


def test_every_asset_is_referred_to(settings: Settings, text: str) -> None:
    for asset in lab_assets(settings, load_dataset(settings.dataset)).all():
        assert asset.key in text


def test_an_edited_csv_has_another_uri(settings: Settings, tmp_path: Path) -> None:
    original = ROOT / "local_data/diamonds/diamonds.csv"
    edited = tmp_path / "diamonds.csv"
    edited.write_bytes(original.read_bytes() + b"0.5,Ideal,E,SI2,61.5,55,1000,5.1,5.2,3.2\n")
    changed = lab_assets(replace(settings, data_file=edited), load_dataset(settings.dataset))
    unchanged = lab_assets(settings, load_dataset(settings.dataset))
    assert changed.raw_data.uri != unchanged.raw_data.uri
    assert changed.raw_data.source == edited


# --- quiet and offline ---------------------------------------------------------------------------


def test_nothing_is_printed_sent_or_left_changed(
    text: str, elsewhere: subprocess.CompletedProcess[str]
) -> None:
    assert (elsewhere.returncode, elsewhere.stdout, elsewhere.stderr) == (0, text, "")


def test_a_compile_session_refuses_to_send(settings: Settings) -> None:
    session = CompileSession(settings)
    for call in (
        lambda: session.s3_client.list_buckets(),
        lambda: session.sagemaker_client.list_pipelines(),
        lambda: session.boto_session.client("sts").get_caller_identity(),
    ):
        with pytest.raises(Exception, match="compiled without a gateway"):
            call()
