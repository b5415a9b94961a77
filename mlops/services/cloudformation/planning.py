"""What a template asks for, with its parameters: which resources, in which order, of what.

Pure. Everything that can be refused is refused here, before anything is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.evaluation import Scope, as_truth, evaluate
from mlops.services.cloudformation.functions import references
from mlops.services.cloudformation.parameters import type_problems
from mlops.services.cloudformation.template import Output, Resource, Template, invalid
from mlops.services.cloudformation.types import TYPES
from mlops.unknown import UNKNOWN

Ask = Callable[[str], Any]

_PRETENDED = (
    "they would only pretend here. Nothing has been created. The local gateway makes for real: "
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a stack is."""

    stack_id: str
    stack_name: str
    region: str
    account_id: str

    def pseudo_parameters(self) -> JsonObject:
        return {
            "AWS::AccountId": self.account_id,
            "AWS::NotificationARNs": [],
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackId": self.stack_id,
            "AWS::StackName": self.stack_name,
            "AWS::URLSuffix": "amazonaws.com",
        }


@dataclass(frozen=True, slots=True)
class Known:
    """What resources and other stacks tell. Without any, everything of them is unknown."""

    reference: Ask = lambda name: UNKNOWN
    attribute: Callable[[str, str], Any] = lambda name, attribute: UNKNOWN
    imported: Ask = lambda name: UNKNOWN


@dataclass(frozen=True)
class Plan:
    """``after[id]`` are the resources that the resource waits for."""

    template: Template
    conditions: Mapping[str, bool]
    resources: Mapping[str, Resource]
    after: Mapping[str, frozenset[str]]
    values: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)

    def properties(self, logical_id: str, known: Known) -> JsonObject:
        """What a resource's properties come to, in their types, with the stack's tags."""
        resource = self.resources[logical_id]
        kind = TYPES[resource.type]
        evaluated = evaluate(resource.properties, self._scope(known))
        if not isinstance(evaluated, dict):
            raise invalid(["Properties must be an object"], "")
        made: JsonObject = kind.schema.coerced(kind.tags(evaluated, self.tags))
        return made

    def outputs(self, known: Known) -> list[JsonObject]:
        """The members of DescribeStacks' Outputs."""
        scope = self._scope(known)
        return [
            {
                "OutputKey": output.name,
                "OutputValue": _output_text(output, evaluate(output.value, scope)),
                "Description": output.description,
                "ExportName": None if output.export is None else evaluate(output.export, scope),
            }
            for output in self.active_outputs()
        ]

    def active_outputs(self) -> Iterator[Output]:
        for output in self.template.outputs.values():
            if output.condition is None or self.conditions[output.condition]:
                yield output

    def in_order(self) -> Iterator[str]:
        """The resources, each behind those that it waits for."""
        return iter(TopologicalSorter(self.after).static_order())

    def _scope(self, known: Known) -> Scope:
        return Scope(
            self.values,
            self.template.mappings,
            self.conditions.__getitem__,
            known.reference,
            known.attribute,
            known.imported,
        )


def make_plan(
    template: Template,
    values: Mapping[str, Any],
    identity: Identity,
    tags: Mapping[str, str] | None = None,
    imported: Ask = lambda name: UNKNOWN,
) -> Plan:
    """The plan of a template whose parameters have these values.

    Raises:
        ServiceError: ``ValidationError`` that names all that is wrong or refused.
    """
    problems = type_problems(template.parameters)
    everything = {**values, **identity.pseudo_parameters()}
    conditions = _conditions(template, everything)
    resources = {
        name: resource
        for name, resource in template.resources.items()
        if resource.condition is None or conditions[resource.condition]
    }
    problems += _refused(resources.values())
    after = {name: _after(each, template, conditions) for name, each in resources.items()}
    problems += _unresolved(after, resources)
    plan = Plan(template, conditions, resources, after, everything, tags or {})
    problems += _circular(after)
    if not problems:
        problems += _wrong_properties(plan, Known(imported=imported))
    if problems:
        raise invalid(problems)
    return plan


def _output_text(output: Output, value: Any) -> Any:
    if value is UNKNOWN or isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise invalid([f"The Value field of the output {output.name} must evaluate to a string"])


def _conditions(template: Template, values: Mapping[str, Any]) -> dict[str, bool]:
    """Every condition. They may refer to one another."""
    known: dict[str, bool] = {}
    open_: list[str] = []

    def ask(name: str) -> bool:
        if name in known:
            return known[name]
        if name in open_:
            raise invalid([f"Circular dependency between conditions: [{', '.join(open_)}]"])
        open_.append(name)
        scope = Scope(values, template.mappings, ask)
        known[name] = as_truth(evaluate(template.conditions[name], scope), f"Condition {name}")
        open_.pop()
        return known[name]

    for name in template.conditions:
        ask(name)
    return known


def refused_types(resources: Iterable[Resource]) -> list[str]:
    return sorted({each.type for each in resources if each.type not in TYPES})


def _refused(resources: Iterable[Resource]) -> list[str]:
    types = refused_types(resources)
    if not types:
        return []
    return [f"Unrecognized resource types: [{', '.join(types)}]: {_PRETENDED}{', '.join(TYPES)}"]


def refusal(template: Template) -> list[str]:
    """The refusal of types that a template makes whatever its parameters are."""
    return _refused(each for each in template.resources.values() if each.condition is None)


def _after(
    resource: Resource, template: Template, conditions: Mapping[str, bool]
) -> frozenset[str]:
    names = {each.name for each in references(resource.properties, conditions)}
    # A resource may be told to wait for one whose condition is false: then there is nothing to
    # wait for, but its properties cannot refer to it.
    waits = {
        name
        for name in resource.depends_on
        if (condition := template.resources[name].condition) is None or conditions[condition]
    }
    return frozenset((names & set(template.resources)) | waits)


def _unresolved(
    after: Mapping[str, frozenset[str]], resources: Mapping[str, Resource]
) -> list[str]:
    missing = sorted({name for names in after.values() for name in names if name not in resources})
    if not missing:
        return []
    shown = ", ".join(missing)
    return [f"Unresolved resource dependencies [{shown}] in the Resources block of the template"]


def _circular(after: Mapping[str, frozenset[str]]) -> list[str]:
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        cycle = ", ".join(sorted(set(error.args[1])))
        return [f"Circular dependency between resources: [{cycle}]"]
    return []


def _wrong_properties(plan: Plan, known: Known) -> Iterator[str]:
    for name, resource in plan.resources.items():
        for each in references(resource.properties, plan.conditions):
            yield from _wrong_attribute(plan, each.name, each.attribute)
        try:
            properties = plan.properties(name, known)
        except ServiceError as error:
            yield f"[/Resources/{name}] {error.what}"
            continue
        found = list(TYPES[resource.type].problems(properties))
        if found:
            yield f"Properties validation failed for resource {name} with message: " + ", ".join(
                found
            )
    for output in plan.active_outputs():
        for each in references([output.value, output.export], plan.conditions):
            if each.name in plan.template.resources and each.name not in plan.resources:
                yield (
                    f"Unresolved resource dependencies [{each.name}] in the Outputs block of the "
                    "template"
                )
            yield from _wrong_attribute(plan, each.name, each.attribute)
    try:
        plan.outputs(known)
    except ServiceError as error:
        yield error.what


def _wrong_attribute(plan: Plan, name: str, attribute: str | None) -> Iterator[str]:
    resource = plan.resources.get(name)
    if resource is None or attribute is None:
        return
    kind = TYPES[resource.type]
    if attribute not in kind.attributes:
        known = ", ".join(kind.attributes) or "no attribute"
        yield (
            f"Template error: resource {name} does not support attribute type {attribute} in "
            f"Fn::GetAtt (here {resource.type} has {known})"
        )
