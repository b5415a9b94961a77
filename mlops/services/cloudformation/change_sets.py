"""CreateChangeSet, DescribeChangeSet, ExecuteChangeSet, DeleteChangeSet, ListChangeSets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation import describing
from mlops.services.cloudformation.inputs import Reader
from mlops.services.cloudformation.records import ChangeSet, Stack

if TYPE_CHECKING:
    from mlops.services.cloudformation.host import StackHost
    from mlops.services.cloudformation.service import CloudFormationService

NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a "
    "change set."
)
"""`aws cloudformation deploy` looks for the first sentence."""


class ChangeSetOperations:
    """They are made at once: looking at a template takes milliseconds."""

    def __init__(self, host: StackHost, service: CloudFormationService) -> None:
        self._host = host
        self._book = host.book
        self._service = service
        self._reader = Reader(host.aws, host.url)

    @property
    def handlers(self) -> Mapping[str, Callable[[JsonObject], JsonObject]]:
        return {
            "CreateChangeSet": self._create,
            "DescribeChangeSet": self._describe,
            "ExecuteChangeSet": self._execute,
            "DeleteChangeSet": self._delete,
            "ListChangeSets": self._list,
        }

    def _create(self, request: JsonObject) -> JsonObject:
        kind = request.get("ChangeSetType", "UPDATE")
        stack = self._stack_for(kind, request["StackName"])
        name = request["ChangeSetName"]
        if any(each.name == name for each in self._book.change_sets(stack.id)):
            raise ServiceError("AlreadyExistsException", f"ChangeSet {name} already exists")
        inputs, _ = self._reader.read(request, stack.current)
        plan = self._service.checked_plan(stack, inputs)
        changes = self._service.changes(stack, plan)
        empty = (
            kind == "UPDATE"
            and stack.status != "UPDATE_FAILED"
            and not changes
            and not self._service.differs(stack, inputs)
        )
        settings = self._host.settings
        change_set = ChangeSet(
            id=f"arn:aws:cloudformation:{settings.region}:{settings.account_id}:changeSet/{name}/"
            f"{uuid4()}",
            name=name,
            stack_id=stack.id,
            stack_name=stack.name,
            kind=kind,
            created_at=self._book.now(),
            status="FAILED" if empty else "CREATE_COMPLETE",
            execution_status="UNAVAILABLE" if empty else "AVAILABLE",
            reason=NO_CHANGES if empty else None,
            description=request.get("Description"),
            inputs=inputs,
            changes=changes,
            on_failure=request.get("OnStackFailure"),
            role_arn=request.get("RoleARN"),
        )
        with self._host.lock, self._book.transaction():
            if self._book.stack(stack.id) is None:
                if self._service.active(stack.name) is not None:
                    raise _exists(stack.name)
                self._book.put_stack(stack)
                self._book.stack_event(stack)
            self._book.put_change_set(change_set)
        return {"Id": change_set.id, "StackId": stack.id}

    def _stack_for(self, kind: str, name: str) -> Stack:
        from mlops.services.cloudformation.service import check_updatable, checked_name

        stack = self._service.active(name)
        if kind == "IMPORT":
            raise _invalid("ChangeSetType IMPORT is refused: the local gateway imports nothing")
        if kind == "CREATE":
            if stack is None:
                made = self._service.new_stack(checked_name(name), "REVIEW_IN_PROGRESS", None)
                return replace(made, reason="User Initiated")
            if stack.status != "REVIEW_IN_PROGRESS":
                raise _exists(stack.name)
            return stack
        if stack is None:
            raise _invalid(f"Stack [{name}] does not exist")
        check_updatable(stack)
        return stack

    def _describe(self, request: JsonObject) -> JsonObject:
        change_set = self._with_progress(self.found(request))
        rows, token = describing.page(change_set.changes, request)
        described = describing.change_set_described(change_set, rows)
        return {**described, "NextToken": token}

    def _with_progress(self, change_set: ChangeSet) -> ChangeSet:
        """One that was executed tells how its stack is doing."""
        stack = self._book.stack(change_set.stack_id)
        if change_set.execution_status != "EXECUTE_IN_PROGRESS" or stack is None:
            return change_set
        if stack.in_progress:
            return change_set
        succeeded = stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
        status = "EXECUTE_COMPLETE" if succeeded else "EXECUTE_FAILED"
        return replace(change_set, execution_status=status)

    def _execute(self, request: JsonObject) -> JsonObject:
        from mlops.services.cloudformation.service import check_updatable

        with self._host.lock:
            change_set = self.found(request)
            stack = self._service.found(change_set.stack_id)
            if self._service.was_asked(stack, request, "ExecuteChangeSet"):
                return {}
            if change_set.execution_status != "AVAILABLE":
                raise ServiceError(
                    "InvalidChangeSetStatus",
                    f"ChangeSet [{change_set.id}] cannot be executed in its current status of "
                    f"[{change_set.status}]",
                )
            creating = stack.status == "REVIEW_IN_PROGRESS"
            if not creating:
                check_updatable(stack)
            self._begin(stack, change_set, request, creating)
            for other in self._book.change_sets(stack.id):
                if other.id != change_set.id:
                    self._book.delete_change_set(other)
            self._book.put_change_set(replace(change_set, execution_status="EXECUTE_IN_PROGRESS"))
        return {}

    def _begin(
        self, stack: Stack, change_set: ChangeSet, request: JsonObject, creating: bool
    ) -> None:
        no_rollback = request.get("DisableRollback", False)
        begun = replace(
            stack,
            **self._service.of_operation(request, "ExecuteChangeSet", stack),
            status="CREATE_IN_PROGRESS" if creating else "UPDATE_IN_PROGRESS",
            target=change_set.inputs,
            updated_at=self._book.now(),
            disable_rollback=no_rollback or change_set.on_failure == "DO_NOTHING",
            on_failure=change_set.on_failure or "ROLLBACK",
            role_arn=change_set.role_arn or stack.role_arn,
            change_set=change_set.id,
        )
        self._service.start(begun)

    def _delete(self, request: JsonObject) -> JsonObject:
        with self._host.lock:
            try:
                change_set = self.found(request)
            except ServiceError as error:
                if error.code != "ChangeSetNotFound":
                    raise
                return {}
            if self._with_progress(change_set).execution_status == "EXECUTE_IN_PROGRESS":
                raise ServiceError(
                    "InvalidChangeSetStatus",
                    f"ChangeSet [{change_set.id}] cannot be deleted while it is being executed",
                )
            self._book.delete_change_set(change_set)
        return {}

    def _list(self, request: JsonObject) -> JsonObject:
        stack = self._service.found(request["StackName"])
        rows, token = describing.page(self._book.change_sets(stack.id), request)
        summaries = [describing.change_set_summary(self._with_progress(row)) for row in rows]
        return {"Summaries": summaries, "NextToken": token}

    def found(self, request: JsonObject) -> ChangeSet:
        """A change set by its ARN, or by its name in a stack."""
        name = request["ChangeSetName"]
        if name.startswith("arn:"):
            change_set = self._book.change_set(name)
        else:
            if "StackName" not in request:
                raise _invalid("StackName must be specified if ChangeSetName is not an ARN")
            stack = self._service.found(request["StackName"])
            every = self._book.change_sets(stack.id)
            change_set = next((each for each in every if each.name == name), None)
        if change_set is None:
            raise ServiceError(
                "ChangeSetNotFound", f"ChangeSet [{name}] does not exist", status=404
            )
        return change_set


def _exists(name: str) -> ServiceError:
    return ServiceError("AlreadyExistsException", f"Stack [{name}] already exists")


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationError", message)
