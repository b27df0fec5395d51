"""Files of the user's that have the name of a package of ours, and are found in its place.

Python looks beside the script that runs before it looks among the installed packages. Needs nothing but Python, as it
runs before anything else is imported.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
NEEDED = ("simulator", "policies", "hardware_profiles")  # by every simulation
BAD_INPUT = 2  # exit code of a script that lets the error pass


class InTheWayError(ImportError):
    """A file or folder of the user's would be imported in place of a package of ours; the sentence names it."""


def check_packages(*names: str) -> None:
    """Raise InTheWayError if one of the packages would be found elsewhere than beside this one.

    In a script that does not catch it, it ends the process with its one sentence and exit code 2.
    """
    for name in names or NEEDED:
        found = _found_at(name) if (ROOT / name).is_dir() else None
        if found is None or os.path.realpath(found) == os.path.realpath(ROOT / name):
            continue
        _say_it_in_one_sentence()
        raise InTheWayError(
            f"{found}: is in the way of the package {name!r} of servesim, which Python would look for there;"
            " expected another name for it, or the script in another folder"
        )


def _found_at(name: str) -> str | None:
    """Return the file or folder that an import of a package would take; None if there is none to take."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module that was made by hand
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return folders[0] if folders else spec.origin


def _say_it_in_one_sentence() -> None:
    """Have a script that such an error ends print one line; any other error is shown as before."""
    before = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, InTheWayError):
            before(kind, error, trace)
            return
        print(f"servesim: error: {error}", file=sys.stderr)
        raise SystemExit(BAD_INPUT)

    sys.excepthook = show
