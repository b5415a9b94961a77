"""A template as typed values, with every problem of its form at once.

The sections and attributes: CloudFormation user guide, "Template sections" and "Resource
attribute reference". The wording of problems is the service's own where it is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.functions import check_functions
from mlops.services.cloudformation.text import BadText, read_text

VERSION = "2010-09-09"
RETAIN, DELETE, RETAIN_EXCEPT_ON_CREATE = "Retain", "Delete", "RetainExceptOnCreate"
MOST_RESOURCES = 500
MOST_PARAMETERS = MOST_OUTPUTS = MOST_MAPPINGS = 200
"""Quotas of a template (user guide, "Understand CloudFormation quotas")."""

_SECTIONS = {
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
}
_NOT_HERE = {
    "Transform": "macros and transforms do not run in the local gateway",
    "Rules": "the local gateway evaluates no Rules",
    "Hooks": "the local gateway has no Hooks",
}
_ATTRIBUTES = {
    "Type",
    "Properties",
    "Condition",
    "DependsOn",
    "DeletionPolicy",
    "UpdateReplacePolicy",
    "Metadata",
}
_POLICY_ATTRIBUTES_NOT_HERE = ("CreationPolicy", "UpdatePolicy")
_ID = re.compile(r"[A-Za-z0-9]{1,255}")
_LONGEST_DESCRIPTION = 1024  # bytes


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    default: Any = None
    allowed_values: tuple[str, ...] = ()
    allowed_pattern: str | None = None
    constraint: str | None = None
    description: str | None = None
    lowest: float | None = None
    highest: float | None = None
    shortest: int | None = None
    longest: int | None = None
    no_echo: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    logical_id: str
    type: str
    properties: JsonObject = field(default_factory=dict)
    condition: str | None = None
    depends_on: tuple[str, ...] = ()
    deletion_policy: str = DELETE
    update_replace_policy: str = DELETE
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    value: Any
    description: str | None = None
    export: Any = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    resources: Mapping[str, Resource]
    parameters: Mapping[str, Parameter]
    mappings: Mapping[str, Any]
    conditions: Mapping[str, Any]
    outputs: Mapping[str, Output]
    description: str | None = None
    metadata: Any = None


def invalid(problems: list[str], prefix: str = "Template format error: ") -> ServiceError:
    """The service's error for what is wrong, all of it in one message."""
    return ServiceError("ValidationError", prefix + "; ".join(dict.fromkeys(problems)))


def parse_template(text: str) -> Template:
    """Read a template.

    Raises:
        ServiceError: ``ValidationError`` that tells every problem of its form.
    """
    try:
        document = read_text(text)
    except BadText as error:
        raise invalid([str(error)]) from error
    if not isinstance(document, dict):
        raise invalid(["unsupported structure."])
    reading = _Reading(document)
    template = reading.template()
    if reading.problems:
        raise invalid(reading.problems)
    return template


class _Reading:
    def __init__(self, document: JsonObject) -> None:
        self._document = document
        self.problems: list[str] = []

    def template(self) -> Template:
        self._check_sections()
        parameters = {name: self._parameter(name, v) for name, v in self._each("Parameters")}
        resources = {name: self._resource(name, v) for name, v in self._each("Resources")}
        outputs = {name: self._output(name, v) for name, v in self._each("Outputs")}
        mappings, conditions = dict(self._each("Mappings")), dict(self._each("Conditions"))
        if not resources:
            self.problems.append("At least one Resources member must be defined.")
        both = sorted(set(parameters) & set(resources))
        if both:
            self.problems.append(f"Duplicate names in Parameters and Resources: {both}")
        self._check_counts(resources, parameters, outputs, mappings)
        self._check_mappings(mappings)
        made = Template(
            resources,
            parameters,
            mappings,
            conditions,
            outputs,
            self._description(),
            self._document.get("Metadata"),
        )
        self.problems.extend(_reference_problems(made))
        return made

    def _check_sections(self) -> None:
        self.problems += [
            f"{name} is refused: {reason}"
            for name, reason in _NOT_HERE.items()
            if name in self._document
        ]
        unknown = sorted(set(map(str, self._document)) - _SECTIONS - set(_NOT_HERE))
        if unknown:
            self.problems.append(f"Invalid template property or properties [{', '.join(unknown)}]")
        version = self._document.get("AWSTemplateFormatVersion", VERSION)
        if version != VERSION:
            self.problems.append(f"Template format version {version} is unsupported.")

    def _description(self) -> str | None:
        description = self._document.get("Description")
        if description is None:
            return None
        if not isinstance(description, str):
            self.problems.append("Description must be a string")
        elif len(description.encode()) > _LONGEST_DESCRIPTION:
            self.problems.append(f"Description is longer than {_LONGEST_DESCRIPTION} bytes")
        return str(description)

    def _each(self, section: str) -> Iterator[tuple[str, Any]]:
        content = self._document.get(section)
        if content is None:
            return
        if not isinstance(content, dict):
            self.problems.append(f"[/{section}] must be an object")
            return
        for name, value in content.items():
            if section != "Conditions" and not isinstance(value, dict):
                self.problems.append(f"[/{section}/{name}] must be an object")
            elif not _ID.fullmatch(name):
                self.problems.append(f"{section} name {name} is non alphanumeric.")
            else:
                yield name, value

    def _check_counts(self, *sections: Mapping[str, Any]) -> None:
        limits = (MOST_RESOURCES, MOST_PARAMETERS, MOST_OUTPUTS, MOST_MAPPINGS)
        names = ("resources", "parameters", "outputs", "mappings")
        for section, most, name in zip(sections, limits, names, strict=True):
            if len(section) > most:
                self.problems.append(
                    f"Number of {name}, {len(section)}, is greater than maximum allowed, {most}"
                )

    def _check_mappings(self, mappings: Mapping[str, Any]) -> None:
        for name, mapping in mappings.items():
            for key, row in mapping.items():
                if not isinstance(row, dict) or any(
                    isinstance(value, dict) for value in row.values()
                ):
                    self.problems.append(
                        f"Every Mappings member {name} must be a map of maps of text or lists: "
                        f"{key}"
                    )

    # --- members ---

    def _parameter(self, name: str, value: JsonObject) -> Parameter:
        known = {
            "Type", "Default", "AllowedValues", "AllowedPattern", "ConstraintDescription",
            "Description", "MinValue", "MaxValue", "MinLength", "MaxLength", "NoEcho",
        }  # fmt: skip
        where = f"/Parameters/{name}"
        self._unknown(value, known, where)
        kind = self._text(value, "Type", where) or ""
        if not kind:
            self.problems.append(f"Every Parameters object must contain a Type member. ({name})")
        allowed = value.get("AllowedValues") or []
        if not isinstance(allowed, list):
            self.problems.append(f"[{where}/AllowedValues] must be a list")
            allowed = []
        pattern = self._text(value, "AllowedPattern", where)
        if pattern is not None and not _compiles(pattern):
            self.problems.append(f"[{where}/AllowedPattern] is no regular expression")
        return Parameter(
            name,
            kind,
            value.get("Default"),
            tuple(text_of(each) for each in allowed),
            pattern,
            self._text(value, "ConstraintDescription", where),
            self._text(value, "Description", where),
            self._number(value, "MinValue", where),
            self._number(value, "MaxValue", where),
            _whole(self._number(value, "MinLength", where)),
            _whole(self._number(value, "MaxLength", where)),
            text_of(value.get("NoEcho", False)) == "true",
        )

    def _resource(self, name: str, value: JsonObject) -> Resource:
        where = f"/Resources/{name}"
        self._unknown(value, _ATTRIBUTES | set(_POLICY_ATTRIBUTES_NOT_HERE), where)
        for attribute in _POLICY_ATTRIBUTES_NOT_HERE:
            if attribute in value:
                self.problems.append(
                    f"[{where}/{attribute}] is refused: no resource of the local gateway has one"
                )
        kind = self._text(value, "Type", where)
        if not kind:
            self.problems.append(f"[{where}] Every Resources object must contain a Type member.")
        properties = value.get("Properties")
        if properties is not None and not isinstance(properties, dict):
            self.problems.append(f"[{where}/Properties] must be an object")
            properties = None
        depends = value.get("DependsOn") or []
        depends = [depends] if isinstance(depends, str) else depends
        if not isinstance(depends, list) or not all(isinstance(each, str) for each in depends):
            self.problems.append(f"[{where}/DependsOn] must be a string or a list of strings")
            depends = []
        condition = self._text(value, "Condition", where)
        return Resource(
            name,
            kind or "",
            properties or {},
            condition,
            tuple(depends),
            self._policy(value, "DeletionPolicy", where),
            self._policy(value, "UpdateReplacePolicy", where),
            value.get("Metadata"),
        )

    def _policy(self, value: JsonObject, name: str, where: str) -> str:
        policy = value.get(name, DELETE)
        allowed = [DELETE, RETAIN] + [RETAIN_EXCEPT_ON_CREATE] * (name == "DeletionPolicy")
        if policy not in allowed:
            self.problems.append(
                f"[{where}/{name}] {policy} is refused: the local gateway's resources take "
                f"{', '.join(allowed)}"
            )
        return str(policy)

    def _output(self, name: str, value: JsonObject) -> Output:
        where = f"/Outputs/{name}"
        self._unknown(value, {"Value", "Description", "Export", "Condition"}, where)
        if value.get("Value") is None:
            self.problems.append(f"[{where}] Every Outputs member must contain a Value object")
        export = value.get("Export")
        if export is not None and (not isinstance(export, dict) or set(export) != {"Name"}):
            self.problems.append(f"[{where}/Export] must be an object with a Name")
            export = None
        return Output(
            name,
            value.get("Value"),
            self._text(value, "Description", where),
            None if export is None else export["Name"],
            self._text(value, "Condition", where),
        )

    def _unknown(self, value: JsonObject, known: set[str], where: str) -> None:
        unknown = sorted(set(value) - known)
        if unknown:
            self.problems.append(f"[{where}] Encountered unsupported property {', '.join(unknown)}")

    def _text(self, value: JsonObject, name: str, where: str) -> str | None:
        found = value.get(name)
        if found is not None and not isinstance(found, str):
            self.problems.append(f"[{where}/{name}] must be a string")
            return None
        return found

    def _number(self, value: JsonObject, name: str, where: str) -> float | None:
        found = value.get(name)
        if found is None:
            return None
        try:
            return float(found)
        except (TypeError, ValueError):
            self.problems.append(f"[{where}/{name}] must be a number")
            return None


def text_of(value: Any) -> str:
    """A scalar as the service's text of it: ``true``, not ``True``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, RecursionError):
        return False
    return True


def _reference_problems(template: Template) -> Iterator[str]:
    """What names something that is not there."""
    names = (set(template.parameters), set(template.resources))
    missing: dict[str, list[str]] = {}
    for resource in template.resources.values():
        found = check_functions(
            resource.properties, f"/Resources/{resource.logical_id}", *names, template.conditions
        )
        missing.setdefault("Resources", []).extend(found.unresolved)
        missing["Resources"] += [n for n in resource.depends_on if n not in template.resources]
        yield from found.problems
        if resource.condition is not None and resource.condition not in template.conditions:
            yield (
                f"Unresolved condition dependency {resource.condition} in the Resources block "
                "of the template"
            )
    for output in template.outputs.values():
        values = [output.value, output.export]
        found = check_functions(values, f"/Outputs/{output.name}", *names, template.conditions)
        missing.setdefault("Outputs", []).extend(found.unresolved)
        yield from found.problems
        if output.condition is not None and output.condition not in template.conditions:
            yield (
                f"Unresolved condition dependency {output.condition} in the Outputs block of "
                "the template"
            )
    for name, condition in template.conditions.items():
        found = check_functions(
            condition, f"/Conditions/{name}", names[0], set(), template.conditions
        )
        missing.setdefault("Conditions", []).extend(found.unresolved)
        yield from found.problems
    for block, unresolved in missing.items():
        if unresolved:
            shown = ", ".join(sorted(set(unresolved)))
            yield f"Unresolved resource dependencies [{shown}] in the {block} block of the template"
