"""One started container: its log, its exit status, its stop, and its removal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.utils.socket import frames_iter_no_tty

from mlops.errors import EnvironmentLacks, ExitStatusLost, JobError, MlopsError
from mlops.job_outcome import keep_outcome
from mlops.ports import JobOutcome, JobSpec, MountMode
from mlops.runtimes.docker_engine import Engine, translated
from mlops.runtimes.layout import os_error, remove_tree
from mlops.runtimes.ownership import hand_over
from mlops.runtimes.watched import WatchedJob


class DockerJob(WatchedJob):
    """A job's container. Attach first, then start: so no line of the log can be missed.

    Args:
        give: makes the places it is given the caller's, where that takes root.
        forget: is told when the container has gone.
    """

    def __init__(
        self,
        engine: Engine,
        job: JobSpec,
        container: str,
        scratch: Path,
        *,
        give: Callable[[list[Path]], None],
        forget: Callable[[str], None],
    ) -> None:
        super().__init__(job.name)
        self.container = container
        self._engine = engine
        self._job = job
        self._scratch = scratch
        self._give = give
        self._forget = forget
        self._stream: Any = None

    def start(self) -> None:
        """Start the container and its log.

        Raises:
            JobError, RuntimeUnavailable, DiskFull: as the engine says.
        """
        client = self._engine.client
        with translated(
            f"The container of job {self.name} cannot be started",
            next_step="check the job's ContainerEntrypoint and its inputs",
        ):
            self._stream = client.attach_socket(
                self.container, {"stdout": 1, "stderr": 1, "stream": 1}
            )
            client.start(self.container)
        self.watch()

    def clear_away(self) -> None:
        """Remove the container and the job's scratch; make the job's folder the caller's."""
        if self._stream is not None:
            self._stream.close()
        remove_container(self._engine, self.container)
        try:
            hand_over([self._job.folder, self._scratch, *self._written_through()], self._give)
            if self._scratch.exists():
                remove_tree(self._scratch)
        except OSError as error:
            raise os_error(error, f"The files of job {self.name} cannot be taken over") from error
        finally:
            self._forget(self.container)

    def _written_through(self) -> list[Path]:
        """The host's own folders and files that the job could write to."""
        return [mount.source for mount in self._job.mounts if mount.mode is MountMode.READ_WRITE]

    def _finish(self) -> JobOutcome:
        try:
            self._copy_log()
            outcome = self._outcome()
            keep_outcome(self._job.outcome, outcome)
        except MlopsError:
            self._clear_away_after_failure()
            raise
        except OSError as error:
            self._clear_away_after_failure()
            raise os_error(error, f"The end of job {self.name} cannot be kept") from error
        self.clear_away()
        return outcome

    def _clear_away_after_failure(self) -> None:
        try:
            self.clear_away()
        except MlopsError:
            return  # the failure itself says more; what is left carries the job's labels

    def _copy_log(self) -> None:
        """Write what the container says as it comes, until it has closed both its streams."""
        try:
            with self._job.log.open("ab", buffering=0) as log:
                frames: Iterator[Any] = frames_iter_no_tty(self._stream)
                for _, data in frames:
                    log.write(data)
        except OSError as error:
            self._kill()
            raise os_error(
                error, f"The log of job {self.name} breaks off", place=self._job.log
            ) from error

    def _outcome(self) -> JobOutcome:
        """The engine's word on how the container ended; waits for it."""
        client = self._engine.client
        try:
            with translated(f"The exit status of job {self.name} is lost"):
                answer = client.wait(self.container, timeout=None)
                state = client.inspect_container(self.container)["State"]
        except (JobError, EnvironmentLacks) as error:
            raise ExitStatusLost(
                error.what,
                where=error.where or f"container {self.container[:12]}",
                next_step="run it again; see whether something removes containers here",
            ) from error
        if answer.get("Error") or state["Status"] != "exited":
            raise ExitStatusLost(
                f"The exit status of job {self.name} is lost: the container is"
                f" {state['Status']}: {answer.get('Error') or state.get('Error')}"
            )
        return JobOutcome(
            exit_status=int(state["ExitCode"]),
            stopped=self._stop_requested.is_set(),
            out_of_memory=bool(state.get("OOMKilled")),
            process_seconds=_seconds(state["StartedAt"], state["FinishedAt"]),
        )

    def _terminate(self) -> None:
        self._signal("SIGTERM")

    def _kill(self) -> None:
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        with translated(f"Job {self.name} cannot be stopped"):
            try:
                self._engine.client.kill(self.container, name)
            except APIError as error:
                if error.status_code not in (404, 409):  # it has gone or ended already
                    raise


def remove_container(engine: Engine, container: str) -> None:
    """Remove a container with its anonymous volumes, whatever it does; nothing when it is gone.

    Raises:
        JobError, RuntimeUnavailable: as the engine says.
    """
    with translated(f"Container {container[:12]} cannot be removed"):
        try:
            engine.client.remove_container(container, v=True, force=True)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:
                raise
            # Somebody else is removing it.
            _wait_until_removed(engine, container)


def _wait_until_removed(engine: Engine, container: str) -> None:
    try:
        engine.client.wait(container, condition="removed")
    except NotFound:
        return


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
