"""Stacks, resources, templates and change sets as the operations tell of them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.inputs import needed_capabilities
from mlops.services.cloudformation.parameters import MASK
from mlops.services.cloudformation.records import ChangeSet, Inputs, ResourceState, Stack
from mlops.services.cloudformation.template import VERSION, Parameter, Template, text_of
from mlops.services.cloudformation.types import TYPES

PAGE = 100

Item = TypeVar("Item")


def page(items: Sequence[Item], request: JsonObject) -> tuple[Sequence[Item], str | None]:
    """One page; the token is the number of the item that comes next."""
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise ServiceError("ValidationError", "The NextToken is not valid")
    begin = int(token)
    end = begin + PAGE
    return items[begin:end], str(end) if end < len(items) else None


def stack_described(stack: Stack) -> JsonObject:
    inputs = stack.inputs
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "ChangeSetId": stack.change_set,
        "Description": None if inputs is None else inputs.description or None,
        "Parameters": [] if inputs is None else parameters_shown(inputs),
        "CreationTime": stack.created_at,
        "LastUpdatedTime": stack.updated_at,
        "DeletionTime": stack.deleted_at,
        "RollbackConfiguration": {},
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason,
        "DisableRollback": stack.disable_rollback,
        "NotificationARNs": [],
        "TimeoutInMinutes": stack.timeout_minutes,
        "Capabilities": [] if inputs is None else inputs.capabilities,
        "Outputs": stack.outputs,
        "RoleARN": stack.role_arn,
        "Tags": [] if inputs is None else tags_shown(inputs),
        "EnableTerminationProtection": stack.protected,
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
        "RetainExceptOnCreate": stack.retain_except_on_create,
    }


def stack_summary(stack: Stack) -> JsonObject:
    described = stack_described(stack)
    return {**described, "TemplateDescription": described["Description"]}


def parameters_shown(inputs: Inputs) -> list[JsonObject]:
    shown = []
    for name, text in inputs.parameters.items():
        hidden, value = name in inputs.hidden, inputs.values.get(name)
        resolved = value if isinstance(value, str) and value != text and not hidden else None
        shown.append(
            {
                "ParameterKey": name,
                "ParameterValue": MASK if hidden else text,
                "ResolvedValue": resolved,
            }
        )
    return shown


def tags_shown(inputs: Inputs) -> list[JsonObject]:
    return [{"Key": key, "Value": value} for key, value in inputs.tags.items()]


def resource_described(stack: Stack, state: ResourceState) -> JsonObject:
    """The members of StackResource, StackResourceDetail and StackResourceSummary."""
    return {
        "StackName": stack.name,
        "StackId": stack.id,
        "LogicalResourceId": state.logical_id,
        "PhysicalResourceId": state.physical_id or None,
        "ResourceType": state.type,
        "Timestamp": state.updated_at,
        "LastUpdatedTimestamp": state.updated_at,
        "ResourceStatus": state.status,
        "ResourceStatusReason": state.reason,
        "Metadata": None if state.metadata is None else json.dumps(state.metadata),
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }


def template_summary(template: Template) -> JsonObject:
    """GetTemplateSummary."""
    by_type: dict[str, list[str]] = {}
    for resource in template.resources.values():
        by_type.setdefault(resource.type, []).append(resource.logical_id)
    return {
        **template_validated(template),
        "Parameters": [_declared(each) for each in template.parameters.values()],
        "ResourceTypes": [each.type for each in template.resources.values()],
        "Version": VERSION,
        "Metadata": None if template.metadata is None else json.dumps(template.metadata),
        "ResourceIdentifierSummaries": [
            {
                "ResourceType": name,
                "LogicalResourceIds": ids,
                "ResourceIdentifiers": [own],
            }
            for name, ids in by_type.items()
            if name in TYPES and (own := TYPES[name].name_property) is not None
        ],
    }


def template_validated(template: Template) -> JsonObject:
    """ValidateTemplate."""
    needed, types = needed_capabilities(template)
    shown = ", ".join(types)
    return {
        "Description": template.description or None,
        "Parameters": [_declared(each) for each in template.parameters.values()],
        "Capabilities": needed or None,
        "CapabilitiesReason": f"The following resource(s) require capabilities: [{shown}]"
        if needed
        else None,
        "DeclaredTransforms": [],
    }


def _declared(parameter: Parameter) -> JsonObject:
    default: Any = parameter.default
    if isinstance(default, list):
        default = ",".join(map(text_of, default))
    elif default is not None:
        default = text_of(default)
    return {
        "ParameterKey": parameter.name,
        "DefaultValue": MASK if parameter.no_echo and default is not None else default,
        "ParameterType": parameter.type,
        "NoEcho": parameter.no_echo,
        "Description": parameter.description,
        "ParameterConstraints": {"AllowedValues": parameter.allowed_values}
        if parameter.allowed_values
        else {},
    }


def change_set_summary(change_set: ChangeSet) -> JsonObject:
    return {
        "StackId": change_set.stack_id,
        "StackName": change_set.stack_name,
        "ChangeSetId": change_set.id,
        "ChangeSetName": change_set.name,
        "ExecutionStatus": change_set.execution_status,
        "Status": change_set.status,
        "StatusReason": change_set.reason,
        "CreationTime": change_set.created_at,
        "Description": change_set.description,
        "IncludeNestedStacks": False,
        "ImportExistingResources": False,
    }


def change_set_described(change_set: ChangeSet, changes: Sequence[JsonObject]) -> JsonObject:
    inputs = change_set.inputs
    return {
        **change_set_summary(change_set),
        "Parameters": parameters_shown(inputs),
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "Capabilities": inputs.capabilities,
        "Tags": tags_shown(inputs),
        "Changes": changes,
        "OnStackFailure": change_set.on_failure,
    }


def listed(stacks: Iterable[Stack], wanted: Sequence[str]) -> list[Stack]:
    return [stack for stack in stacks if not wanted or stack.status in wanted]
