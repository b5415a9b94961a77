"""Every rule that a definition can break, by name: where the problem is and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mlops.definition import RUNNABLE, StepType
from mlops.errors import DefinitionError

Json = dict[str, Any]
P = {"Get": "Parameters.P"}


def job(step: Json, **changes: Any) -> Json:
    """The step with members changed; None takes a member out."""
    changed = step | changes
    return {key: value for key, value in changed.items() if value is not None}


class TestText:
    def test_broken_json_has_line_and_column(self, problems_of: Any) -> None:
        [(path, message)] = problems_of('{\n  "Version": "2020-12-01",\n  "Steps": [}\n')
        assert path == "$"
        assert "line 3 column 13" in message

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("", "line 1 column 1"),
            ("null", "must be an object, not null"),
            ("[]", "must be an object, not a list"),
            ('{"Version": NaN}', "NaN is no JSON value"),
            ('{"Version": -Infinity}', "-Infinity is no JSON value"),
            ('{"Version": 1e999}', "1e999 is too large"),
            ('{"Version": ' + "9" * 5000 + "}", "digits"),
            ('{"Steps": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
            ('{"Steps": ' + "[" * 150 + "]" * 150 + "}", "nested more than 100 deep"),
            ('{"Steps": "' + "x" * 1024 * 1024 + '"}', "at most 1,048,576"),
            ('{"Steps": "' + "ü" * 600 * 1024 + '"}', "at most 1,048,576"),
        ],
        ids=lambda value: value[:30],
    )
    def test_unreadable(self, problems_of: Any, text: str, part: str) -> None:
        [(path, message)] = problems_of(text)
        assert path == "$"
        assert part in message

    def test_depth_within_the_limit_reaches_every_reader(self, make: Any, parse: Any) -> None:
        value: Any = 1
        for _ in range(90):
            value = [value]
        parse(make.pipeline(make.training("T", {"X": value})))

    def test_deep_conditions_and_branches(self, make: Any, parse: Any) -> None:
        question: Json = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
        for _ in range(80):
            question = {"Type": "Not", "Condition": question}
        parse(make.pipeline(make.condition("C", question)))
        step = make.fail()
        for number in range(30):
            step = make.condition(f"C{number}", then=[step])
        parse(make.pipeline(step))


class TestTopLevel:
    @pytest.mark.parametrize(
        ("change", "path", "part"),
        [
            ({"Version": "2019-01-01"}, "Version", "only '2020-12-01' is known"),
            ({"Version": 1}, "Version", "must be a string, not an integer"),
            ({"Version": None}, "$", "needs 'Version'"),
            ({"Steps": None}, "$", "needs 'Steps'"),
            ({"Steps": []}, "Steps", "at least one step"),
            ({"Steps": {}}, "Steps", "must be a list, not an object"),
            ({"Steps": [1]}, "Steps[0]", "must be an object, not an integer"),
            ({"Metadata": []}, "Metadata", "must be an object, not a list"),
            ({"Parameter": []}, "Parameter", "did you mean 'Parameters'?"),
            ({"MlflowConfig": {"A": 1}}, "MlflowConfig", "does not run here yet"),
            ({"PipelineExperimentConfig": 1}, "PipelineExperimentConfig", "must be an object"),
            (
                {"PipelineExperimentConfig": {"TrialName": {"Get": "Steps.T.X"}}},
                "PipelineExperimentConfig.TrialName.Get",
                "no step 'T'",
            ),
        ],
    )
    def test_rule(self, make: Any, problems_of: Any, change: Json, path: str, part: str) -> None:
        [problem] = problems_of(make.pipeline(make.training("T")) | change)
        assert problem[0] == path
        assert part in problem[1]

    def test_null_counts_as_absent(self, make: Any, parse: Any) -> None:
        document = make.pipeline(make.training("T", DisplayName=None, CacheConfig=None))
        parse(document | {"MlflowConfig": None, "PipelineExperimentConfig": None})


class TestParameters:
    @pytest.mark.parametrize(
        ("parameter", "path", "part"),
        [
            ({"Type": "String"}, "", "needs 'Name'"),
            ({"Name": "P"}, "", "needs 'Type'"),
            ({"Name": "a b", "Type": "String"}, ".Name", "'a b' is no parameter name"),
            ({"Name": "", "Type": "String"}, ".Name", "is no parameter name"),
            ({"Name": "x" * 257, "Type": "String"}, ".Name", "is no parameter name"),
            ({"Name": "P", "Type": "Int"}, ".Type", "did you mean 'Integer'?"),
            ({"Name": "P", "Type": 5}, ".Type", "must be a string"),
            ({"Name": "P", "Type": "Integer", "DefaultValue": "1"}, ".DefaultValue", "a string"),
            ({"Name": "P", "Type": "Integer", "DefaultValue": 1.5}, ".DefaultValue", "a number"),
            ({"Name": "P", "Type": "Integer", "DefaultValue": True}, ".DefaultValue", "a boolean"),
            ({"Name": "P", "Type": "Float", "DefaultValue": False}, ".DefaultValue", "a boolean"),
            ({"Name": "P", "Type": "Boolean", "DefaultValue": 1}, ".DefaultValue", "an integer"),
            ({"Name": "P", "Type": "String", "DefaultValue": []}, ".DefaultValue", "a list"),
            (
                {"Name": "P", "Type": "String", "DefaultValue": "c", "EnumValues": ["a", "b"]},
                ".DefaultValue",
                "'c' is none of a, b",
            ),
            ({"Name": "P", "Type": "Float", "EnumValues": ["1"]}, ".EnumValues", "Only a String"),
            ({"Name": "P", "Type": "String", "EnumValues": [1]}, ".EnumValues[0]", "a string"),
            ({"Name": "P", "Type": "String", "Default": "x"}, ".Default", "'DefaultValue'"),
        ],
    )
    def test_rule(self, make: Any, problems_of: Any, parameter: Json, path: str, part: str) -> None:
        problems = problems_of(make.pipeline(make.training("T"), parameters=[parameter]))
        assert any(at == f"Parameters[0]{path}" and part in text for at, text in problems), problems

    def test_declared_twice(self, make: Any, problems_of: Any) -> None:
        twice = [make.parameter("P"), make.parameter("P", "Float")]
        [problem] = problems_of(make.pipeline(make.training("T"), parameters=twice))
        assert problem == ("Parameters[1].Name", "The parameter 'P' is declared twice")

    def test_more_than_200(self, make: Any, problems_of: Any) -> None:
        many = [make.parameter(f"P{number}") for number in range(201)]
        [problem] = problems_of(make.pipeline(make.training("T"), parameters=many))
        assert problem == ("Parameters", "There are 201; at most 200 go")


class TestSteps:
    @pytest.mark.parametrize(
        ("changes", "path", "part"),
        [
            ({"Name": None}, "Steps[0]", "needs 'Name'"),
            ({"Name": 7}, "Steps[0].Name", "must be a string"),
            ({"Name": "a.b"}, "Steps[0].Name", "'a.b' is no step name"),
            ({"Name": ""}, "Steps[0].Name", "is no step name"),
            ({"Name": "x" * 65}, "Steps[0].Name", "is no step name"),
            ({"Type": None}, "Steps[0]", "needs 'Type'"),
            ({"Type": "Trainin"}, "Steps[0].Type", "did you mean 'Training'?"),
            ({"Arguments": None}, "Steps[0]", "needs 'Arguments'"),
            ({"Arguments": []}, "Steps[0].Arguments", "must be an object, not a list"),
            ({"DependsOn": "S"}, "Steps[0].DependsOn", "must be a list, not a string"),
            ({"DependsOn": [1]}, "Steps[0].DependsOn[0]", "must be a string"),
            ({"DependsOn": ["Other"]}, "Steps[0].DependsOn[0]", "There is no step 'Other'"),
            ({"DependOn": ["S"]}, "Steps[0].DependOn", "did you mean 'DependsOn'?"),
            ({"DisplayName": "x" * 257}, "Steps[0].DisplayName", "at most 256"),
            ({"DisplayName": {}}, "Steps[0].DisplayName", "must be a string"),
            ({"Description": "x" * 3073}, "Steps[0].Description", "at most 3072"),
            ({"PropertyFiles": []}, "Steps[0].PropertyFiles", "no member 'PropertyFiles'"),
            ({"CacheConfig": {}}, "Steps[0].CacheConfig", "needs 'Enabled'"),
            ({"CacheConfig": {"Enabled": 1}}, "Steps[0].CacheConfig.Enabled", "a boolean"),
            (
                {"CacheConfig": {"Enabled": True, "ExpireAfter": 3}},
                "Steps[0].CacheConfig.ExpireAfter",
                "must be a string",
            ),
            ({"CacheConfig": {"Enabled": True, "X": 3}}, "Steps[0].CacheConfig.X", "no member"),
            ({"RetryPolicies": {}}, "Steps[0].RetryPolicies", "must be a list"),
        ],
    )
    def test_rule(self, make: Any, problems_of: Any, changes: Json, path: str, part: str) -> None:
        step = job(make.training("S"), **changes)
        problems = problems_of(make.pipeline(step))
        assert any(at == path and part in text for at, text in problems), problems

    @pytest.mark.parametrize(
        ("policy", "path", "part"),
        [
            ({"MaxAttempts": 1}, "", "needs 'ExceptionType'"),
            ({"ExceptionType": [], "MaxAttempts": 1}, ".ExceptionType", "at least one"),
            (
                {"ExceptionType": ["Step.SERVICE_FAUL"], "MaxAttempts": 1},
                ".ExceptionType",
                "did you mean 'Step.SERVICE_FAULT'?",
            ),
            ({"ExceptionType": ["Step.THROTTLING"]}, "", "exactly one of MaxAttempts and"),
            (
                {"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1, "ExpireAfterMin": 1},
                "",
                "exactly one of MaxAttempts and",
            ),
            ({"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 0}, ".MaxAttempts", "from 1"),
            ({"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 21}, ".MaxAttempts", "to 20"),
            (
                {"ExceptionType": ["Step.THROTTLING"], "ExpireAfterMin": 14401},
                ".ExpireAfterMin",
                "to 14400",
            ),
            (
                {"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1, "BackoffRate": -1},
                ".BackoffRate",
                "at least 0",
            ),
            (
                {"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1, "IntervalSeconds": "1"},
                ".IntervalSeconds",
                "must be a number",
            ),
            (
                {"ExceptionType": ["Step.THROTTLING"], "MaxAttempt": 1},
                ".MaxAttempt",
                "did you mean 'MaxAttempts'?",
            ),
        ],
    )
    def test_retry_policy(
        self, make: Any, problems_of: Any, policy: Json, path: str, part: str
    ) -> None:
        problems = problems_of(make.pipeline(make.training("S", RetryPolicies=[policy])))
        at = f"Steps[0].RetryPolicies[0]{path}"
        assert any(where == at and part in text for where, text in problems), problems

    def test_names_are_unique_across_branches(self, make: Any, problems_of: Any) -> None:
        inner = make.condition("C", then=[make.training("S")], otherwise=[make.training("S")])
        problems = problems_of(make.pipeline(make.training("S"), inner))
        assert problems == [
            (f"Steps[1].Arguments.{branch}[0].Name", "Two steps are called 'S'; "
             "names are unique in a pipeline")
            for branch in ("IfSteps", "ElseSteps")
        ]  # fmt: skip

    @pytest.mark.parametrize("missing", ["AppSpecification", "ProcessingResources", "RoleArn"])
    def test_processing_request_needs(self, make: Any, problems_of: Any, missing: str) -> None:
        step = make.processing("S")
        del step["Arguments"][missing]
        [problem] = problems_of(make.pipeline(step))
        assert problem == ("Steps[0].Arguments", f"The step's request needs {missing!r}")

    @pytest.mark.parametrize(
        ("kind", "arguments", "part"),
        [
            ("Training", {}, "needs 'AlgorithmSpecification'"),
            ("Model", {}, "needs one of PrimaryContainer, Containers"),
            ("RegisterModel", {}, "needs one of ModelPackageGroupName, ModelPackageName"),
            ("Condition", {}, "needs 'Conditions'"),
        ],
    )
    def test_request_needs(
        self, make: Any, problems_of: Any, kind: str, arguments: Json, part: str
    ) -> None:
        problems = problems_of(make.pipeline({"Name": "S", "Type": kind, "Arguments": arguments}))
        assert ("Steps[0].Arguments", part) in [(at, text[-len(part) :]) for at, text in problems]

    @pytest.mark.parametrize(
        "kind",
        sorted(set(StepType) - set(RUNNABLE)),
    )
    def test_other_types_are_known_and_refused(
        self, make: Any, problems_of: Any, kind: StepType
    ) -> None:
        step = {"Name": "Odd", "Type": str(kind), "Arguments": {"A": {"Get": "Parameters.No"}},
                "FunctionArn": "arn"}  # fmt: skip
        user = make.training("T", {"X": {"Get": "Steps.Odd.OutputParameters['o']"}})
        problems = problems_of(make.pipeline(step, user))
        assert len(problems) == 2, "the reference to the step is none of them"
        assert problems[0][0] == "Steps[0].Type"
        assert f"'Odd' has the type {kind}, which cannot run here yet; take" in problems[0][1]
        assert problems[1][0] == "Steps[0].Arguments.A.Get"

    def test_fail_step_takes_a_message_only(self, make: Any, problems_of: Any) -> None:
        step = make.fail()
        step["Arguments"]["Mesage"] = "x"
        [problem] = problems_of(make.pipeline(step))
        assert problem[0] == "Steps[0].Arguments.Mesage"

    @pytest.mark.parametrize("message", [1, True, ["x"]])
    def test_the_message_of_a_fail_step_is_text(
        self, make: Any, problems_of: Any, message: Any
    ) -> None:
        [problem] = problems_of(make.pipeline(make.fail(message=message)))
        assert problem[0] == "Steps[0].Arguments.ErrorMessage"

    @pytest.mark.parametrize(
        ("file", "path", "part"),
        [
            ({"OutputName": "o", "FilePath": "f"}, "", "needs 'PropertyFileName'"),
            ({"PropertyFileName": "F", "FilePath": "f"}, "", "needs 'OutputName'"),
            ({"PropertyFileName": "F", "OutputName": "o"}, "", "needs 'FilePath'"),
            (
                {"PropertyFileName": "F", "OutputName": "p", "FilePath": "f"},
                "",
                "no output 'p'",
            ),
        ],
    )
    def test_property_file(
        self, make: Any, problems_of: Any, file: Json, path: str, part: str
    ) -> None:
        [problem] = problems_of(make.pipeline(make.processing("S", "o", PropertyFiles=[file])))
        assert problem[0] == f"Steps[0].PropertyFiles[0]{path}"
        assert part in problem[1]

    def test_property_file_twice(self, make: Any, problems_of: Any) -> None:
        file = {"PropertyFileName": "F", "OutputName": "o", "FilePath": "f"}
        problems = problems_of(make.pipeline(make.processing("S", "o", PropertyFiles=[file, file])))
        assert problems == [
            ("Steps[0].PropertyFiles[1].PropertyFileName", "The step has two property files 'F'")
        ]


class TestFunctions:
    """Each value stands at Steps[1].Arguments.V; step S has the output o and the file F."""

    @pytest.mark.parametrize(
        ("value", "path", "part"),
        [
            ({"Get": 5}, ".Get", "takes a string, not an integer"),
            ({"Get": ""}, ".Get", "refers to nothing; the forms are: Parameters.…"),
            ({"Get": "Parameters"}, ".Get", "refers to nothing"),
            ({"Get": "Parameters."}, ".Get", "refers to nothing"),
            ({"Get": "ForEach.CurrentItem"}, ".Get", "refers to nothing"),
            ({"Get": "Parameters.Q"}, ".Get", "no parameter 'Q'; there are: P"),
            ({"Get": "Execution.PipelineNam"}, ".Get", "did you mean 'PipelineName'?"),
            ({"Get": "PipelineExperimentConfig.X"}, ".Get", "has no 'X'"),
            ({"Get": "Steps.R.X"}, ".Get", "There is no step 'R'"),
            ({"Get": "Steps.S"}, ".Get", "the path is empty"),
            ({"Get": "Steps.S."}, ".Get", "the path is empty"),
            ({"Get": "Steps.S.A..B"}, ".Get", "is no path: unexpected '..B'"),
            ({"Get": "Steps.S.A['x"}, ".Get", "is no path"),
            ({"Get": "Steps.S.A[-1]"}, ".Get", "is no path"),
            ({"Get": "Steps.S.A[0]B"}, ".Get", "is no path: unexpected 'B'"),
            ({"Get": "Steps.S.PropertyFiles.F"}, ".Get", "only Std:JsonGet can read it"),
            (
                {"Get": "Steps.S.ProcessingOutputConfig.Outputs['p'].S3Output.S3Uri"},
                ".Get",
                "'S' has no output 'p'; there are: o",
            ),
            ({"Get": "Steps.C.Outcomes"}, ".Get", "its only property is Outcome"),
            ({"Get": "Steps.S.Outcome"}, ".Get", "is a Processing step, which has no Outcome"),
            (
                {"Get": "Steps.S.OutputParameters['o']"},
                ".Get",
                "is a Processing step, which has no OutputParameters",
            ),
            ({"Get": "Steps.Fail.X"}, ".Get", "'Fail', which is a Fail step"),
            ({"Std:Joyn": {}}, "", "no function 'Std:Joyn'; the functions are: Get, Std:Join"),
            (
                {"Std:Join": {"Values": []}, "X": 1},
                "",
                "only key of its object, which also has 'X'",
            ),
            ({"Std:Join": []}, ".Std:Join", "takes an object with On and Values, not a list"),
            ({"Std:Join": {"On": 1, "Values": []}}, ".Std:Join.On", "On must be a string"),
            ({"Std:Join": {"On": ""}}, ".Std:Join.Values", "must be a list, not null"),
            ({"Std:Join": {"Values": [], "Sep": ""}}, ".Std:Join", "has no 'Sep'"),
            ({"Std:Join": {"Values": [None]}}, ".Std:Join.Values[0]", "Null cannot be joined"),
            ({"Std:Join": {"Values": [[1]]}}, ".Std:Join.Values[0]", "A list cannot be joined"),
            ({"Std:Join": {"Values": [{}]}}, ".Std:Join.Values[0]", "An object cannot be joined"),
            (
                {"Std:Join": {"Values": [{"Std:Join": {"Values": [{"Get": "Parameters.Q"}]}}]}},
                ".Std:Join.Values[0].Std:Join.Values[0].Get",
                "no parameter 'Q'",
            ),
            ({"Std:JsonGet": 1}, ".Std:JsonGet", "takes an object, not an integer"),
            ({"Std:JsonGet": {"Path": "a"}}, ".Std:JsonGet", "one of PropertyFile and S3Uri"),
            (
                {"Std:JsonGet": {"PropertyFile": "F", "Path": "a"}},
                ".Std:JsonGet.PropertyFile",
                "must be an object such as",
            ),
            (
                {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.S.X.F"}, "Path": "a"}},
                ".Std:JsonGet.PropertyFile",
                "must be an object such as",
            ),
            (
                {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.S.PropertyFiles.G"}, "Path": "a"}},
                ".Std:JsonGet.PropertyFile.Get",
                "'S' has no property file 'G'; there are: F",
            ),
            (
                {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.R.PropertyFiles.F"}, "Path": "a"}},
                ".Std:JsonGet.PropertyFile.Get",
                "There is no step 'R'",
            ),
            (
                {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.S.PropertyFiles.F"}, "Path": P}},
                ".Std:JsonGet.Path",
                "must be a string, not an object",
            ),
            ({"Std:JsonGet": {"S3Uri": 1, "Path": "a"}}, ".Std:JsonGet.S3Uri", "or a function"),
            (
                {"Std:JsonGet": {"S3Uri": "s3://b/k", "Path": "a..b"}},
                ".Std:JsonGet.Path",
                "no path into a JSON file",
            ),
        ],
        ids=lambda value: json.dumps(value)[:60],
    )
    def test_rule(self, make: Any, problems_of: Any, value: Any, path: str, part: str) -> None:
        file = {"PropertyFileName": "F", "OutputName": "o", "FilePath": "f.json"}
        document = make.pipeline(
            make.processing("S", "o", PropertyFiles=[file]),
            make.training("T", {"V": value}),
            make.condition("C", otherwise=[make.fail()]),
            parameters=[make.parameter("P", DefaultValue="p")],
        )
        problems = problems_of(document)
        at = f"Steps[1].Arguments.V{path}"
        assert [(where, part in text) for where, text in problems] == [(at, True)], problems

    def test_outputs_named_by_an_expression_are_not_known_yet(self, make: Any, parse: Any) -> None:
        named = {"Outputs": [{"OutputName": {"Get": "Parameters.P"}}]}
        uri = {"Get": "Steps.S.ProcessingOutputConfig.Outputs['x'].S3Output.S3Uri"}
        parse(
            make.pipeline(
                make.processing("S", arguments={"ProcessingOutputConfig": named}),
                make.training("T", {"V": uri}),
                parameters=[make.parameter("P")],
            )
        )

    def test_get_among_other_keys_is_data(self, make: Any, parse: Any) -> None:
        environment = {"Get": "anything", "Put": "else"}
        step = parse(make.pipeline(make.training("T", {"Environment": environment}))).step("T")
        assert step.references == ()


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "path", "part"),
        [
            ({}, "", "needs 'Type'"),
            ({"Type": "Equal"}, ".Type", "did you mean 'Equals'?"),
            ({"Type": "Equals", "RightValue": 1}, "", "needs 'LeftValue'"),
            ({"Type": "Equals", "LeftValue": 1}, "", "needs 'RightValue'"),
            ({"Type": "Equals", "LeftValue": [], "RightValue": 1}, ".LeftValue", "A list cannot"),
            (
                {"Type": "Equals", "LeftValue": {"a": 1, "b": 2}, "RightValue": 1},
                ".LeftValue",
                "An object cannot be compared",
            ),
            (
                {"Type": "LessThan", "LeftValue": {"Get": "Parameters.Q"}, "RightValue": 1},
                ".LeftValue.Get",
                "no parameter 'Q'",
            ),
            ({"Type": "Equals", "LeftValue": 1, "RightValue": 1, "X": 1}, ".X", "no member 'X'"),
            ({"Type": "In", "QueryValue": 1}, ".Values", "must be a list, not null"),
            ({"Type": "In", "QueryValue": 1, "Values": [[]]}, ".Values[0]", "A list cannot"),
            ({"Type": "In", "Values": [1]}, "", "needs 'QueryValue'"),
            ({"Type": "Not"}, "", "needs 'Condition'"),
            ({"Type": "Not", "Condition": {"Type": "Nor"}}, ".Condition.Type", "no condition"),
            ({"Type": "Or", "Conditions": []}, ".Conditions", "at least one condition"),
            ({"Type": "Or", "Conditions": [1]}, ".Conditions[0]", "must be an object"),
            ({"Type": "Or", "Conditions": [{"Type": "In"}]}, ".Conditions[0]", "'QueryValue'"),
        ],
        ids=lambda value: json.dumps(value)[:60],
    )
    def test_rule(self, make: Any, problems_of: Any, condition: Json, path: str, part: str) -> None:
        problems = problems_of(make.pipeline(make.condition("C", condition)))
        at = f"Steps[0].Arguments.Conditions[0]{path}"
        assert any(where == at and part in text for where, text in problems), problems

    def test_no_condition_at_all(self, make: Any, problems_of: Any) -> None:
        step = make.condition("C")
        step["Arguments"]["Conditions"] = []
        [problem] = problems_of(make.pipeline(step))
        assert problem[0] == "Steps[0].Arguments.Conditions"


class TestGraph:
    def test_nothing_depends_on_a_fail_step(self, make: Any, problems_of: Any) -> None:
        document = make.pipeline(make.fail(), make.training("T", DependsOn=["Fail"]))
        [problem] = problems_of(document)
        assert problem == (
            "Steps[1].DependsOn[0]",
            "No step can depend on 'Fail', which is a Fail step",
        )

    def test_a_step_that_waits_for_itself(self, make: Any, problems_of: Any) -> None:
        [problem] = problems_of(make.pipeline(make.training("T", DependsOn=["T"])))
        assert problem == ("Steps[0]", "These steps wait for one another: T → T")

    def test_a_cycle_is_named_by_its_path(self, make: Any, problems_of: Any) -> None:
        document = make.pipeline(
            make.training("A", {"X": {"Get": "Steps.C.X"}}),
            make.training("B", DependsOn=["A"]),
            make.training("C", {"X": {"Std:Join": {"Values": [{"Get": "Steps.B.X"}]}}}),
            make.training("D", DependsOn=["C"]),
        )
        [problem] = problems_of(document)
        assert problem == ("Steps[0]", "These steps wait for one another: A → B → C → A")

    def test_a_condition_cannot_ask_for_its_own_branch(self, make: Any, problems_of: Any) -> None:
        question = {"Type": "Equals", "LeftValue": {"Get": "Steps.T.X"}, "RightValue": 1}
        document = make.pipeline(make.condition("C", question, then=[make.training("T")]))
        [problem] = problems_of(document)
        assert problem[1] == "These steps wait for one another: C → T → C"

    def test_separate_cycles_are_all_named(self, make: Any, problems_of: Any) -> None:
        document = make.pipeline(
            make.training("A", DependsOn=["B"]),
            make.training("B", DependsOn=["A"]),
            make.training("C", DependsOn=["D"]),
            make.training("D", DependsOn=["C"]),
        )
        assert [text for _, text in problems_of(document)] == [
            "These steps wait for one another: A → B → A",
            "These steps wait for one another: C → D → C",
        ]

    def test_a_long_cycle_is_shown_from_both_its_ends(self, make: Any, problems_of: Any) -> None:
        steps = [make.training(f"S{n}", DependsOn=[f"S{(n - 1) % 100}"]) for n in range(100)]
        [(_, message)] = problems_of(make.pipeline(*steps))
        assert "wait for one another: S0 → S1 → " in message
        assert "→ S14 → (71 more) → S86 →" in message
        assert message.endswith("→ S99 → S0")

    def test_a_long_chain_is_no_recursion(self, make: Any, parse: Any) -> None:
        steps = [make.training("S0")]
        steps += [make.training(f"S{n}", DependsOn=[f"S{n - 1}"]) for n in range(1, 3000)]
        assert len(parse(make.pipeline(*steps)).all_steps()) == 3000


def test_all_problems_are_found_at_once(
    make: Any, problems_of: Callable[[Any], list[tuple[str, str]]]
) -> None:
    document = make.pipeline(
        make.training("T", {"X": {"Get": "Steps.Nobody.X"}}, DependsOn=["Fail"]),
        {"Name": "L", "Type": "EMR"},
        make.condition("C", {"Type": "Hm"}, otherwise=[make.fail(message={"Get": "Parameters.Q"})]),
        parameters=[make.parameter("P", "Float", DefaultValue="x")],
        Version="1",
    )
    assert [path for path, _ in problems_of(document)] == [
        "Version",
        "Parameters[0].DefaultValue",
        "Steps[1].Type",
        "Steps[2].Arguments.Conditions[0].Type",
        "Steps[0].Arguments.X.Get",
        "Steps[0].DependsOn[0]",
        "Steps[2].Arguments.ElseSteps[0].Arguments.ErrorMessage.Get",
    ]


def test_a_message_shows_the_first_problems_and_says_how_many_follow(make: Any, parse: Any) -> None:
    steps = [make.training(f"S{number}", DependsOn=["Nobody"]) for number in range(60)]
    with pytest.raises(DefinitionError) as caught:
        parse(make.pipeline(*steps))
    assert len(caught.value.problems) == 60
    lines = caught.value.what.splitlines()
    assert lines[0] == "The pipeline definition has 60 problems:"
    assert lines[-1] == "  … and 10 more"
    assert len(lines) == 52
