"""The process ``servesim``: what the commands (``simulator.cli.app``) raise becomes an exit code and one sentence.

Results go to stdout and are the same for the same scenario; all else goes to stderr. Exit codes: 0 done,
1 a bar or target is missed, 2 input or disk refuse (one sentence), 3 the policy stalled, 130 interrupted (Ctrl-C),
143 terminated (SIGTERM).
"""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from simulator.cli import interrupts
from simulator.cli.output import answer, let_go_of, ready_streams, tell
from simulator.cli.terminal import InterruptedRunError
from simulator.errors import InputError, StallError

# Read by packages when they are imported: looking for plugins takes longer than validating, and threads for matrices,
# of which there are none worth it, take turns on the cores until they fall asleep.
QUICKER_START = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "OPENBLAS_NUM_THREADS": "1"}
BAD_INPUT, STALLED = 2, 3
# What a light installation (docs/index.md) leaves out, and what needs it
LEFT_OUT = {"matplotlib": "draws pictures", "scipy": "makes intervals, plans and fits"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a refusal is one line on stderr, never a traceback."""
    collect_rarely()
    ready_streams()
    for name, value in QUICKER_START.items():
        os.environ.setdefault(name, value)
    os.environ["MPLBACKEND"] = "agg"  # files are all that is drawn; another, or a misspelt one, is of no use
    with interrupts.listening():
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(given: list[str]) -> int:
    try:
        from simulator.cli.app import call
        from simulator.cli.completion import join_words

        join_words()
        code = call(given or ["--help"])
        answer("")
    except InputError as error:
        return _refuse(str(error), BAD_INPUT)
    except StallError as error:
        return _refuse(str(error), STALLED)
    except InterruptedRunError as error:
        return _refuse(str(error), interrupts.exit_code())
    except KeyboardInterrupt:
        return _refuse("interrupted", interrupts.exit_code())
    except BrokenPipeError:
        let_go_of(
            sys.__stdout__ or sys.stdout
        )  # the reader has gone, as in: servesim list workloads | head -1
        return 0
    except MemoryError:
        return _refuse("not enough memory; expected fewer requests or tokens", BAD_INPUT)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in LEFT_OUT:
            raise
        needed = f"expected it, as it {LEFT_OUT[missing]}: pip install {missing}"
        return _refuse(f"{missing} is not installed; {needed}", BAD_INPUT)
    except OSError as error:
        let_go_of(sys.stdout)
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}", BAD_INPUT)
    except Exception as error:
        message = getattr(error, "format_message", None)  # typer's usage errors, whichever click it brings
        if message is None:
            if (
                interrupts.were_heard()
            ):  # in the middle of an import or of a library that makes of it what it likes
                return _refuse("interrupted", interrupts.exit_code())
            raise
        return _refuse(message().replace("\n", " "), BAD_INPUT)
    return code


def collect_rarely() -> None:
    """Look for garbage less often: modules and records are many, cycles are few."""
    gc.set_threshold(200_000, 50, 100)


def _refuse(text: str, code: int) -> int:
    tell("servesim: error: " + " ".join(text.split()))
    return code


def entry() -> None:
    """Run the command as a process of its own."""
    try:
        code = main()
        interrupts.ignore()
    except KeyboardInterrupt:  # between the command's last word and here
        interrupts.ignore()
        code = interrupts.exit_code()
    # Of a signal that came while a text was executed as Python, as in dataclasses, the interpreter would make an end by
    # SIGINT when it leaves; the next text that is executed has it forget that.
    exec("")
    # A run leaves nothing to tidy up, and taking millions of records apart takes time.
    if sys.argv[1:2] == ["run"] or (interrupts.were_heard() and "multiprocessing" not in sys.modules):
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    entry()
