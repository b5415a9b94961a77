"""Text to JSON values, as strictly as the service reads it."""

from __future__ import annotations

import json
import math
from typing import NoReturn

from mlops.definition.scope import JsonValue


class JsonTextError(Exception):
    """The text is not JSON; the message says why and, where it is known, where."""


def read_json(text: str) -> JsonValue:
    """The value of a JSON text. Numbers that JSON has no place for (NaN, 1e999) are refused.

    Raises:
        JsonTextError: it is not JSON, or nested too deeply to be read.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonTextError(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise JsonTextError("the values are nested too deeply") from error
    except ValueError as error:
        raise JsonTextError(str(error)) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is too large")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
