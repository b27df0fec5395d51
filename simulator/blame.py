"""Policies of one's own that go wrong: which file and line, and what was expected there.

What a policy returns is looked at where the engine takes it; what it raises, where the engine calls it.
"""

import traceback
from collections.abc import Callable
from typing import Any

from simulator.errors import InputError

_LONGEST = 120  # characters of a value that are shown


def shown(value: object) -> str:
    """Return a value as it is written in Python, cut where it is long; its type where it cannot be written."""
    try:
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def described(error: BaseException) -> str:
    """Return type and message of an exception, also of one whose message cannot be had."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def wrong_answer(
    kind: str, method: Callable[..., Any], answer: object, expected: str, text: str = ""
) -> InputError:
    """Return the refusal of what a policy's method returned, with the file and the line of that method.

    ``text`` says what it returned where its value would say too much.
    """
    owner = type(getattr(method, "__self__", None)).__name__
    code = getattr(method, "__code__", None)
    where = "" if code is None else f"{code.co_filename}: line {code.co_firstlineno}: "
    name = getattr(method, "__name__", "its method")
    return InputError(
        f"policy.{kind}: {where}{owner}.{name} returned {text or shown(answer)}; expected {expected}"
    )


def broken(kind: str, method: Callable[..., Any], error: BaseException) -> InputError:
    """Return the refusal of a policy whose method raised an exception, with the file and the line of it."""
    code = getattr(method, "__code__", None)
    file = None if code is None else code.co_filename
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    line = lines[-1] if lines else None if code is None else code.co_firstlineno
    return InputError(f"policy.{kind}: {file}: line {line}: {described(error)}")
