"""The two ways a run can be refused; each carries one sentence for the person at the keyboard.

SimPy rebuilds exceptions from ``.args``, so every exception here takes exactly one message argument.
"""

from collections.abc import Callable
from typing import Any, Self, TypeVar

_Part = TypeVar("_Part")


class InputError(ValueError):
    """Something the user gave (file, line, field) is wrong; the sentence says what was expected."""


class DoesNotFitError(InputError):
    """What was given needs more memory than there is; on a real server it runs out of memory when it starts."""


def not_installed(what: str, extra: str) -> InputError:
    """Return the refusal of what needs a package that comes with an extra; ``what`` ends in the package's name."""
    return InputError(f"{what} is not installed; expected: pip install 'servesim[{extra}]'")


def under_key(key: str, make: Callable[[], _Part]) -> _Part:
    """Make a part; an InputError then begins with the scenario's key."""
    try:
        return make()
    except InputError as error:
        raise type(error)(f"{key}: {error}") from error  # also of a kind of its own


class StallError(RuntimeError):
    """The simulation can make no more progress; the sentence names the policy, the time and the jobs.

    ``result`` is the ``Result`` of what was simulated until then, where a scenario was run.
    """

    result: Any = None

    def with_result(self, result: Any) -> Self:
        """Attach what was simulated until the stall."""
        self.result = result
        return self
