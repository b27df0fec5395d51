"""All names of a run's numbers: those of the metrics, of the engine and of what the run cost."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from simulator.metrics import Measure, RequestLog, Slo, UserModel, measures, summarise
from simulator.results import billing, energy, engine_summary, grades

MADE_BY_RUNS = ("engine.", "cost.", "energy.", "quality.")  # what depends on more than the delivery record


def vocabulary() -> dict[str, Measure]:
    """Return every measure by its key."""
    made = (*engine_summary.MEASURES, *billing.MEASURES, *energy.MEASURES, *grades.MEASURES)
    return measures() | {each.key: each for each in made}


def numbers(summary: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | None]]:
    """Yield the numbers of a summary under dotted keys; None for one that does not exist."""
    for key, value in summary.items():
        if isinstance(value, Mapping) and key != "options":
            yield from numbers(value, f"{prefix}{key}.")
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield f"{prefix}{key}", value


def known(
    user: UserModel, slo: Slo, classes: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, bool]:
    """Return the names that a run's numbers may have, and whether a run for this user and these targets has it.

    ``classes`` are the bounds of each class of its requests, in place of those of ``slo``: their numbers have the same
    names behind ``classes.NAME.``.
    """
    own = _known(user, slo)
    for name, bounds in (classes or {}).items():
        of_class = _known(user, replace(slo, **bounds))
        own |= {f"classes.{name}.{key}": is_there for key, is_there in of_class.items() if _of_requests(key)}
    return own


def _of_requests(key: str) -> bool:
    return not key.startswith(MADE_BY_RUNS)


def _known(user: UserModel, slo: Slo) -> dict[str, bool]:
    log = RequestLog.from_lists([0.0, 1.0, 2.0], [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0]])
    found = dict(numbers(summarise(log, user, slo)))
    return {
        name: found.get(name) is not None or name.startswith(MADE_BY_RUNS) for name in (*found, *vocabulary())
    }


def key_of(name: str, others: Iterable[Measure] = ()) -> str:
    """Return the key of a name that may be an alias, of a measure here or of ``others``."""
    if name.startswith("classes.") and name.count(".") >= 2:
        _, of_class, rest = name.split(".", 2)
        return f"classes.{of_class}.{key_of(rest)}"
    return next(
        (each.key for each in (*vocabulary().values(), *others) if name in (each.key, each.alias)), name
    )


def measure_of(name: str) -> Measure:
    """Return the measure of a name or alias; a number that no file calls anything is called by its key."""
    key = key_of(name)
    if key.startswith("classes.") and key.count(".") >= 2:
        _, of_class, rest = key.split(".", 2)
        own = measure_of(rest)
        return own._replace(key=key, label=f"{of_class}: {own.label}")
    return vocabulary().get(key) or Measure(key, key, "")
