"""The container contract with real jobs: what they read, write, break and print."""

from __future__ import annotations

import io
import tarfile
import time

from mlops.ports import ExecutionStatus, StepStatus

from ...unit.execution.house import (
    BUCKET,
    House,
    channel,
    processing,
    processing_input,
    processing_outputs,
)
from .conftest import PYTHON_IMAGE, process, train


def test_processing_and_training_hand_their_files_on(house: House) -> None:
    uri = house.put("raw/data.csv", "1\n2\n3\n")
    count = """
        rows = (ml / "processing/input/data/data.csv").read_text().split()
        (ml / "processing/output/train/train.csv").write_text("\\n".join(rows[:2]))
        print(f"detail: {len(rows)} rows")
    """
    learn = """
        import json
        rows = (ml / "input/data/train/train.csv").read_text().split()
        parameters = json.loads((ml / "input/config/hyperparameters.json").read_text())
        (ml / "model/1").mkdir()
        (ml / "model/1/weights").write_text(str(sum(map(int, rows)) * int(parameters["factor"])))
        (ml / "output/data/rows.txt").write_text(str(len(rows)))
        print("loss: 0.5\\nloss: 0.25")
    """
    output = {"Get": "Steps.ETL.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"}
    execution = house.run(
        process(
            house,
            count,
            "ETL",
            ProcessingInputs=[processing_input(uri)],
            ProcessingOutputConfig=processing_outputs(train=f"s3://{BUCKET}/train"),
        ),
        train(
            house,
            learn,
            AlgorithmSpecification={
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss: ([0-9.]+)"}]
            },
            HyperParameters={"factor": "7"},
            InputDataConfig=[channel("train", output)],
        ),
        timeout=60,
    )
    steps = house.steps(execution)
    assert execution.status is ExecutionStatus.SUCCEEDED, steps
    model = steps["Train"].outputs["ModelArtifacts"]["S3ModelArtifacts"]
    with house.objects.open(BUCKET, model.removeprefix(f"s3://{BUCKET}/")) as file:
        content = file.read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        weights = tar.extractfile("1/weights")
        assert weights is not None
        assert weights.read() == b"21"
    assert steps["Train"].outputs["FinalMetricDataList"][0]["Value"] == 0.25
    details = {
        event.data.get("name"): event.data.get("detail")
        for event in house.state.events_after(execution.arn, 0)
    }
    assert details["ETL"] == "3 rows"
    assert house.text(uri) == "1\n2\n3\n"


def test_a_job_may_write_into_its_inputs_without_changing_the_store(house: House) -> None:
    uri = house.put("raw/data.csv", "as it was")
    scribble = """
        folder = ml / "processing/input/data"
        (folder / "data.csv").write_text("changed")
        (folder / "more").write_text("more")
        (ml / "processing/output/o/seen").write_text((folder / "data.csv").read_text())
    """
    execution = house.run(
        process(
            house,
            scribble,
            ProcessingInputs=[processing_input(f"s3://{BUCKET}/raw")],
            ProcessingOutputConfig=processing_outputs(o=f"s3://{BUCKET}/o"),
        )
    )
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert house.text(uri) == "as it was"
    assert house.object_keys("raw") == ["raw/data.csv"]
    assert house.text(f"s3://{BUCKET}/o/seen") == "changed"


def test_a_traceback_is_the_reason_and_the_log_keeps_it(house: House) -> None:
    execution = house.run(process(house, "raise ValueError('row 7')"))
    step = house.steps(execution)["Process"]
    assert step.status is StepStatus.FAILED
    assert (step.failure_reason or "").startswith("ClientError: AlgorithmError: ")
    assert (step.failure_reason or "").endswith("ValueError: row 7, exit code: 1")
    assert "Traceback" in (house.settings.store / (step.log or "")).read_text()


def test_only_the_exit_status_decides(house: House) -> None:
    said = '(ml / "output/failure").write_text("never mind")'
    execution = house.run(train(house, said))
    assert execution.status is ExecutionStatus.SUCCEEDED


def test_a_command_that_is_not_there_fails_the_step(house: House) -> None:
    application = {"ImageUri": PYTHON_IMAGE, "ContainerEntrypoint": ["/no/such/program"]}
    execution = house.run(processing(AppSpecification=application))
    step = house.steps(execution)["Process"]
    assert step.status is StepStatus.FAILED
    assert "/no/such/program" in (step.failure_reason or "")


def test_stopping_ends_the_job_and_keeps_the_model(house: House) -> None:
    saves = """
        import signal, sys, time
        def save(*_):
            (ml / "model/best").write_text("saved")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("ready", flush=True)
        for _ in range(600):  # naps: a signal just before a long sleep waits for its end
            time.sleep(0.1)
    """
    execution = house.start(train(house, saves))
    log = house.settings.store / "executions" / execution.id / "Train" / "log.txt"
    deadline = time.monotonic() + 30
    while not (log.is_file() and "ready" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    house.manager.stop(execution.arn)
    assert house.end_of(execution, 30).status is ExecutionStatus.STOPPED
    step = house.steps(execution)["Train"]
    assert step.status is StepStatus.STOPPED
    assert house.object_keys("out/") == [f"out/{step.job_name}/output/model.tar.gz"]


def test_the_overhead_leaves_the_jobs_own_time_out(house: House) -> None:
    execution = house.run(process(house, "import time\ntime.sleep(1)"))
    step = house.steps(execution)["Process"]
    assert step.ended_at is not None
    wall = (step.ended_at - step.started_at).total_seconds()
    assert wall > 1
    assert step.overhead_seconds < wall - 1


def test_a_locked_folder_does_not_keep_a_job_from_ending(house: House) -> None:
    lock = """
        folder = ml / "processing/output/o"
        (folder / "x").write_text("x")
        (ml / "locked").mkdir()
        (ml / "locked/y").write_text("y")
        (ml / "locked").chmod(0)
    """
    outputs = processing_outputs(o=f"s3://{BUCKET}/o")
    execution = house.run(process(house, lock, ProcessingOutputConfig=outputs))
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert house.object_keys("o/") == ["o/x"]
    assert not (house.settings.store / "executions" / execution.id / "Process" / "ml").exists()
