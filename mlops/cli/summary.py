"""How a run ended: for a person at the end of the output, for a program in `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops.cli.console import marked, table
from mlops.cli.view import StepLine, step_text

if TYPE_CHECKING:
    from rich.console import Console

ENDPOINT_TEST = ("status", "requests", "mse", "mean_ms", "p50_ms", "p95_ms")
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
                key: step.get(key)
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


def print_summary(console: Console, details: Mapping[str, Any], report: str) -> None:
    """The table of steps, the metric against its gate, the package, the report's path."""
    execution = details["execution"]
    console.print()
    table(
        console,
        ["step", "type", "status", ">seconds", ">overhead", "detail"],
        [
            (
                step["name"],
                step["type"],
                marked(step["status"]),
                f"{step['seconds']:.1f}",
                f"+{step['overhead_seconds']:.1f}",
                step.get("detail") or "",
            )
            for step in details["steps"]
        ],
    )
    console.print()
    rows = [
        ("status", marked(execution["status"])),
        ("reason", execution.get("failure_reason")),
        *[("failed", reason) for reason in _failures(details)],
        ("mse", _against_gate(details)),
        ("package", _package(details.get("model_package"))),
        ("endpoint", _endpoint(details.get("endpoint"))),
        ("test", _test(details.get("endpoint_test"))),
        ("report", report),
    ]
    for name, value in rows:
        if value:
            console.print(f"{name:<9}", value, soft_wrap=True, markup=False)


def print_steps(console: Console, details: Mapping[str, Any]) -> None:
    """The same lines as while it ran, of an execution of the past."""
    width = max([len(step["name"]) for step in details["steps"]] + [8])
    for step in details["steps"]:
        line = StepLine(
            name=step["name"],
            type=step["type"],
            status=step["status"],
            seconds=step["seconds"],
            overhead_seconds=step["overhead_seconds"],
            detail=step.get("detail") or "",
        )
        console.print(step_text(line, width), soft_wrap=True)


def _known(document: Mapping[str, Any] | None, keys: Sequence[str]) -> dict[str, Any] | None:
    return None if document is None else {key: document.get(key) for key in keys}


def _endpoint(endpoint: Mapping[str, Any] | None) -> str | None:
    if endpoint is None:
        return None
    return f"{endpoint['name']} · {endpoint['status']} · {endpoint['url']}"


def _test(test: Mapping[str, Any] | None) -> str | None:
    from mlops.deployment import describe_test

    return None if test is None else describe_test(test)


def _failures(details: Mapping[str, Any]) -> list[str]:
    """Each failed step with the last line of its reason and the path of its whole log."""
    found = []
    for step in details["steps"]:
        if step["status"] == "Failed":
            reason = (step.get("failure_reason") or "").strip().splitlines() or ["no reason given"]
            log = (details.get("failed_logs") or {}).get(step["name"], {}).get("path")
            where = f" · whole log {details['store']}/{log}" if log and details.get("store") else ""
            found.append(f"{step['name']}: {reason[-1].strip()}{where}")
    return found


def _against_gate(details: Mapping[str, Any]) -> str | None:
    mse = (details.get("metrics") or {}).get("mse")
    if mse is None:
        return None
    gate = details.get("parameters", {}).get("MseThreshold")
    if gate is None:
        return f"{mse:.4g}"
    return f"{mse:.4g} · gate {float(gate):.4g} · {'passed' if mse <= float(gate) else 'missed'}"


def _package(package: Mapping[str, Any] | None) -> str | None:
    if package is None:
        return None
    return f"{package['group']}/{package['version']} · {package['approval_status']}"
