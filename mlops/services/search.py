"""Search: SageMaker's own query language over what the Describe operations answer.

SDK v2 searches for a model package group before it registers a package.
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject, StateStore
from mlops.services.executions import ExecutionOperations
from mlops.services.jobs import TRAINING, KnownJobs
from mlops.services.model_packages import ModelPackageOperations
from mlops.services.operation import Handler
from mlops.services.paging import page
from mlops.services.pipelines import PipelineOperations
from mlops.services.validation import invalid, refuse_unsupported


class SearchOperations:
    def __init__(
        self,
        state: StateStore,
        pipelines: PipelineOperations,
        executions: ExecutionOperations,
        packages: ModelPackageOperations,
    ) -> None:
        jobs = KnownJobs(state)
        self._records: Mapping[str, Callable[[], Sequence[JsonObject]]] = {
            "Pipeline": lambda: [pipelines.description(row) for row in state.list_pipelines()],
            "PipelineExecution": lambda: [
                executions.description(row) for row in state.list_executions(newest_first=False)
            ],
            "ModelPackageGroup": lambda: [
                packages.group_description(row) for row in state.list_model_package_groups()
            ],
            "ModelPackage": lambda: [
                packages.description(row) for row in state.list_model_packages()
            ],
            "TrainingJob": lambda: [job.described for job in jobs.all(TRAINING)],
        }

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"Search": self.search}

    def search(self, request: JsonObject) -> JsonObject:
        refuse_unsupported(request, {"VisibilityConditions": "there is one user here"})
        resource = request["Resource"]
        find = self._records.get(resource)
        if find is None:
            raise ServiceError(
                "NotImplemented",
                f"The local gateway does not answer Search for {resource}, "
                f"only for {', '.join(self._records)}",
                status=501,
            )
        expression = request.get("SearchExpression", {})
        hits = [row for row in find() if _matches(row, expression)]
        rows, token = page(_ordered(hits, request), request, lambda row: row[f"{resource}Arn"])
        return {
            "Results": [{resource: row} for row in rows],
            "NextToken": token,
            "TotalHits": {"Value": len(hits), "Relation": "EqualTo"},
        }


def _ordered(rows: list[JsonObject], request: JsonObject) -> Sequence[JsonObject]:
    # Groups are never modified: their CreationTime stands in.
    by = request.get("SortBy", "LastModifiedTime")

    def key(row: JsonObject) -> Any:
        value = row.get(by, row.get("CreationTime") if by == "LastModifiedTime" else None)
        return (value is not None, value)

    try:
        in_order = sorted(rows, key=key)
    except TypeError as error:
        raise invalid(f"The results cannot be sorted by {by}") from error
    return in_order[::-1] if request.get("SortOrder", "Descending") == "Descending" else in_order


def _matches(row: JsonObject, expression: JsonObject) -> bool:
    checks = [
        *(_passes(row, rule) for rule in expression.get("Filters", [])),
        *(_has_such(row, nested) for nested in expression.get("NestedFilters", [])),
        *(_matches(row, inner) for inner in expression.get("SubExpressions", [])),
    ]
    if not checks:
        return True
    return any(checks) if expression.get("Operator") == "Or" else all(checks)


def _has_such(row: JsonObject, nested: JsonObject) -> bool:
    """Whether one entry of a list passes all filters (API reference: ``NestedFilters``).

    The names in the filters are whole: ``InputDataConfig.DataSource.S3DataSource.S3Uri``.
    """
    place = nested["NestedPropertyName"]
    entries = _member(row, place)
    rules = [rule | {"Name": rule["Name"].removeprefix(f"{place}.")} for rule in nested["Filters"]]
    return any(
        all(_passes(entry, rule) for rule in rules)
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    )


def _passes(row: JsonObject, rule: JsonObject) -> bool:
    """One filter, by the documentation of ``Filter``: the default operator is Equals."""
    value = _member(row, rule["Name"])
    operator: str = rule.get("Operator", "Equals")
    wanted = rule.get("Value")
    if operator in ("Exists", "NotExists"):
        return (value is not None) == (operator == "Exists")
    if wanted is None:
        raise invalid(f"The filter on {rule['Name']} needs a Value")
    if value is None:
        return operator == "NotEquals"
    return _compare(operator, value, wanted)


def _compare(operator: str, value: Any, wanted: str) -> bool:
    if operator == "Equals":
        return str(value) == wanted
    if operator == "NotEquals":
        return str(value) != wanted
    if operator == "Contains":
        return wanted in str(value)
    if operator == "In":
        return str(value) in wanted.split(",")
    return _NUMERIC[operator](_number(value), _number(wanted))


_NUMERIC: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThan": operators.gt,
    "GreaterThanOrEqualTo": operators.ge,
    "LessThan": operators.lt,
    "LessThanOrEqualTo": operators.le,
}


def _number(value: Any) -> float:
    try:
        return value.timestamp() if isinstance(value, datetime) else float(value)
    except ValueError as error:
        raise invalid(f"'{value}' is no number to compare with") from error


def _member(row: JsonObject, path: str) -> Any:
    """The value at ``Member.Inner.key``."""
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
