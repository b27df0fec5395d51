"""Which numbers a view shows, in which order: what the metrics' own files say of them, family by family."""

from collections.abc import Iterable

from simulator.metrics import Measure
from simulator.metrics._measure import SHARE_OF, ShownIn
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


def printed_unit(measure: Measure) -> str:
    """Return the unit that a measure is printed in: latencies in ms, as the field reads them."""
    return "ms" if measure.unit == "s" else measure.unit


def printed_name(measure: Measure) -> str:
    """Return label and printed unit in one."""
    unit = printed_unit(measure)
    return f"{measure.label} ({unit})" if unit else measure.label


def in_printed_unit(measure: Measure, value: float | None) -> float | None:
    """Return a value in the unit that it is printed in."""
    return value if value is None or measure.unit != "s" else 1e3 * value


def drawn_unit(measure: Measure) -> str:
    """Return the unit that a measure has in pictures: as printed, and shares in %, ``% of arrived``."""
    share = measure.unit.startswith(SHARE_OF)
    return f"% of {measure.unit.removeprefix(SHARE_OF)}" if share else printed_unit(measure)


def in_drawn_unit(measure: Measure, value: float | None) -> float | None:
    """Return a value in the unit that it has in pictures."""
    if value is not None and measure.unit.startswith(SHARE_OF):
        return 100 * value
    return in_printed_unit(measure, value)


def rows_of_latencies() -> dict[str, str]:
    """Return the distributions in the report's table of latencies: their keys by label."""
    rows = _ordered(each for each in vocabulary().values() if each.row)
    return {each.row: each.key.rpartition(".")[0] for each in rows}


def _ordered(measures: Iterable[Measure]) -> list[Measure]:
    def place(measure: Measure) -> int:
        name = family(measure)
        return _ORDER.index(name if name in _ORDER else _OWN)

    return sorted(measures, key=place)
