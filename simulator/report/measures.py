"""Which numbers a view shows, in which order: what the metrics' own files say of them, family by family."""

from collections.abc import Iterable

from simulator.metrics import Measure
from simulator.metrics._measure import ShownIn
from simulator.results.vocabulary import vocabulary

_OWN = ""  # where metrics of one's own stand
_ORDER = (
    "states", "throughput", "latency", "slo", "idle_latency", "token_slo", "fluidity", "qoe", _OWN, "engine", "cost",
    "smooth_goodput",
)  # fmt: skip


def family(measure: Measure) -> str:
    """Return the name of the file that a measure is of."""
    return measure.key.partition(".")[0]


def shown(view: ShownIn) -> list[Measure]:
    """Return the measures that a view shows."""
    return _ordered(each for each in vocabulary().values() if view in each.shown)


def rows_of_latencies() -> dict[str, str]:
    """Return the distributions in the report's table of latencies: their keys by label."""
    rows = _ordered(each for each in vocabulary().values() if each.row)
    return {each.row: each.key.rpartition(".")[0] for each in rows}


def _ordered(measures: Iterable[Measure]) -> list[Measure]:
    def place(measure: Measure) -> int:
        name = family(measure)
        return _ORDER.index(name if name in _ORDER else _OWN)

    return sorted(measures, key=place)
