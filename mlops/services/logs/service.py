"""DescribeLogGroups, DescribeLogStreams, GetLogEvents, FilterLogEvents.

Members, limits and errors are those of botocore's model of ``logs``; what a page holds (10,000
events or 1 MiB) and how tokens behave at the end of a stream is in the API reference of each.
"""

from __future__ import annotations

import base64
import heapq
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mlops.errors import ServiceError
from mlops.json_text import parse_json
from mlops.ports import JsonObject, StateStore
from mlops.services.logs.events import LogEvent, LogReader, LogTimes
from mlops.services.logs.patterns import message_filter
from mlops.services.logs.streams import LogStream, LogStreams
from mlops.services.table import TableService
from mlops.settings import Settings

MOST_EVENTS = 10_000
MOST_BYTES = 1024 * 1024
EVENT_OVERHEAD = 26
"""Bytes that count for each event beside its message (PutLogEvents, API reference)."""
MOST_LISTED = 50

_TOKEN = re.compile(r"(?P<way>[fb])/(?P<offset>\d+)")

Item = TypeVar("Item")


class LogsService(TableService):
    """CloudWatch Logs, read only: who writes here are jobs, servers and functions."""

    def __init__(self, state: StateStore, settings: Settings) -> None:
        super().__init__(
            "logs",
            {
                "DescribeLogGroups": self._describe_groups,
                "DescribeLogStreams": self._describe_streams,
                "GetLogEvents": self._get_events,
                "FilterLogEvents": self._filter_events,
            },
            invalid_code="InvalidParameterException",
        )
        self._arn = f"arn:aws:logs:{settings.region}:{settings.account_id}:log-group:"
        self._streams = LogStreams(state, settings.store)
        self._times = LogTimes()
        self._reader = LogReader(self._times)

    # --- what there is ---

    def _describe_groups(self, request: JsonObject) -> JsonObject:
        prefix, part = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
        if prefix and part:
            raise _invalid("Give one of logGroupNamePrefix and logGroupNamePattern")
        wanted = [
            name
            for name in self._streams.groups()
            if name.startswith(prefix) and part.lower() in name.lower()
        ]
        names, token = _page(wanted, request, lambda name: name)
        return {"logGroups": [self._group(name) for name in names], "nextToken": token}

    def _group(self, name: str) -> JsonObject:
        streams = self._streams.of(name) or ()
        return {
            "logGroupName": name,
            "creationTime": min(stream.created_at for stream in streams),
            "storedBytes": sum(stream.file.stat().st_size for stream in streams),
            "metricFilterCount": 0,
            "arn": f"{self._arn}{name}:*",
            "logGroupArn": f"{self._arn}{name}",
            "logGroupClass": "STANDARD",
        }

    def _describe_streams(self, request: JsonObject) -> JsonObject:
        prefix, by_time = (
            request.get("logStreamNamePrefix", ""),
            request.get("orderBy") == "LastEventTime",
        )
        if prefix and by_time:
            raise _invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        group = _group_of(request)
        found = [each for each in self._existing(group) if each.name.startswith(prefix)]
        if by_time:
            found.sort(key=lambda stream: _changed_at(stream.file))
        if request.get("descending"):
            found.reverse()
        streams, token = _page(found, request, lambda stream: stream.name)
        return {
            "logStreams": [self._stream(group, stream) for stream in streams],
            "nextToken": token,
        }

    def _stream(self, group: str, stream: LogStream) -> JsonObject:
        told: JsonObject = {
            "logStreamName": stream.name,
            "creationTime": stream.created_at,
            "arn": f"{self._arn}{group}:log-stream:{stream.name}",
            "storedBytes": 0,  # the service has told no more since 2019 (API reference)
        }
        size, time_of = self._times.observe(stream.file)
        if size:
            told |= {
                "firstEventTimestamp": time_of(0),
                "lastEventTimestamp": time_of(size - 1),
                "lastIngestionTime": time_of(size - 1),
            }
        return told

    def _existing(self, group: str) -> list[LogStream]:
        streams = self._streams.of(group)
        if streams is None:
            raise _missing("group")
        return list(streams)

    # --- one stream ---

    def _get_events(self, request: JsonObject) -> JsonObject:
        group = _group_of(request)
        stream = self._streams.find(group, request["logStreamName"])
        if stream is None:
            self._existing(group)
            raise _missing("stream")
        way, offset = _position(request)
        with self._reader.open(stream.file, ended=stream.ended) as log:
            forward = way == "f"
            offset = log.size if offset is None else offset
            events = log.after(offset) if forward else log.before(offset)
            found = _up_to_a_page(_within(events, request), request)
            begin, end = (found[0].begin, found[-1].end) if found else (offset, offset)
            if not forward:
                found.reverse()
                begin, end = (found[0].begin, offset) if found else (offset, offset)
        return {
            "events": [_told(event) for event in found],
            "nextForwardToken": f"f/{end}",
            "nextBackwardToken": f"b/{begin}",
        }

    # --- a whole group ---

    def _filter_events(self, request: JsonObject) -> JsonObject:
        streams = self._selected(request)
        matches = message_filter(request.get("filterPattern"))
        after = _read_token(request)
        with ExitStack() as opened:
            each_stream = [
                self._keyed(opened, stream, request, matches)
                for stream in streams
                if stream.file.is_file()
            ]
            merged = (
                (key, stream, event)
                for key, stream, event in heapq.merge(*each_stream, key=lambda found: found[0])
                if after is None or key > tuple(after)
            )
            limit = min(request.get("limit", MOST_EVENTS), MOST_EVENTS)
            found = list(islice(merged, limit + 1))
        shown = found[: min(limit, _fitting([event for _, _, event in found]))]
        token = _make_token(list(shown[-1][0])) if len(shown) < len(found) else None
        return {
            "events": [_told_of(stream, event) for _, stream, event in shown],
            "searchedLogStreams": [],
            "nextToken": token,
        }

    def _keyed(
        self,
        opened: ExitStack,
        stream: LogStream,
        request: JsonObject,
        matches: Callable[[str], bool],
    ) -> Iterator[tuple[tuple[int, str, int], LogStream, LogEvent]]:
        log = opened.enter_context(self._reader.open(stream.file, ended=stream.ended))
        for event in _within(log.after(0), request):
            if matches(event.message):
                yield (event.timestamp, stream.name, event.begin), stream, event

    def _selected(self, request: JsonObject) -> Sequence[LogStream]:
        names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
        if names and prefix:
            raise _invalid("Give one of logStreamNames and logStreamNamePrefix")
        streams = self._existing(_group_of(request))
        if names:
            by_name = {stream.name: stream for stream in streams}
            if any(name not in by_name for name in names):
                raise _missing("stream")
            return [by_name[name] for name in sorted(set(names))]
        return [stream for stream in streams if stream.name.startswith(prefix or "")]


def _group_of(request: JsonObject) -> str:
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise _invalid("Give one of logGroupName and logGroupIdentifier")
    # An ARN names the group after its sixth colon.
    found = name or str(identifier)
    return found.split(":", 6)[-1].removesuffix(":*") if found.startswith("arn:") else found


def _position(request: JsonObject) -> tuple[str, int | None]:
    """The way to read and where from; None is the end."""
    token = request.get("nextToken")
    if token is None:
        return ("f", 0) if request.get("startFromHead") else ("b", None)
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise _invalid("The specified nextToken is invalid.")
    return match["way"], int(match["offset"])


def _within(events: Iterator[LogEvent], request: JsonObject) -> Iterator[LogEvent]:
    start, end = request.get("startTime", 0), request.get("endTime")
    return (
        event
        for event in events
        if event.timestamp >= start and (end is None or event.timestamp < end)
    )


def _up_to_a_page(events: Iterator[LogEvent], request: JsonObject) -> list[LogEvent]:
    found = list(islice(events, min(request.get("limit", MOST_EVENTS), MOST_EVENTS)))
    return found[: _fitting(found)]


def _fitting(events: Sequence[LogEvent]) -> int:
    """How many of the first events are a page by their bytes; one always is."""
    room = MOST_BYTES
    for count, event in enumerate(events):
        room -= event.end - event.begin + EVENT_OVERHEAD
        if room < 0:
            return max(count, 1)
    return len(events)


def _told(event: LogEvent) -> JsonObject:
    return {
        "timestamp": event.timestamp,
        "message": event.message,
        "ingestionTime": event.timestamp,
    }


def _told_of(stream: LogStream, event: LogEvent) -> JsonObject:
    named = f"{stream.name}/{event.begin}".encode()
    return {
        **_told(event),
        "logStreamName": stream.name,
        "eventId": base64.urlsafe_b64encode(named).decode(),
    }


def _page(
    items: Sequence[Item], request: JsonObject, name_of: Callable[[Item], str]
) -> tuple[Sequence[Item], str | None]:
    after = _read_token(request)
    names = [name_of(item) for item in items]
    begin = names.index(after) + 1 if after in names else 0
    end = begin + request.get("limit", MOST_LISTED)
    return items[begin:end], _make_token(names[end - 1]) if end < len(items) else None


def _make_token(state: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(state).encode()).decode()


def _read_token(request: JsonObject) -> Any:
    token = request.get("nextToken")
    if token is None:
        return None
    try:
        return parse_json(base64.urlsafe_b64decode(token.encode()))
    except ValueError as error:
        raise _invalid("The specified nextToken is invalid.") from error


def _changed_at(file: Path) -> float:
    return file.stat().st_mtime


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)


def _missing(what: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"The specified log {what} does not exist.")
