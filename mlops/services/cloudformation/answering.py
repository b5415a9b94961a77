"""The operations that tell of stacks, templates and exports, and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation import describing
from mlops.services.cloudformation.change_sets import ChangeSetOperations
from mlops.services.cloudformation.describing import page
from mlops.services.cloudformation.exports import Exports
from mlops.services.cloudformation.inputs import Reader
from mlops.services.cloudformation.planning import refusal
from mlops.services.cloudformation.records import Inputs, ResourceState, Stack
from mlops.services.cloudformation.template import invalid, parse_template

if TYPE_CHECKING:
    from mlops.services.cloudformation.host import StackHost
    from mlops.services.cloudformation.service import CloudFormationService

LONGEST_LOOK = 5.0
"""Seconds for which DescribeStacks waits for a stack on its way to rest before it answers:
botocore's waiters, and the AWS CLI with them, look again after half a minute only."""


class StackAnswers:
    def __init__(
        self, host: StackHost, service: CloudFormationService, change_sets: ChangeSetOperations
    ) -> None:
        self._host = host
        self._book = host.book
        self._service = service
        self._change_sets = change_sets
        self._exports = Exports(host.book)
        self._reader = Reader(host.aws, host.url)

    @property
    def handlers(self) -> Mapping[str, Callable[[JsonObject], JsonObject]]:
        return {
            "DescribeStacks": self._describe_stacks,
            "ListStacks": self._list_stacks,
            "DescribeStackEvents": self._describe_events,
            "DescribeStackResource": self._describe_resource,
            "DescribeStackResources": self._describe_resources,
            "ListStackResources": self._list_resources,
            "GetTemplate": self._get_template,
            "GetTemplateSummary": self._get_template_summary,
            "ValidateTemplate": self._validate_template,
            "ListExports": self._list_exports,
            "ListImports": self._list_imports,
        }

    # --- telling ---

    def _describe_stacks(self, request: JsonObject) -> JsonObject:
        name = request.get("StackName")
        if name is not None:
            self._host.wait(self._service.found(name).id, LONGEST_LOOK)
            return {"Stacks": [describing.stack_described(self._service.found(name))]}
        alive = [stack for stack in self._book.stacks() if not stack.deleted]
        rows, token = page(alive, request)
        return {"Stacks": [describing.stack_described(row) for row in rows], "NextToken": token}

    def _list_stacks(self, request: JsonObject) -> JsonObject:
        wanted = request.get("StackStatusFilter", [])
        rows, token = page(describing.listed(self._book.stacks(), wanted), request)
        return {
            "StackSummaries": [describing.stack_summary(row) for row in rows],
            "NextToken": token,
        }

    def _describe_events(self, request: JsonObject) -> JsonObject:
        stack = self._service.found(request["StackName"])
        rows, token = page(self._book.events(stack.id), request)
        return {"StackEvents": rows, "NextToken": token}

    def _describe_resource(self, request: JsonObject) -> JsonObject:
        stack, wanted = self._service.found(request["StackName"]), request["LogicalResourceId"]
        for state in self._resources(stack):
            if state.logical_id == wanted:
                return {"StackResourceDetail": describing.resource_described(stack, state)}
        raise _invalid(f"Resource {wanted} does not exist for stack {stack.name}")

    def _describe_resources(self, request: JsonObject) -> JsonObject:
        name, physical = request.get("StackName"), request.get("PhysicalResourceId")
        if (name is None) == (physical is None):
            raise _invalid("Either StackName or PhysicalResourceId must be specified.")
        stack = self._service.found(name) if name is not None else self._having(str(physical))
        wanted = request.get("LogicalResourceId")
        return {
            "StackResources": [
                describing.resource_described(stack, state)
                for state in self._resources(stack)
                if wanted in (None, state.logical_id)
            ]
        }

    def _having(self, physical_id: str) -> Stack:
        for stack in self._book.stacks():
            if any(state.physical_id == physical_id for state in self._resources(stack)):
                return stack
        raise _invalid(f"Stack for {physical_id} does not exist")

    def _list_resources(self, request: JsonObject) -> JsonObject:
        stack = self._service.found(request["StackName"])
        rows, token = page(self._resources(stack), request)
        return {
            "StackResourceSummaries": [describing.resource_described(stack, row) for row in rows],
            "NextToken": token,
        }

    def _resources(self, stack: Stack) -> list[ResourceState]:
        return [state for state in self._book.resources(stack.id).values() if state.current]

    # --- templates ---

    def _get_template(self, request: JsonObject) -> JsonObject:
        name = request.get("ChangeSetName")
        if name is not None:
            inputs: Inputs | None = self._change_sets.found(request).inputs
        else:
            inputs = self._service.found(request.get("StackName", "")).inputs
        text = "" if inputs is None else inputs.template
        return {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}

    def _get_template_summary(self, request: JsonObject) -> JsonObject:
        name = request.get("StackName")
        if name is not None:
            inputs = self._service.found(name).inputs
            text = "" if inputs is None else inputs.template
        else:
            text = self._reader.template_text(request)
        return describing.template_summary(parse_template(text))

    def _validate_template(self, request: JsonObject) -> JsonObject:
        template = parse_template(self._reader.template_text(request))
        problems = refusal(template)
        if problems:
            raise invalid(problems)
        return describing.template_validated(template)

    # --- exports ---

    def _list_exports(self, request: JsonObject) -> JsonObject:
        exports = sorted(self._exports.all().values(), key=lambda export: str(export["Name"]))
        rows, token = page(exports, request)
        return {"Exports": rows, "NextToken": token}

    def _list_imports(self, request: JsonObject) -> JsonObject:
        name = request["ExportName"]
        importers = self._exports.importers(name)
        if not importers:
            raise _invalid(f"Export '{name}' is not imported by any stack.")
        rows, token = page(importers, request)
        return {"Imports": rows, "NextToken": token}


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationError", message)
