"""The operations of CloudFormation that are answered here.

Names, limits and error codes are botocore's model of ``cloudformation``; messages are the
service's own where programs look for them (``aws cloudformation deploy``, botocore's waiters).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.answering import StackAnswers
from mlops.services.cloudformation.change_sets import ChangeSetOperations
from mlops.services.cloudformation.differences import Before, changes
from mlops.services.cloudformation.exports import Exports
from mlops.services.cloudformation.forms import SERVICE, read_request, shaped_answer, xml_text
from mlops.services.cloudformation.inputs import Reader, refuse
from mlops.services.cloudformation.operation import plan_of
from mlops.services.cloudformation.planning import Known, Plan
from mlops.services.cloudformation.records import Inputs, Stack
from mlops.services.cloudformation.template import parse_template
from mlops.services.validation import checked_request

if TYPE_CHECKING:
    from mlops.services.cloudformation.host import StackHost

UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED")
NO_UPDATES = "No updates are to be performed."
NOT_HERE = {
    "NotificationARNs": "it sends no notifications",
    "StackPolicyBody": "stack policies are not checked here",
    "StackPolicyURL": "stack policies are not checked here",
    "StackPolicyDuringUpdateBody": "stack policies are not checked here",
    "StackPolicyDuringUpdateURL": "stack policies are not checked here",
    "ResourceTypes": "permissions are not checked here",
    "ResourcesToImport": "it imports no resources",
    "ImportExistingResources": "it imports no resources",
    "DeploymentMode": "it detects no drift",
    "DeploymentConfig": "stacks are deployed in the one way that there is",
    "DisableValidation": "templates are checked before anything is made",
    "StackSetName": "it has no stack sets",
}

_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")


class CloudFormationService:
    """Forms in, answers out. Thread-safe."""

    def __init__(self, host: StackHost) -> None:
        self._host = host
        self._book = host.book
        self._exports = Exports(host.book)
        self._reader = Reader(host.aws, host.url)
        change_sets = ChangeSetOperations(host, self)
        self._handlers: Mapping[str, Callable[[JsonObject], JsonObject]] = {
            "CreateStack": self._create_stack,
            "UpdateStack": self._update_stack,
            "CancelUpdateStack": self._cancel_update,
            "ContinueUpdateRollback": self._continue_rollback,
            "DeleteStack": self._delete_stack,
            "UpdateTerminationProtection": self._protect,
            **StackAnswers(host, self, change_sets).handlers,
            **change_sets.handlers,
        }

    def handle(self, operation: str, form: JsonObject) -> JsonObject:
        """Answer one operation; the answer is ready for XML.

        Raises:
            ServiceError: as the service answers; ``NotImplemented`` (501) for an operation that is
                not answered here.
        """
        try:
            return shaped_answer(operation, self._answer(operation, form))
        except ServiceError as error:
            code = "ValidationError" if error.code == "ValidationException" else error.code
            raise ServiceError(code, xml_text(error.what), status=error.status) from error

    def _answer(self, operation: str, form: JsonObject) -> JsonObject:
        handler = self._handlers.get(operation)
        if handler is None:
            known = operation in aws_model.load_service(SERVICE).operation_names
            raise ServiceError(
                "NotImplemented" if known else "InvalidAction",
                f"The local gateway does not answer {SERVICE} {operation}; it answers "
                + ", ".join(self._handlers),
                status=501 if known else 400,
            )
        request = checked_request(SERVICE, operation, read_request(operation, form))
        refuse(request, NOT_HERE)
        rollback = request.get("RollbackConfiguration", {})
        refuse(rollback, {"RollbackTriggers": "there are no alarms here"})
        return handler(request)

    # --- create ---

    def _create_stack(self, request: JsonObject) -> JsonObject:
        name = checked_name(request["StackName"])
        if "OnFailure" in request and "DisableRollback" in request:
            raise _invalid("Either DisableRollback or OnFailure can be specified, not both.")
        with self._host.lock:
            existing = self.active(name)
            if existing is not None:
                if self.was_asked(existing, request, "CreateStack"):
                    return {"StackId": existing.id}
                raise ServiceError("AlreadyExistsException", f"Stack [{name}] already exists")
        inputs, _ = self._reader.read(request)
        stack = self.new_stack(name, "CREATE_IN_PROGRESS", inputs)
        stack = replace(
            stack,
            **self.of_operation(request, "CreateStack"),
            disable_rollback=request.get("DisableRollback", False),
            on_failure=request.get("OnFailure", "ROLLBACK"),
            timeout_minutes=request.get("TimeoutInMinutes"),
            role_arn=request.get("RoleARN"),
            protected=request.get("EnableTerminationProtection", False),
        )
        self.checked_plan(stack, inputs)
        with self._host.lock:
            if self.active(name) is not None:
                raise ServiceError("AlreadyExistsException", f"Stack [{name}] already exists")
            self.start(stack)
        return {"StackId": stack.id}

    def new_stack(self, name: str, status: str, inputs: Inputs | None) -> Stack:
        settings = self._host.settings
        arn = (
            f"arn:aws:cloudformation:{settings.region}:{settings.account_id}:stack/{name}/{uuid4()}"
        )
        return Stack(id=arn, name=name, created_at=self._book.now(), status=status, target=inputs)

    def of_operation(self, request: JsonObject, operation: str, old: Stack | None = None) -> Any:
        """The fields of a stack that an operation begins with."""
        token = request.get("ClientRequestToken")
        tokens = dict(old.tokens) if old is not None else {}
        return {
            "operation": str(uuid4()),
            "token": token,
            "tokens": {**tokens, **({token: operation} if token else {})},
            "reason": None,
            "retain_except_on_create": request.get("RetainExceptOnCreate", False),
        }

    def was_asked(self, stack: Stack, request: JsonObject, operation: str) -> bool:
        """Whether the same token has asked for it before.

        Raises:
            ServiceError: ``TokenAlreadyExistsException``: it asked for something else.
        """
        token = request.get("ClientRequestToken")
        before = stack.tokens.get(token or "")
        if before is not None and before != operation:
            raise ServiceError(
                "TokenAlreadyExistsException",
                f"A request with the token {token} was already accepted, for {before}",
            )
        return before is not None

    def start(self, stack: Stack) -> None:
        """Keep a stack in its new status, tell of it, and have it taken on. Under the lock."""
        with self._book.transaction():
            self._book.put_stack(stack)
            self._book.stack_event(stack)
        self._host.begin(stack.id)

    def checked_plan(self, stack: Stack, inputs: Inputs) -> Plan:
        """The plan of a stack, which refuses what cannot be made before anything is."""
        return plan_of(inputs, self._host.identity(stack), self._exports.value)

    # --- update ---

    def _update_stack(self, request: JsonObject) -> JsonObject:
        with self._host.lock:
            stack = self.active(request["StackName"])
        if stack is None:
            raise _invalid(f"Stack [{request['StackName']}] does not exist")
        if self.was_asked(stack, request, "UpdateStack"):
            return {"StackId": stack.id}
        check_updatable(stack)
        inputs, _ = self._reader.read(request, stack.inputs)
        self.update(stack, inputs, request, "UpdateStack")
        return {"StackId": stack.id}

    def update(self, stack: Stack, inputs: Inputs, request: JsonObject, operation: str) -> None:
        """Begin an update.

        Raises:
            ServiceError: nothing would change, something is wrong, or the stack is not at rest.
        """
        if stack.status != "UPDATE_FAILED" and not self.differs(stack, inputs):
            raise _invalid(NO_UPDATES)
        with self._host.lock:
            fresh = self._book.stack(stack.id) or stack
            if fresh.status != stack.status:
                check_updatable(fresh)
            updated = replace(
                fresh,
                **self.of_operation(request, operation, fresh),
                status="UPDATE_IN_PROGRESS",
                target=inputs,
                updated_at=self._book.now(),
                disable_rollback=request.get("DisableRollback", False),
                role_arn=request.get("RoleARN", fresh.role_arn),
            )
            self.start(updated)

    def differs(self, stack: Stack, inputs: Inputs) -> bool:
        plan = self.checked_plan(stack, inputs)
        return bool(self.changes(stack, plan)) or self._outputs_differ(stack, plan)

    def changes(self, stack: Stack, plan: Plan) -> list[JsonObject]:
        return changes(plan, self._before(stack))

    def _before(self, stack: Stack) -> Before:
        states = {
            state.logical_id: state
            for state in self._book.resources(stack.id).values()
            if state.current
        }
        if stack.current is None:
            return Before(states, None, {})
        template = parse_template(stack.current.template)
        return Before(states, template, stack.current.values)

    def _outputs_differ(self, stack: Stack, plan: Plan) -> bool:
        states = self._before(stack).states
        known = Known(
            lambda name: states[name].physical_id,
            lambda name, attribute: states[name].attributes.get(attribute),
            self._exports.value,
        )
        return [_told(o) for o in plan.outputs(known)] != [_told(o) for o in stack.outputs]

    def _cancel_update(self, request: JsonObject) -> JsonObject:
        self._roll_back(
            request,
            "CancelUpdateStack",
            "UPDATE_IN_PROGRESS",
            "CancelUpdateStack cannot be called from current stack status",
        )
        return {}

    def _continue_rollback(self, request: JsonObject) -> JsonObject:
        refuse(request, {"ResourcesToSkip": "delete the stack with RetainResources instead"})
        self._roll_back(
            request,
            "ContinueUpdateRollback",
            "UPDATE_ROLLBACK_FAILED",
            "UpdateRollback cannot be continued from current stack status",
        )
        return {}

    def _roll_back(self, request: JsonObject, operation: str, status: str, otherwise: str) -> None:
        """Go back to before the update; what is being done for it ends."""
        with self._host.lock:
            stack = self.active(request["StackName"])
            if stack is None:
                raise _invalid(f"Stack [{request['StackName']}] does not exist")
            if self.was_asked(stack, request, operation):
                return
            if stack.status != status:
                raise _invalid(f"{otherwise}: {stack.status}")
            back = replace(
                stack,
                **self.of_operation(request, operation, stack),
                status="UPDATE_ROLLBACK_IN_PROGRESS",
            )
            self._host.cancel(stack.id)
            self.start(back)

    # --- delete ---

    def _delete_stack(self, request: JsonObject) -> JsonObject:
        if request.get("DeletionMode", "STANDARD") != "STANDARD":
            raise _invalid("DeletionMode FORCE_DELETE_STACK is refused by the local gateway")
        with self._host.lock:
            stack = self.active(request["StackName"])
            if stack is None or self.was_asked(stack, request, "DeleteStack"):
                return {}
            self._check_deletable(stack, request)
            if stack.status == "DELETE_IN_PROGRESS":
                return {}
            going = replace(
                stack,
                **self.of_operation(request, "DeleteStack", stack),
                status="DELETE_IN_PROGRESS",
                retained=request.get("RetainResources", []),
            )
            self._host.cancel(stack.id)  # a creation on its way ends for it
            self.start(going)
        return {}

    def _check_deletable(self, stack: Stack, request: JsonObject) -> None:
        if stack.protected:
            raise _invalid(
                f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
            )
        allowed = ("CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
        if stack.in_progress and stack.status not in allowed:
            raise _invalid(f"Stack [{stack.id}] cannot be deleted while in status {stack.status}")
        if request.get("RetainResources") and stack.status != "DELETE_FAILED":
            raise _invalid(
                f"Invalid operation on stack [{stack.id}]. Specify RetainResources only when the "
                "stack is in DELETE_FAILED state"
            )
        self._exports.check(stack, [])

    def _protect(self, request: JsonObject) -> JsonObject:
        with self._host.lock:
            stack = self.found(request["StackName"])
            protected = request["EnableTerminationProtection"]
            self._book.put_stack(replace(stack, protected=protected))
        return {"StackId": stack.id}

    # --- looking up ---

    def active(self, name_or_id: str) -> Stack | None:
        """The stack of that name or id, unless it has been deleted."""
        if name_or_id.startswith("arn:"):
            stack = self._book.stack(name_or_id)
            return None if stack is None or stack.deleted else stack
        stacks = (each for each in self._book.stacks() if not each.deleted)
        return next((each for each in stacks if each.name == name_or_id), None)

    def found(self, name_or_id: str) -> Stack:
        """A stack by its name, or by its id also after it has been deleted."""
        stack = self.active(name_or_id) or self._book.stack(name_or_id)
        if stack is None:
            raise _invalid(f"Stack with id {name_or_id} does not exist")
        return stack


def checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise _invalid(
            f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*, "
            "and have length less than or equal to 128"
        )
    return name


def check_updatable(stack: Stack) -> None:
    if stack.status not in UPDATABLE:
        raise _invalid(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")


def _told(output: JsonObject) -> JsonObject:
    return {name: value for name, value in output.items() if value is not None}


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationError", message)
