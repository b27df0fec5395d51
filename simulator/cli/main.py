"""The process ``servesim``: what the commands (``simulator.cli.app``) raise becomes an exit code and one sentence.

Results go to stdout and are the same for the same scenario; all else goes to stderr. Exit codes: 0 done,
1 a bar or target is missed, 2 input or disk refuse (one sentence), 3 the policy stalled, 130 interrupted.
"""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from simulator.cli.terminal import InterruptedRunError, quiet_interrupt
from simulator.errors import InputError, StallError

sys.excepthook = quiet_interrupt  # a Ctrl-C may come before main() does

# Read by packages when they are imported: looking for plugins takes longer than validating, and threads for matrices,
# of which there are none worth it, take turns on the cores until they fall asleep.
QUICKER_START = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "OPENBLAS_NUM_THREADS": "1"}
BAD_INPUT, STALLED, INTERRUPTED = 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a refusal is one line on stderr, never a traceback."""
    collect_rarely()
    for name, value in QUICKER_START.items():
        os.environ.setdefault(name, value)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from simulator.cli.app import call
        from simulator.cli.completion import join_words

        join_words()
        code = call(given or ["--help"])
        sys.stdout.flush()
    except InputError as error:
        return _refuse(str(error), BAD_INPUT)
    except StallError as error:
        return _refuse(str(error), STALLED)
    except InterruptedRunError as error:
        return _refuse(str(error), INTERRUPTED)
    except KeyboardInterrupt:
        return _refuse("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _let_go_of_stdout()  # the reader has gone, as in: servesim list workloads | head -1
        return 0
    except MemoryError:
        return _refuse("not enough memory; expected fewer requests or tokens", BAD_INPUT)
    except OSError as error:
        _let_go_of_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}", BAD_INPUT)
    except Exception as error:
        message = getattr(error, "format_message", None)  # typer's usage errors, whichever click it brings
        if message is None:
            raise
        return _refuse(message().replace("\n", " "), BAD_INPUT)
    return code


def collect_rarely() -> None:
    """Look for garbage less often: modules and records are many, cycles are few."""
    gc.set_threshold(200_000, 50, 100)


def _refuse(text: str, code: int) -> int:
    print("servesim: error: " + " ".join(text.split()), file=sys.stderr)
    return code


def _let_go_of_stdout() -> None:
    """Leave nothing unwritten behind that the interpreter would stumble over when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def entry() -> None:
    """Run the command as a process of its own."""
    code = main()
    if sys.argv[1:2] == ["run"]:  # leaves nothing to tidy up, and taking millions of records apart takes time
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    entry()
