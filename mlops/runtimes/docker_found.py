"""Jobs as containers that an earlier gateway started, found again.

The earlier gateway read their log from a connection that died with it. The engine keeps a copy
until the container is removed, from which the whole log is written anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from urllib3.exceptions import HTTPError

from mlops.ports import JobSpec
from mlops.runtimes.docker_engine import translated
from mlops.runtimes.docker_job import DockerJob
from mlops.runtimes.layout import os_error
from mlops.runtimes.served import ServerRecord

RECORD_LABEL = "mlops.record"
"""On every container of a job that is no server: what has to be known to find it again, as JSON."""

LOG_CONFIG = {"Type": "local", "Config": {"max-size": "1g", "max-file": "2", "compress": "false"}}
"""Where the engine keeps what a job says, as long as its container is there."""

NEVER_STARTED = ("created",)
GOING = ("removing", "dead")

_PAUSE_SECONDS = 0.5


def record_of(job: JobSpec) -> str:
    """The value of a job's `RECORD_LABEL`."""
    return json.dumps(ServerRecord(job, None).document())


def described_job(container: Mapping[str, Any]) -> JobSpec:
    """The job of a listed container: what of it is needed to see it to its end."""
    return ServerRecord.read(json.loads(container["Labels"][RECORD_LABEL])).job


class FoundDockerJob(DockerJob):
    """A container of an earlier gateway, running or ended."""

    def _copy_log(self) -> None:
        while not self._copy_whole_log():
            time.sleep(_PAUSE_SECONDS)  # the connection broke: once more from the beginning

    def _copy_whole_log(self) -> bool:
        with translated(f"The log of job {self.name} cannot be read"):
            frames: Iterator[bytes] = self._engine.client.logs(
                self.container, stream=True, follow=True
            )
        try:
            with self._job.log.open("wb", buffering=0) as log:
                for data in frames:
                    log.write(data)
        except HTTPError:
            return False
        except OSError as error:
            self._kill()
            raise os_error(
                error, f"The log of job {self.name} breaks off", place=self._job.log
            ) from error
        return True
