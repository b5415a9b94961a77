"""One attempt at an asynchronous invocation: from S3 through a server to S3.

Neither payload nor answer is held in memory: both pass in parts, from the object to the server and
from the server to the object, which is there whole or not at all.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from mlops.errors import (
    DiskFull,
    InvalidKey,
    MlopsError,
    NoSuchBucket,
    NoSuchKey,
    ServiceError,
    StoreError,
)
from mlops.hosting.async_invocation import MOST_PAYLOAD_BYTES, AsyncInvocation, Ending, Outcome
from mlops.hosting.endpoint import Endpoint
from mlops.hosting.fleet import Lease
from mlops.hosting.invocation import Invocation, Invoker, ModelError, words_for
from mlops.hosting.proxy import Answer, NoAnswer, Streamed, TooSlow
from mlops.ports import Clock, ObjectStore
from mlops.s3_uri import split_s3_uri

PART_BYTES = 256 * 1024
_BUSY_STATUSES = (429, 503)
_NO_CONTENT_TYPE = "binary/octet-stream"
"""What S3 says of an object that was stored without a content type."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Carries invocations out; safe to use from several threads."""

    objects: ObjectStore
    invoker: Invoker
    clock: Clock
    folder: Path
    """Where payloads lie that came with their requests."""

    def keep(self, invocation: AsyncInvocation, payload: bytes) -> None:
        """Keep the payload of a request that named no input.

        Raises:
            DiskFull, StoreError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / invocation.id).write_bytes(payload)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (DiskFull if full else StoreError)(
                f"The payload cannot be kept: {error.strerror}", where=str(self.folder)
            ) from error

    def forget(self, invocation: AsyncInvocation) -> None:
        """Remove what `keep` has kept; no error where there is nothing."""
        with suppress(OSError):
            (self.folder / invocation.id).unlink()

    def sweep(self, known: Collection[str]) -> None:
        """Remove the payloads of requests that were never acknowledged; `known` are ids."""
        with suppress(FileNotFoundError):
            for file in list(self.folder.iterdir()):
                if file.name not in known:
                    file.unlink(missing_ok=True)

    def attempt(self, endpoint: Endpoint, lease: Lease, invocation: AsyncInvocation) -> Outcome:
        """Have the leased server answer, and put its answer into S3; never raises a MlopsError."""
        deadline = self.clock.monotonic() + invocation.timeout_seconds
        try:
            source, content_type = self._open(invocation)
        except (NoSuchKey, NoSuchBucket, InvalidKey) as error:
            return Outcome(Ending.FAILED, f"The input cannot be read: {error}")
        except MlopsError as error:
            return Outcome(Ending.BUSY, f"The input cannot be read: {error}")
        with source:
            length = source.seek(0, io.SEEK_END)
            if length > MOST_PAYLOAD_BYTES:
                return Outcome(
                    Ending.FAILED,
                    f"The input {invocation.input} has {length} bytes, {MOST_PAYLOAD_BYTES} are "
                    "allowed",
                )
            request = Invocation(
                Streamed(length, lambda: self._parts(source, deadline)),
                content_type=content_type,
                accept=invocation.accept,
                custom_attributes=invocation.custom_attributes,
                inference_id=invocation.inference_id,
                seconds=float(invocation.timeout_seconds),
            )
            return self._exchange(endpoint, lease, invocation, request, deadline)

    def fail(self, invocation: AsyncInvocation, message: str) -> None:
        """Put the failure where a client looks for it, if the endpoint has a place for it.

        Raises:
            MlopsError: it cannot be written.
        """
        if invocation.failure is not None:
            bucket, key = split_s3_uri(invocation.failure)
            self.objects.put(bucket, key, message.encode(), content_type="text/plain")

    def has_ended(self, invocation: AsyncInvocation) -> bool:
        """Whether the last attempt had an end that is in S3 already."""
        if invocation.started_at is None:
            return False
        for place in (invocation.output, invocation.failure):
            if place is None:
                continue
            try:
                written = self.objects.head(*split_s3_uri(place)).last_modified
            except MlopsError:
                continue
            if invocation.is_done(written):
                return True
        return False

    def _open(self, invocation: AsyncInvocation) -> tuple[BinaryIO, str | None]:
        if invocation.input is None:
            try:
                return (self.folder / invocation.id).open("rb"), invocation.content_type
            except OSError as error:
                raise NoSuchKey(f"The payload is gone: {error.strerror}") from error
        bucket, key = split_s3_uri(invocation.input)
        told = self.objects.head(bucket, key).content_type
        stored = None if told == _NO_CONTENT_TYPE else told
        return self.objects.open(bucket, key), invocation.content_type or stored

    def _parts(self, source: BinaryIO, deadline: float) -> Iterator[bytes]:
        source.seek(0)
        while part := source.read(PART_BYTES):
            if self.clock.monotonic() > deadline:
                raise TimeoutError
            yield part

    def _exchange(
        self,
        endpoint: Endpoint,
        lease: Lease,
        invocation: AsyncInvocation,
        request: Invocation,
        deadline: float,
    ) -> Outcome:
        try:
            answer = self.invoker.accepted(endpoint, lease, request)
        except ModelError as error:
            return Outcome(_ending_of(error), str(error))
        except ServiceError as error:
            return Outcome(Ending.BUSY, str(error))
        try:
            self._store(invocation, answer, deadline)
        except TooSlow as slow:
            return Outcome(Ending.FAILED, words_for(slow))
        except NoAnswer as broken:
            return Outcome(Ending.LOST, words_for(broken))
        except DiskFull as full:
            return Outcome(Ending.BUSY, f"The result cannot be written: {full}")
        except MlopsError as error:
            return Outcome(Ending.FAILED, f"The result cannot be written: {error}")
        finally:
            answer.close()
        return Outcome(Ending.ANSWERED)

    def _store(self, invocation: AsyncInvocation, answer: Answer, deadline: float) -> None:
        bucket, key = split_s3_uri(invocation.output)
        incoming = _Incoming(self._in_time(answer, deadline))
        body = cast("BinaryIO", io.BufferedReader(incoming, PART_BYTES))
        self.objects.put(bucket, key, body, content_type=answer.headers.get("content-type"))

    def _in_time(self, answer: Answer, deadline: float) -> Iterator[bytes]:
        for part in answer.chunks():
            if self.clock.monotonic() > deadline:
                raise TooSlow
            yield part


def _ending_of(error: ModelError) -> Ending:
    if isinstance(error.__cause__, NoAnswer):
        return Ending.LOST
    busy = error.members["OriginalStatusCode"] in _BUSY_STATUSES
    return Ending.BUSY if busy else Ending.FAILED


class _Incoming(io.RawIOBase):
    """Parts that come one by one, as a file."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer is one
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._left = part
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
