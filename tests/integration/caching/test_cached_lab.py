"""The lab's own pipeline, its steps as real processes, run again and again: what is cached."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops import app, lab
from mlops.authoring import CompiledPipeline
from mlops.backends import LocalBackend, StartOptions
from mlops.cli.follow import ENDED
from mlops.dataset import load_dataset
from mlops.gateway.client import GatewayClient
from mlops.gateway.server import Gateway
from mlops.sessions.environment import pointed_at_gateway
from mlops.sessions.local import NOWHERE, CompileSession
from mlops.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DIAMONDS = ROOT / "local_data/diamonds"
JOBS = ("ETL", "Train", "Evaluate")

# What is asked of Train and Evaluate here is what they read and write, not what they learn: without
# TensorFlow, whose import in each of them would be most of what these tests cost.
TRAIN = """
import json, os, pathlib
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
rows = (base / "input/data/train/train.csv").read_text().splitlines()[1:]
targets = [float(row.partition(",")[0]) for row in rows]
(base / "model/mean.json").write_text(json.dumps(sum(targets) / len(targets)))
print("epoch 1 of 1 · train_loss=0.5 val_loss=0.5")
"""
EVALUATE = """
import json, os, pathlib, tarfile
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "processing"
with tarfile.open(base / "input/model/model.tar.gz") as archive:
    (name,) = (each for each in archive.getnames() if each.endswith("mean.json"))
    mean = json.load(archive.extractfile(name))
rows = (base / "input/holdout/holdout.csv").read_text().splitlines()[1:]
out = base / "output/evaluation"
metrics = {"mse": {"value": mean}, "rows": {"value": len(rows)}}
(out / "evaluation.json").write_text(json.dumps({"regression_metrics": metrics}))
drawn = f"<svg xmlns='http://www.w3.org/2000/svg'><text>{mean}</text></svg>"
(out / "predicted_actual.svg").write_text(drawn)
"""


class Lab:
    """A small edition of the lab, with step code of its own that a test may edit."""

    def __init__(self, folder: Path, gateway: Gateway, settings: Settings) -> None:
        self.step_code = folder / "step_code"
        self.settings = settings
        self._client = GatewayClient(gateway.url)
        self._backend = LocalBackend(settings, lambda: self._client)

    def compile(self) -> CompiledPipeline:
        from mlops.pipeline import build_pipeline

        dataset = load_dataset(self.settings.dataset)
        assets = lab.lab_assets(self.settings, dataset, self.step_code)
        with pointed_at_gateway(NOWHERE, self.settings):
            session = CompileSession(self.settings)
            text = build_pipeline(session, self.settings, assets).definition()
        return CompiledPipeline(dataset.names.pipeline, str(text), assets.all())

    def run(self, mode: str = "service") -> dict[str, Any]:
        """What the gateway tells of a whole run."""
        arn = self._backend.submit(self.compile(), {}, StartOptions(cache_mode=mode))
        name = arn.rpartition("/")[2]
        events = 0
        while True:
            news = self._client.follow(name, events=events, wait=20)
            if news["events"]:
                events = news["events"][-1]["sequence"]
            elif news["status"] in ENDED:
                break
        details = self._client.execution(name)
        assert details["execution"]["status"] == "Succeeded", details
        return details

    def listed(self, arn: str) -> dict[str, Any]:
        answer = self._client.call("ListPipelineExecutionSteps", {"PipelineExecutionArn": arn})
        return {step["StepName"]: step for step in answer["PipelineExecutionSteps"]}

    def package(self, arn: str) -> dict[str, Any]:
        return self._client.call("DescribeModelPackage", {"ModelPackageName": arn})


def hits(details: dict[str, Any]) -> set[str]:
    return {step["name"] for step in details["steps"] if step["cache_hit"]}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    tmp_path = tmp_path_factory.mktemp("lab")
    data = tmp_path / "data"
    data.mkdir()
    descriptor = json.loads((DIAMONDS / "dataset.json").read_text(encoding="utf-8"))
    descriptor["gate"]["maximum"] = 1000.0
    for name in ("sha256", "rows"):
        descriptor.pop(name, None)
    (data / "dataset.json").write_text(json.dumps(descriptor), encoding="utf-8")
    rows = (DIAMONDS / "diamonds.csv").read_text(encoding="utf-8").splitlines()
    # Some of all: the file is sorted by what has to be learnt.
    chosen = [rows[0], *rows[1::80]]
    (data / "diamonds.csv").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    shutil.copytree(
        lab.STEP_CODE, tmp_path / "step_code", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "step_code/train.py").write_text(TRAIN, encoding="utf-8")
    (tmp_path / "step_code/evaluate.py").write_text(EVALUATE, encoding="utf-8")
    settings = replace(
        Settings(), store=tmp_path / "store", dataset=data / "dataset.json", runtime="process"
    )
    gateway = app.compose_gateway(settings)
    yield Lab(tmp_path, gateway, settings)
    gateway.stop()


@pytest.fixture(scope="module")
def first(small: Lab) -> dict[str, Any]:
    """The first run, which every test takes something from."""
    details = small.run()
    assert details["metrics"], "what later runs are compared with"
    assert "<svg" in str(details["plot"])
    return details


def edit(file: Path) -> None:
    with file.open("a", encoding="utf-8") as text:
        text.write("\n# edited\n")


def test_a_second_run_takes_everything_from_the_first(small: Lab, first: dict[str, Any]) -> None:
    second = small.run()
    assert (hits(first), hits(second)) == (set(), set(JOBS))
    source = first["execution"]["arn"]
    for name in JOBS:
        listed = small.listed(second["execution"]["arn"])[name]
        assert listed["CacheHitResult"] == {"SourcePipelineExecutionArn": source}
        assert listed["Metadata"] == small.listed(source)[name]["Metadata"]
    assert second["metrics"] == first["metrics"]
    assert second["plot"] == first["plot"]
    one, two = (small.package(each["model_package"]["arn"]) for each in (first, second))
    assert two["ModelPackageVersion"] == one["ModelPackageVersion"] + 1
    for member in ("InferenceSpecification", "ModelMetrics", "CustomerMetadataProperties"):
        assert two[member] == one[member], "the package names files that are there"
    definition = small.compile().definition
    assert hits(small.run("off")) == set()
    assert small.compile().definition == definition


def test_an_edit_runs_what_depends_on_it_and_no_more(small: Lab, first: dict[str, Any]) -> None:
    assert hits(first) == set()
    edit(small.step_code / "evaluate.py")
    assert hits(small.run()) == {"ETL", "Train"}
    edit(small.step_code / "README.md")
    assert hits(small.run()) == set(JOBS)
    with (small.settings.dataset.parent / "diamonds.csv").open("a", encoding="utf-8") as rows:
        rows.write("0.3,Ideal,E,SI2,61.5,55,400,4.3,4.3,2.6\n")
    assert hits(small.run()) == set()
