"""Plans of templates, and how two states of a stack differ."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services.cloudformation.backward import deletion_order
from mlops.services.cloudformation.differences import Before, changes, difference
from mlops.services.cloudformation.planning import Identity, Known, Plan, make_plan
from mlops.services.cloudformation.records import ResourceState
from mlops.services.cloudformation.template import parse_template
from mlops.services.cloudformation.types import TYPES

IDENTITY = Identity("arn:aws:cloudformation:::stack/s/1", "s", "us-east-1", "000000000000")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TEMPLATE = """
Parameters: {Image: {Type: String}, Extra: {Type: String, Default: 'no'}}
Conditions: {Extra: !Equals [!Ref Extra, 'yes']}
Resources:
  Model:
    Type: AWS::SageMaker::Model
    Properties: {PrimaryContainer: {Image: !Ref Image}}
  Config:
    Type: AWS::SageMaker::EndpointConfig
    Properties:
      ProductionVariants:
        - {VariantName: A, ModelName: !GetAtt Model.ModelName, InitialInstanceCount: '1'}
  Endpoint:
    Type: AWS::SageMaker::Endpoint
    Properties: {EndpointName: e, EndpointConfigName: !GetAtt Config.EndpointConfigName}
  Group:
    Type: AWS::SageMaker::ModelPackageGroup
    Condition: Extra
    Properties: {ModelPackageGroupName: g}
Outputs:
  Group: {Condition: Extra, Value: !Ref Group}
  Name: {Value: !GetAtt Endpoint.EndpointName}
"""


def plan(template: Any = TEMPLATE, tags: dict[str, str] | None = None, **values: Any) -> Plan:
    text = template if isinstance(template, str) else json.dumps(template)
    return make_plan(parse_template(text), {"Extra": "no", **values}, IDENTITY, tags)


def refused(template: Any, **values: Any) -> str:
    with pytest.raises(ServiceError) as caught:
        plan(template, **values)
    assert caught.value.code == "ValidationError"
    return caught.value.what


def test_resources_by_their_conditions_and_in_their_order() -> None:
    made = plan(Image="i")
    assert list(made.in_order()) == ["Model", "Config", "Endpoint"]
    assert [output.name for output in made.active_outputs()] == ["Name"]
    assert "Group" in plan(Image="i", Extra="yes").resources


def test_properties_in_their_types_with_the_stacks_tags() -> None:
    known = Known(attribute=lambda name, attribute: f"{name}.{attribute}")
    made = plan(Image="i", tags={"team": "x"}).properties("Config", known)
    assert made == {
        "ProductionVariants": [
            {"VariantName": "A", "ModelName": "Model.ModelName", "InitialInstanceCount": 1}
        ],
        "Tags": [{"Key": "team", "Value": "x"}],
    }


def test_types_are_refused_by_name_before_anything_is_made() -> None:
    told = refused(
        {
            "Resources": {
                "A": {"Type": "AWS::CodePipeline::Pipeline"},
                "B": {"Type": "AWS::CodeBuild::Project"},
                "C": {"Type": "Custom::Thing"},
                "D": {"Type": "AWS::CloudFormation::Stack"},
                "E": {"Type": "AWS::SQS::Queue"},
            }
        }
    )
    assert (
        "Unrecognized resource types: [AWS::CloudFormation::Stack, AWS::CodeBuild::Project, "
        "AWS::CodePipeline::Pipeline, Custom::Thing]: they would only pretend here" in told
    )


def test_a_refused_type_whose_condition_is_false_is_not_made_and_not_refused() -> None:
    template = {
        "Parameters": {"Extra": {"Type": "String"}},
        "Conditions": {"C": {"Fn::Equals": [{"Ref": "Extra"}, "yes"]}},
        "Resources": {
            "A": {"Type": "AWS::CodePipeline::Pipeline", "Condition": "C"},
            "B": {"Type": "AWS::SQS::Queue", "DependsOn": "A"},
        },
    }
    assert list(plan(template).resources) == ["B"]
    assert "AWS::CodePipeline::Pipeline" in refused(template, Extra="yes")


def resources(**each: dict[str, Any]) -> dict[str, Any]:
    return {"Resources": each}


QUEUE = "AWS::SQS::Queue"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (resources(A={"Type": QUEUE, "Properties": {"Foo": 1, "DelaySeconds": "x"}}),
         "Properties validation failed for resource A with message: #: extraneous key [Foo] is not "
         "permitted, #/DelaySeconds: expected type: integer, found: String"),
        (resources(A={"Type": "AWS::S3::Bucket", "Properties": {"WebsiteConfiguration": {}}}),
         "#: the property [WebsiteConfiguration] is refused: nothing in the local gateway"),
        (resources(A={"Type": "AWS::SageMaker::Endpoint"}),
         "#: required key [EndpointConfigName] not found"),
        (resources(A={"Type": "AWS::SageMaker::Model",
                      "Properties": {"PrimaryContainer": {"Imagee": "x", "Mode": "Some"}}}),
         "#/PrimaryContainer: extraneous key [Imagee] is not permitted, "
         "#/PrimaryContainer/Mode: #: Some is not a valid enum value"),
        (resources(A={"Type": QUEUE, "Properties": {"QueueName": {"Fn::GetAtt": ["B", "Foo"]}}},
                   B={"Type": QUEUE}),
         "resource B does not support attribute type Foo in Fn::GetAtt"),
        (resources(A={"Type": QUEUE, "DependsOn": "B"},
                   B={"Type": QUEUE, "Properties": {"QueueName": {"Ref": "A"}}}),
         "Circular dependency between resources: [A, B]"),
        ({"Parameters": {"Extra": {"Type": "String"}},
          "Conditions": {"C": {"Fn::Equals": [{"Ref": "Extra"}, "yes"]}},
          **resources(A={"Type": QUEUE, "Condition": "C"},
                      B={"Type": QUEUE, "Properties": {"QueueName": {"Ref": "A"}}})},
         "Unresolved resource dependencies [A] in the Resources block"),
        ({"Conditions": {"C": {"Condition": "D"}, "D": {"Fn::Not": [{"Condition": "C"}]}},
          **resources(A={"Type": QUEUE})},
         "Circular dependency between conditions"),
        ({"Parameters": {"K": {"Type": "AWS::EC2::VPC::Id"}}, **resources(A={"Type": QUEUE})},
         "AWS::EC2::VPC::Id, which is refused"),
        ({**resources(A={"Type": QUEUE}), "Outputs": {"O": {"Value": ["a"]}}},
         "output O must evaluate to a string"),
    ],
)  # fmt: skip
def test_what_is_refused_before_anything_is_made(template: Any, told: str) -> None:
    assert told in refused(template)


def test_every_type_reads_its_schema_and_takes_its_own_members() -> None:
    """Names of a type that are no properties of it would be promises that nobody keeps."""
    for name, kind in TYPES.items():
        members = set(kind.schema.members)
        assert set(kind.schema.required) <= members, name
        assert set(kind.replacing) - {"EventBusName", "MetricsConfig"} <= members, name
        assert kind.name_property is None or kind.name_property in members, name
        assert not kind.tagged or "Tags" in members, name


@pytest.mark.parametrize("name", TYPES)
def test_names_that_are_made_fit_and_differ(name: str) -> None:
    kind = TYPES[name]
    made = {kind.new_name("a-stack" * 10, "Logical" * 10) for _ in range(5)}
    assert len(made) == 5
    assert all(len(each) <= kind.longest_name for each in made)
    assert all(each == each.lower() for each in made) or not kind.lower_case


# --- differences ---


def state(name: str, kind: str, properties: Any, after: tuple[str, ...] = ()) -> ResourceState:
    return ResourceState(
        key=name,
        logical_id=name,
        type=kind,
        created_at=NOW,
        updated_at=NOW,
        status="CREATE_COMPLETE",
        name=name.lower(),
        physical_id=f"arn:{name.lower()}",
        properties=properties,
        attributes={"ModelName": "model", "EndpointConfigName": "config", "EndpointName": "e"},
        after=after,
    )


def deployed(made: Plan) -> dict[str, ResourceState]:
    known = Known(
        lambda name: f"arn:{name.lower()}",
        lambda name, attribute: {"ModelName": "model", "EndpointConfigName": "config"}[attribute],
    )
    return {
        name: state(name, each.type, made.properties(name, known))
        for name, each in made.resources.items()
    }


def test_a_difference_replaces_or_not() -> None:
    kind = TYPES["AWS::SageMaker::Endpoint"]
    old = {"EndpointName": "e", "EndpointConfigName": "a"}
    assert difference(kind, old, old).changed == ()
    updated = difference(kind, old, {**old, "EndpointConfigName": "b"})
    assert (updated.changed, updated.replacing) == (("EndpointConfigName",), ())
    assert difference(kind, old, {**old, "EndpointName": "f"}).replacing == ("EndpointName",)


def test_nothing_changes_where_nothing_is_new() -> None:
    made = plan(Image="i")
    assert changes(made, Before(deployed(made), made.template, made.values)) == []


def test_a_change_goes_through_what_refers_to_it() -> None:
    before, after = plan(Image="i"), plan(Image="j")
    found = changes(after, Before(deployed(before), before.template, before.values))
    told = [
        (c["LogicalResourceId"], c["Action"], c["Replacement"])
        for c in (each["ResourceChange"] for each in found)
    ]
    assert told == [
        ("Model", "Modify", "True"),
        ("Config", "Modify", "Conditional"),
        ("Endpoint", "Modify", "False"),
    ]
    model, config, _ = (each["ResourceChange"]["Details"][0] for each in found)
    assert (model["ChangeSource"], model["CausingEntity"]) == ("ParameterReference", "Image")
    assert (config["Evaluation"], config["CausingEntity"]) == ("Dynamic", "Model.ModelName")


def test_what_is_added_and_removed() -> None:
    before, after = plan(Image="i"), plan(Image="i", Extra="yes")
    (added,) = changes(after, Before(deployed(before), before.template, before.values))
    assert added["ResourceChange"]["Action"] == "Add"
    (removed,) = changes(before, Before(deployed(after), after.template, after.values))
    assert removed["ResourceChange"]["LogicalResourceId"] == "Group"
    assert removed["ResourceChange"]["PolicyAction"] == "Delete"


def test_what_waited_for_others_is_deleted_first() -> None:
    states = {
        "A": state("A", QUEUE, {}),
        "B": state("B", QUEUE, {}, after=("A",)),
        "C": state("C", QUEUE, {}, after=("A", "B")),
    }
    assert deletion_order(states) == {"A": ["B", "C"], "B": ["C"], "C": []}


def test_resources_of_several_templates_that_waited_for_one_another() -> None:
    states = {"A": state("A", QUEUE, {}, after=("B",)), "B": state("B", QUEUE, {}, after=("A",))}
    assert deletion_order(states) == {"B": [], "A": ["B"]}
