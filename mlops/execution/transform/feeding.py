"""One file through a server: its records in, the answers out, in the file's order.

A file's requests go out side by side, as many as the job may have under way, and the answers are
put down in the order of the records. A file with a bad record has no output: it would be out of
order (the Developer Guide, "Troubleshooting": bad records).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import BinaryIO

from mlops.execution.stopping import StepStopped, StopSignal
from mlops.execution.transform.batches import Batch, multiple, single
from mlops.execution.transform.filters import BadData, DataProcessing
from mlops.execution.transform.records import BadRecord, records
from mlops.execution.transform.settings import TransformSettings
from mlops.ports import ModelServer

CHUNK_BYTES = 64 * 1024
FIRST_PAUSE_SECONDS = 0.1
LONGEST_WORDS = 300


class FileFailed(Exception):
    """A file was not transformed.

    `algorithm`: the model's server is to blame, and not what it was given.
    """

    def __init__(self, reason: str, *, algorithm: bool = False) -> None:
        self.algorithm = algorithm
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Feeder:
    """Feeds a server. `pool` carries the requests and has a thread for each that may be under way.

    ``assembles_lines`` ends each answer with a newline (``AssembleWith: Line``).
    """

    server: ModelServer
    settings: TransformSettings
    split_type: str
    processing: DataProcessing | None
    headers: Mapping[str, str]
    assembles_lines: bool
    pool: Executor
    stop: StopSignal

    def feed(self, source: BinaryIO, target: BinaryIO) -> int:
        """Transform `source` into `target`; how many records it had.

        Raises:
            FileFailed: a record, or the server's answer to it, is bad.
            StepStopped: that was asked for.
            OSError: the file cannot be read, or the output not be written.
        """
        under_way: deque[Future[bytes]] = deque()
        count = 0
        try:
            for batch in self._batches(source):
                count += len(batch.records)
                under_way.append(self.pool.submit(self._answer, batch))
                if len(under_way) >= self.settings.concurrent:
                    target.write(under_way.popleft().result())
            while under_way:
                target.write(under_way.popleft().result())
        except BadRecord as error:
            raise FileFailed(str(error)) from error
        finally:
            for each in under_way:
                each.cancel()
        return count

    def _batches(self, source: BinaryIO) -> Iterator[Batch]:
        most = self.settings.most_bytes
        found = records(source, self.split_type, most)
        if self.settings.strategy == "SingleRecord":
            return single(found)
        return multiple(found, most)

    def _answer(self, batch: Batch) -> bytes:
        try:
            return self._assembled(batch, self._asked(self._body(batch)))
        except BadData as error:
            raise FileFailed(str(error)) from error

    def _body(self, batch: Batch) -> bytes:
        if self.processing is None or self.processing.input_filter.is_all:
            return batch.body
        chosen = [self.processing.to_model(record) for record in batch.records]
        ends_lines = self.split_type == "Line" and self.settings.strategy != "SingleRecord"
        return b"".join(record + b"\n" if ends_lines else record for record in chosen)

    def _assembled(self, batch: Batch, answer: bytes) -> bytes:
        if self.processing is not None and not self.processing.leaves_answers:
            answer = b"\n".join(self.processing.to_output(batch.records, answer))
        if self.assembles_lines and not answer.endswith(b"\n"):
            return answer + b"\n"
        return answer

    def _asked(self, body: bytes) -> bytes:
        """The server's answer; asked again after a failure of its own, not after a refusal."""
        most = self.settings.most_bytes
        sent = body if most is not None else _chunks(body)
        pause = FIRST_PAUSE_SECONDS
        for left in range(self.settings.retries, -1, -1):
            if self.stop.requested:
                break
            answer = self.server.invoke(sent, self.headers, self.settings.timeout_seconds)
            if answer.status is not None and 200 <= answer.status < 300:
                return answer.body
            refused = answer.status is not None and answer.status < 500
            if refused or not left:
                raise _failed(answer.status, answer.problem, answer.body, by_server=not refused)
            self.stop.wait(pause)
            pause *= 2
        raise StepStopped("The transform job was stopped")


def _chunks(body: bytes) -> list[bytes]:
    return [body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES)]


def _failed(status: int | None, problem: str, body: bytes, *, by_server: bool) -> FileFailed:
    if status is None:
        return FileFailed(problem, algorithm=True)
    words = body.decode("utf-8", "replace").strip()[:LONGEST_WORDS]
    # The words that a transform job's data-log has, as people have published them.
    text = f"Bad HTTP status received from algorithm: {status}"
    return FileFailed(f"{text}: {words}" if words else text, algorithm=by_server)
