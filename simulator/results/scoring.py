"""By what a run is scored: for which readers and targets, over what time."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from simulator.metrics import Slo, UserModel
from simulator.metrics._window import Window


class Scoring(NamedTuple):
    """All that the metrics of a run depend on besides its records."""

    user: UserModel
    slo: Slo
    window: Window
    also: Sequence[str]  # families that are only measured where they are asked for

    @classmethod
    def of(cls, scenario: Mapping[str, Any]) -> "Scoring":
        """Return what a scenario, as a manifest has it, says."""
        run, metrics = scenario["run"], scenario["metrics"]
        window = Window(metrics["window"], run["trim_warmup"], run["trim_cooldown"])
        return cls(UserModel(**scenario["user"]), Slo(**scenario["slo"]), window, metrics["also"])

    def changed(self, **given: Any) -> "Scoring":
        """Return this with some of it replaced; None leaves it."""
        return self._replace(**{name: value for name, value in given.items() if value is not None})
