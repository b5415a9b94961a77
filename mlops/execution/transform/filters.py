"""DataProcessing: what of a record goes to the model, and what of both comes out. Pure.

The Developer Guide, "Associate Prediction Results with Input Records": the input filter chooses
from each record, ``JoinSource: Input`` puts the model's answer beside the whole record, the output
filter chooses from that. A CSV row counts as an array of its cells; an answer's cells follow the
record's. A JSON object gets the answer as ``SageMakerOutput``; any other JSON goes under
``SageMakerInput``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlops.execution.transform.jsonpath import JsonPath, NothingThere, parse_path

CSV, JSON_LINES, JSON = "text/csv", "application/jsonlines", "application/json"
_JSON_LINES = (JSON_LINES, "application/x-jsonlines", "application/jsonl")


class BadData(ValueError):
    """A record or an answer is not what its content type says, or has not what a filter selects."""


class Format(Protocol):
    """One content type, as far as filters need it."""

    def split(self, body: bytes) -> list[bytes]:
        """The records of an answer."""
        ...

    def read(self, record: bytes) -> Any:
        """A record as filters see it."""
        ...

    def write(self, value: Any) -> bytes:
        """What a filter has selected, as a record; no newline at its end."""
        ...

    def join(self, record: Any, answer: Any) -> Any: ...


class CsvFormat:
    """Implements `Format`."""

    def split(self, body: bytes) -> list[bytes]:
        return [line for line in body.splitlines() if line]

    def read(self, record: bytes) -> Any:
        rows = list(csv.reader(io.StringIO(_text(record), newline="")))
        if len(rows) != 1:
            raise BadData(f"a record is {len(rows)} rows of CSV")
        return rows[0]

    def write(self, value: Any) -> bytes:
        row = io.StringIO(newline="")
        csv.writer(row, lineterminator="").writerow(value if isinstance(value, list) else [value])
        return row.getvalue().encode()

    def join(self, record: Any, answer: Any) -> Any:
        return [*record, *answer]


class JsonFormat:
    """Implements `Format` for a document, and for the lines of JSON Lines."""

    def __init__(self, *, lines: bool) -> None:
        self.lines = lines

    def split(self, body: bytes) -> list[bytes]:
        return [line for line in body.splitlines() if line.strip()] if self.lines else [body]

    def read(self, record: bytes) -> Any:
        try:
            return json.loads(_text(record))
        except ValueError as error:
            raise BadData(f"a record is no JSON: {error}") from error

    def write(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

    def join(self, record: Any, answer: Any) -> Any:
        if isinstance(record, dict):
            return {**record, "SageMakerOutput": answer}
        return {"SageMakerInput": record, "SageMakerOutput": answer}


def format_of(content_type: str) -> Format | None:
    """The format of a content type (parameters left aside); None where filters know none."""
    name = content_type.partition(";")[0].strip().lower()
    if name == CSV:
        return CsvFormat()
    if name == JSON or name in _JSON_LINES:
        return JsonFormat(lines=name in _JSON_LINES)
    return None


@dataclass(frozen=True, slots=True)
class DataProcessing:
    """The filters of a transform job, read.

    ``records`` is the format of what comes in, ``answers`` that of what the model says.
    """

    input_filter: JsonPath
    output_filter: JsonPath
    joins: bool
    records: Format
    answers: Format

    @property
    def leaves_answers(self) -> bool:
        """Whether an answer is the output just as it came."""
        return self.output_filter.is_all and not self.joins

    def to_model(self, record: bytes) -> bytes:
        """What of a record the model gets.

        Raises:
            BadData: the record is not what it should be.
        """
        if self.input_filter.is_all:
            return record
        return self.records.write(_selected(self.input_filter, self.records.read(record)))

    def to_output(self, records: Sequence[bytes], answer: bytes) -> list[bytes]:
        """The output records of one request: an answer for each of `records`, in their order.

        Raises:
            BadData: the answer is not what it should be, or has another number of records.
        """
        answers = self.answers.split(answer)
        if self.joins and len(answers) != len(records):
            raise BadData(
                f"the answer to {len(records)} records has {len(answers)}: they cannot be joined"
            )
        if not self.joins:
            values = [self.answers.read(each) for each in answers]
            return [self.answers.write(_selected(self.output_filter, value)) for value in values]
        return [self._joined(record, each) for record, each in zip(records, answers, strict=True)]

    def _joined(self, record: bytes, answer: bytes) -> bytes:
        both = self.records.join(self.records.read(record), self.answers.read(answer))
        return self.records.write(_selected(self.output_filter, both))


def read_data_processing(
    request: dict[str, Any], content_type: str, accept: str
) -> DataProcessing | None:
    """The filters of a CreateTransformJob's ``DataProcessing``; None where they change nothing.

    Raises:
        BadPath: a filter is no JSONPath.
        BadData: the content types are none that filters know, or cannot be joined.
    """
    input_filter = parse_path(request.get("InputFilter", "$"))
    output_filter = parse_path(request.get("OutputFilter", "$"))
    joins = request.get("JoinSource", "None") == "Input"
    if input_filter.is_all and output_filter.is_all and not joins:
        return None
    records, answers = format_of(content_type), format_of(accept or content_type)
    if records is None or answers is None:
        unknown = content_type if records is None else accept
        raise BadData(
            f"DataProcessing takes {CSV}, {JSON} and {JSON_LINES}, not {unknown or 'none'}"
        )
    if joins and type(records) is not type(answers):
        raise BadData(f"JoinSource: {content_type} cannot be joined with {accept}")
    return DataProcessing(input_filter, output_filter, joins, records, answers)


def _selected(path: JsonPath, value: Any) -> Any:
    try:
        return path.select(value)
    except NothingThere as error:
        raise BadData(f"{path.text} selects nothing: {error}") from error


def _text(record: bytes) -> str:
    try:
        return record.decode()
    except UnicodeDecodeError as error:
        raise BadData("a record is no UTF-8") from error
