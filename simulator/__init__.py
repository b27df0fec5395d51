"""servesim: a discrete-event simulator of LLM serving.

from simulator import Scenario, run
result = run(Scenario(workload={"trace": "azure2023_conv", "limit": 500}))
print(result.summary()["smooth_goodput"])
"""

from typing import TYPE_CHECKING, Any

from simulator.in_the_way import check_packages

if TYPE_CHECKING:
    from simulator.errors import InputError, StallError
    from simulator.functions.capacity import capacity
    from simulator.functions.compare import compare
    from simulator.functions.figure import figure
    from simulator.functions.inspect import inspect
    from simulator.functions.plan import plan
    from simulator.functions.score import score
    from simulator.functions.sweep import sweep
    from simulator.functions.tune import tune
    from simulator.results.result import Result
    from simulator.scenario.run import run
    from simulator.scenario.scenario import Scenario

check_packages()

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

_HOMES = {
    "InputError": "simulator.errors",
    "Result": "simulator.results.result",
    "Scenario": "simulator.scenario.scenario",
    "StallError": "simulator.errors",
    "run": "simulator.scenario.run",
    "capacity": "simulator.functions.capacity",
    "compare": "simulator.functions.compare",
    "figure": "simulator.functions.figure",
    "inspect": "simulator.functions.inspect",
    "plan": "simulator.functions.plan",
    "score": "simulator.functions.score",
    "sweep": "simulator.functions.sweep",
    "tune": "simulator.functions.tune",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that the command starts quickly."""
    if name not in _HOMES:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load(folder: str) -> "Result":
    """Return the result saved in ``folder``."""
    from simulator.results.result import Result

    return Result.load(folder)
