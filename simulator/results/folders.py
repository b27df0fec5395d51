"""Folders of results, which one process at a time may write to, and files that are there whole or not at all."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from simulator.errors import InputError

_OURS = ".servesim-"  # begins the names of files that are no results: those not yet whole, and the lock
_LOCK = f"{_OURS}lock"
_NAME = os.uname().nodename if sys.platform != "win32" else ""
_HERE = re.sub(r"[^A-Za-z0-9]", "", _NAME)  # this machine, in the names of what is not yet whole
ROOT = (
    "SERVESIM_RUNS"  # environment variable: below which folder commands write, where they are told no other
)


def runs_root() -> Path:
    """Return the folder below which every command writes by default: ``SERVESIM_RUNS``, else ``runs``."""
    return Path(os.environ.get(ROOT) or "runs")


def folder_named(name: str) -> Path:
    """Return the folder of a study below the root: the same each time, so that the study goes on there."""
    return runs_root() / _slug(name)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".-") or "run"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file that shall be there whole or not at all.

    What killed processes of this machine had left of it before goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    for left in _abandoned(path.parent.absolute()).pop(path.name, ()):
        left.unlink(missing_ok=True)
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if (
            isinstance(error, OSError)
            and error.errno is not None
            and error.filename in (None, str(part), part)
        ):
            raise OSError(
                error.errno, error.strerror, str(path)
            ) from error  # a full disk names no file itself
        raise


def part_of(path: Path) -> Path:
    """Return the name that a file has until it is whole."""
    return path.with_name(f"{_OURS}{_HERE}-{os.getpid()}-{path.name}")


@cache
def _abandoned(folder: Path) -> dict[str, list[Path]]:
    """Return what processes that are no more have left of files in a folder, by their names; looked for once.

    Of a process on another machine it cannot be told whether it is.
    """
    found: dict[str, list[Path]] = {}
    for left in folder.glob(f"{_OURS}{_HERE}-*-*"):
        process, name = left.name.removeprefix(f"{_OURS}{_HERE}-").split("-", 1)
        if process.isdigit() and _is_gone(int(process)):
            found.setdefault(name, []).append(left)
    return found


def _is_gone(process: int) -> bool:
    if sys.platform == "win32":  # where the question would end it
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False


@contextmanager
def claimed(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Keep other processes out of ``folder`` until the end, and make it if need be; yield it.

    One that was made here and has nothing in it at the end goes again. Raises InputError if it is a file, if
    there is something in it that is not to be overwritten, or if another process has claimed it, and OSError where
    the disk refuses. A process that is killed has no claim any more.
    """
    _check(folder, overwrite)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, made):
        _check(folder, overwrite)  # another process may have written to it and gone before the lock was taken
        for path in _not_whole(folder):
            path.unlink()
        yield folder


@contextmanager
def claimed_anew(name: str) -> Iterator[Path]:
    """Claim the folder NAME-NUMBER below the root with the smallest number not taken, as ``claimed`` does."""
    number = 1
    while True:
        folder = runs_root() / f"{_slug(name)}-{number}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
        number += 1
    with _locked(folder, made=True):
        yield folder


def _check(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: exists and is not a folder")
    if (
        folder.is_dir()
        and not overwrite
        and any(not path.name.startswith(_OURS) for path in folder.iterdir())
    ):
        raise InputError(f"{folder}: exists and is not empty; expected a new folder (or --overwrite)")


def _not_whole(folder: Path) -> list[Path]:
    """Return what a process that was killed has left."""
    return [path for path in folder.glob(f"{_OURS}*") if path.name != _LOCK]


@contextmanager
def _locked(folder: Path, made: bool) -> Iterator[None]:
    path = folder / _LOCK
    try:
        descriptor = _lock(path)
    except PermissionError as error:
        raise InputError(f"{folder}: permission denied; expected a folder that can be written") from error
    if descriptor is None:
        raise InputError(f"{folder}: another run is writing to it; expected a folder of its own")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked: who opens it from now on finds another file
        os.close(descriptor)
        if made:
            with suppress(OSError):
                folder.rmdir()  # refuses where something is in it


if sys.platform == "win32":

    def _lock(path: Path) -> int | None:
        """Make the file that is gone when this process is; None where another process has made it."""
        try:
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY)
        except FileExistsError:
            return None

else:
    import fcntl

    _NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of some network disks, which go without

    def _lock(path: Path) -> int | None:
        """Lock the file until this process closes it or ends; None where another process has locked it."""
        while True:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(descriptor)
                    if isinstance(error, BlockingIOError):
                        return None
                    raise
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)  # that was the file of a process that has ended meanwhile
