"""The report of one execution: a page that needs no network, no script and no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

from mlops import __version__
from mlops.decimals import decimal
from mlops.web import graph, timings
from mlops.web.graph import Edge, Node
from mlops.web.markup import Markup, element, join
from mlops.web.timings import Span

METRIC_NAMES = {
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "standard_deviation": "Standard deviation",
}


def render_report(details: Mapping[str, Any], edges: Sequence[Edge]) -> str:
    """The page as text.

    Args:
        details: what the gateway tells of an execution (`GatewayClient.execution`).
        edges: the dependencies between the steps of its definition.
    """
    execution = details["execution"]
    body = element(
        "main",
        _header(details),
        _facts(details),
        _reasons(details),
        _section("Pipeline", graph.draw(_nodes(details), edges)),
        _section("Timings", _time_line(details)),
        _section("Steps", _steps(details["steps"])),
        _failed_logs(details.get("failed_logs") or {}),
        _quality(details),
        _endpoint(details.get("endpoint"), details.get("endpoint_test")),
        _section("Parameters", _pairs(details.get("parameters") or {})),
        _section("Definition", _definition(details["definition"])),
        element("footer", f"mlops {__version__} · {execution['arn']}"),
    )
    return "<!doctype html>\n" + element(
        "html",
        element(
            "head",
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            element("title", f"{execution['pipeline_name']} · {execution['id']}"),
            element("style", Markup(files("mlops.web").joinpath("report.css").read_text("utf-8"))),
        ),
        element("body", body),
        lang="en",
    )


def _header(details: Mapping[str, Any]) -> Markup:
    execution = details["execution"]
    words = [f"execution {execution['id']}", _moment(execution["started_at"])]
    words += [str(details["runtime"])] if details.get("runtime") else []
    return element(
        "header",
        element("h1", execution["pipeline_name"]),
        element("span", execution["status"], class_=f"pill {execution['status']}"),
        element("p", " · ".join(words)),
    )


def _facts(details: Mapping[str, Any]) -> Markup:
    facts = [_fact("duration", f"{_duration(details):.1f} s", f"{len(details['steps'])} steps")]
    metrics, parameters = details.get("metrics") or {}, details.get("parameters") or {}
    if (mse := metrics.get("mse")) is not None:
        gate = parameters.get("MseThreshold")
        passed = gate is None or mse <= float(gate)
        verdict = "passes" if passed else "misses"
        note = "" if gate is None else f"{verdict} the gate of {decimal(float(gate))}"
        facts.insert(0, _fact("MSE", f"{mse:.4g}", note, "good" if passed else "bad"))
    if (r2 := metrics.get("r2")) is not None:
        facts.insert(1, _fact("R²", f"{r2:.4f}", "of the held-out test rows"))
    if package := details.get("model_package"):
        facts.append(
            _fact(
                "model package",
                f"version {package['version']}",
                f"{package['group']} · {package['approval_status']}",
            )
        )
    return element("div", *facts, class_="facts")


def _fact(what: str, value: str, note: str, mood: str = "") -> Markup:
    return element(
        "div",
        element("div", what, class_="what"),
        element("div", value, class_="value"),
        element("div", note, class_="note"),
        class_=f"fact {mood}".strip(),
    )


def _reasons(details: Mapping[str, Any]) -> Markup:
    """Why the execution failed, and of each step that did. SageMaker's own reason names none."""
    reason = details["execution"].get("failure_reason")
    steps = [
        f"{step['name']}: {step['failure_reason']}"
        for step in details["steps"]
        if step.get("failure_reason")
    ]
    texts = [reason, *steps] if reason else []
    return join([element("p", text, class_="reason") for text in texts])


def _section(title: str, content: Markup) -> Markup:
    return element("section", element("h2", title), content)


def _nodes(details: Mapping[str, Any]) -> list[Node]:
    """The definition's steps in its order, those of branches too, each with how it went."""
    ran = {step["name"]: step for step in details["steps"]}
    return [
        Node(
            name=step["Name"],
            type=step["Type"],
            state=ran[step["Name"]]["status"] if step["Name"] in ran else "NotRun",
            note=f"{ran[step['Name']]['seconds']:.1f} s" if step["Name"] in ran else "not run",
        )
        for step in definition_steps(details["definition"].get("Steps", []))
    ]


def definition_steps(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Steps and, after each condition, the steps of its branches."""
    found: list[Mapping[str, Any]] = []
    for step in steps:
        found.append(step)
        if step.get("Type") == "Condition":
            for branch in ("IfSteps", "ElseSteps"):
                found += definition_steps(step["Arguments"].get(branch, []))
    return found


def _time_line(details: Mapping[str, Any]) -> Markup:
    begin = datetime.fromisoformat(details["execution"]["started_at"])
    spans = [
        Span(
            name=step["name"],
            state=step["status"],
            start=(datetime.fromisoformat(step["started_at"]) - begin).total_seconds(),
            seconds=step["seconds"],
            overhead=step["overhead_seconds"],
        )
        for step in details["steps"]
    ]
    legend = "The shaded start of a bar is overhead: the step's time less its job's own."
    return join([timings.draw(spans), element("p", legend, class_="legend")])


def _steps(steps: Sequence[Mapping[str, Any]]) -> Markup:
    head = element(
        "tr",
        element("th", "step"),
        element("th", "type"),
        element("th", "status"),
        element("th", "seconds", class_="number"),
        element("th", "overhead", class_="number"),
        element("th", "detail"),
    )
    return element("table", head, *[_step_row(step) for step in steps])


def _step_row(step: Mapping[str, Any]) -> Markup:
    return element(
        "tr",
        element("td", element("b", step["name"])),
        element("td", step["type"]),
        element("td", element("span", step["status"], class_=f"pill {step['status']}")),
        element("td", f"{step['seconds']:.2f}", class_="number"),
        element("td", f"{step['overhead_seconds']:.2f}", class_="number"),
        element("td", step.get("failure_reason") or step.get("detail") or "", class_="detail"),
    )


def _failed_logs(logs: Mapping[str, Mapping[str, str]]) -> Markup | None:
    if not logs:
        return None
    parts: list[Markup] = []
    for name, log in logs.items():
        parts.append(element("h3", f"{name} · ", element("code", log["path"])))
        parts.append(element("pre", log["tail"]))
    return _section("Logs of what failed", join(parts))


def _quality(details: Mapping[str, Any]) -> Markup | None:
    metrics, plot = details.get("metrics") or {}, details.get("plot")
    if not metrics and not plot:
        return None
    named = {METRIC_NAMES.get(name, name): f"{value:.6g}" for name, value in metrics.items()}
    # The plot is the evaluation's own SVG: as an image, nothing in it can reach the page.
    image = element("div", _image(plot), class_="plot") if plot else None
    return _section(
        "Quality on the held-out test rows",
        element("div", element("div", _pairs(named)), image, class_="columns"),
    )


def _endpoint(endpoint: Mapping[str, Any] | None, test: Mapping[str, Any] | None) -> Markup | None:
    """The endpoint that serves the package, and what its test measured."""
    if endpoint is None:
        return None
    pairs = {"status": endpoint["status"], "url": endpoint["url"]}
    for name, value in (test or {}).items():
        if isinstance(value, (int, float)):
            pairs[f"test · {name}"] = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
        elif name == "status":
            pairs["test"] = str(value)
    failures = [
        element("p", failure, class_="reason") for failure in (test or {}).get("failures", [])
    ]
    return _section(f"Endpoint {endpoint['name']}", join([_pairs(pairs), *failures]))


def _image(svg: str) -> Markup:
    from base64 import b64encode

    source = "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
    return Markup(f'<img alt="Predicted against actual values" style="width:100%" src="{source}">')


def _pairs(values: Mapping[str, Any]) -> Markup:
    if not values:
        return element("p", "none", class_="legend")
    rows = [
        element("tr", element("td", name), element("td", element("code", str(value))))
        for name, value in values.items()
    ]
    return element("table", *rows)


def _definition(definition: Mapping[str, Any]) -> Markup:
    text = json.dumps(definition, indent=2, ensure_ascii=False)
    return element("details", element("summary", "the JSON"), element("pre", text))


def _duration(details: Mapping[str, Any]) -> float:
    execution = details["execution"]
    begin = datetime.fromisoformat(execution["started_at"])
    end = datetime.fromisoformat(execution.get("ended_at") or execution["last_modified_at"])
    return (end - begin).total_seconds()


def _moment(value: str) -> str:
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
