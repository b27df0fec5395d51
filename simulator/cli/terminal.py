"""What a long run owes the person who waits for it: progress, and an end on Ctrl-C that keeps the records."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from simulator.functions.machine import cores as cores

OnProgress = Callable[[float, int, int], None]


class InterruptedRunError(Exception):
    """The user stopped the run; says what is left of it."""


@contextmanager
def progress(title: str, clock: str = "s simulated") -> Iterator[OnProgress | None]:
    """Show a bar on stderr while the block runs; yield what to call, or None where stderr is no terminal.

    The callback gets seconds on the clock that is named, requests done and requests in all.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} requests"),
        TextColumn(f"{{task.fields[time_s]:,.0f}} {clock}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1, time_s=0.0)

        def show(time_s: float, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, time_s=time_s)

        yield show


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of many runs are done, and the time left, where stderr is a terminal.

    Yields what to call with runs done and runs in all.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make the first Ctrl-C a request to stop, which the yielded function reports; the second one kills."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def quiet_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what ended the process, as ``sys.excepthook``: for a Ctrl-C in one line, else as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        print("servesim: error: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
