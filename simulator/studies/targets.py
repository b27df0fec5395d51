"""Targets: what a run's numbers shall keep, written alike wherever one is given: ``latency.ttft_s.p99 <= 0.5``."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simulator.errors import InputError
from simulator.metrics import Measure
from simulator.results.vocabulary import key_of

_FORM = re.compile(r"\s*([A-Za-z]\w*(?:\.\w+)*)\s*(?:(<=|>=)\s*(\S+)\s*)?")


@dataclass(frozen=True)
class WantedNumber:
    """A target as it was written: of which number, and at least or at most how much; no bound: its best value."""

    text: str
    key: str  # of the number; aliases are resolved
    sign: str | None  # "<=" or ">="
    bound: float


def read(text: object, where: str, others: Iterable[Measure] = ()) -> WantedNumber:
    """Read ``KEY<=NUMBER``, ``KEY>=NUMBER`` or ``KEY``; a key may be an alias, also of ``others``.

    Raises InputError, beginning with ``where``, for anything else.
    """
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InputError(
            f"{where} {text}: expected KEY<=NUMBER or KEY>=NUMBER, such as 'latency.ttft_s.p99<=1.0'"
        )
    name, sign, number = match.groups()
    bound = math.nan
    if sign is not None:
        try:
            bound = float(number)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise InputError(f"{where} {text}: expected a number behind {sign}, got {number!r}")
    return WantedNumber(match[0].strip(), key_of(name, others), sign, bound)


def conjuncts(text: str) -> list[str]:
    """Split ``A and B``, targets that must both be kept."""
    return re.split(r"\s+and\s+", text.strip())


def unknown(key: str, where: str, names: Sequence[str], more: str = "") -> InputError:
    """Return what to raise for a key that is no number of a run."""
    from simulator.scenario.discover import nearest

    return InputError(
        f"{where}: no number {key!r}; {nearest(key, list(names))}expected one of a run's summary.json, such as"
        f" latency.ttft_s.p99{more}"
    )


def there(known: Mapping[str, bool]) -> list[str]:
    """Return the names of those numbers that a run will have (``simulator.results.vocabulary.known``)."""
    return [name for name, is_there in known.items() if is_there]
