"""What changes between two states of a stack, and what a change does to a resource. Pure.

The shape of a change is botocore's ``ResourceChange``; when a replacement is certain and when it
is conditional: its documentation of ``Replacement``, ``RequiresRecreation`` and ``Evaluation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.ports import JsonObject
from mlops.services.cloudformation.functions import references
from mlops.services.cloudformation.planning import Known, Plan
from mlops.services.cloudformation.records import ResourceState
from mlops.services.cloudformation.template import RETAIN, Template
from mlops.services.cloudformation.types import TYPES, ResourceType
from mlops.unknown import UNKNOWN, holds_unknown


@dataclass(frozen=True, slots=True)
class Difference:
    changed: tuple[str, ...]
    """The properties that differ."""
    replacing: tuple[str, ...]
    """Those of them that make a new resource."""


def difference(kind: ResourceType, old: JsonObject, new: JsonObject) -> Difference:
    """How two states of a resource's properties differ; what is not known counts as different."""
    names = dict.fromkeys((*old, *new))
    changed = tuple(name for name in names if _differs(old.get(name), new.get(name)))
    replacing = set(kind.replacing)
    return Difference(changed, tuple(name for name in changed if name in replacing))


def _differs(old: Any, new: Any) -> bool:
    return bool(old != new) or holds_unknown(new)


@dataclass(frozen=True, slots=True)
class Before:
    """The state that a change set is compared with."""

    states: Mapping[str, ResourceState]
    template: Template | None
    values: Mapping[str, Any]


def changes(plan: Plan, before: Before) -> list[JsonObject]:
    """The ``Changes`` of a change set: what would be added, modified and removed."""
    comparing = _Comparing(plan, before)
    found = [change for name in plan.in_order() if (change := comparing.change(name))]
    removed = [
        _resource_change(
            "Remove",
            state.type,
            name,
            state.physical_id,
            PolicyAction="Retain" if state.deletion_policy == RETAIN else "Delete",
        )
        for name, state in before.states.items()
        if name not in plan.resources
    ]
    return [{"Type": "Resource", "ResourceChange": change} for change in (*removed, *found)]


class _Comparing:
    def __init__(self, plan: Plan, before: Before) -> None:
        self._plan = plan
        self._before = before
        self._new: set[str] = set()
        """Resources that will be others than those that are there."""
        self._touched: set[str] = set()
        """Resources that will be changed in place: their attributes may differ then."""

    def change(self, name: str) -> JsonObject | None:
        resource, state = self._plan.resources[name], self._before.states.get(name)
        if state is None or state.type != resource.type:
            self._new.add(name)
            return _resource_change("Add", resource.type, name)
        kind = TYPES[resource.type]
        known = Known(self._reference, self._attribute)
        properties = self._plan.properties(name, known)
        found = difference(kind, state.properties, properties)
        policies = [
            attribute
            for attribute, old, new in (
                ("DeletionPolicy", state.deletion_policy, resource.deletion_policy),
                (
                    "UpdateReplacePolicy",
                    state.update_replace_policy,
                    resource.update_replace_policy,
                ),
                ("Metadata", state.metadata, resource.metadata),
            )
            if old != new
        ]
        if not found.changed and not policies:
            return None
        dynamic = [each for each in found.replacing if holds_unknown(properties.get(each))]
        certain = len(found.replacing) > len(dynamic)
        if found.replacing:
            self._new.add(name)
        self._touched.add(name)
        replacement = "True" if certain else "Conditional" if dynamic else "False"
        details = [
            detail
            for each in found.changed
            for detail in self._details(name, each, each in found.replacing, properties)
        ]
        details += [
            _detail(attribute, None, "Never", "DirectModification") for attribute in policies
        ]
        scope = dict.fromkeys(detail["Target"]["Attribute"] for detail in details)
        policy = "ReplaceAndRetain" if state.update_replace_policy == RETAIN else "ReplaceAndDelete"
        return _resource_change(
            "Modify",
            resource.type,
            name,
            state.physical_id,
            Replacement=replacement,
            Scope=list(scope),
            Details=details,
            PolicyAction=policy if certain else None,
        )

    def _reference(self, name: str) -> Any:
        if name in self._new:
            return UNKNOWN
        return self._before.states[name].physical_id

    def _attribute(self, name: str, attribute: str) -> Any:
        if name in self._new:
            return UNKNOWN
        return self._before.states[name].attributes.get(attribute, UNKNOWN)

    def _details(
        self, name: str, prop: str, replaces: bool, properties: JsonObject
    ) -> Iterator[JsonObject]:
        recreation = "Always" if replaces else "Never"
        attribute = "Tags" if prop == "Tags" else "Properties"
        expression = self._plan.resources[name].properties.get(prop)
        if holds_unknown(properties.get(prop)):
            for each in references(expression, self._plan.conditions):
                if each.name in self._new:
                    source = "ResourceReference" if each.attribute is None else "ResourceAttribute"
                    cause = each.name + ("" if each.attribute is None else f".{each.attribute}")
                    yield _detail(attribute, prop, recreation, source, cause, "Dynamic")
        if self._rewritten(name, prop, expression):
            yield _detail(attribute, prop, recreation, "DirectModification")
            return
        for each in references(expression, self._plan.conditions):
            old, new = self._before.values.get(each.name), self._plan.values.get(each.name)
            if each.name in self._plan.template.parameters and old != new:
                yield _detail(attribute, prop, recreation, "ParameterReference", each.name)

    def _rewritten(self, name: str, prop: str, expression: Any) -> bool:
        template = self._before.template
        if template is None or name not in template.resources:
            return True
        return bool(template.resources[name].properties.get(prop) != expression)


def _detail(
    attribute: str,
    prop: str | None,
    recreation: str,
    source: str,
    cause: str | None = None,
    evaluation: str = "Static",
) -> JsonObject:
    return {
        "Target": {
            "Attribute": attribute,
            "Name": None if attribute == "Tags" else prop,
            "RequiresRecreation": recreation,
        },
        "Evaluation": evaluation,
        "ChangeSource": source,
        "CausingEntity": cause,
    }


def _resource_change(
    action: str, kind: str, name: str, physical_id: str | None = None, **more: Any
) -> JsonObject:
    return {
        "Action": action,
        "LogicalResourceId": name,
        "PhysicalResourceId": physical_id or None,
        "ResourceType": kind,
        "Scope": [],
        "Details": [],
        **more,
    }
