"""All that a report of an execution needs, in one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from mlops.definition import PipelineDefinition, bind_parameters, parse_definition
from mlops.errors import NoSuchBucket, NoSuchKey
from mlops.ports import (
    Event,
    ExecutionRecord,
    JsonObject,
    ObjectStore,
    StateStore,
    StepRecord,
    StepStatus,
)

TAIL_LINES = 100
_TAIL_BYTES = 128 * 1024


class ExecutionDetails:
    """Reads what the stores know of an execution. ``store`` is the state folder."""

    def __init__(self, state: StateStore, objects: ObjectStore, store: Path, runtime: str) -> None:
        self._state = state
        self._objects = objects
        self._store = store
        self._runtime = runtime

    def of(self, execution: ExecutionRecord, now: datetime) -> JsonObject:
        """The document; moments are ISO 8601, seconds are numbers.

        Keys: execution, steps, parameters (defaults filled in), definition (parsed JSON), metrics,
        step_metrics (by step: a training job's metrics, the numbers in property files),
        plot (SVG text or null), model_package (or null), failed_logs, runtime.
        """
        definition = parse_definition(execution.definition)
        steps = self._state.list_steps(execution.arn)
        events = self._state.events_after(execution.arn, 0)
        reports = list(self._reports(definition, steps))
        return {
            "execution": _execution_entry(execution, events),
            "steps": [_step_entry(step, events, now) for step in steps],
            "parameters": dict(bind_parameters(definition, execution.parameters)),
            "definition": json.loads(execution.definition),
            "metrics": _metrics(report for _, report in reports),
            "step_metrics": _step_metrics(steps, reports),
            "plot": self._plot(definition, steps),
            "model_package": self._model_package(steps),
            "failed_logs": {
                step.name: {"path": step.log, "tail": _tail(self._store / step.log)}
                for step in steps
                # A step without a job has the place of a log and no log in it.
                if step.status is StepStatus.FAILED and step.log
                if (self._store / step.log).is_file()
            },
            "runtime": self._runtime,
        }

    def _reports(
        self, definition: PipelineDefinition, steps: Sequence[StepRecord]
    ) -> Iterator[tuple[str, JsonObject]]:
        """The JSON documents behind the property files that steps have written, with the step."""
        for name, prefix, path in _property_files(definition, steps):
            body = self._read(f"{prefix}/{path}")
            try:
                document = json.loads(body or b"null")
            except ValueError:
                continue  # a step that reads it fails with the reason; the report goes without
            if isinstance(document, dict):
                yield name, document

    def _plot(self, definition: PipelineDefinition, steps: Sequence[StepRecord]) -> str | None:
        """The first SVG beside a property file."""
        for _, prefix, _ in _property_files(definition, steps):
            bucket, _, key = prefix.removeprefix("s3://").partition("/")
            try:
                found = [o.key for o in self._objects.list(bucket, f"{key}/")]
            except NoSuchBucket:
                continue
            for name in found:
                if name.endswith(".svg"):
                    body = self._read(f"s3://{bucket}/{name}")
                    return body.decode("utf-8", "replace") if body is not None else None
        return None

    def _read(self, uri: str) -> bytes | None:
        """An object's bytes; None where it is gone: outputs may be deleted at any time."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            with self._objects.open(bucket, key) as body:
                return body.read()
        except (NoSuchBucket, NoSuchKey):
            return None

    def _model_package(self, steps: Sequence[StepRecord]) -> JsonObject | None:
        """The package that the last RegisterModel step made, as it is now."""
        for step in reversed(steps):
            arn = step.metadata.get("RegisterModel", {}).get("Arn")
            package = self._state.get_model_package(arn) if arn else None
            if package is not None:
                return {
                    "arn": package.arn,
                    "group": package.group_name,
                    "version": package.version,
                    "approval_status": package.approval_status,
                }
        return None


def execution_summary(execution: ExecutionRecord) -> JsonObject:
    """An execution in a list."""
    return {
        "id": execution.id,
        "arn": execution.arn,
        "pipeline_name": execution.pipeline_name,
        "display_name": execution.display_name,
        "description": execution.description,
        "status": execution.status.value,
        "failure_reason": execution.failure_reason,
        "started_at": execution.started_at.isoformat(),
        "last_modified_at": execution.last_modified_at.isoformat(),
    }


def _execution_entry(execution: ExecutionRecord, events: Sequence[Event]) -> JsonObject:
    ends = [event.at for event in events if event.kind == "execution"]
    ended_at = ends[-1].isoformat() if ends and execution.status.ended else None
    return {**execution_summary(execution), "ended_at": ended_at}


def _step_entry(step: StepRecord, events: Sequence[Event], now: datetime) -> JsonObject:
    details = [
        event.data.get("detail")
        for event in events
        if event.kind == "step" and event.data.get("name") == step.name
    ]
    return {
        "name": step.name,
        "type": step.type,
        "status": step.status.value,
        "failure_reason": step.failure_reason,
        "seconds": ((step.ended_at or now) - step.started_at).total_seconds(),
        "overhead_seconds": step.overhead_seconds,
        "job_name": step.job_name,
        "attempts": step.attempts,
        "cache_hit": step.cache_hit,
        "detail": next((detail for detail in reversed(details) if detail), None),
        "started_at": step.started_at.isoformat(),
        "ended_at": step.ended_at.isoformat() if step.ended_at else None,
        "log": step.log,
    }


def _property_files(
    definition: PipelineDefinition, steps: Sequence[StepRecord]
) -> Iterator[tuple[str, str, str]]:
    """The step, its output's S3 URI (no slash at its end) and the path below it, of every one."""
    by_name = {step.name: step for step in steps}
    for step in definition.all_steps():
        record = by_name.get(step.name)
        if record is None:
            continue
        outputs = {
            output.get("OutputName"): output.get("S3Output", {}).get("S3Uri", "")
            for output in record.outputs.get("ProcessingOutputConfig", {}).get("Outputs", [])
        }
        for file in step.property_files:
            uri = outputs.get(file.output_name)
            if uri:
                yield step.name, uri.rstrip("/"), file.file_path


def _metrics(reports: Iterable[JsonObject]) -> dict[str, float]:
    """The numbers of ``{"regression_metrics": {"mse": {"value": 0.01}, …}}`` documents."""
    found: dict[str, float] = {}
    for report in reports:
        metrics = report.get("regression_metrics")
        for name, entry in (metrics if isinstance(metrics, dict) else {}).items():
            value = entry.get("value") if isinstance(entry, dict) else entry
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found[name] = float(value)
    return found


def _step_metrics(
    steps: Sequence[StepRecord], reports: Sequence[tuple[str, JsonObject]]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for step in steps:
        for metric in step.outputs.get("FinalMetricDataList", ()):
            found.setdefault(step.name, {})[metric["MetricName"]] = metric["Value"]
    for name, report in reports:
        for path, value in _numbers(report, ""):
            found.setdefault(name, {})[path] = value
    return found


def _numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    """Every number in a JSON document, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{path}[{index}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
