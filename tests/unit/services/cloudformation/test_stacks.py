"""Stacks made, changed, rolled back, deleted; and taken up where the gateway was killed."""

from __future__ import annotations

import json
import threading
from functools import partial
from itertools import count
from typing import Any

import pytest

from mlops.errors import ServiceError

from .conftest import Killed, MemoryState, Stacks, World

TEMPLATE = """
Parameters: {Image: {Type: String, Default: one}}
Resources:
  Model:
    Type: AWS::SageMaker::Model
    Properties: {PrimaryContainer: {Image: !Ref Image}}
  Config:
    Type: AWS::SageMaker::EndpointConfig
    Properties:
      ProductionVariants: [{VariantName: A, ModelName: !GetAtt Model.ModelName}]
  Endpoint:
    Type: AWS::SageMaker::Endpoint
    Properties: {EndpointName: e, EndpointConfigName: !GetAtt Config.EndpointConfigName}
Outputs:
  Config: {Value: !GetAtt Config.EndpointConfigName}
"""
ALONE = "Resources: {M: {Type: AWS::SageMaker::Model, Properties: {ModelName: m}}}"
REFUSED = ServiceError("ValidationException", "this image is not for you")


def model(name: str, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::SageMaker::Model", "Properties": {"ModelName": name}, **more}


def template(**resources: Any) -> str:
    return json.dumps({"Resources": resources})


# --- creation ---


def test_a_stack_is_created_along_its_graph(stacks: Stacks, world: World) -> None:
    stack = stacks.create(TEMPLATE)
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    (config,) = world.names("EndpointConfig")
    assert stack["Outputs"] == [{"OutputKey": "Config", "OutputValue": config}]
    assert world.things["Endpoint", "e"]["EndpointConfigName"] == config
    assert stacks.events() == [
        ("s", "CREATE_IN_PROGRESS"),
        *[
            (name, status)
            for name in ("Model", "Config", "Endpoint")
            for status in ("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE")
        ],
        ("s", "CREATE_COMPLETE"),
    ]
    resources = stacks.ask("DescribeStackResources", StackName="s")["StackResources"]
    assert resources[2]["PhysicalResourceId"].endswith(":endpoint/e")


def test_what_is_independent_is_made_side_by_side(stacks: Stacks, world: World) -> None:
    together = threading.Barrier(2)
    world.gate = lambda operation: (
        together.wait(30) and None if operation == "CreateModel" else None
    )
    stack = stacks.create(template(A=model("a"), B=model("b")))
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert world.most_at_once >= 2


def test_a_creation_that_fails_is_rolled_back(stacks: Stacks, world: World) -> None:
    world.refused["CreateEndpoint"] = REFUSED
    stack = stacks.create(TEMPLATE)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert world.things == {}
    assert stacks.reason("s", "ROLLBACK_IN_PROGRESS") == (
        "The following resource(s) failed to create: [Endpoint]. Rollback requested by user."
    )
    assert "this image is not for you" in stacks.reason("Endpoint", "CREATE_FAILED")
    assert "(HandlerErrorCode: ValidationException)" in stacks.reason("Endpoint", "CREATE_FAILED")
    with pytest.raises(ServiceError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stacks.update(TEMPLATE)
    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"


def test_what_comes_to_rest_in_a_bad_state_is_a_failure(stacks: Stacks, world: World) -> None:
    world.failing_configs.add("s-Config")
    assert stacks.create(TEMPLATE)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "it does not listen" in stacks.reason("Endpoint", "CREATE_FAILED")
    assert world.things == {}


def test_a_thing_of_somebody_elses_is_neither_taken_nor_deleted(
    stacks: Stacks, world: World
) -> None:
    world.call("sagemaker", "CreateEndpoint", EndpointName="e", EndpointConfigName="mine")
    assert stacks.create(TEMPLATE)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert stacks.reason("Endpoint", "CREATE_FAILED") == "e already exists"
    assert world.things["Endpoint", "e"]["EndpointConfigName"] == "mine"


@pytest.mark.parametrize(
    ("request_", "status", "left"),
    [
        ({"OnFailure": "DO_NOTHING"}, "CREATE_FAILED", 2),
        ({"DisableRollback": "true"}, "CREATE_FAILED", 2),
        ({"OnFailure": "DELETE"}, "DELETE_COMPLETE", 0),
        ({"OnFailure": "ROLLBACK"}, "ROLLBACK_COMPLETE", 0),
    ],
)
def test_on_failure(
    stacks: Stacks, world: World, request_: dict[str, str], status: str, left: int
) -> None:
    world.refused["CreateEndpoint"] = REFUSED
    stack_id = stacks.ask("CreateStack", StackName="s", TemplateBody=TEMPLATE, **request_)
    assert stacks.rested(stack_id["StackId"])["StackStatus"] == status
    assert len(world.things) == left


def test_the_rest_of_a_creation_is_cancelled_at_the_first_failure(
    stacks: Stacks, world: World
) -> None:
    begun = threading.Event()

    def gate(operation: str) -> None:
        if operation == "CreateEndpoint":
            begun.wait(30)
        elif operation == "CreateModel":
            begun.set()

    world.gate = gate
    world.refused["CreateModel"] = REFUSED
    endpoint = {
        "Type": "AWS::SageMaker::Endpoint",
        "Properties": {"EndpointName": "e", "EndpointConfigName": "c"},
    }
    later = model("c", DependsOn="E")
    stack = stacks.create(template(A=model("a"), E=endpoint, C=later))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert ("C", "CREATE_IN_PROGRESS") not in stacks.events()
    assert world.things == {}


def test_a_creation_is_ended_by_its_deletion(stacks: Stacks, world: World) -> None:
    reached, go = threading.Event(), threading.Event()

    def gate(operation: str) -> None:
        if operation == "CreateEndpoint":
            reached.set()
            go.wait(30)

    world.gate = gate
    stack = stacks.ask("CreateStack", StackName="s", TemplateBody=TEMPLATE)["StackId"]
    assert reached.wait(30)
    stacks.ask("DeleteStack", StackName="s")
    go.set()
    assert stacks.rested(stack)["StackStatus"] == "DELETE_COMPLETE"
    assert world.things == {}


# --- update ---


def test_an_update_replaces_what_it_has_to(stacks: Stacks, world: World) -> None:
    stacks.create(TEMPLATE)
    before = set(world.names("EndpointConfig"))
    stack = stacks.update(TEMPLATE, Parameters={"Image": "two"})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    (config,) = world.names("EndpointConfig")
    assert config not in before
    assert world.things["Endpoint", "e"]["EndpointConfigName"] == config
    (name,) = world.names("Model")
    assert world.things["Model", name]["PrimaryContainer"] == {"Image": "two"}
    # The endpoint has left the old configuration before that is deleted.
    assert world.calls.index("UpdateEndpoint") < world.calls.index("DeleteEndpointConfig")
    assert stacks.events()[-2:][1] == ("s", "UPDATE_COMPLETE")


def test_nothing_to_update(stacks: Stacks) -> None:
    stacks.create(TEMPLATE)
    with pytest.raises(ServiceError, match="No updates are to be performed"):
        stacks.update(TEMPLATE)


def test_an_update_that_fails_is_rolled_back(stacks: Stacks, world: World) -> None:
    stacks.create(TEMPLATE)
    before = {key: dict(value) for key, value in world.things.items()}
    (config,) = world.names("EndpointConfig")
    world.refused["UpdateEndpoint"] = REFUSED
    stack = stacks.update(TEMPLATE, Parameters={"Image": "two"})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stack["Parameters"] == [{"ParameterKey": "Image", "ParameterValue": "one"}]
    assert world.things == before
    assert stack["Outputs"][0]["OutputValue"] == config
    del world.refused["UpdateEndpoint"]
    stack = stacks.update(TEMPLATE, Parameters={"Image": "two"})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert len(world.names("EndpointConfig")) == 1


def test_an_update_that_the_service_itself_takes_back_is_rolled_back(
    stacks: Stacks, world: World
) -> None:
    stacks.create(TEMPLATE)
    (config,) = world.names("EndpointConfig")
    world.failing_configs.add("s-Config")
    stack = stacks.update(TEMPLATE, Parameters={"Image": "two"})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "InService with" in stacks.reason("Endpoint", "UPDATE_FAILED")
    assert world.things["Endpoint", "e"]["EndpointConfigName"] == config
    assert world.names("EndpointConfig") == [config]


def test_a_failed_update_without_rollback_can_be_updated(stacks: Stacks, world: World) -> None:
    stacks.create(TEMPLATE)
    (config,) = world.names("EndpointConfig")
    world.refused["UpdateEndpoint"] = REFUSED
    two = {"Parameters": {"Image": "two"}, "DisableRollback": "true"}
    assert stacks.update(TEMPLATE, **two)["StackStatus"] == "UPDATE_FAILED"
    del world.refused["UpdateEndpoint"]
    three = stacks.update(TEMPLATE, Parameters={"Image": "three"})
    assert three["StackStatus"] == "UPDATE_COMPLETE"
    assert config not in world.names("EndpointConfig")
    assert len(world.names("EndpointConfig")) == len(world.names("Model")) == 1


def test_a_failed_update_without_rollback_goes_back_to_the_last_good_state(
    stacks: Stacks, world: World
) -> None:
    stacks.create(TEMPLATE)
    before = {key: dict(value) for key, value in world.things.items()}
    world.refused["UpdateEndpoint"] = REFUSED
    stacks.update(TEMPLATE, Parameters={"Image": "two"}, DisableRollback="true")
    assert stacks.update(TEMPLATE, Parameters={"Image": "three"})["StackStatus"] == (
        "UPDATE_ROLLBACK_COMPLETE"
    )
    assert world.things == before


def test_an_update_is_cancelled(stacks: Stacks, world: World) -> None:
    stacks.create(TEMPLATE)
    before = {key: dict(value) for key, value in world.things.items()}
    reached, go = threading.Event(), threading.Event()

    def gate(operation: str) -> None:
        if operation == "UpdateEndpoint" and not reached.is_set():
            reached.set()
            go.wait(30)

    world.gate = gate
    stacks.ask("UpdateStack", StackName="s", TemplateBody=TEMPLATE, Parameters={"Image": "two"})
    assert reached.wait(30)
    stacks.ask("CancelUpdateStack", StackName="s")
    go.set()
    assert stacks.rested()["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert world.things == before
    with pytest.raises(ServiceError, match="cannot be called from current stack status"):
        stacks.ask("CancelUpdateStack", StackName="s")


def test_a_rollback_that_fails_goes_on_when_it_is_asked_to(stacks: Stacks, world: World) -> None:
    stacks.create(TEMPLATE)
    before = {key: dict(value) for key, value in world.things.items()}
    world.refused["DescribeEndpoint"] = REFUSED
    stack = stacks.update(TEMPLATE, Parameters={"Image": "two"})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    assert "failed to update: [Endpoint]" in stack["StackStatusReason"]
    world.refused.clear()
    stacks.ask("ContinueUpdateRollback", StackName="s")
    assert stacks.rested()["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert world.things == before


def test_a_name_of_ones_own_cannot_be_replaced(stacks: Stacks, world: World) -> None:
    stacks.create(template(A=model("a")))
    changed = model("a")
    changed["Properties"]["EnableNetworkIsolation"] = True
    stack = stacks.update(template(A=changed))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Rename a and update the stack again" in stacks.reason("A", "UPDATE_FAILED")
    assert world.names("Model") == ["a"]


def test_resources_come_and_go(stacks: Stacks, world: World) -> None:
    stacks.create(template(A=model("a"), B=model("b", DeletionPolicy="Retain")))
    assert stacks.update(template(C=model("c")))["StackStatus"] == "UPDATE_COMPLETE"
    assert world.names("Model") == ["b", "c"]
    assert ("B", "DELETE_SKIPPED") in stacks.events()
    listed = stacks.ask("ListStackResources", StackName="s")["StackResourceSummaries"]
    assert [each["LogicalResourceId"] for each in listed] == ["C"]


def test_a_cleanup_that_fails_is_told(stacks: Stacks, world: World) -> None:
    stacks.create(template(A=model("a")))
    world.refused["DeleteModel a"] = ServiceError("InternalFailure", "no", status=500)
    stack = stacks.update(template(C=model("c")))
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert "could not be deleted" in stack["StackStatusReason"]
    assert ("A", "DELETE_FAILED") in stacks.events()


# --- deletion ---


def test_a_deletion_that_fails_can_go_on(stacks: Stacks, world: World) -> None:
    stacks.create(TEMPLATE)
    (config,) = world.names("EndpointConfig")
    world.refused[f"DeleteEndpointConfig {config}"] = ServiceError("ResourceInUse", "in use")
    assert stacks.delete()["StackStatus"] == "DELETE_FAILED"
    assert world.names("Endpoint") == []
    assert len(world.names("Model")) == 1  # what the configuration stands on stays
    with pytest.raises(ServiceError, match="DELETE_FAILED state and can not be updated"):
        stacks.update(TEMPLATE)
    stack = stacks.rested()["StackId"]
    stacks.ask("DeleteStack", StackName="s", RetainResources=["Config"])
    assert stacks.rested(stack)["StackStatus"] == "DELETE_COMPLETE"
    assert world.names("EndpointConfig") == [config]


def test_what_is_gone_already_is_deleted(stacks: Stacks, world: World) -> None:
    stacks.create(TEMPLATE)
    world.things.clear()
    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"


def test_retained_resources(stacks: Stacks, world: World) -> None:
    stacks.create(template(A=model("a", DeletionPolicy="Retain"), B=model("b")))
    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"
    assert world.names("Model") == ["a"]


def test_termination_protection(stacks: Stacks) -> None:
    stacks.create(ALONE, EnableTerminationProtection="true")
    with pytest.raises(ServiceError, match="TerminationProtection is enabled"):
        stacks.delete()
    stacks.ask("UpdateTerminationProtection", StackName="s", EnableTerminationProtection="false")
    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"


# --- exports ---


def test_exports_and_imports(stacks: Stacks) -> None:
    exporting = """
    Resources: {M: {Type: AWS::SageMaker::Model, Properties: {ModelName: m}}}
    Outputs: {O: {Value: !GetAtt M.ModelName, Export: {Name: the-model}}}
    """
    importing = """
    Resources:
      C:
        Type: AWS::SageMaker::EndpointConfig
        Properties:
          ProductionVariants: [{VariantName: A, ModelName: !ImportValue the-model}]
    """
    with pytest.raises(ServiceError, match="No export named the-model found"):
        stacks.create(importing)
    stacks.create(exporting)
    stacks.ask("CreateStack", StackName="t", TemplateBody=importing)
    assert stacks.rested("t")["StackStatus"] == "CREATE_COMPLETE"
    assert stacks.ask("ListImports", ExportName="the-model")["Imports"] == ["t"]
    assert stacks.ask("ListExports")["Exports"][0]["Value"] == "m"
    with pytest.raises(ServiceError, match="cannot be deleted as it is in use by t"):
        stacks.delete()
    stack = stacks.update(exporting.replace("ModelName: m}", "ModelName: k}"))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "cannot be updated as it is in use by t" in stacks.reason(
        "s", "UPDATE_ROLLBACK_IN_PROGRESS"
    )
    assert stack["Outputs"][0]["OutputValue"] == "m"
    stacks.ask(
        "CreateStack",
        StackName="u",
        TemplateBody=exporting.replace("ModelName: m}", "ModelName: n}"),
    )
    assert stacks.rested("u")["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "already exported" in stacks.reason("u", "ROLLBACK_IN_PROGRESS", "u")


# --- a gateway that is killed ---


def survives(act: Any, done: str) -> None:
    """`act` upon a stack, killed at each call that it makes, before and after the call."""
    for dies_at in count():
        for after in (False, True):
            state, world = MemoryState(), World()
            first = Stacks(world, state)
            act(first, partial(arm, world, dies_at, after))
            first.leaving.set()
            first.host.close()
            if not world.killed:
                assert dies_at > 3, "it made no calls to be killed at"
                return
            world.dies_at, second = None, Stacks(world, state)
            second.host.recover()
            try:
                found = second.ask("ListStacks")["StackSummaries"][0]
                stack = second.rested(found["StackId"])
                assert stack["StackStatus"] == done, (dies_at, after)
                counts = [len(world.names(k)) for k in ("Model", "EndpointConfig", "Endpoint")]
                wanted = [0, 0, 0] if done == "DELETE_COMPLETE" else [1, 1, 1]
                assert counts == wanted, (dies_at, after)
            finally:
                second.leaving.set()
                second.host.close()


def arm(world: World, number: int, after: bool) -> None:
    world.dies_at, world.after = len(world.calls) + number, after


def asked(stacks: Stacks, operation: str, **request: Any) -> None:
    """Ask, and wait until whoever works on the stack has rested or died."""
    stacks.ask(operation, StackName="s", **request)
    stack = stacks.ask("ListStacks")["StackSummaries"][0]
    assert stacks.host.wait(stack["StackId"], 60)


dying = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@dying
def test_a_creation_is_taken_up_wherever_it_was_killed() -> None:
    def create(stacks: Stacks, kill: Any) -> None:
        kill()
        asked(stacks, "CreateStack", TemplateBody=TEMPLATE)

    survives(create, "CREATE_COMPLETE")


@dying
def test_an_update_is_taken_up_wherever_it_was_killed() -> None:
    def update(stacks: Stacks, kill: Any) -> None:
        stacks.create(TEMPLATE)
        kill()
        asked(stacks, "UpdateStack", TemplateBody=TEMPLATE, Parameters={"Image": "two"})

    survives(update, "UPDATE_COMPLETE")


@dying
def test_a_rollback_of_an_update_is_taken_up_wherever_it_was_killed() -> None:
    def update(stacks: Stacks, kill: Any) -> None:
        stacks.create(TEMPLATE)
        stacks.world.failing_configs.add("s-Config")
        kill()
        asked(stacks, "UpdateStack", TemplateBody=TEMPLATE, Parameters={"Image": "two"})

    survives(update, "UPDATE_ROLLBACK_COMPLETE")


@dying
def test_a_deletion_is_taken_up_wherever_it_was_killed() -> None:
    def delete(stacks: Stacks, kill: Any) -> None:
        stacks.create(TEMPLATE)
        kill()
        asked(stacks, "DeleteStack")

    survives(delete, "DELETE_COMPLETE")


@dying
def test_a_creation_is_not_taken_up_for_longer_than_it_may_take() -> None:
    state, world = MemoryState(), World()
    first = Stacks(world, state)
    arm(world, 5, True)
    asked(first, "CreateStack", TemplateBody=TEMPLATE, TimeoutInMinutes="1")
    first.leaving.set()
    world.dies_at, second = None, Stacks(world, state)
    second.clock.advance(minutes=2)
    second.host.recover()
    assert second.rested()["StackStatus"] == "ROLLBACK_COMPLETE"
    assert world.things == {}
    second.leaving.set()
    second.host.close()


def test_a_defect_leaves_no_stack_in_progress(
    stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("mlops.services.cloudformation.operation.Forward", broken)
    assert stacks.create(ALONE)["StackStatus"] == "CREATE_FAILED"
    assert "a defect" in stacks.reason("s", "CREATE_FAILED")


def test_killed_is_no_exception_that_anybody_handles() -> None:
    assert not issubclass(Killed, Exception)
