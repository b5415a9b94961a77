"""The rules of a definition one by one, each test named after its rule.

They stand in the order of "SageMaker pipeline definition: what an engine has to honour": the
definition, references and functions, conditions, parameters and limits. Whole families of cases are
in the other files of this folder; here each rule is met once, in one place.
"""

from __future__ import annotations

from typing import Any

import pytest

from mlops.definition import bind_parameters, render_texts, resolve
from mlops.engine import evaluate_conditions
from mlops.errors import ParameterError

METRICS = [{"MetricName": "m", "Value": 0.25}]
OUTPUTS = [{"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}}]
DESCRIBED = {
    "E-tl": {"ProcessingOutputConfig": {"Outputs": OUTPUTS}},
    "T": {"FinalMetricDataList": METRICS, "InputDataConfig": [{"ChannelName": "a"}]},
    "L": {"OutputParameters": {"word": "yes"}},
    "C": {"Outcome": "true"},
}
VARIABLES = {
    "PipelineName": "p",
    "PipelineArn": "arn:p",
    "PipelineExecutionId": "k3j9x0q1m2ab",
    "PipelineExecutionArn": "arn:e",
    "StartDateTime": "2026-11-24T10:00:00Z",
    "CurrentDateTime": "2026-11-24T10:00:01Z",
}


@pytest.fixture
def value_of(make: Any, parse: Any, scope: Any) -> Any:
    """What a value in a step's arguments becomes, after steps with the answers above."""

    def value_of(value: Any) -> Any:
        report = {"PropertyFileName": "F", "OutputName": "train", "FilePath": "e.json"}
        function = {
            "Name": "L",
            "Type": "Lambda",
            "Arguments": {},
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
            "OutputParameters": [{"OutputName": "word", "OutputType": "String"}],
        }
        document = make.pipeline(
            make.processing("E-tl", "train", PropertyFiles=[report]),
            make.training("T"),
            make.condition("C"),
            function,
            make.training("User", {"V": value}),
            parameters=[make.parameter("X", "Integer")],
        )
        here = scope({"X": 3}, VARIABLES, DESCRIBED, {"s3://b/train/e.json": '{"a": {"b": [7]}}'})
        return resolve(parse(document).step("User").arguments, here)["V"]

    return value_of


def get(path: str) -> dict[str, str]:
    return {"Get": path}


def join(on: str, *values: Any) -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": [*values]}}


class TestDefinition:
    def test_only_version_2020_12_01_is_known(self, make: Any, problems_of: Any) -> None:
        document = make.pipeline(make.fail(), Version="2021-01-01")
        assert problems_of(document)[0][0] == "Version"

    def test_mlflow_config_null_of_v3_counts_as_absent(self, make: Any, parse: Any) -> None:
        assert parse(make.pipeline(make.fail(), MlflowConfig=None)).steps

    @pytest.mark.parametrize(
        "kind",
        ["EMRServerless", "Job", "Cleanup", "ForEach", "EMR", "AutoML", "QualityCheck", "Lineage"],
    )
    def test_step_types_that_do_not_run_here_are_refused_with_the_steps_name(
        self, make: Any, problems_of: Any, kind: str
    ) -> None:
        ((path, message),) = problems_of(make.pipeline({"Name": "Extra", "Type": kind}))
        assert path == "Steps[0].Type"
        assert f"'Extra' has the type {kind}" in message

    def test_an_integer_parameter_as_hyperparameter_becomes_a_string(self, value_of: Any) -> None:
        """v2 writes a Join, v3 a bare Get, which the engine turns into a string."""
        assert render_texts({"n": value_of(get("Parameters.X"))}) == {"n": "3"}
        assert value_of(join("", get("Parameters.X"))) == "3"

    def test_app_managed_may_be_absent(self, make: Any, parse: Any) -> None:
        """v2 writes ``AppManaged: false`` into inputs and outputs, v3 leaves it out."""
        for more in ({}, {"AppManaged": False}):
            outputs = {"Outputs": [{"OutputName": "o", **more}]}
            step = make.processing("P", arguments={"ProcessingOutputConfig": outputs})
            assert parse(make.pipeline(step)).step("P").output_names == ("o",)


class TestReferencesAndFunctions:
    @pytest.mark.parametrize("name", sorted(VARIABLES))
    def test_execution_variables(self, value_of: Any, name: str) -> None:
        assert value_of(get(f"Execution.{name}")) == VARIABLES[name]

    def test_a_key_turns_a_named_list_into_a_map(self, value_of: Any) -> None:
        assert value_of(get("Steps.T.FinalMetricDataList['m'].Value")) == 0.25

    def test_a_number_indexes_a_list(self, value_of: Any) -> None:
        assert value_of(get("Steps.T.InputDataConfig[0].ChannelName")) == "a"

    def test_step_names_split_at_the_first_dot_and_may_hold_hyphens(self, value_of: Any) -> None:
        path = "Steps.E-tl.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri"
        assert value_of(get(path)) == "s3://b/train"

    def test_output_parameters(self, value_of: Any) -> None:
        assert value_of(get("Steps.L.OutputParameters['word']")) == "yes"

    def test_outcome_of_a_condition_is_a_string(self, value_of: Any) -> None:
        assert value_of(get("Steps.C.Outcome")) == "true"

    def test_join_values_nest_and_booleans_render_true_and_false(self, value_of: Any) -> None:
        assert value_of(join("/", "a", join("-", True, False), get("Parameters.X"))) == (
            "a/true-false/3"
        )

    def test_json_get_reads_the_outputs_uri_and_the_file_path(self, value_of: Any) -> None:
        file = {"PropertyFile": get("Steps.E-tl.PropertyFiles.F"), "Path": "a.b[0]"}
        assert value_of({"Std:JsonGet": file}) == 7

    def test_json_get_of_an_s3_uri(self, value_of: Any) -> None:
        uri = join("/", "s3://b", "train", "e.json")
        assert value_of({"Std:JsonGet": {"S3Uri": uri, "Path": "a['b'][0]"}}) == 7

    @pytest.mark.parametrize(
        "value",
        [
            get("Steps.T.TrainingJobName"),
            join("/", "s3://b", get("Steps.T.TrainingJobName")),
            {
                "Std:JsonGet": {
                    "PropertyFile": get("Steps.T.PropertyFiles.F"),
                    "Path": "a",
                }
            },
        ],
        ids=["Get", "Join", "JsonGet"],
    )
    def test_every_get_join_and_json_get_is_an_implicit_dependency(
        self, make: Any, parse: Any, value: Any
    ) -> None:
        file = {"PropertyFileName": "F", "OutputName": "o", "FilePath": "f.json"}
        first = make.processing("T", "o", PropertyFiles=[file])
        graph = parse(make.pipeline(first, make.training("User", {"V": value}))).graph
        assert graph.after["User"] == ("T",)


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


YES, NO = compare("Equals", 1, 1), compare("Equals", 1, 2)


class TestConditions:
    @pytest.mark.parametrize(
        ("conditions", "expected"),
        [
            ([YES, YES], True),
            ([YES, NO], False),  # the list is an AND
            ([compare("GreaterThan", 2, 1)], True),
            ([compare("GreaterThanOrEqualTo", 1, 1)], True),
            ([compare("LessThan", 1, 1)], False),
            ([compare("LessThanOrEqualTo", 1, 1)], True),
            ([{"Type": "In", "QueryValue": "a", "Values": ["b", "a"]}], True),
            ([{"Type": "Not", "Condition": YES}], False),
            ([{"Type": "Or", "Conditions": [NO, {"Type": "Not", "Condition": NO}]}], True),
            ([compare("LessThan", "10", "9")], True),  # strings compare as strings
        ],
    )
    def test_each_condition_and_their_nesting(
        self, make: Any, parse: Any, scope: Any, conditions: Any, expected: bool
    ) -> None:
        step = parse(make.pipeline(make.condition("C", *conditions))).step("C")
        assert evaluate_conditions(step, scope()) is expected

    def test_a_step_cannot_depend_on_a_fail_step(self, make: Any, problems_of: Any) -> None:
        document = make.pipeline(make.fail("F"), make.training("T", DependsOn=["F"]))
        ((path, message),) = problems_of(document)
        assert path == "Steps[1].DependsOn[0]"
        assert "Fail" in message


class TestParameters:
    @pytest.fixture
    def bind(self, make: Any, parse: Any) -> Any:
        parameters = [
            make.parameter("B", "Boolean", DefaultValue=False),
            make.parameter("I", "Integer", DefaultValue=1),
            make.parameter("S", DefaultValue="a", EnumValues=["a", "b"]),
        ]
        definition = parse(make.pipeline(make.fail(), parameters=parameters))
        return lambda given: bind_parameters(definition, given)

    def test_they_travel_as_strings_and_are_parsed_by_declared_type(self, bind: Any) -> None:
        assert bind({"B": "True", "I": "7", "S": "b"}) == {"B": True, "I": 7, "S": "b"}

    @pytest.mark.parametrize(
        "given",
        [{"Unknown": "1"}, {"I": "many"}, {"S": "c"}, {"S": ""}],
        ids=["unknown", "wrongly typed", "out of enum", "empty"],
    )
    def test_wrong_ones_are_refused(self, bind: Any, given: dict[str, str]) -> None:
        with pytest.raises(ParameterError):
            bind(given)

    def test_a_missing_one_is_refused(self, make: Any, parse: Any) -> None:
        definition = parse(make.pipeline(make.fail(), parameters=[make.parameter("S")]))
        with pytest.raises(ParameterError):
            bind_parameters(definition, {})


class TestLimits:
    @pytest.mark.parametrize("name", ["a" * 65, "", "with space", "dot.ted"])
    def test_a_step_name_has_1_to_64_letters_digits_hyphens_and_underscores(
        self, make: Any, problems_of: Any, name: str
    ) -> None:
        assert problems_of(make.pipeline(make.fail(name)))[0][0] == "Steps[0].Name"

    def test_there_are_at_most_200_parameters(
        self, make: Any, parse: Any, problems_of: Any
    ) -> None:
        parameters = [make.parameter(f"P{n}", DefaultValue="x") for n in range(201)]
        assert problems_of(make.pipeline(make.fail(), parameters=parameters))
        assert parse(make.pipeline(make.fail(), parameters=parameters[:200]))
