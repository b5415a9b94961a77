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
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
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


def build(session: Any, folder: Path, role: str, instance_type: str = "ml.m5.large") -> Any:
    """The pipeline; each step reads what the one before it has written."""
    from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.steps import ProcessingStep

    source: Any = f"s3://{session.default_bucket()}/bench/rows.csv"
    steps = []
    for number in range(STEPS):
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
        source = step.properties.ProcessingOutputConfig.Outputs["o"].S3Output.S3Uri
        steps.append(step)
    return Pipeline(name="overhead", steps=steps, sagemaker_session=session)


def run_ours(runtime: str, folder: Path) -> float:
    """Seconds of overhead per step of one execution behind a gateway of its own."""
    from mlops.sessions.local import GatewayPipelineSession

    settings = replace(
        Settings.load(flags={"store": folder / runtime, "runtime": runtime}),
        images=(ImageMapping(IMAGE, IMAGE, "processing"), *DEFAULT_IMAGES),
    )
    address = app.start_gateway(settings)
    try:
        session = GatewayPipelineSession(address.url, settings)
        put_rows(session)
        pipeline = build(session, folder, settings.execution_role_arn)
        pipeline.upsert(role_arn=settings.execution_role_arn)
        run_once = lambda: pipeline.start().wait(delay=0.05, max_attempts=6000)  # noqa: E731
        run_once()  # the first run pays for what a machine does once
        return measured(run_once, lambda: own_time(settings.store))
    finally:
        app.stop_gateway(settings)


def run_stock(folder: Path) -> float:
    """Seconds of overhead per step of the SDK's own executor; S3 is a gateway of ours."""
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
        pipeline = build(session, folder, settings.execution_role_arn, "local")
        pipeline.create(role_arn=settings.execution_role_arn)
        said = io.StringIO()

        def run_once() -> None:
            with contextlib.redirect_stdout(said):
                pipeline.start()

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


def measured(run: Callable[[], object], own: Callable[[], float]) -> float:
    begin = time.perf_counter()
    run()
    return (time.perf_counter() - begin - own()) / STEPS


def own_time(store: Path) -> float:
    """What the scripts of the newest execution say that they took."""
    newest = max((store / "executions").iterdir(), key=lambda found: found.stat().st_mtime)
    return sum(sum_of(log.read_text()) for log in newest.glob("*/log.txt"))


def sum_of(text: str) -> float:
    return sum(float(line.split("took ")[1]) for line in text.splitlines() if "took " in line)


def main() -> None:
    logging.disable(logging.CRITICAL)  # the stock session reports that its telemetry went nowhere
    folder = Path(tempfile.mkdtemp(prefix="mlops-bench-"))
    (folder / "script.py").write_text(SCRIPT)
    results: dict[str, float] = {}
    try:
        for name, run in (
            ("stock", run_stock),
            ("docker", lambda where: run_ours("docker", where)),
            ("process", lambda where: run_ours("process", where)),
        ):
            try:
                results[name] = run(folder)
            except (EnvironmentLacks, ImportError) as error:
                print(f"{name:>8}  left out: {error}")
                continue
            ratio = results[name] / results["stock"] if "stock" in results else float("nan")
            print(f"{name:>8}  {results[name]:.3f} s a step  {ratio:6.1%} of stock")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
