"""A transform job's servers, and its files through them.

Each instance is a server with its share of the files (every n-th, as ``ShardedByS3Key`` deals them
out). What a file becomes is written aside and moved into the store whole. One file that fails does
not keep the others from being transformed; the job has failed then all the same.
"""

from __future__ import annotations

import gzip
import shutil
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from mlops.errors import MlopsError, NoSuchBucket, NoSuchKey
from mlops.execution.failures import StepFailure
from mlops.execution.host_logs import merged_logs
from mlops.execution.inputs import objects_of
from mlops.execution.job_run import JobRun
from mlops.execution.object_names import no_objects
from mlops.execution.outputs import join_uri, missing_bucket
from mlops.execution.stopping import STOP_GRACE_SECONDS, StepStopped
from mlops.execution.transform.feeding import Feeder, FileFailed
from mlops.execution.transform.filters import DataProcessing
from mlops.execution.transform.settings import environment_of, settings_of
from mlops.ports import JsonObject, ModelServer, ModelServers
from mlops.s3_uri import split_s3_uri

OUT = ".out"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One object to transform."""

    bucket: str
    key: str
    name: str
    """Below the input's prefix, and so, with ``.out``, below the output's."""

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(slots=True)
class Tally:
    """What came of the files. Filled by several threads."""

    files: int = 0
    records: int = 0
    failures: list[tuple[SourceFile, FileFailed]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class ServerGroup:
    """The servers of a job, with one face for whoever stops it."""

    def __init__(self, servers: Sequence[ModelServer]) -> None:
        self._servers = servers

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """End all, side by side."""
        threads = [
            threading.Thread(target=each.stop, args=(grace_seconds,)) for each in self._servers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Transformation:
    """One run of one transform job."""

    def __init__(
        self,
        run: JobRun,
        job_name: str,
        request: JsonObject,
        models: ModelServers,
        processing: DataProcessing | None,
    ) -> None:
        self._run = run
        self._name = job_name
        self._request = request
        self._models = models
        self._processing = processing
        self._tally = Tally()
        self._log_lock = threading.Lock()

    def carry_out(self) -> Tally:
        """Transform every file; what came of them.

        Raises:
            StepFailure: there is nothing to transform, or the output's bucket is missing.
            StepStopped: that was asked for.
            MlopsError: the servers do not start.
            OSError: something cannot be written.
        """
        self._clear()
        files = self._files()
        with (
            self._servers(len(files)) as servers,
            ThreadPoolExecutor(len(servers)) as instances,
        ):
            shares = [
                instances.submit(self._feed_all, number, server, files[number :: len(servers)])
                for number, server in enumerate(servers)
            ]
            _first_error(shares)
        if self._run.stop.requested:
            raise StepStopped("The transform job was stopped")
        if not self._tally.failures:
            count = self._tally.files
            noun = "file" if count == 1 else "files"
            self._write(f"detail: {count:,} {noun} · {self._tally.records:,} records")
        return self._tally

    def _clear(self) -> None:
        """Nothing of an earlier gateway's attempt may still run, or lie in the way."""
        if self._run.past is not None:
            self._run.parts.runtime.remove_leftovers(self._run.labels)
            for each in self._run.folder.glob("algo-*"):
                shutil.rmtree(each)
            self._run.log.unlink(missing_ok=True)
        self._run.folder.mkdir(parents=True, exist_ok=True)

    def _files(self) -> list[SourceFile]:
        source = self._request["TransformInput"]["DataSource"]["S3DataSource"]
        manifest = source["S3DataType"] == "ManifestFile"
        bucket, chosen = objects_of(self._run.parts.objects, source["S3Uri"], manifest=manifest)
        if not chosen:
            raise StepFailure(f"ClientError: {no_objects(source['S3Uri'])}")
        return [SourceFile(bucket, key, name) for key, name in chosen]

    # --- servers ---

    @contextmanager
    def _servers(self, files: int) -> Iterator[list[ModelServer]]:
        """The job's servers, ready; none is left when this is over."""
        asked_for = self._request["TransformResources"]["InstanceCount"]
        hosts = [f"algo-{number + 1}" for number in range(min(asked_for, files))]
        with ExitStack() as cleaning:
            if len(hosts) > 1:
                logs = {host: self._run.folder / host / "log.txt" for host in hosts}
                cleaning.enter_context(merged_logs(logs, self._run.log))
            servers: list[ModelServer] = []
            group = ServerGroup(servers)
            for host in hosts:
                cleaning.callback(shutil.rmtree, self._run.folder / host / "ml", True)
            cleaning.callback(group.stop, STOP_GRACE_SECONDS)  # comes first when this is over
            for host in hosts:
                servers.append(self._start(host, alone=len(hosts) == 1))
            self._run.stop.attach(group)
            self._wait_until_ready(servers)
            yield servers

    def _start(self, host: str, *, alone: bool) -> ModelServer:
        folder = self._run.folder / host
        request = self._request
        return self._models.start(
            request["ModelName"],
            name=self._name if alone else f"{self._name}-{host}",
            folder=folder / "ml",
            log=self._run.log if alone else folder / "log.txt",
            environment={**environment_of(request), **request.get("Environment", {})},
            labels=self._run.labels,
        )

    def _wait_until_ready(self, servers: Sequence[ModelServer]) -> None:
        for server in servers:
            try:
                server.wait_until_ready()
            except MlopsError:
                if self._run.stop.requested:
                    raise StepStopped("The transform job was stopped") from None
                raise

    # --- files ---

    def _feed_all(self, number: int, server: ModelServer, files: Sequence[SourceFile]) -> None:
        settings = settings_of(self._request, server.parameters())
        with (
            ThreadPoolExecutor(settings.concurrent) as pool,
            ThreadPoolExecutor(min(settings.concurrent, len(files))) as at_once,
        ):
            feeder = Feeder(
                server,
                settings,
                self._request["TransformInput"].get("SplitType", "None"),
                self._processing,
                self._headers(),
                self._request["TransformOutput"].get("AssembleWith") == "Line",
                pool,
                self._run.stop,
            )
            self._say(
                f"MaxConcurrentTransforms={settings.concurrent}, "
                f"MaxPayloadInMB={settings.payload_megabytes}, BatchStrategy={settings.strategy}"
            )
            aside = self._run.folder / f"algo-{number + 1}" / "out"
            aside.mkdir(parents=True, exist_ok=True)
            _first_error(
                [
                    at_once.submit(self._feed_one, feeder, each, aside / str(index))
                    for index, each in enumerate(files)
                ]
            )
            shutil.rmtree(aside, ignore_errors=True)

    def _headers(self) -> Mapping[str, str]:
        headers = {
            "Content-Type": self._request["TransformInput"].get("ContentType", ""),
            "Accept": self._request["TransformOutput"].get("Accept", ""),
        }
        return {name: value for name, value in headers.items() if value}

    def _feed_one(self, feeder: Feeder, source: SourceFile, aside: Path) -> None:
        if self._run.stop.requested:
            return
        try:
            with self._opened(source) as content, aside.open("wb") as target:
                count = feeder.feed(content, target)
        except FileFailed as error:
            self._fail(source, error)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._fail(source, FileFailed(f"it is no sound gzip file: {error}"))
        else:
            self._keep(source, aside)
            with self._tally.lock:
                self._tally.files += 1
                self._tally.records += count

    def _opened(self, source: SourceFile) -> BinaryIO:
        try:
            file = self._run.parts.objects.open(source.bucket, source.key)
        except (NoSuchBucket, NoSuchKey) as error:
            raise FileFailed("there is no such object") from error
        if self._request["TransformInput"].get("CompressionType", "None") == "Gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=file))
        return file

    def _keep(self, source: SourceFile, aside: Path) -> None:
        place = self._request["TransformOutput"]["S3OutputPath"]
        bucket, key = split_s3_uri(join_uri(place, source.name + OUT))
        try:
            self._run.parts.objects.adopt(bucket, key, aside)
        except NoSuchBucket as error:
            raise missing_bucket(place) from error

    def _fail(self, source: SourceFile, error: FileFailed) -> None:
        self._say(f"{source.bucket}/{source.key}: {error}")
        with self._tally.lock:
            self._tally.failures.append((source, error))

    def _say(self, line: str) -> None:
        """A line in the job's log, where the service has a log of its own (``data-log``)."""
        self._write(f"[sagemaker logs]: {line}")

    def _write(self, line: str) -> None:
        with self._log_lock, self._run.log.open("ab") as log:
            log.write(f"{line}\n".encode())


def _first_error(work: Sequence[Future[None]]) -> None:
    """Wait for all of it; raise the first error."""
    errors = [error for each in work if (error := each.exception()) is not None]
    for error in errors:
        raise error


def told(tally: Tally) -> str:
    """Why a job failed that could not transform every file."""
    source, error = tally.failures[0]
    kind = "AlgorithmError" if error.algorithm else "ClientError"
    count = len(tally.failures)
    of = f"{count} of {count + tally.files} files could not be transformed"
    return f"{kind}: See job logs for more information: {of}; {source.uri}: {error}"
