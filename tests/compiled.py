"""Tests that look inside by replacing methods of the core: compiled code calls its own, so they are left out there.

What they hold, the interpreted core is held to, and ``benchmarks.compiled`` holds the two equal.
"""

import sys
from types import ModuleType
from typing import Any

import pytest

from simulator.cli.version import is_compiled
from simulator.replica.cost import StepShape

COMPILED = is_compiled()
interpreted_only = pytest.mark.skipif(COMPILED, reason="gives the core something in place of its own classes")
# Compiled classes have no ``__slots__``
SHAPE = tuple(
    name for name in dir(StepShape) if not name.startswith("_") and not callable(getattr(StepShape, name))
)
OURS = "simulator", "hardware_profiles"
_setattr: Any = pytest.MonkeyPatch.setattr


def _is_compiled(target: object) -> bool:
    module = sys.modules.get(target.__module__) if isinstance(target, type) else target
    if not isinstance(module, ModuleType) or module.__name__.partition(".")[0] not in OURS:
        return False
    return not str(module.__file__).endswith(".py")


def set_or_skip(patch: pytest.MonkeyPatch, target: object, *more: Any, **options: Any) -> None:
    """Do what ``MonkeyPatch.setattr`` does; skip the test if that is of no effect."""
    if _is_compiled(target):
        pytest.skip(f"replaces {more[0]} of the compiled core")
    _setattr(patch, target, *more, **options)


def look_out() -> None:
    """Have tests skipped that replace something of the compiled core."""
    if COMPILED:
        pytest.MonkeyPatch.setattr = set_or_skip  # type: ignore[method-assign,assignment]
