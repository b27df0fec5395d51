"""Ctrl-C and SIGTERM: what is heard of them while a command runs, and the exit code that each ends in."""

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

INTERRUPTED, TERMINATED = 130, 143  # exit codes, 128 and the signal's number, as shells have them

AGAIN_S = 0.01  # after which an interrupt that was lost comes again

_heard: list[int] = []


def exit_code() -> int:
    """Return the exit code of a command that the signals heard so far have ended."""
    return TERMINATED if _heard and _heard[0] == signal.SIGTERM else INTERRUPTED


def were_heard() -> bool:
    """Whether the command that runs was asked to end: what fails from then on may fail because of that."""
    return bool(_heard)


def heard(number: int) -> None:
    """Keep in mind that a signal has come."""
    _heard.append(number)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Hear a signal, and raise KeyboardInterrupt where the program is."""
    heard(number)
    raise KeyboardInterrupt


def kinds() -> list[signal.Signals]:
    """Return the signals that ask a command to end, without those that its parent has it ignore."""
    both = [signal.SIGINT, signal.SIGTERM]
    return [each for each in both if signal.getsignal(each) is not signal.SIG_IGN]


def quiet_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what ended the process, as ``sys.excepthook``: for a Ctrl-C in one line, else as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        print("servesim: error: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def ignore() -> None:
    """Hear no signal any more: the command has ended, and only the interpreter is still to leave."""
    for each in kinds():
        signal.signal(each, signal.SIG_IGN)


def interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """As ``sys.unraisablehook``: an interrupt raised in a finaliser or a weak reference's callback goes no further."""
    if _heard and lost.exc_type is KeyboardInterrupt:
        again = threading.Timer(AGAIN_S, _thread.interrupt_main, (_heard[-1],))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def listening() -> Iterator[None]:
    """Have both signals raise KeyboardInterrupt in this block, and be remembered; only the main thread hears any."""
    _heard.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, hook = {each: signal.signal(each, interrupt) for each in kinds()}, sys.unraisablehook
    sys.unraisablehook = interrupt_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for each, handler in before.items():
            signal.signal(each, handler)


sys.excepthook = quiet_interrupt  # a Ctrl-C may come before main() does, while it imports what it needs
