"""What the definition and the engine cost for each step: parse, validate, schedule, resolve.

    python -m benchmarks engine

The goal is at most 0.5 ms a step for parse + validate + schedule, the same for 10,000 as for 1,000.
A definition is at most 1 MiB, so two shapes are measured: "real" steps are processing jobs that
read two earlier ones and a parameter, every tenth a condition step with a branch; "small" ones are
as short as it goes, so that 10,000 fit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlops.definition import PipelineDefinition, parse_definition, resolve
from mlops.engine import ExecutionState

ROUNDS = 5


def processing(number: int) -> dict[str, Any]:
    earlier = [max(number - 1, 0), max(number - 7, 0)]
    inputs = [
        {
            "InputName": f"i{at}",
            "S3Input": {
                "S3Uri": {"Get": f"Steps.S{at}.ProcessingOutputConfig.Outputs['o'].S3Output.S3Uri"},
                "LocalPath": f"/opt/ml/processing/input/{at}",
                "S3DataType": "S3Prefix",
            },
        }
        for at in dict.fromkeys(earlier)
        if at < number
    ]
    uri = ["s3:/", {"Get": "Parameters.Bucket"}, {"Get": "Execution.PipelineExecutionId"}]
    output = {"S3Uri": {"Std:Join": {"On": "/", "Values": [*uri, f"S{number}"]}}}
    return {
        "Name": f"S{number}",
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {"ImageUri": "i", "ContainerArguments": ["--n", str(number)]},
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1}},
            "RoleArn": "r",
            "ProcessingInputs": inputs,
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "o", "S3Output": output}]},
        },
    }


def condition(number: int, nested: dict[str, Any]) -> dict[str, Any]:
    question = {
        "Type": "LessThan",
        "LeftValue": {"Get": f"Steps.S{number - 1}.ExitMessage"},
        "RightValue": "z",
    }
    return {
        "Name": f"C{number}",
        "Type": "Condition",
        "Arguments": {"Conditions": [question], "IfSteps": [nested], "ElseSteps": []},
    }


def real(count: int) -> str:
    steps: list[dict[str, Any]] = []
    for number in range(count):
        last = processing(number)
        steps.append(condition(number, last) if number % 10 == 9 else last)
    bucket = {"Name": "Bucket", "Type": "String", "DefaultValue": "b"}
    return json.dumps({"Version": "2020-12-01", "Parameters": [bucket], "Steps": steps})


def small(count: int) -> str:
    steps = [
        {
            "Name": f"S{number}",
            "Type": "Model",
            "Arguments": {"Containers": {"Get": f"Steps.S{number - 1}.B"} if number else 1},
            "DependsOn": [f"S{number // 2}"] if number > 1 else [],
        }
        for number in range(count)
    ]
    return json.dumps({"Version": "2020-12-01", "Steps": steps}, separators=(",", ":"))


class Outputs:
    """A scope in which every step has one output."""

    parameters: Mapping[str, str | int | float | bool] = {"Bucket": "b"}
    execution_variables: Mapping[str, str] = {"PipelineExecutionId": "k3j9x0q1m2ab"}

    def step_outputs(self, step_name: str) -> Mapping[str, Any]:
        output = {"OutputName": "o", "S3Output": {"S3Uri": f"s3://b/{step_name}"}}
        return {"ProcessingOutputConfig": {"Outputs": [output]}}

    def read_text(self, s3_uri: str) -> str:
        return "{}"


def schedule(definition: PipelineDefinition) -> int:
    """Run everything, four at a time, as a driver would."""
    state = ExecutionState(definition, max_parallel_steps=4)
    ran = 0
    while not state.ended:
        for step in state.ready():
            state.start(step.name)
        name = state.running()[0]
        state.succeed(name, "true" if definition.step(name).branches else None)
        ran += 1
    return ran


def measure(shape: Callable[[int], str], count: int) -> None:
    text = shape(count)
    best = [float("inf")] * 2
    ran = 0
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        definition = parse_definition(text)
        parsed = time.perf_counter()
        ran = schedule(definition)
        scheduled = time.perf_counter()
        spent = (parsed - begin, scheduled - parsed)
        best = [min(pair) for pair in zip(best, spent, strict=True)]
    parse, run = (1000 * seconds / ran for seconds in best)
    print(
        f"{shape.__name__:>5} {ran:>7,} steps {len(text) / 1024:>6,.0f} KiB   "
        f"parse+validate {parse:.3f} + schedule {run:.3f} = {parse + run:.3f} ms a step"
    )


def measure_resolve(count: int) -> None:
    definition = parse_definition(real(count))
    steps = definition.all_steps()
    begin = time.perf_counter()
    for step in steps:
        resolve(step.arguments, Outputs())
    spent = time.perf_counter() - begin
    print(f" real {len(steps):>7,} steps   resolve {1000 * spent / len(steps):.3f} ms a step")


def main() -> None:
    for number_of_steps in (100, 1_000):
        measure(real, number_of_steps)
    for number_of_steps in (100, 1_000, 10_000):
        measure(small, number_of_steps)
    measure_resolve(1_000)


if __name__ == "__main__":
    main()
