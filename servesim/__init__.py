"""servesim under its own name: ``import servesim``; what it has is that of ``simulator``."""

from typing import TYPE_CHECKING, Any

import simulator

if TYPE_CHECKING:
    from simulator import InputError as InputError
    from simulator import Result as Result
    from simulator import Scenario as Scenario
    from simulator import StallError as StallError
    from simulator import load as load
    from simulator import run as run

__all__ = ["InputError", "Result", "Scenario", "StallError", "load", "run"]


def __getattr__(name: str) -> Any:
    """Return the public names of ``simulator`` when they are first used."""
    if name not in __all__:
        raise AttributeError(f"module 'servesim' has no attribute {name!r}")
    return getattr(simulator, name)
