"""What is searched: scenario keys, each with a range or some values, read from a file or from ``KEY=low..high``."""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from simulator.errors import InputError
from simulator.input_files import NotTomlError, parse_toml
from simulator.scenario.toml import UNSET
from simulator.studies import study_file

FILE_KEYS = ("space", "objective", "target")
_RANGE = re.compile(r"\s*([^\s:]+?)\.\.([^\s:]+?)(:log)?\s*")
_LARGEST = 1e300

SearchPlace = dict[str, float]  # by key: where in its range, 0 to 1; or which of its values, from 0


@dataclass(frozen=True)
class Knob:
    """One key: a range of numbers, or some values in no order."""

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # whole numbers only
    choices: tuple[Any, ...] = ()  # in place of a range

    def value(self, at: float) -> Any:
        """Return the value at a place."""
        if self.choices:
            return self.choices[int(at)]
        if self.log:
            found = self.low * (self.high / self.low) ** at
        else:
            found = self.low + (self.high - self.low) * at
        found = min(max(found, self.low), self.high)
        return round(found) if self.whole else float(f"{found:.6g}")

    def sample(self, draw: random.Random) -> float:
        """Return any place."""
        return draw.randrange(len(self.choices)) if self.choices else draw.random()


@dataclass(frozen=True)
class SearchSpace:
    """All keys that are searched."""

    knobs: tuple[Knob, ...]

    def sample(self, draw: random.Random) -> SearchPlace:
        """Return any place."""
        return {knob.key: knob.sample(draw) for knob in self.knobs}

    def values(self, place: Mapping[str, float]) -> dict[str, Any]:
        """Return the settings at a place."""
        return {knob.key: knob.value(place[knob.key]) for knob in self.knobs}


@dataclass(frozen=True)
class SpaceFile:
    """What a file of a search says; each may be left out."""

    knobs: tuple[Knob, ...] = ()
    objective: str | None = None
    target: Any = None


def read_file(path: Path) -> SpaceFile:
    """Read ``[space]``, ``objective`` and ``target``; raises InputError naming file and key."""
    tables = study_file.read(path, "search space", FILE_KEYS)
    space, objective = tables.get("space", {}), tables.get("objective")
    if not isinstance(space, dict):
        raise InputError(f"{path}: space: expected a table of scenario keys, got {space!r}")
    if objective is not None and not isinstance(objective, str):
        raise InputError(f"{path}: objective: expected a number of a summary, got {objective!r}")
    knobs = tuple(knob_of(f"{path}: space.{key}", key, given) for key, given in study_file.flat(space))
    return SpaceFile(knobs, objective, tables.get("target"))


def knob_of(where: str, key: str, given: Any) -> Knob:
    """Return a key with its list of values, or its range ``{from, to, scale}``; raises InputError."""
    if isinstance(given, list):
        return _of_values(where, key, given)
    if isinstance(given, dict):
        low, high, scale = given.get("from"), given.get("to"), given.get("scale", "linear")
        if _is_number(low) and _is_number(high) and scale in ("linear", "log") and "steps" not in given:
            return _of_range(where, key, low, high, log=scale == "log")
    raise InputError(
        f'{where}: expected a list of values, or a range such as {{from = 4, to = 128, scale = "log"}}, got {given!r}'
    )


def parse(text: str) -> Knob:
    """Read ``KEY=low..high``, ``KEY=low..high:log`` or ``KEY=a,b,c``; raises InputError for anything else."""
    key, equals, rest = text.partition("=")
    key, where = key.strip(), f"--space {text}"
    if not (key and equals and rest.strip()):
        raise InputError(f"{where}: expected KEY=low..high, KEY=low..high:log, KEY=a,b,c or a TOML file")
    match = _RANGE.fullmatch(rest)
    if match is None:
        return _of_values(where, key, [_value(each.strip()) for each in rest.split(",")])
    low, high = _value(match[1]), _value(match[2])
    if not (_is_number(low) and _is_number(high)):
        raise InputError(f"{where}: expected numbers on both sides of .., got {rest.strip()!r}")
    return _of_range(where, key, low, high, log=match[3] is not None)


def space_of(knobs: Sequence[Knob]) -> SearchSpace:
    """Return the space of some keys; raises InputError for none, and for one that is there twice."""
    if not knobs:
        raise InputError(
            "--space: nothing to search; expected at least one KEY=low..high, KEY=a,b,c or TOML file"
        )
    keys = [knob.key for knob in knobs]
    doubled = next((key for key in keys if keys.count(key) > 1), None)
    if doubled is not None:
        raise InputError(f"--space: {doubled} is there twice; expected once")
    if "seed" in keys:
        raise InputError("--space: seed: the best of several seeds is luck; expected settings")
    return SearchSpace(tuple(knobs))


def _of_range(where: str, key: str, low: float, high: float, *, log: bool) -> Knob:
    if not (low < high and abs(low) <= _LARGEST and abs(high) <= _LARGEST) or (log and low <= 0):
        raise InputError(
            f"{where}: expected low < high{', and low > 0 for log' if log else ''}, got {low}..{high}"
        )
    whole = isinstance(low, int) and isinstance(high, int)
    return Knob(key, low, high, log, whole)


def _of_values(where: str, key: str, given: Sequence[Any]) -> Knob:
    written = [repr(each) for each in given]
    if len(given) < 2 or len(set(written)) < len(given) or "''" in written:
        raise InputError(f"{where}: expected at least two different values, or a range low..high")
    return Knob(key, choices=tuple(given))


def _value(text: str) -> Any:
    if text == UNSET:
        return None
    try:
        return parse_toml(f"value = {text}")["value"]
    except NotTomlError:
        return text


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
