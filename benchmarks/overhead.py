"""Overhead per step: wall time of a pipeline less what its scripts take, ours and the SDK's own.

One pipeline of processing steps in a row, each with one input and one output, on one image:

- the SDK's stock `LocalPipelineSession` (its executor, docker compose);
- ours in Docker, ours in processes.

Every script says how long it ran (from its first line to its last), so an interpreter's start
counts as overhead for all three alike. The goals: at most half of the stock executor's overhead
in Docker, a tenth in processes. The peer needs Docker and a compose command; what is missing is
said and left out.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops import app
from mlops.errors import EnvironmentLacks
from mlops.settings import DEFAULT_IMAGES, ImageMapping, Settings

STEPS = 5
IMAGE = "mlops-processing:local"
SCRIPT = """\
import os, time
begin = time.perf_counter()
base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml") + "/processing"
with open(base + "/input/rows.csv") as file:
    rows = file.read()
os.makedirs(base + "/output", exist_ok=True)
with open(base + "/output/rows.csv", "w") as file:
    file.write(rows)
time.sleep(0.2)
print("took", time.perf_counter() - begin)
"""


@dataclass(frozen=True, slots=True)
class Work:
    """What a pipeline of the benchmark does."""

    steps: int = STEPS
    chained: bool = True
    """Each step reads what the one before it has written; else all read the same."""
    warm_up: bool = True
    """Run it once before it is measured: the first run pays for what a machine does once."""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one execution, and what of them the scripts took."""

    seconds: float
    scripts: float


def build(
    session: Any, folder: Path, role: str, work: Work, instance_type: str = "ml.m5.large"
) -> Any:
    """The pipeline; its steps run ``script.py``."""
    from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.steps import ProcessingStep

    source: Any = f"s3://{session.default_bucket()}/bench/rows.csv"
    steps = []
    for number in range(work.steps):
        processor = ScriptProcessor(
            image_uri=IMAGE,
            command=["python3"],
            role=role,
            instance_type=instance_type,
            instance_count=1,
            sagemaker_session=session,
        )
        step = ProcessingStep(
            name=f"S{number}",
            step_args=processor.run(
                code=str(folder / "script.py"),
                inputs=[ProcessingInput(source=source, destination="/opt/ml/processing/input")],
                outputs=[ProcessingOutput(output_name="o", source="/opt/ml/processing/output")],
            ),
        )
        if work.chained:
            source = step.properties.ProcessingOutputConfig.Outputs["o"].S3Output.S3Uri
        steps.append(step)
    return Pipeline(name="overhead", steps=steps, sagemaker_session=session)


def run_ours(runtime: str, folder: Path, work: Work) -> Took:
    """One execution behind a gateway of its own."""
    from mlops.sessions.local import GatewayPipelineSession

    settings = replace(
        Settings.load(flags={"store": folder / runtime, "runtime": runtime}),
        images=(ImageMapping(IMAGE, IMAGE, "processing"), *DEFAULT_IMAGES),
    )
    address = app.start_gateway(settings)
    try:
        session = GatewayPipelineSession(address.url, settings)
        put_rows(session)
        pipeline = build(session, folder, settings.execution_role_arn, work)
        pipeline.upsert(role_arn=settings.execution_role_arn)
        run_once = lambda: pipeline.start().wait(delay=0.05, max_attempts=6000)  # noqa: E731
        if work.warm_up:
            run_once()
        return measured(run_once, lambda: own_time(settings.store))
    finally:
        app.stop_gateway(settings)


def run_stock(folder: Path, work: Work) -> Took:
    """One execution by the SDK's own executor; S3 is a gateway of ours."""
    from sagemaker.workflow.pipeline_context import LocalPipelineSession

    from mlops.aws import gateway_session

    settings = Settings.load(flags={"store": folder / "stock", "runtime": "process"})
    address = app.start_gateway(settings)
    try:
        session = LocalPipelineSession(
            boto_session=gateway_session(address.url, settings.region),
            default_bucket=settings.artifact_bucket,
            s3_endpoint_url=address.url,
        )
        put_rows(session)
        pipeline = build(session, folder, settings.execution_role_arn, work, "local")
        pipeline.create(role_arn=settings.execution_role_arn)
        said = io.StringIO()

        def run_once() -> None:
            with contextlib.redirect_stdout(said):
                pipeline.start()

        if work.warm_up:
            run_once()
        said.truncate(0)
        return measured(run_once, lambda: sum_of(said.getvalue()))
    finally:
        app.stop_gateway(settings)


def put_rows(session: Any) -> None:
    bucket = session.default_bucket()
    session.s3_client = session.s3_client or session.boto_session.client("s3")
    with contextlib.suppress(session.s3_client.exceptions.BucketAlreadyOwnedByYou):
        session.s3_client.create_bucket(Bucket=bucket)
    session.s3_client.put_object(Bucket=bucket, Key="bench/rows.csv", Body=b"a,b\n1,2\n" * 1000)


def measured(run: Callable[[], object], own: Callable[[], float]) -> Took:
    begin = time.perf_counter()
    run()
    return Took(time.perf_counter() - begin, own())


def own_time(store: Path) -> float:
    """What the scripts of the newest execution say that they took."""
    newest = max((store / "executions").iterdir(), key=lambda found: found.stat().st_mtime)
    return sum(sum_of(log.read_text()) for log in newest.glob("*/log.txt"))


def sum_of(text: str) -> float:
    return sum(float(line.split("took ")[1]) for line in text.splitlines() if "took " in line)


def each(folder: Path, work: Work) -> Iterator[tuple[str, Took]]:
    """The same work by the stock executor and by ours; what is missing is said and left out."""
    logging.disable(logging.CRITICAL)  # the stock session reports that its telemetry went nowhere
    for name, run in (
        ("stock", run_stock),
        ("docker", lambda where, work: run_ours("docker", where, work)),
        ("process", lambda where, work: run_ours("process", where, work)),
    ):
        try:
            yield name, run(folder, work)
        except (EnvironmentLacks, ImportError) as error:
            print(f"{name:>8}  left out: {error}")


def main() -> None:
    work = Work()
    stock = float("nan")
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as place:
        (Path(place) / "script.py").write_text(SCRIPT)
        for name, took in each(Path(place), work):
            overhead = (took.seconds - took.scripts) / work.steps
            stock = overhead if name == "stock" else stock
            print(f"{name:>8}  {overhead:.3f} s a step  {overhead / stock:6.1%} of stock")


if __name__ == "__main__":
    main()
