"""servesim under its own name: ``import servesim``; what it has is that of ``simulator``."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _check_packages() -> None:
    """Raise ``simulator.in_the_way.InTheWayError``, by its path: ``simulator`` itself may be another one."""
    path = Path(__file__).parent.parent / "simulator" / "in_the_way.py"
    spec = spec_from_file_location("_servesim_in_the_way", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.check_packages()


_check_packages()
import simulator  # noqa: E402

if TYPE_CHECKING:
    from simulator import InputError as InputError
    from simulator import Result as Result
    from simulator import Scenario as Scenario
    from simulator import StallError as StallError
    from simulator import capacity as capacity
    from simulator import compare as compare
    from simulator import figure as figure
    from simulator import inspect as inspect
    from simulator import load as load
    from simulator import plan as plan
    from simulator import run as run
    from simulator import score as score
    from simulator import sweep as sweep
    from simulator import tune as tune

__all__ = [
    "InputError",
    "Result",
    "Scenario",
    "StallError",
    "capacity",
    "compare",
    "figure",
    "inspect",
    "load",
    "plan",
    "run",
    "score",
    "sweep",
    "tune",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Return the public names of ``simulator`` when they are first used."""
    if name not in __all__:
        raise AttributeError(f"module 'servesim' has no attribute {name!r}")
    return getattr(simulator, name)
