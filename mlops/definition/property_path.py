"""The path behind a step's name: ``ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri``.

The SDK's ``Properties`` objects write it: ``.Member`` for a member of a structure, ``['key']`` on
a map or on a list whose elements have names, ``[0]`` on any list. The service's answers hold such
lists as lists; the path treats them as maps from the elements' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlops.definition.problems import json_type, suggestion
from mlops.definition.scope import JsonValue

NAME_MEMBERS = (
    "OutputName",  # ProcessingOutputConfig.Outputs
    "InputName",  # ProcessingInputs
    "ChannelName",  # InputDataConfig, AdditionalModelDataSources
    "MetricName",  # FinalMetricDataList
    "CollectionName",  # DebugHookConfig.CollectionConfigurations
    "RuleConfigurationName",  # DebugRuleConfigurations and the other rule lists
    "InstanceGroupName",  # ResourceConfig.InstanceGroups
    "DefinitionName",  # TrainingJobDefinitions
    "ProfileName",  # ValidationSpecification.ValidationProfiles
    "AlgorithmName",  # SourceAlgorithmSpecification.SourceAlgorithms
    "ContainerHostname",  # Containers of a model
    "Name",  # MetricDefinitions, AdditionalInferenceSpecifications, parameter ranges
)
"""What a list's elements are called by, the first that an element has.

From botocore's ``sagemaker`` model: every list of structures in the Describe answers of the jobs
that a step can run, and the required string member that names its elements. No two of these
members stand in one structure.
"""


class PathError(Exception):
    """The path does not lead anywhere; the message says from where."""


class Segment(Protocol):
    def of(self, value: JsonValue) -> JsonValue:
        """One step down.

        Raises:
            PathError: there is nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """``.Name``"""

    name: str

    def of(self, value: JsonValue) -> JsonValue:
        if not isinstance(value, Mapping):
            raise PathError(f"{self.name!r} is asked of {json_type(value)}")
        if self.name not in value:
            raise PathError(f"there is no {self.name!r}{suggestion(self.name, value)}")
        return value[self.name]


@dataclass(frozen=True, slots=True)
class Key:
    """``['key']``"""

    name: str

    def of(self, value: JsonValue) -> JsonValue:
        if isinstance(value, list):
            value = _by_name(value)
        return Member(self.name).of(value)


@dataclass(frozen=True, slots=True)
class Index:
    """``[0]``"""

    index: int

    def of(self, value: JsonValue) -> JsonValue:
        if not isinstance(value, list):
            raise PathError(f"[{self.index}] is asked of {json_type(value)}")
        if self.index >= len(value):
            raise PathError(f"[{self.index}] is beyond the list's {len(value)} elements")
        return value[self.index]


def _by_name(elements: Sequence[JsonValue]) -> dict[str, JsonValue]:
    named: dict[str, JsonValue] = {}
    for element in elements:
        if not isinstance(element, Mapping):
            raise PathError(f"the list has {json_type(element)} in it, which has no name")
        member = next((member for member in NAME_MEMBERS if member in element), None)
        if member is not None:
            named.setdefault(str(element[member]), element)
    return named


_SEGMENT = re.compile(
    r"(?P<dot>\.)?(?P<member>[^.\[\]'\"\s]+)"
    r"|\['(?P<single>[^']+)'\]"
    r'|\["(?P<double>[^"]+)"\]'
    r"|\[(?P<index>\d{1,9})\]"
)


def parse_path(text: str) -> tuple[Segment, ...]:
    """The segments of a path.

    Raises:
        PathError: the text is no path.
    """
    segments: list[Segment] = []
    position = 0
    while position < len(text):
        match = _SEGMENT.match(text, position)
        # A member needs a dot before it, except at the start, where it must have none.
        if match is None or (match["member"] and bool(match["dot"]) != bool(segments)):
            raise PathError(f"{text!r} is no path: unexpected {text[position:][:20]!r}")
        segments.append(_segment(match))
        position = match.end()
    if not segments:
        raise PathError("the path is empty")
    return tuple(segments)


def _segment(match: re.Match[str]) -> Segment:
    if match["member"]:
        return Member(match["member"])
    if match["index"]:
        return Index(int(match["index"]))
    return Key(match["single"] or match["double"])


def look_up(value: JsonValue, path: Sequence[Segment]) -> JsonValue:
    """Follow a path.

    Raises:
        PathError: it leads nowhere.
    """
    for segment in path:
        value = segment.of(value)
    return value
