"""What a long run owes the person who waits for it: progress, and an end on Ctrl-C that keeps the records."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from simulator.cli import interrupts
from simulator.cli.output import is_quiet
from simulator.functions.machine import cores as cores

_REDRAW_S = 0.1

OnProgress = Callable[[float, int, int], None]


class InterruptedRunError(Exception):
    """The user stopped the run; says what is left of it."""


def watched() -> bool:
    """Return whether a bar would be seen and in nothing's way: a terminal, no ``--quiet``, no debugger."""
    return sys.stderr.isatty() and not is_quiet() and not _debugged()


def _debugged() -> bool:
    """Whether a debugger follows this process: pdb and most others trace it; some monitor it from 3.12 on."""
    monitoring = getattr(sys, "monitoring", None)
    return sys.gettrace() is not None or (
        monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None
    )


@contextmanager
def progress(title: str, clock: str = "s simulated") -> Iterator[OnProgress | None]:
    """Show a bar on stderr while the block runs; yield what to call, or None where none would be seen.

    The callback gets seconds on the clock that is named, requests done and requests in all.
    """
    if not watched():
        yield None
        return
    with _bar(title, steady=False) as update:
        yield lambda time_s, done, total: update(
            done, total, f"{done:,} of {total:,} requests  {time_s:,.0f} {clock}"
        )


@contextmanager
def counting(title: str, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show how many of many runs are done, and the time left, where a bar would be seen.

    Yields what to call with runs done and runs in all; a ``total`` that is known is shown from the beginning.
    """
    if not watched():
        yield lambda done, total: None
        return
    with _bar(title, steady=True) as update:

        def show(done: int, total: int) -> None:
            update(done, total, f"{done:,} of {total:,}")

        if total is not None:
            show(0, total)
        yield show


@contextmanager
def _bar(title: str, *, steady: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar that is gone at the end; yield what to call with done, total and these in words.

    Before the first call it says that something is prepared. A ``steady`` one moves by itself; another only when
    it is called, so that the prompt of a debugger in between stays as it is.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeRemainingColumn() if steady else TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=steady)
    hook = sys.breakpointhook

    def pause(*args: object, **more: object) -> object:
        bar.stop()
        return hook(*args, **more)

    drawn_s = -_REDRAW_S
    with bar:
        task = bar.add_task(title, total=None, said="preparing")

        def update(done: int, total: int, said: str) -> None:
            nonlocal drawn_s
            if _debugged():
                bar.stop()
                return
            now_s = time.monotonic()
            bar.update(task, completed=done, total=total, said=said)
            if not steady and now_s - drawn_s >= _REDRAW_S:
                drawn_s = now_s
                bar.refresh()

        sys.breakpointhook = pause
        try:
            yield update
        finally:
            sys.breakpointhook = hook


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make the first Ctrl-C or SIGTERM a request to stop, which the yielded function reports; the next kills."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        interrupts.heard(number)
        for each in before:
            signal.signal(each, interrupts.interrupt)

    before = {each: signal.getsignal(each) for each in interrupts.kinds()}
    for each in before:
        signal.signal(each, ask)
    try:
        yield lambda: asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
