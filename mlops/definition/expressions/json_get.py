"""``{"Std:JsonGet": {"PropertyFile": {"Get": "Steps.E.PropertyFiles.F"}, "Path": "a.b"}}``

or ``{"S3Uri": <expression>, "Path": "a.b"}``: a value out of a JSON file that a step wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mlops.definition.declarations import Declarations
from mlops.definition.expressions.base import (
    Expression,
    ExpressionReader,
    FunctionReader,
    Reference,
)
from mlops.definition.json_text import JsonTextError, read_json
from mlops.definition.location import Location
from mlops.definition.problems import json_type
from mlops.definition.property_file import PropertyFile, PropertyFiles
from mlops.definition.property_path import (
    Key,
    Member,
    PathError,
    Segment,
    look_up,
    parse_path,
)
from mlops.definition.scope import JsonValue, Scope
from mlops.errors import ResolveError

_OUTPUTS = (Member("ProcessingOutputConfig"), Member("Outputs"))
_S3_URI = (Member("S3Output"), Member("S3Uri"))
_PROPERTY_FILE = re.compile(r"Steps\.([^.]+)\.PropertyFiles\.(.+)")


@dataclass(frozen=True, slots=True)
class JsonPath:
    """Where in the file: ``regression_metrics.mse.value``, ``a['b'][0].c``, optionally ``$.a``."""

    text: str
    segments: tuple[Segment, ...]

    def read(self, text: str, uri: str, location: Location) -> JsonValue:
        """Raises:
        ResolveError: the file is no JSON, or has nothing at the path.
        """
        try:
            return look_up(read_json(text), self.segments)
        except JsonTextError as error:
            raise ResolveError(
                f"{uri} is not JSON: {error}",
                where=str(location),
                next_step="let the step that writes the file write valid JSON",
            ) from error
        except PathError as error:
            raise ResolveError(
                f"{uri} has nothing at {self.text!r}: {error}",
                where=str(location),
                next_step="correct the Path, or the step that writes the file",
            ) from None


@dataclass(frozen=True, slots=True)
class JsonGet(Expression):
    """A value out of the JSON file at an S3 URI that an expression gives."""

    s3_uri: Expression
    path: JsonPath
    location: Location

    def resolve(self, scope: Scope) -> JsonValue:
        uri = self.s3_uri.resolve(scope)
        if not isinstance(uri, str) or not uri.startswith("s3://"):
            raise ResolveError(
                f"The S3Uri of Std:JsonGet became {uri!r}",
                where=str(self.location),
                next_step="let it become a text that begins with s3://",
            )
        return self.path.read(scope.read_text(uri), uri, self.location)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetPropertyFile(Reference):
    """The S3 URI of a property file: the URI of its output, a slash, its path in there."""

    step: str
    name: str
    files: PropertyFiles

    @property
    def step_name(self) -> str | None:
        return self.step

    def check(self, declared: Declarations) -> str | None:
        return declared.refuse_step(self.step) or self.files.refuse(self.step, self.name)

    def resolve(self, scope: Scope) -> JsonValue:
        file = self.files.get(self.step, self.name)
        folder = self._folder(file, scope)
        return f"{folder.rstrip('/')}/{file.file_path.lstrip('/')}"

    def _folder(self, file: PropertyFile, scope: Scope) -> str:
        path = (*_OUTPUTS, Key(file.output_name), *_S3_URI)
        try:
            return str(look_up(scope.step_outputs(self.step), path))
        except PathError as error:
            raise ResolveError(
                f"The property file {self.name} of {self.step} cannot be found: {error}",
                where=str(self.location),
                next_step=f"let {self.step} have the output {file.output_name!r}",
            ) from None


def json_get_reader(files: PropertyFiles) -> FunctionReader:
    """The reader of ``Std:JsonGet`` for a definition whose property files are declared there."""

    def read_json_get(value: Any, location: Location, reader: ExpressionReader) -> Expression:
        if not isinstance(value, dict):
            return reader.refuse(location, f"Std:JsonGet takes an object, not {json_type(value)}")
        forms = ({"PropertyFile", "Path"}, {"S3Uri", "Path"})
        if set(value) not in forms:
            return reader.refuse(
                location, "Std:JsonGet takes Path and one of PropertyFile and S3Uri, no other keys"
            )
        path = _read_path(value["Path"], location.child("Path"), reader)
        if "S3Uri" in value:
            uri = _read_s3_uri(value["S3Uri"], location.child("S3Uri"), reader)
        else:
            at = location.child("PropertyFile")
            uri = _read_property_file(value["PropertyFile"], at, reader, files)
        return JsonGet(uri, path, location)

    return read_json_get


def _read_path(value: JsonValue, location: Location, reader: ExpressionReader) -> JsonPath:
    if not isinstance(value, str):
        reader.refuse(location, f"Path must be a string, not {json_type(value)}")
        return JsonPath("", ())
    try:
        return JsonPath(value, parse_path(value.removeprefix("$.")))
    except PathError as error:
        reader.refuse(location, f"Path is no path into a JSON file: {error}")
        return JsonPath(value, ())


def _read_s3_uri(value: JsonValue, location: Location, reader: ExpressionReader) -> Expression:
    if not isinstance(value, (str, dict)):
        return reader.refuse(
            location, f"S3Uri must be a string or a function, not {json_type(value)}"
        )
    return reader.read(value, location)


def _read_property_file(
    value: JsonValue, location: Location, reader: ExpressionReader, files: PropertyFiles
) -> Expression:
    text = value.get("Get") if isinstance(value, dict) and len(value) == 1 else None
    match = _PROPERTY_FILE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return reader.refuse(
            location,
            'PropertyFile must be an object such as {"Get": "Steps.Evaluate.PropertyFiles.Report"}',
        )
    step, name = match.groups()
    return reader.refer(
        GetPropertyFile(step=step, name=name, files=files, location=location.child("Get"))
    )
