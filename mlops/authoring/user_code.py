"""Running a user's code: its errors become a TargetError that names the user's own line."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlops.errors import MlopsError, TargetError

_OURS = Path(__file__).resolve().parent.parent
_INSTALLED = tuple(
    Path(path).resolve()
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)


@contextmanager
def user_code(folder: Path, target: str) -> Iterator[None]:
    """Run a user's code with `folder` importable.

    Raises:
        TargetError: the code failed; the innermost line of the user's own files says where.
    """
    sys.path.insert(0, str(folder))
    try:
        yield
    except MlopsError:
        raise
    except SyntaxError as error:
        place = f"{error.filename}:{error.lineno}" if error.filename else target
        raise _failed(error, f"SyntaxError: {error.msg}", place) from error
    except SystemExit as error:
        raise _failed(error, f"it ends the process, with status {error.code}", target) from error
    except Exception as error:
        raise _failed(error, f"{type(error).__name__}: {error}", target) from error
    finally:
        with suppress(ValueError):  # the code may have taken it out itself
            sys.path.remove(str(folder))


def _failed(error: BaseException, problem: str, target: str) -> TargetError:
    line = innermost_line(error)
    return TargetError(
        f"The code of the pipeline failed: {problem}",
        where=line or target,
        next_step=_next_step(error),
    )


def _next_step(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install {error.name.partition('.')[0]} into this environment ({sys.prefix})"
    return "correct the code"


def innermost_line(error: BaseException) -> str | None:
    """``file:line in function`` of the deepest frame that is the user's; None where none is."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}" if error.filename else None
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)
    ]
    if not frames:
        return None
    last = frames[-1]
    place = f"{last.filename}:{last.lineno}"
    return place if last.name == "<module>" else f"{place} in {last.name}"


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    # A virtual environment may lie in the user's folder, so what is installed is asked first.
    installed = any(path.is_relative_to(folder) for folder in _INSTALLED)
    return not installed and not path.is_relative_to(_OURS)
