"""What a plan may cost and which GPUs are to be had: ``[budget]`` of a plan file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.studies.plan.line import Line
from simulator.studies.study_file import check_keys, is_count

_KEYS = ("usd_per_hour", "gpus")
_ALIKE = 1 + 1e-9


@dataclass(frozen=True)
class Budget:
    """The most that a candidate may cost, and the most GPUs it may have of the types that are named."""

    usd_per_hour: float | None = None
    gpus: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, given: Any) -> "Budget":
        """Read the table; InputError, naming file and key, for what is wrong with it."""
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise InputError(f"{path}: budget: expected a table, got {given!r}")
        check_keys(path, "budget.", given, _KEYS)
        usd, gpus = given.get("usd_per_hour"), given.get("gpus", {})
        number = isinstance(usd, int | float) and not isinstance(usd, bool)
        if usd is not None and not (number and 0 < usd < float("inf")):
            raise InputError(f"{path}: budget.usd_per_hour: expected a number > 0, got {usd!r}")
        if not isinstance(gpus, Mapping) or not all(is_count(many) for many in gpus.values()):
            raise InputError(
                f'{path}: budget.gpus: expected how many there are of each GPU, such as {{"l40s" = 8}}, got {gpus!r}'
            )
        return cls(usd, gpus)

    def within(self, path: Path, lines: Sequence[Line]) -> list[Line]:
        """Return the lines with the counts that the budget allows, without those that have none left."""
        known = dict.fromkeys(gpu for line in lines for gpu in line.gpus_of_unit)
        for gpu in self.gpus:
            if gpu not in known:
                raise InputError(
                    f"{path}: budget.gpus: {gpu!r} is in no candidate; expected some of {', '.join(known)}"
                )
        cut = [replace(line, counts=tuple(n for n in line.counts if self._allows(line, n))) for line in lines]
        left = [line for line in cut if line.counts]
        if not left:
            cheapest = min(lines, key=lambda line: line.usd_per_hour(line.counts[0]))
            place = cheapest.hardware(cheapest.counts[0])
            raise InputError(
                f"{path}: budget: no candidate of the space is within it; expected room for one, of which the"
                f" cheapest is {place} for ${cheapest.usd_per_hour(cheapest.counts[0]):.2f} an hour"
            )
        return left

    def _allows(self, line: Line, count: int) -> bool:
        if self.usd_per_hour is not None and line.usd_per_hour(count) > self.usd_per_hour * _ALIKE:
            return False
        return all(many <= self.gpus.get(gpu, many) for gpu, many in line.gpus(count).items())
