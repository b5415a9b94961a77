"""botocore's service models as the authority on what an AWS request may hold.

botocore's own ``ParamValidator`` checks types, required members and lower limits, because the
real service checks the rest. Here the same model says all of it: types, required and unknown
members, enums, patterns, lengths and ranges. The wording is the services' own ("1 validation
error detected: Value … at … failed to satisfy constraint: …").

botocore is imported on first use: it takes a third of a second.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mlops.errors import ServiceError
from mlops.unknown import UNKNOWN

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel, Shape

_YEAR_10000 = 253_402_300_800  # seconds since 1970
MAXIMUM_SHOWN = 300  # characters of a refused value in a message


@cache
def load_service(service: str) -> ServiceModel:
    """botocore's model of `service` (``sagemaker``, ``sts``, …), loaded once for each process."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def _operation(service: str, operation: str) -> OperationModel:
    return load_service(service).operation_model(operation)


@cache
def load_shape(service: str, operation: str, *, output: bool = False) -> Shape | None:
    """The input (or output) shape of an operation; None where it takes (or answers) nothing.

    Raises:
        botocore.model.OperationNotFoundError: the service has no such operation.
    """
    model = _operation(service, operation)
    return model.output_shape if output else model.input_shape


def members(service: str, operation: str, *, output: bool = False) -> frozenset[str]:
    """The names of the top-level members of an operation's request (or answer)."""
    shape = load_shape(service, operation, output=output)
    return frozenset(shape.members) if shape is not None else frozenset()  # type: ignore[attr-defined]  # an operation's shape is a StructureShape


def validate_request(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Check a request against the service's model.

    Raises:
        ServiceError: ``ValidationException`` that names every broken constraint.
    """
    problems = find_problems(service, operation, request)
    if problems:
        count = len(problems)
        head = f"{count} validation error{'s' if count > 1 else ''} detected: "
        raise ServiceError("ValidationException", head + "; ".join(problems))


def without_nulls(value: Any) -> Any:
    """A valid request without members that are null: to the model they are left out."""
    if isinstance(value, Mapping):
        return {name: without_nulls(child) for name, child in value.items() if child is not None}
    if isinstance(value, list):
        return [without_nulls(child) for child in value]
    return value


def find_problems(
    service: str, operation: str, value: Mapping[str, Any], *, output: bool = False
) -> list[str]:
    """Every broken constraint of a request (or an answer), one sentence each; empty when valid.

    `unknown.UNKNOWN` in the place of a value is no problem.
    """
    shape = load_shape(service, operation, output=output)
    if shape is None:
        return [f"{operation} has no members, but was given {', '.join(value)}"] * bool(value)
    return list(_check(shape, value, ""))


def _check(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is UNKNOWN:
        return
    checker = _CHECKERS.get(shape.type_name)
    if checker is None:
        raise AssertionError(f"botocore's model has a type this check does not know: {shape}")
    yield from checker(shape, value, path)


def _check_structure(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _wrong_type(value, path, "a structure")
        return
    known = shape.members
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_member(path, name)}' failed to satisfy constraint: " + (
                "Member must not be null"
            )
    for name, child in value.items():
        member = known.get(name)
        if member is None:
            yield _unknown_member(name, path, known)
        elif child is not None:
            yield from _check(member, child, _member(path, name))


def _check_list(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        yield _wrong_type(value, path, "a list")
        return
    yield from _check_limits(shape, len(value), value, path, "length")
    for position, item in enumerate(value, 1):
        yield from _check(shape.member, item, f"{path}.{position}.member")


def _check_map(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _wrong_type(value, path, "a map")
        return
    yield from _check_limits(shape, len(value), value, path, "length")
    for key, item in value.items():
        yield from _check(shape.key, key, f"{path}.key")
        yield from _check(shape.value, item, f"{path}.{key}.member")


def _check_string(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield _wrong_type(value, path, "a string")
        return
    enum = shape.enum
    if enum and value not in enum:
        yield _broken(value, path, f"Member must satisfy enum value set: [{', '.join(enum)}]")
    limits = shape.metadata
    if "max" in limits or "min" in limits:
        yield from _check_limits(shape, len(value), value, path, "length")
    pattern = limits.get("pattern")
    if pattern and not _compiled(pattern, value.isascii()).fullmatch(value):
        yield _broken(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _check_integer(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield _wrong_type(value, path, "an integer")
        return
    yield from _check_limits(shape, value, value, path, "value")


def _check_number(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        yield _wrong_type(value, path, "a number")
        return
    if not math.isfinite(value):  # 1e999 is JSON
        yield _broken(value, path, "Member must be a finite number")
        return
    yield from _check_limits(shape, value, value, path, "value")


def _check_boolean(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield _wrong_type(value, path, "true or false")


def _check_timestamp(shape: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, datetime)):
        yield _wrong_type(value, path, "a timestamp")
    elif isinstance(value, (int, float)) and not abs(value) < _YEAR_10000:
        yield _broken(value, path, "Member must be a timestamp in seconds before the year 10000")


def _check_blob(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, (str, bytes)):
        yield _wrong_type(value, path, "bytes")


_CHECKERS: dict[str, Callable[[Any, Any, str], Iterator[str]]] = {
    "structure": _check_structure,
    "list": _check_list,
    "map": _check_map,
    "string": _check_string,
    "integer": _check_integer,
    "long": _check_integer,
    "float": _check_number,
    "double": _check_number,
    "boolean": _check_boolean,
    "timestamp": _check_timestamp,
    "blob": _check_blob,
}


def _check_limits(
    shape: Any, measure: float, value: Any, path: str, quantity: str
) -> Iterator[str]:
    limits = shape.metadata
    lowest, highest = limits.get("min"), limits.get("max")
    if lowest is not None and measure < lowest:
        yield _broken(value, path, f"Member must have {quantity} greater than or equal to {lowest}")
    if highest is not None and measure > highest:
        yield _broken(value, path, f"Member must have {quantity} less than or equal to {highest}")


def _broken(value: Any, path: str, constraint: str) -> str:
    return f"Value '{_shown(value)}' at '{path}' failed to satisfy constraint: {constraint}"


def _wrong_type(value: Any, path: str, wanted: str) -> str:
    return _broken(value, path or "request", f"Member must be {wanted}")


def _unknown_member(name: str, path: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
    return f"Unknown member '{name}' at '{path or 'request'}': {hint}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAXIMUM_SHOWN else text[:MAXIMUM_SHOWN] + "…"


def _member(path: str, name: str) -> str:
    # The services name members in their Java form: inputDataConfig.1.member.channelName.
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


# --- patterns ----------------------------------------------------------------------------------
# The models' patterns are Java's. Python's `re` takes all but the forms translated here.

_SURROGATE_RANGE = r"\uD800\uDC00-\uDBFF\uDFFF"  # UTF-16 for every character beyond the BMP


@cache
def _compiled(pattern: str, ascii_only: bool = False) -> re.Pattern[str]:
    """`pattern` for Python. For ASCII values it has short classes, made 10,000 times as fast."""
    highest = 127 if ascii_only else sys.maxunicode
    text = pattern.replace(_SURROGATE_RANGE, r"\U00010000-\U0010FFFF")
    text = re.sub(r"\$\{\d+,\d+\}", "$", text)  # a repeated end of text is the end of text
    text = text.replace(r"\z", r"\Z")
    text = re.sub(
        r"\\p\{(\w+)\}",
        # A class inside another needs no brackets of its own; one that stands alone does.
        lambda match: _in_brackets(text[: match.start()], _property_class(match[1], highest)),
        text,
    )
    return re.compile(text)


def _in_brackets(before: str, inside: str) -> str:
    plain = re.sub(r"\\.", "", before)
    return inside if plain.rfind("[") > plain.rfind("]") else f"[{inside}]"


_POSIX_CLASSES = {"Alnum": "a-zA-Z0-9", "ASCII": r"\x00-\x7f", "Print": r"\x20-\x7e"}


def _property_class(name: str, highest: int) -> str:
    """The inside of a character class for Java's ``\\p{name}``."""
    if name in _POSIX_CLASSES:
        return _POSIX_CLASSES[name]
    return _unicode_ranges(name, highest)


@cache
def _unicode_ranges(category: str, highest: int) -> str:
    runs = (run for run in _category_runs(highest) if run[2].startswith(category))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last, _ in runs)


@cache
def _category_runs(highest: int) -> Sequence[tuple[int, int, str]]:
    """Every run of characters of one category: first, last, category. One pass serves them all."""
    codes = range(highest + 1)
    runs: list[tuple[int, int, str]] = []
    for category, run in groupby(codes, key=lambda code: unicodedata.category(chr(code))):
        found = list(run)
        runs.append((found[0], found[-1], category))
    return runs
