"""How a run ended: for a person at the end of the output, for a program in `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from mlops.cli.console import marked, shown_path, table, when
from mlops.cli.plain_text import without_controls
from mlops.cli.view import WIDE
from mlops.decimals import decimal

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

ENDPOINT_TEST = ("status", "requests", "mse", "mean_ms", "p50_ms", "p95_ms")
SECONDS = ("seconds", "overhead_seconds")
LOG_LINES = 10
"""So much of a failed step's log is shown with it."""
METRICS = ("mse", "rmse", "mae", "r2", "standard_deviation")


def as_json(details: Mapping[str, Any]) -> dict[str, Any]:
    """The document of `--json FILE`, from what the gateway tells of an execution.

    Keys: execution_arn, status, failure_reason, steps, metrics, model_package, endpoint,
    endpoint_test. `metrics` holds null for a metric that the evaluation did not give.
    """
    execution, package = details["execution"], details.get("model_package")
    metrics = details.get("metrics") or {}
    return {
        "execution_arn": execution["arn"],
        "status": execution["status"],
        "failure_reason": execution.get("failure_reason"),
        "steps": [
            {
                key: _rounded(step.get(key)) if key in SECONDS else step.get(key)
                for key in (
                    *("name", "type", "status", "failure_reason", "seconds"),
                    *("overhead_seconds", "job_name", "attempts", "cache_hit"),
                )
            }
            for step in details["steps"]
        ],
        "metrics": {name: metrics.get(name) for name in METRICS},
        "model_package": _known(package, ("arn", "version", "approval_status")),
        "endpoint": details.get("endpoint"),
        "endpoint_test": _known(details.get("endpoint_test"), ENDPOINT_TEST),
    }


def print_head(console: Console, details: Mapping[str, Any]) -> None:
    """Which execution this is, when it began, and the parameters that were given to it."""
    execution = details["execution"]
    words = [execution["pipeline_name"], f"execution {execution['id']}"]
    words += [when(execution["started_at"]), str(details["runtime"])]
    console.print(" · ".join(words), style="bold", markup=False, soft_wrap=True)


def print_summary(
    console: Console, details: Mapping[str, Any], *, store: Path, report: Path
) -> None:
    """The table of steps, what failed, the metric against its gate, the package, the report."""
    execution = details["execution"]
    console.print()
    wide = console.width >= WIDE
    table(
        console,
        ["step", *(["type"] if wide else []), "status", ">seconds", ">overhead"]
        + (["detail"] if wide else []),
        [_step_row(step, wide) for step in details["steps"]],
    )
    console.print()
    rows = [
        ("status", marked(execution["status"])),
        ("reason", execution.get("failure_reason")),
        *_failures(details, store),
        ("mse", _against_gate(details)),
        ("package", _package(details.get("model_package"))),
        ("endpoint", _endpoint(details.get("endpoint"))),
        ("test", _test(details.get("endpoint_test"))),
        ("report", shown_path(report)),
    ]
    for name, value in rows:
        if value:
            console.print(f"{name:<9}", value, soft_wrap=True, markup=False)


def _step_row(step: Mapping[str, Any], wide: bool) -> list[str | Text]:
    numbers = [f"{step['seconds']:.1f}", f"+{step['overhead_seconds']:.1f}"]
    if not wide:
        return [step["name"], marked(step["status"]), *numbers]
    detail = step.get("detail") or ""
    return [step["name"], step["type"], marked(step["status"]), *numbers, detail]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _known(document: Mapping[str, Any] | None, keys: Sequence[str]) -> dict[str, Any] | None:
    return None if document is None else {key: document.get(key) for key in keys}


def _endpoint(endpoint: Mapping[str, Any] | None) -> str | None:
    if endpoint is None:
        return None
    return f"{endpoint['name']} · {endpoint['status']} · {endpoint['url']}"


def _test(test: Mapping[str, Any] | None) -> str | None:
    from mlops.deployment import describe_test

    return None if test is None else describe_test(test)


def last_line(reason: str) -> str:
    """What went wrong, of a reason that may be a traceback or have a place and a next step."""
    lines = [line.strip() for line in reason.splitlines()]
    told = [line for line in lines if line and not line.startswith(("where:", "next:"))]
    return told[-1] if told else reason.strip()


def _failures(details: Mapping[str, Any], store: Path) -> list[tuple[str, str | Text]]:
    """Each failed step: the last line of its reason, the end of its log, where all of it is."""
    rows: list[tuple[str, str | Text]] = []
    for step in details["steps"]:
        if step["status"] != "Failed":
            continue
        reason = last_line(step.get("failure_reason") or "no reason given")
        rows.append(("failed", Text(f"{step['name']}: {reason}", style="red")))
        if log := details["failed_logs"].get(step["name"]):
            lines = without_controls(log["tail"]).splitlines()[-LOG_LINES:]
            rows += [("", Text(f"  {step['name']} │ {line}", style="dim")) for line in lines]
            rows.append(("log", shown_path(store / log["path"])))
    return rows


def _against_gate(details: Mapping[str, Any]) -> str | None:
    mse = (details.get("metrics") or {}).get("mse")
    if mse is None:
        return None
    gate = details.get("parameters", {}).get("MseThreshold")
    if gate is None:
        return f"{mse:.4g}"
    return (
        f"{mse:.4g} · gate {decimal(float(gate))} · {'passed' if mse <= float(gate) else 'missed'}"
    )


def _package(package: Mapping[str, Any] | None) -> str | None:
    if package is None:
        return None
    return f"{package['group']}/{package['version']} · {package['approval_status']}"
