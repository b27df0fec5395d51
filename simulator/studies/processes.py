"""What everything that simulates many times shares: processes, and a digest of the code."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor


_Found = TypeVar("_Found")
ROOT = Path(__file__).parent.parent.parent
_SHOWING = {
    ("simulator", "cli"),
    ("simulator", "report"),
    ("simulator", "studies"),
}  # rooms that decide no result


@lru_cache
def code_digest(root: Path = ROOT) -> str:
    """A digest of everything that results depend on besides the scenario: the version and the sources.

    Not of what shows results or asks for many of them: a comma in a picture's code leaves finished points as they are.
    """
    try:
        digest = hashlib.sha256(version("servesim").encode())
    except PackageNotFoundError:
        digest = hashlib.sha256()
    for package in ("simulator", "policies", "hardware_profiles"):
        for path in sorted((root / package).rglob("*")):
            inside = path.relative_to(root)
            if path.is_file() and "__pycache__" not in inside.parts and inside.parts[:2] not in _SHOWING:
                digest.update(str(inside).encode() + path.read_bytes())
    return digest.hexdigest()


_pools: dict[int, "ProcessPoolExecutor"] = {}


def close_pools() -> None:
    """End the processes that simulate, if any were started."""
    while _pools:
        _pools.popitem()[1].shutdown(wait=True, cancel_futures=True)


def pool_of(jobs: int) -> "ProcessPoolExecutor":
    """Return processes that simulate, started once; Ctrl-C is for this process, which lets them finish."""
    if jobs not in _pools:
        from concurrent.futures import ProcessPoolExecutor

        _pools[jobs] = ProcessPoolExecutor(jobs, mp_context=_Spawning(), initializer=_begin)
        submit(
            _pools[jobs], os.getpid
        )  # starts the first of them, the others start when there is work for them
    return _pools[jobs]


def submit(pool: "ProcessPoolExecutor", work: Callable[..., _Found], *arguments: object) -> "Future[_Found]":
    """Have ``work(*arguments)`` done by a pool, which may start a process for it, out of reach of Ctrl-C.

    A Ctrl-C after the start and before the pool has noted the process would leave it one that it never ends, and that
    takes the message to end from another, for which it then waits for ever.
    """
    with _interrupt_held():
        return pool.submit(work, *arguments)


class _Process(SpawnProcess):
    """A process that starts without the main program."""

    def start(self) -> None:
        with _without_the_main_program():
            super().start()


class _Spawning(SpawnContext):
    """Has processes start so."""

    Process = _Process


@contextmanager
def _without_the_main_program() -> Iterator[None]:
    """Have processes that start here not run the main program again, as they need nothing of it.

    Otherwise a script that asks for a study and does not guard that with ``if __name__ == "__main__"`` would ask for it
    in each of them.
    """
    main = sys.modules["__main__"]
    kept: dict[str, object] = {
        name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)
    }
    vars(main)["__spec__"] = None
    vars(main).pop("__file__", None)
    try:
        yield
    finally:
        vars(main).update(kept)


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Hold a Ctrl-C back until the end: one while processes start would leave them without what they are to read.

    They are started with it blocked, and so hear of none before ``_begin``. Blocking alone does not hold it back here:
    the system may give it to any other thread, and Python then raises it in this one.
    """
    import signal
    import threading

    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield  # Windows, or a thread in which it is never raised
        return
    held: list[tuple[int, FrameType | None]] = []
    handlers = {}
    for each in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(each)
        if callable(handler):
            handlers[each.value] = handler
            signal.signal(each, lambda *given: held.append(given))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if held:
            handlers[held[0][0]](*held[0])


def _begin() -> None:
    """In a process of a pool: leave Ctrl-C to the one that started it, and end if that is killed."""
    import signal
    from multiprocessing import parent_process
    from threading import Thread

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        Thread(target=follow, daemon=True).start()
