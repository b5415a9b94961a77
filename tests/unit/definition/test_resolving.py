"""What expressions and conditions become in an execution."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.definition import (
    NAME_MEMBERS,
    ConditionStep,
    Literal,
    render_text,
    render_texts,
    resolve,
)
from mlops.definition.conditions.comparison import Comparison
from mlops.engine import evaluate_conditions, explain_conditions
from mlops.errors import ResolveError

PARAMETERS = {"S": "text", "I": 3, "F": 0.5, "B": True}
VARIABLES = {"PipelineName": "lab", "PipelineExecutionId": "k3j9x0q1m2ab"}
TRAINING = {
    "TrainingJobName": "job",
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
    "FinalMetricDataList": [
        {"MetricName": "loss", "Value": 0.25},
        {"MetricName": "val loss", "Value": 0.75},
    ],
    "HyperParameters": {"epochs": "40", "a.b": "dotted"},
    "InputDataConfig": [{"ChannelName": "train"}, {"ChannelName": "test"}],
}
PROCESSING = {
    "ProcessingOutputConfig": {
        "Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b/run/o"}}]
    },
    "ProcessingInputs": [{"InputName": "raw", "S3Input": {"S3Uri": "s3://b/raw"}}],
    "Unnamed": [{"Weight": 1}],
    "Numbers": [1, 2],
}
REPORT = {
    "metrics": {"mse": {"value": 0.0108}, "count": 7, "ok": True, "nothing": None, "name": "x"},
    "list": [[1, 2], {"a b": "spaced"}],
    "dotted.key": 5,
}


@pytest.fixture
def value_of(make: Any, parse: Any, scope: Any) -> Any:
    """Resolve a value as it stands in the arguments of a step after T (training) and P."""

    def value_of(value: Any, report: Any = None) -> Any:
        file = {"PropertyFileName": "R", "OutputName": "o", "FilePath": "sub/report.json"}
        document = make.pipeline(
            make.training("T"),
            make.processing("P", "o", PropertyFiles=[file]),
            make.condition("C"),
            make.training("User", {"V": value}),
            parameters=[
                make.parameter("S"),
                make.parameter("I", "Integer"),
                make.parameter("F", "Float"),
                make.parameter("B", "Boolean"),
            ],
            PipelineExperimentConfig={"ExperimentName": {"Get": "Execution.PipelineName"}},
        )
        text = json.dumps(REPORT) if report is None else report
        here = scope(
            PARAMETERS,
            VARIABLES,
            {"T": TRAINING, "P": PROCESSING, "C": {"Outcome": "true"}},
            {"s3://b/run/o/sub/report.json": text, "s3://b/text/report.json": text},
        )
        return resolve(parse(document).step("User").arguments, here)["V"]

    return value_of


def json_get(path: str) -> Any:
    return {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.P.PropertyFiles.R"}, "Path": path}}


def join(on: str, *values: Any) -> Any:
    return {"Std:Join": {"On": on, "Values": [*values]}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        # A bare Get keeps the declared type.
        ({"Get": "Parameters.S"}, "text"),
        ({"Get": "Parameters.I"}, 3),
        ({"Get": "Parameters.F"}, 0.5),
        ({"Get": "Parameters.B"}, True),
        ({"Get": "Execution.PipelineExecutionId"}, "k3j9x0q1m2ab"),
        ({"Get": "PipelineExperimentConfig.ExperimentName"}, "lab"),
        # Properties of steps.
        ({"Get": "Steps.T.TrainingJobName"}, "job"),
        ({"Get": "Steps.T.ModelArtifacts.S3ModelArtifacts"}, "s3://b/model.tar.gz"),
        ({"Get": "Steps.T.FinalMetricDataList['loss'].Value"}, 0.25),
        ({"Get": "Steps.T.FinalMetricDataList['val loss'].Value"}, 0.75),
        ({"Get": 'Steps.T.FinalMetricDataList["loss"].Value'}, 0.25),
        ({"Get": "Steps.T.HyperParameters['epochs']"}, "40"),
        ({"Get": "Steps.T.HyperParameters['a.b']"}, "dotted"),
        ({"Get": "Steps.T.InputDataConfig[1].ChannelName"}, "test"),
        ({"Get": "Steps.T.InputDataConfig['test'].ChannelName"}, "test"),
        ({"Get": "Steps.P.ProcessingOutputConfig.Outputs['o'].S3Output.S3Uri"}, "s3://b/run/o"),
        ({"Get": "Steps.P.ProcessingInputs['raw'].S3Input.S3Uri"}, "s3://b/raw"),
        ({"Get": "Steps.C.Outcome"}, "true"),
        # Std:Join renders each value as text.
        (join("/", "s3:/", {"Get": "Parameters.S"}, "x"), "s3://text/x"),
        (join("", {"Get": "Parameters.I"}, "-", {"Get": "Parameters.F"}), "3-0.5"),
        (join(" ", True, False, {"Get": "Parameters.B"}), "true false true"),
        (join(" ", 6.0, 1, 0.000001, 1e-7, 1e300), "6.0 1 0.000001 1e-07 1e+300"),
        (join("/", "a", join("-", "b", join("", "c", "d"))), "a/b-cd"),
        (join(","), ""),
        ({"Std:Join": {"Values": ["a", "b"]}}, "ab"),
        # Std:JsonGet, both forms; the type in the file is kept.
        (json_get("metrics.mse.value"), 0.0108),
        (json_get("$.metrics.mse.value"), 0.0108),
        (json_get("metrics['mse'].value"), 0.0108),
        (json_get("metrics.count"), 7),
        (json_get("metrics.ok"), True),
        (json_get("metrics.nothing"), None),
        (json_get("list[0][1]"), 2),
        (json_get("list[1]['a b']"), "spaced"),
        (json_get("['dotted.key']"), 5),
        (json_get("metrics.mse"), {"value": 0.0108}),
        (
            {
                "Std:JsonGet": {
                    "S3Uri": join("/", "s3://b", {"Get": "Parameters.S"}, "report.json"),
                    "Path": "metrics.count",
                }
            },
            7,
        ),
        (join("=", "mse", json_get("metrics.mse.value")), "mse=0.0108"),
    ],
    ids=lambda value: json.dumps(value)[:70],
)
def test_value(value_of: Any, value: Any, expected: Any) -> None:
    found = value_of(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"Get": "Execution.TrainingJobName"}, "Execution.TrainingJobName has no value"),
        ({"Get": "Steps.T.ModelArtefacts.X"}, "did you mean 'ModelArtifacts'?"),
        ({"Get": "Steps.T.FinalMetricDataList['mse'].Value"}, "there are: loss, val loss"),
        ({"Get": "Steps.T.FinalMetricDataList.Value"}, "'Value' is asked of a list"),
        ({"Get": "Steps.T.TrainingJobName.X"}, "'X' is asked of a string"),
        ({"Get": "Steps.T.TrainingJobName[0]"}, "[0] is asked of a string"),
        ({"Get": "Steps.T.InputDataConfig[2].X"}, "beyond the list's 2 elements"),
        ({"Get": "Steps.P.Unnamed['x']"}, "there is no 'x'"),
        ({"Get": "Steps.P.Numbers['x']"}, "the list has an integer in it, which has no name"),
        (join("", {"Get": "Steps.T.ModelArtifacts"}), "An object cannot become a string"),
        (join("", json_get("metrics.nothing")), "Null cannot become a string"),
        (json_get("metrics.rmse"), "s3://b/run/o/sub/report.json has nothing at 'metrics.rmse'"),
        (
            {"Std:JsonGet": {"S3Uri": {"Get": "Parameters.S"}, "Path": "a"}},
            "The S3Uri of Std:JsonGet became 'text'",
        ),
    ],
    ids=lambda value: json.dumps(value)[:70],
)
def test_no_value(value_of: Any, value: Any, part: str) -> None:
    with pytest.raises(ResolveError) as caught:
        value_of(value)
    assert part in caught.value.what
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["", "{", "not json", '{"metrics": NaN}', "[" * 100_000])
def test_a_property_file_that_is_not_json(value_of: Any, text: str) -> None:
    with pytest.raises(ResolveError, match=r"report\.json is not JSON"):
        value_of(json_get("metrics"), report=text)


def test_values_are_the_callers_own(make: Any, parse: Any, scope: Any) -> None:
    step = parse(make.pipeline(make.training("T", {"Environment": {"A": "1"}}))).step("T")
    first = resolve(step.arguments, scope())
    first["Environment"]["A"] = "changed"
    assert resolve(step.arguments, scope())["Environment"] == {"A": "1"}


class TestText:
    """How resolved values become the strings of HyperParameters and Environment."""

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("x", "x"),
            ("", ""),
            (True, "true"),
            (False, "false"),
            (0, "0"),
            (-7, "-7"),
            (6.0, "6.0"),
            (0.002, "0.002"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-07"),
            (1e16, "10000000000000000.0"),
            (1e21, "1e+21"),
        ],
    )
    def test_render(self, value: Any, text: str) -> None:
        assert render_text(value) == text

    def test_hyperparameters(self) -> None:
        assert render_texts({"epochs": 40, "rate": 0.1, "fast": True, "name": "x"}) == {
            "epochs": "40",
            "rate": "0.1",
            "fast": "true",
            "name": "x",
        }

    def test_what_has_no_text_is_named(self) -> None:
        with pytest.raises(ResolveError) as caught:
            render_texts({"layers": [1, 2]})
        assert caught.value.where == "layers"


CONDITIONS = [
    ({"Type": "Equals", "LeftValue": 1, "RightValue": 1.0}, True, "1 == 1.0"),
    ({"Type": "Equals", "LeftValue": "1", "RightValue": "1.0"}, False, "'1' == '1.0'"),
    ({"Type": "Equals", "LeftValue": True, "RightValue": True}, True, "true == true"),
    ({"Type": "Equals", "LeftValue": None, "RightValue": None}, True, "null == null"),
    ({"Type": "GreaterThan", "LeftValue": 2, "RightValue": 1}, True, "2 > 1"),
    ({"Type": "GreaterThan", "LeftValue": 1, "RightValue": 1}, False, "1 > 1"),
    ({"Type": "GreaterThanOrEqualTo", "LeftValue": 1, "RightValue": 1}, True, "1 >= 1"),
    ({"Type": "LessThan", "LeftValue": 1, "RightValue": 1}, False, "1 < 1"),
    ({"Type": "LessThanOrEqualTo", "LeftValue": 1, "RightValue": 1}, True, "1 <= 1"),
    # Strings compare as strings, not as the numbers in them.
    ({"Type": "LessThan", "LeftValue": "10", "RightValue": "9"}, True, "'10' < '9'"),
    ({"Type": "In", "QueryValue": "a", "Values": ["b", "a"]}, True, "'a' in ['b', 'a']"),
    ({"Type": "In", "QueryValue": "1", "Values": [1, True]}, False, "'1' in [1, true]"),
    ({"Type": "In", "QueryValue": 1, "Values": [True]}, False, "1 in [true]"),
    ({"Type": "In", "QueryValue": 1, "Values": []}, False, "1 in []"),
    (
        {"Type": "Not", "Condition": {"Type": "Equals", "LeftValue": 1, "RightValue": 2}},
        True,
        "not (1 == 2)",
    ),
    (
        {
            "Type": "Or",
            "Conditions": [
                {"Type": "Equals", "LeftValue": 1, "RightValue": 2},
                {"Type": "Not", "Condition": {"Type": "In", "QueryValue": 1, "Values": [2]}},
            ],
        },
        True,
        "(1 == 2) or (not (1 in [2]))",
    ),
]


class TestConditions:
    @pytest.mark.parametrize(("condition", "holds", "text"), CONDITIONS, ids=lambda v: str(v)[:60])
    def test_condition(
        self, make: Any, parse: Any, scope: Any, condition: Any, holds: bool, text: str
    ) -> None:
        step = parse(make.pipeline(make.condition("C", condition))).step("C")
        assert isinstance(step, ConditionStep)
        assert evaluate_conditions(step, scope()) is holds
        assert explain_conditions(step, scope()) == text

    def test_the_list_is_an_and(self, make: Any, parse: Any, scope: Any) -> None:
        yes = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
        no = {"Type": "Equals", "LeftValue": 1, "RightValue": 2}
        document = make.pipeline(
            make.condition("A", yes, yes),
            make.condition("B", yes, no),
            make.condition("C", no, yes),
        )
        steps = parse(document).all_steps()
        assert [evaluate_conditions(step, scope()) for step in steps] == [True, False, False]
        assert explain_conditions(steps[1], scope()) == "1 == 1 and 1 == 2"

    def test_what_need_not_be_asked_is_not(self, make: Any, parse: Any, scope: Any) -> None:
        yes = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
        no = {"Type": "Not", "Condition": yes}
        unknowable = {"Type": "Equals", "LeftValue": {"Get": "Parameters.P"}, "RightValue": 1}
        either = {"Type": "Or", "Conditions": [yes, unknowable]}
        document = make.pipeline(
            make.condition("C", either, no, unknowable), parameters=[make.parameter("P")]
        )
        step = parse(document).step("C")
        assert evaluate_conditions(step, scope()) is False
        assert explain_conditions(step, scope()) == "(1 == 1) and not (1 == 1)"

    def test_the_lab_gate(self, definitions: Any, scope: Any) -> None:
        from mlops.definition import bind_parameters, parse_definition

        definition = parse_definition((definitions / "v2_lab.json").read_text(encoding="utf-8"))
        report = {"regression_metrics": {"mse": {"value": 5.5}}}
        output = {"OutputName": "evaluation", "S3Output": {"S3Uri": "s3://b/e"}}
        here = scope(
            bind_parameters(definition, {"MseThreshold": "5"}),
            VARIABLES,
            {"Evaluate": {"ProcessingOutputConfig": {"Outputs": [output]}}},
            {"s3://b/e/evaluation.json": json.dumps(report)},
        )
        step = definition.step("Condition")
        assert isinstance(step, ConditionStep)
        assert not evaluate_conditions(step, here)
        assert explain_conditions(step, here) == "5.5 <= 5.0"
        assert resolve(definition.step("Fail").arguments, here) == {
            "ErrorMessage": "Execution failed due to MSE greater than 5.0"
        }

    @pytest.mark.parametrize(
        ("kind", "left", "right", "part"),
        [
            ("Equals", "1", 1, "cannot compare the string '1' with the number 1"),
            ("Equals", True, 1, "cannot compare the boolean true with the number 1"),
            ("LessThan", None, 1, "cannot compare null with the number 1"),
            ("LessThan", True, False, "needs an order, the boolean true has none"),
            ("LessThan", {"Get": "Parameters.P"}, 1, "cannot compare a list"),
        ],
    )
    def test_what_cannot_be_compared(
        self, make: Any, parse: Any, scope: Any, kind: str, left: Any, right: Any, part: str
    ) -> None:
        question = {"Type": kind, "LeftValue": left, "RightValue": right}
        document = make.pipeline(make.condition("C", question), parameters=[make.parameter("P")])
        with pytest.raises(ResolveError) as caught:
            evaluate_conditions(parse(document).step("C"), scope({"P": [1]}))
        assert part in caught.value.what
        assert caught.value.next_step


def test_the_names_of_named_lists_are_those_of_the_services_model() -> None:
    """Every list of structures in a Describe answer that a path can index by name is covered.

    The check of the check: a new list of botocore's shows up here.
    """
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    operations = "ProcessingJob TrainingJob Model ModelPackage TransformJob HyperParameterTuningJob"
    found: set[str] = set()
    for operation in operations.split():
        shape = model.operation_model(f"Describe{operation}").output_shape
        found |= set(_name_members(shape, frozenset()))
    assert found - {
        # Names of other things, not of the element.
        "ModelPackageName",
        "InferenceSpecificationName",
        "NearestModelName",
        "HyperParameterTuningJobName",
    } <= set(NAME_MEMBERS)


def _name_members(shape: Any, seen: frozenset[str]) -> Any:
    if shape.name in seen:
        return
    seen |= {shape.name}
    if shape.type_name == "structure":
        for member in shape.members.values():
            yield from _name_members(member, seen)
    elif shape.type_name == "list":
        if shape.member.type_name == "structure":
            members = set(shape.member.members)
            assert len(members & set(NAME_MEMBERS)) <= 1, "an element has one name"
            yield from (name for name in members if name.endswith("Name"))
        yield from _name_members(shape.member, seen)


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        (0.011295464931874822, 0.03, "0.0112955 <= 0.03"),
        (0.0300000001, 0.03, "0.0300000001 <= 0.03"),
    ],
)
def test_an_explanation_is_short_and_tells_values_apart(
    scope: Any, left: float, right: float, text: str
) -> None:
    condition = Comparison("LessThanOrEqualTo", Literal(left), Literal(right))
    assert condition.explain(scope()) == text
