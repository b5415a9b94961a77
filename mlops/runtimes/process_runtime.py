"""Jobs as Linux processes, where no Docker engine answers.

Each job is a supervisor (`supervisor.py`) and its child. With namespaces the job has an `/opt/ml`
of its own, as in a container; without them the rule in `process_plain` decides which jobs can
run. It is no security boundary: a job is a process of the caller and sees the caller's files.

A job's files besides its folder are in `<store>/runtime/process/<job>-<random>/`: its labels, its
home and temporary folder, the scratch of its overlays, and `status.json` once it has ended. The
folder goes when the job has been seen to its end, here or by `remove_leftovers`.
"""

from __future__ import annotations

import json
import logging
import marshal
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from mlops.errors import ExitStatusLost, JobError, MlopsError, RuntimeUnavailable
from mlops.job_outcome import keep_outcome
from mlops.ports import FoundJob, JobOutcome, JobSpec, JsonObject, Mount, MountMode, ServerSpec
from mlops.runtimes.layout import OPT_ML, os_error, prepare, remove_tree
from mlops.runtimes.materialise import dematerialise, materialise
from mlops.runtimes.namespaces import (
    SUPERVISOR,
    Isolation,
    Namespaces,
    probe_namespaces,
    refuse_unless_linux,
)
from mlops.runtimes.passed_on import network_environment, pip_configuration
from mlops.runtimes.process_found import FoundProcessJob, FoundServer, never_started
from mlops.runtimes.process_images import find_image
from mlops.runtimes.process_peers import HOSTS, hosts_file
from mlops.runtimes.process_plain import check_runs_plain, plain_environment, rewritten
from mlops.runtimes.process_tree import JOB_VARIABLE, kill_marked
from mlops.runtimes.served import LOOPBACK, ServerRecord, WatchedServer, as_job, free_port
from mlops.runtimes.watched import WatchedJob
from mlops.settings import Settings

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Copies:
    """The mounts that stand in a job's folder as copies and links, for want of a namespace."""

    folder: Path
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A job's folder, and what stands in its record there (`_make_run_folder`)."""

    run: Path
    name: str
    labels: Mapping[str, str]
    copies: Copies
    job: ServerRecord | None
    server: ServerRecord | None

    @classmethod
    def read(cls, file: Path) -> _Kept:
        """Raises:
        FileNotFoundError, json.JSONDecodeError: it is not there, or not whole.
        KeyError, TypeError, ValueError: it is none that this version writes.
        """
        record = json.loads(file.read_text(encoding="utf-8"))
        job, server = record.get("job"), record.get("server")
        return cls(
            run=file.parent,
            name=record["name"],
            labels=dict(record["labels"]),
            copies=_copies(record),
            job=None if job is None else ServerRecord.read(job),
            server=None if server is None else ServerRecord.read(server),
        )


class ProcessRuntime:
    """Runs jobs as processes of the caller. Implements `mlops.ports.ContainerRuntime`.

    Args:
        settings: the image table, and the state folder that holds the jobs' own files.
        namespaces: what this machine allows; by default it is tried out before the first job.

    Raises:
        RuntimeUnavailable: this is no Linux.
    """

    name = "process"
    gateway_host = "127.0.0.1"

    def __init__(self, settings: Settings, *, namespaces: Namespaces | None = None) -> None:
        refuse_unless_linux()
        self._settings = settings
        self._given = namespaces
        self._root = settings.store.absolute() / "runtime/process"
        self._running: dict[str, ProcessJob | FoundProcessJob] = {}
        self._lock = threading.Lock()

    @cached_property
    def namespaces(self) -> Namespaces:
        """What this machine allows, and why not more."""
        return self._given or probe_namespaces(self._root)

    def start(self, job: JobSpec) -> ProcessJob:
        """As `mlops.ports.ContainerRuntime.start`."""
        return self._start(job, None, ProcessJob)

    def find_jobs(self, labels: Mapping[str, str]) -> Sequence[FoundJob]:
        """As `mlops.ports.ContainerRuntime.find_jobs`."""
        found = []
        for kept in self._records(labels):
            if kept.job is not None:
                job = kept.job.job
                running = self._found_job(kept.run, job, kept.copies)
                found += [FoundJob(job.name, job.labels, running)] if running is not None else []
        return found

    def _found_job(
        self, run: Path, job: JobSpec, copies: Copies
    ) -> ProcessJob | FoundProcessJob | None:
        with self._lock:
            running = self._running.get(run.name)
        if running is not None:
            return running
        if never_started(run):
            _clear_away(run, copies)
            return None
        with self._lock:
            if (running := self._running.get(run.name)) is None and run.exists():
                running = FoundProcessJob(job, run, lambda: self._clear_found(run, copies))
                self._running[run.name] = running
                running.watch()
        return running

    def serve(self, server: ServerSpec) -> ProcessServer:
        """As `mlops.ports.ContainerRuntime.serve`."""
        port = None if server.port is None else free_port()
        job = as_job(server, port)
        record = ServerRecord(job, port)
        return self._start(job, record, partial(ProcessServer, record), server.memory_megabytes)

    def find_servers(self, labels: Mapping[str, str]) -> Sequence[ProcessServer | FoundServer]:
        """As `mlops.ports.ContainerRuntime.find_servers`."""
        found = []
        for kept in self._records(labels):
            if kept.server is not None:
                server = self._found(kept.run, kept.server)
                found += [server] if server is not None else []
        return found

    def _found(self, run: Path, record: ServerRecord) -> ProcessServer | FoundServer | None:
        with self._lock:
            running = self._running.get(run.name)
            if running is None:
                if not run.exists():
                    return None  # cleared away just now
                running = FoundServer(record, run, lambda: self._clear_found(run, Copies(run, ())))
                self._running[run.name] = running
                running.watch()
            return running if isinstance(running, (ProcessServer, FoundServer)) else None

    def _clear_found(self, run: Path, copies: Copies) -> None:
        _clear_away(run, copies)
        self._forget(run.name)

    def _start(
        self,
        job: JobSpec,
        record: ServerRecord | None,
        make: Callable[..., Started],
        memory_megabytes: int | None = None,
    ) -> Started:
        image = find_image(job.image, self._settings)
        argv = image.command_line(job)
        job = replace(
            job,
            folder=job.folder.resolve(),
            log=job.log.absolute(),
            command=argv,
            arguments=(),
        )
        if not argv:
            raise RuntimeUnavailable(
                f"Job {job.name} names no command, and only the image {job.image} knows its own",
                next_step="give the job a ContainerEntrypoint, or run it with --runtime docker",
            )
        run = self._root / f"{job.name}-{uuid4().hex[:12]}"
        environment = self._environment(job, run, image.search_path)
        plain = self.namespaces.isolation is Isolation.NONE
        if plain:
            _refuse_peers(job, self.namespaces.reason)
            check_runs_plain(job, environment["PATH"], self.namespaces.reason)
            argv = rewritten(argv, job.folder)
            environment = plain_environment(environment, job.folder)
        else:
            _check_not_hidden(run, job.log, *image.path)
        mounts = prepare(job)
        copies = Copies(job.folder, mounts if plain else ())
        try:
            _make_run_folder(run, job, record, copies)
            if job.peers is not None:
                present = HOSTS.read_text(encoding="utf-8") if HOSTS.exists() else ""
                (run / "hosts").write_text(hosts_file(present, job.peers), encoding="utf-8")
            materialise(copies.folder, copies.mounts)
            plan = self._plan(job, run, argv, environment, mounts)
            process = _launch(plan | {"memory_megabytes": memory_megabytes})
        except OSError as error:
            _clear_away(run, copies)
            raise os_error(error, f"Job {job.name} cannot be started", place=self._root) from error
        return self._begin(make(job.name, process, run, copies, self._forget, job.outcome))

    def _begin(self, running: Started) -> Started:
        problem = running.problem_at_start()
        if problem is not None:
            running.abandon()
            raise problem
        with self._lock:
            self._running[running.id] = running
        running.watch()
        return running

    def remove_leftovers(self, labels: Mapping[str, str]) -> Sequence[str]:
        """As `mlops.ports.ContainerRuntime.remove_leftovers`."""
        names = []
        for kept in self._records(labels):
            self._remove(kept.run, kept.copies)
            names.append(kept.name)
        return names

    def _records(self, labels: Mapping[str, str]) -> Iterator[_Kept]:
        """What is kept of each job and server that carries all `labels`."""
        for file in sorted(self._root.glob("*/job.json")):
            try:
                kept = _Kept.read(file)
            except (FileNotFoundError, json.JSONDecodeError):
                continue  # just ended, or its gateway was killed before the job was started
            except (KeyError, TypeError, ValueError):
                # Nobody can tell whose it is, so nobody will ever ask for it: it is ended here.
                _logger.warning("%s is of another version; what it started is ended", file)
                kill_marked(file.parent.name)
                _remove_folder(file.parent)
                continue
            if labels.items() <= kept.labels.items():
                yield kept

    def _remove(self, run: Path, copies: Copies) -> None:
        with self._lock:
            running = self._running.get(run.name)
        if running is not None:
            running.stop(0)
            running.wait()
            return
        kill_marked(run.name)
        _clear_away(run, copies)

    def _forget(self, id: str) -> None:  # noqa: A002 - what it is
        with self._lock:
            self._running.pop(id, None)

    def _environment(self, job: JobSpec, run: Path, search_path: str) -> dict[str, str]:
        return {
            "PATH": search_path,
            "LANG": "C.UTF-8",
            "HOME": str(run / "home"),
            "TMPDIR": str(run / "tmp"),
            "PYTHONUNBUFFERED": "1",  # as our images do: logs are read as they come
            **network_environment(os.environ, self.gateway_host),
            **pip_configuration(),
            **job.environment,
            JOB_VARIABLE: run.name,
        }

    def _plan(
        self,
        job: JobSpec,
        run: Path,
        argv: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[Mount],
    ) -> dict[str, Any]:
        return {
            "run": str(run),
            "folder": str(job.folder),
            "log": str(job.log),
            "cwd": str(run / "home"),
            "argv": list(argv),
            "environment": dict(environment),
            "isolation": str(self.namespaces.isolation),
            "host": None if job.peers is None else job.peers.host,
            "overlay": self.namespaces.overlay_problem is None,
            "mounts": [
                (str(mount.source.resolve()), mount.target[len(OPT_ML) :], str(mount.mode))
                for mount in mounts
            ],
        }


class ProcessJob(WatchedJob):
    """A job's supervisor, as its gateway sees it."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        run: Path,
        copies: Copies,
        forget: Callable[[str], None],
        outcome: Path | None,
    ) -> None:
        super().__init__(name)
        self.id = run.name
        self._outcome_file = outcome
        self._copies = copies
        self._process = process
        self._run = run
        self._forget = forget
        self._control = threading.Lock()

    def problem_at_start(self) -> MlopsError | None:
        """Wait until the job's program runs; the error that says why it does not."""
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            kind, _, text = pipe.read().decode(errors="replace").partition("\n")
        if kind == "started":
            return None
        self._close()
        if kind == "command":
            return JobError(
                f"The command of job {self.name} cannot be run: {text}",
                next_step="check the job's ContainerEntrypoint and what its image has",
            )
        word, _, number = kind.partition(" ")
        if word == "setup":
            error = OSError(int(number), text)
            return os_error(error, f"Job {self.name} cannot be started", place=self._run.parent)
        return JobError(f"The supervisor of job {self.name} failed: {self._last_words()}")

    def abandon(self) -> None:
        """Clear away a job that did not start."""
        self._close()
        self._last_words()
        self._process.wait()
        _clear_away(self._run, self._copies)

    def _finish(self) -> JobOutcome:
        try:
            words = self._last_words()
            self._process.wait()
            self._close()
            outcome = self._outcome(words)
            keep_outcome(self._outcome_file, outcome)
            return outcome
        finally:
            _clear_away(self._run, self._copies)
            self._forget(self.id)

    def _outcome(self, words: str) -> JobOutcome:
        try:
            status = json.loads((self._run / "status.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            kill_marked(self.id)  # its supervisor died before it could
            raise ExitStatusLost(
                f"Job {self.name} ended and its exit status is lost: its supervisor died"
                f" ({self._process.returncode})",
                where=words or None,
                next_step="run it again; see whether something kills processes here",
            ) from None
        return JobOutcome(
            exit_status=status["exit_status"],
            stopped=self._stop_requested.is_set(),
            out_of_memory=status["out_of_memory"],
            process_seconds=status["process_seconds"],
        )

    def _last_words(self) -> str:
        """What the supervisor says when it fails itself; ends when the supervisor does."""
        assert self._process.stderr is not None
        if self._process.stderr.closed:
            return ""
        with self._process.stderr as pipe:
            return pipe.read().decode(errors="replace").strip()[-1000:]

    def _terminate(self) -> None:
        self._command(b"T")

    def _kill(self) -> None:
        self._command(b"K")

    def _command(self, command: bytes) -> None:
        assert self._process.stdin is not None
        with self._control:
            if not self._process.stdin.closed:
                try:
                    os.write(self._process.stdin.fileno(), command)
                except BrokenPipeError:
                    return  # it has ended

    def _close(self) -> None:
        assert self._process.stdin is not None
        with self._control:
            self._process.stdin.close()


class ProcessServer(ProcessJob, WatchedServer):
    """A server's supervisor, as the gateway that started it sees it."""

    def __init__(self, record: ServerRecord, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.labels = record.job.labels
        self.address = None if record.port is None else f"{LOOPBACK}:{record.port}"

    def _main_process(self) -> int | None:
        try:
            return int((self._run / "pids").read_text(encoding="utf-8").split()[1])
        except FileNotFoundError:
            return None  # it has ended


Started = TypeVar("Started", bound=ProcessJob)


def _launch(plan: dict[str, Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(SUPERVISOR)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env={"PATH": os.defpath, JOB_VARIABLE: plan["environment"][JOB_VARIABLE]},
        start_new_session=True,  # a Ctrl-C at the terminal is for the command to handle
    )
    blob = marshal.dumps(plan)
    assert process.stdin is not None
    message = memoryview(len(blob).to_bytes(8, "big") + blob)
    try:
        while message:
            message = message[process.stdin.write(message) or 0 :]
    except BrokenPipeError:
        pass  # it has died already: the start finds out, with its last words
    return process


def _make_run_folder(run: Path, job: JobSpec, server: ServerRecord | None, copies: Copies) -> None:
    for name in ("home", "tmp", "root", "scratch"):
        (run / name).mkdir(parents=True)
    record: JsonObject = {
        "name": job.name,
        "labels": dict(job.labels),
        "folder": str(copies.folder),
        "copies": [[str(each.source), each.target, str(each.mode)] for each in copies.mounts],
    }
    if server is not None:
        record["server"] = server.document()
    else:
        record["job"] = ServerRecord(job, None).document()
    (run / "job.json").write_text(json.dumps(record), encoding="utf-8")


def _copies(record: JsonObject) -> Copies:
    """What `_make_run_folder` wrote of a job's copies."""
    mounts = (
        Mount(Path(source), target, MountMode(mode)) for source, target, mode in record["copies"]
    )
    return Copies(Path(record["folder"]), tuple(mounts))


def _clear_away(run: Path, copies: Copies) -> None:
    try:
        dematerialise(copies.folder, copies.mounts)
        _remove_folder(run)
    except OSError as error:
        raise os_error(error, "A job's temporary files cannot be removed") from error


def _remove_folder(run: Path) -> None:
    while run.exists():
        # Another gateway may remove it, too, as the one leaves and the other starts.
        with suppress(FileNotFoundError):
            remove_tree(run)


def _refuse_peers(job: JobSpec, reason: str) -> None:
    if job.peers is not None:
        raise RuntimeUnavailable(
            f"Job {job.name} has {len(job.peers.hosts)} instances, which need host names of their "
            f"own, and this machine gives them none: {reason}",
            next_step="set the job's InstanceCount to 1, or run it where Docker or Linux "
            "namespaces are allowed (mlops doctor says what is missing)",
        )


def _check_not_hidden(*paths: Path) -> None:
    for path in (*paths, Path(sys.prefix)):
        if path.is_relative_to(OPT_ML):
            raise RuntimeUnavailable(
                f"The job's own {OPT_ML} would hide what it needs itself",
                where=str(path),
                next_step=f"keep the project, its environment and its store outside {OPT_ML}",
            )
