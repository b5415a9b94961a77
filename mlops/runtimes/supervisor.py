"""Runs one job in a process tree of its own. Started as `python -I -S`; imports no mlops.

It is a program and not a `preexec_fn` because code between fork and exec is unsafe in a process
with threads, and because something must outlive the gateway: it sees the job to its end and
writes down how it ended. Imports are few and cheap (`json` alone would double the start).

    stdin    the plan (marshal), then one byte for each command: T terminate, K kill
    stdout   "started", or what went wrong: one line for the kind, the rest for the text
    stderr   a traceback, should this program itself fail

In order: become the reaper of all descendants, take a mount namespace, build `/opt/ml` and the
inputs in it, start the job, serve commands until it ends, kill what it left, record the status.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False  # typing itself takes 5 ms to import
if TYPE_CHECKING:
    from typing import Any

OPT_ML = "/opt/ml"
SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGPIPE, SIGTERM, SIGXFSZ = 1, 2, 3, 9, 13, 15, 25
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER = 0x20000, 0x04000000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 1, 32, 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# statvfs(3) flags → mount(2) flags that a remount in a user namespace must repeat
KEPT_FLAGS = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 1 << 21))
STATUS_BYTES = 128
MEMORY_LOOK_MS = 200
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

libc = ctypes.CDLL(None, use_errno=True)


class SetupError(Exception):
    """The job cannot be started: `kind` is `command` or `setup <errno>`."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


# --- Mounts ------------------------------------------------------------------------------------


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    def encoded(text: str) -> bytes | None:
        return os.fsencode(text) if text else None

    result = libc.mount(
        encoded(source), encoded(target), encoded(kind), ctypes.c_ulong(flags), encoded(data)
    )
    _checked(result, f"mount {kind or source} at {target}")


def _bind(source: str, target: str, read_only: bool = False) -> None:
    _mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        present = os.statvfs(target).f_flag
        kept = sum(flag for bit, flag in KEPT_FLAGS if present & bit)
        _mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def enter_namespace(user_namespace: bool) -> None:
    """Take a mount namespace; as an ordinary user inside a user namespace, with the same ids."""
    user, group = os.geteuid(), os.getegid()
    _checked(
        libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user_namespace else 0)),
        "unshare",
    )
    if user_namespace:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)


def take_host_name(plan: dict[str, Any]) -> None:
    """Give a container of several its host name, and the addresses of the others' names."""
    _checked(libc.unshare(CLONE_NEWUTS), "unshare the host name")
    name = os.fsencode(plan["host"])
    _checked(libc.sethostname(name, ctypes.c_size_t(len(name))), "set the host name")
    _bind(plan["run"] + "/hosts", os.path.realpath("/etc/hosts"))


def show_job_folder(plan: dict[str, Any]) -> None:
    """Make the job's folder appear as `/opt/ml`, with its inputs, in this namespace only.

    Everything is built at a staging place first, because the finished mount may hide its own
    sources. Where the host has no `/opt/ml` and so no place to mount on, the nearest folder
    above is rebuilt on a tmpfs: its entries bound from the old one, and `ml` added.
    """
    staging = plan["run"] + "/root"
    anchor = os.path.realpath(OPT_ML)
    while not os.path.isdir(anchor):  # noqa: PTH112
        anchor = os.path.dirname(anchor)  # noqa: PTH120
    missing = os.path.relpath(os.path.realpath(OPT_ML), anchor)
    opt_ml = os.path.normpath(f"{staging}/{missing}")
    if missing != ".":
        _mount("tmpfs", staging, "tmpfs", data="mode=755,size=1m")
        _mirror(anchor, staging)
        os.makedirs(opt_ml)  # noqa: PTH103
    _bind(plan["folder"], opt_ml)
    for index, (source, target, mode) in enumerate(plan["mounts"]):
        _add_input(plan, f"{plan['run']}/scratch/{index}", source, opt_ml + target, mode)
    if anchor == "/":
        _pivot(staging)
    else:
        _mount(staging, anchor, flags=MS_MOVE)


def _mirror(folder: str, target: str) -> None:
    for entry in os.scandir(folder):
        place = f"{target}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)  # noqa: PTH115, PTH211
            continue
        if entry.is_dir():
            os.mkdir(place)  # noqa: PTH102
        else:
            os.close(os.open(place, os.O_CREAT, 0o644))
        _bind(entry.path, place)


def _pivot(root: str) -> None:
    os.chdir(root)
    _checked(libc.pivot_root(b".", b"."), "pivot_root")
    _checked(libc.umount2(b".", MNT_DETACH), "umount the old root")
    os.chdir("/")


def _add_input(plan: dict[str, Any], scratch: str, source: str, point: str, mode: str) -> None:
    if not os.path.exists(point):  # noqa: PTH110 - a mount point inside another mount
        os.makedirs(point)  # noqa: PTH103
    if mode != "copy-on-write":
        _bind(source, point, read_only=mode == "read-only")
        return
    os.makedirs(scratch)  # noqa: PTH103
    if plan["overlay"]:
        try:
            _overlay(plan, scratch, source, point)
            return
        except OSError as error:
            # Not every file system can hold an overlay's upper layer (another overlay, NFS).
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
    _bind(_copy(source, scratch + "/copy"), point)


def _overlay(plan: dict[str, Any], scratch: str, source: str, point: str) -> None:
    """Overlay a folder; for a file overlay the folder around it and bind the one file."""
    folder = os.path.isdir(source)  # noqa: PTH112
    for name in ("upper", "work", "merged"):
        os.mkdir(f"{scratch}/{name}")  # noqa: PTH102
    # Overlay options break at commas and colons: a descriptor's path has none.
    lower = os.open(source if folder else os.path.dirname(source), os.O_PATH)  # noqa: PTH120
    layers = os.open(scratch, os.O_PATH)
    try:
        options = (  # volatile: nothing of a scratch layer needs to reach the disk at the end
            f"volatile,lowerdir=/proc/self/fd/{lower},upperdir=/proc/self/fd/{layers}/upper,"
            f"workdir=/proc/self/fd/{layers}/work"
        )
        if plan["isolation"] == "user":
            options += ",userxattr"  # trusted.* attributes need real root (kernel overlayfs.rst)
        _mount("overlay", point if folder else scratch + "/merged", "overlay", data=options)
    finally:
        os.close(lower)
        os.close(layers)
    if not folder:
        _bind(f"{scratch}/merged/{os.path.basename(source)}", point)  # noqa: PTH119


def _copy(source: str, target: str) -> str:
    import shutil  # dear, and seldom needed

    if os.path.islink(source):  # noqa: PTH114
        os.symlink(os.readlink(source), target)  # noqa: PTH115, PTH211
    elif os.path.isdir(source):  # noqa: PTH112
        os.mkdir(target)  # noqa: PTH102 - shutil.copytree would hide the cause of a failure
        for name in os.listdir(source):  # noqa: PTH208
            _copy(f"{source}/{name}", f"{target}/{name}")
    else:
        shutil.copy2(source, target)
    return target


# --- The plan ----------------------------------------------------------------------------------


def read_plan() -> dict[str, Any]:
    """Read the plan from stdin, and no byte more: eight bytes of length, then the plan."""
    length = int.from_bytes(_read(8), "big")
    plan: dict[str, Any] = marshal.loads(_read(length))
    return plan


def _read(length: int) -> bytes:
    parts = b""
    while len(parts) < length:
        part = os.read(0, length - len(parts))
        if not part:
            raise EOFError("the plan is cut off: the gateway has gone")
        parts += part
    return parts


# --- The job -----------------------------------------------------------------------------------


def start_job(plan: dict[str, Any]) -> int:
    """Fork and execute the job; return its process id once the program itself runs.

    Raises:
        SetupError: it does not run. (The pipe that tells of it closes by itself at the exec.)
    """
    report, verdict = os.pipe()
    supervisor = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _become_job(plan, supervisor)
        except BaseException as error:  # noqa: BLE001 - a forked child must never return
            kind = error.kind if isinstance(error, SetupError) else _kind_of(error)
            os.write(verdict, f"{kind}\n{error}".encode(errors="replace"))
        os._exit(127)
    os.close(verdict)
    with open(report, "rb") as pipe:  # noqa: PTH123
        failure = pipe.read().decode()
    if failure:
        os.waitpid(child, 0)
        kind, _, text = failure.partition("\n")
        raise SetupError(kind, text)
    return child


def _kind_of(error: BaseException) -> str:
    return f"setup {(isinstance(error, OSError) and error.errno) or 0}"


def _become_job(plan: dict[str, Any], supervisor: int) -> None:
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        raise OSError(errno.ESRCH, "the supervisor has gone")
    # Python ignores two of them, a shell's background or nohup the others, and exec keeps that.
    for number in (SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGXFSZ):
        libc.signal(number, None)
    os.setpgid(0, 0)
    os.umask(0o022)
    nothing = os.open("/dev/null", os.O_RDONLY)
    log = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, number)
    os.chdir(plan["cwd"])
    program = plan["argv"][0]
    try:
        os.execvpe(program, plan["argv"], plan["environment"])
    except OSError as error:
        raise SetupError("command", f"{program}: {error.strerror}") from error


def serve(job: int, most_bytes: int) -> tuple[int, bool]:
    """Pass commands on to the job until its main process has ended.

    Returns its wait status, and whether it was killed for having more than `most_bytes` of memory
    (0: as much as there is).
    """
    poll = select.poll()
    poll.register(0, select.POLLIN)
    end = _end_of(job)
    if end is not None:
        poll.register(end, select.POLLIN)
    # Now and then also without news: orphans of the job are ours to reap.
    pause = 10 if end is None else MEMORY_LOOK_MS if most_bytes else 5000
    over = False
    while True:
        ready = {number for number, _ in poll.poll(pause)}
        if 0 in ready and not _obey(os.read(0, 64), job):
            poll.unregister(0)  # the gateway has gone; the job goes on
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == job:
                return ended[1], over
        if most_bytes and not over and exceeds(job, most_bytes):
            over = True
            os.kill(job, SIGKILL)  # what it has started is killed with all that it leaves


def exceeds(process: int, most_bytes: int) -> bool:
    """Whether a process and its descendants have more memory than that."""
    tree = _tree(process)
    if sum(map(_resident, tree)) <= most_bytes:
        return False
    # What they share counts once: dear to find out, and seldom needed.
    return sum(map(_proportional, tree)) > most_bytes


def _tree(process: int) -> list[int]:
    found = [process]
    try:
        for task in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208
            with open(f"/proc/{process}/task/{task}/children") as file:  # noqa: PTH123
                for child in file.read().split():
                    found += _tree(int(child))
    except OSError:  # it ended just now, or this kernel does not tell
        pass
    return found


def _resident(process: int) -> int:
    try:
        with open(f"/proc/{process}/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _proportional(process: int) -> int:
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _resident(process)


def _end_of(job: int) -> int | None:
    try:
        return os.pidfd_open(job)
    except OSError:  # old kernels and seccomp profiles: look every 10 ms instead
        return None


def _obey(commands: bytes, job: int) -> bool:
    if b"K" in commands:
        os.kill(job, SIGKILL)
    elif b"T" in commands:
        os.kill(job, SIGTERM)
    return bool(commands)


def kill_descendants() -> None:
    """Kill and reap whatever the job left running: as the reaper, all of it comes to us."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        for child in _children():
            os.kill(child, SIGKILL)
        os.waitpid(-1, 0)


def _children() -> list[int]:
    me = str(os.getpid())
    try:
        with open(f"/proc/self/task/{me}/children") as file:  # noqa: PTH123
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(pid) == me]  # noqa: PTH208


def _parent(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _out_of_memory_kills() -> int:
    with open("/proc/vmstat") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def reserve(plan: dict[str, Any]) -> int:
    """Make room for the status while there is some: a job may fill the disk and fail for it."""
    file = os.open(plan["run"] + "/status.json.part", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(file, b" " * STATUS_BYTES)
    return file


def tell_processes(plan: dict[str, Any], job: int) -> None:
    """Say who the processes are, for a gateway that is not this one's parent."""
    with open(plan["run"] + "/pids.part", "w") as file:  # noqa: PTH123
        file.write(f"{os.getpid()} {job}")
    os.replace(plan["run"] + "/pids.part", plan["run"] + "/pids")  # noqa: PTH105


def record(
    plan: dict[str, Any], file: int, status: int, seconds: float, out_of_memory: bool
) -> None:
    """Write down how the job ended, whole or not at all, for whoever asks: now or after a crash."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        code = 128 - code
    text = (
        f'{{"exit_status": {code}, "process_seconds": {seconds:.6f}, '
        f'"out_of_memory": {str(out_of_memory).lower()}}}'
    )
    os.pwrite(file, text.ljust(STATUS_BYTES).encode(), 0)
    os.replace(plan["run"] + "/status.json.part", plan["run"] + "/status.json")  # noqa: PTH105


def run(plan: dict[str, Any]) -> None:
    _checked(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become a subreaper")
    try:
        if plan["isolation"] != "none":
            enter_namespace(plan["isolation"] == "user")
            if plan["host"] is not None:
                take_host_name(plan)
            show_job_folder(plan)
        status_file = reserve(plan)
        kills = _out_of_memory_kills()
        job = start_job(plan)
        tell_processes(plan, job)
    except SetupError as error:
        _answer(f"{error.kind}\n{error}")
        return
    except Exception as error:  # noqa: BLE001 - the gateway raises it in its own terms
        _answer(f"{_kind_of(error)}\n{error}")
        return
    _answer("started")
    started = time.monotonic()
    status, over = serve(job, (plan["memory_megabytes"] or 0) << 20)
    seconds = time.monotonic() - started
    kill_descendants()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == SIGKILL
    record(plan, status_file, status, seconds, over or (killed and _out_of_memory_kills() > kills))


def _answer(text: str) -> None:
    try:  # noqa: SIM105 - contextlib is dear to import
        os.write(1, text.encode(errors="replace"))
    except BrokenPipeError:
        pass  # the gateway has gone; the next one finds the job
    os.close(1)


# --- Probe -------------------------------------------------------------------------------------


def probe(folder: str) -> None:
    """Try out, in `folder`, what `run` needs; print `isolation`, `reason` and `overlay` lines."""
    tries = ["root", "user"] if os.geteuid() == 0 else ["user"]
    reasons = []
    for isolation in tries:
        report, answer = os.pipe()
        child = os.fork()
        if child == 0:
            text = _try(isolation, f"{folder}/{isolation}")
            os.write(answer, text.encode(errors="replace"))
            os._exit(0)
        os.close(answer)
        with open(report, "rb") as pipe:  # noqa: PTH123
            text = pipe.read().decode()
        os.waitpid(child, 0)
        if text.startswith("overlay="):
            print(f"isolation={isolation}\n{text}")
            return
        reasons.append(text or "the probe died")
    print(f"isolation=none\nreason={'; '.join(dict.fromkeys(reasons))}")


def _try(isolation: str, folder: str) -> str:
    plan = {"run": folder, "folder": folder + "/ml", "isolation": isolation, "mounts": []}
    for name in ("root", "ml", "source", "scratch/point"):
        os.makedirs(f"{folder}/{name}")  # noqa: PTH103
    try:
        enter_namespace(isolation == "user")
        try:
            _overlay(plan, folder + "/scratch", folder + "/source", folder + "/scratch/point")
            overlay = "ok"
        except OSError as error:
            overlay = str(error.strerror)
        show_job_folder(plan)
    except OSError as error:
        return str(error.strerror)
    return f"overlay={overlay}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        probe(sys.argv[2])
    else:
        run(read_plan())
        os._exit(0)  # spares the interpreter's own clearing up
