"""Which answer a request gets, and in which form.

    GET  /ping          200: the server only listens once the model has answered its first rows
    POST /invocations   text/csv or application/json in; one of them out, by Accept

Without a preference the answer has the request's form: text/csv has one number on a line for each
row, application/json is {"predictions": [number, …]}. The model computes with 32 bits; a number is
written so that it reads as exactly the same value, 64 bits wide.
"""

import functools
import json
import math

from serving.problems import RequestProblem
from serving.rows import parse_csv, parse_json, shown

CSV, JSON, TEXT = "text/csv", "application/json", "text/plain"
FORMS = (CSV, JSON)
PARSERS = {CSV: parse_csv, JSON: parse_json}
METHODS = {"/ping": "GET", "/invocations": "POST"}


class Answer:
    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(self, status, content_type, body, headers=()):
        self.status = status
        self.content_type = content_type
        self.body = body
        self.headers = headers


def refusal(problem):
    text = f"{problem}\n".encode("utf-8", "backslashreplace")
    return Answer(problem.status, TEXT, text, problem.headers)


def check_path(method, path):
    """Raises RequestProblem for what is not offered; asked before a body is taken."""
    offered = METHODS.get(path)
    if offered is None:
        raise RequestProblem(404, f"there is no {shown(path)}, only GET /ping, POST /invocations")
    if method != offered and not (method == "HEAD" and offered == "GET"):
        raise RequestProblem(405, f"{path} answers {offered}, not {method}", [("allow", offered)])


class Invocations:
    """Requests for predictions: rows out of a body, and the predictions as an answer."""

    def __init__(self, inputs):
        self.inputs = inputs

    def read(self, body, content_type, accept, encoding):
        """(columns, form of the answer). Raises RequestProblem."""
        given = content_form(content_type)
        if encoding and encoding.strip().lower() != b"identity":
            raise RequestProblem(415, "a body with a Content-Encoding is not taken: send it plain")
        wanted = answer_form(accept, given)
        return PARSERS[given](body, self.inputs), wanted


@functools.lru_cache(maxsize=256)
def content_form(header):
    """text/csv or application/json of a Content-Type. Raises RequestProblem (415)."""
    text = (header or b"").decode("latin-1")
    form, *parameters = (part.strip().lower() for part in text.split(";"))
    if form not in FORMS:
        found = f"Content-Type {form!r}" if form else "a body without Content-Type"
        raise RequestProblem(415, f"{found} is not taken: send text/csv or application/json")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            raise RequestProblem(415, f"the charset {value.strip()!r} is not taken: send UTF-8")
    return form


@functools.lru_cache(maxsize=256)
def answer_form(header, given):
    """The form of the answer by Accept (RFC 9110, 12.5.1). Raises RequestProblem (406)."""
    text = (header or b"").decode("latin-1").strip()
    if not text:
        return given
    ranges = [accepted(part) for part in text.lower().split(",") if part.strip()]
    best, most = None, 0.0
    for form in (given, *FORMS):  # the request's own form wins where both are as welcome
        quality = preference(form, ranges)
        if quality > most:
            best, most = form, quality
    if best is None:
        raise RequestProblem(
            406, f"Accept {text[:60]!r}: the answer is text/csv or application/json"
        )
    return best


def accepted(part):
    """(media range, quality) of one part of Accept."""
    name, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                raise RequestProblem(400, f"Accept has a quality {value[:20]!r}") from None
    return name, (quality if math.isfinite(quality) else 0.0)


def preference(form, ranges):
    """The quality of the most specific range that fits; 0.0 where none does."""
    for pattern in (form, form.split("/")[0] + "/*", "*/*"):
        found = [quality for name, quality in ranges if name == pattern]
        if found:
            return max(found)
    return 0.0


def predictions_answer(values, form):
    """The answer for floats, one for each row. Raises RequestProblem for a row without one."""
    for row, value in enumerate(values, 1):
        if not math.isfinite(value):
            raise RequestProblem(400, f"row {row}: the model has no finite prediction for it")
    if form == JSON:
        return Answer(200, JSON, json.dumps({"predictions": values}).encode())
    return Answer(200, CSV, ("\n".join(map(repr, values)) + "\n").encode())
