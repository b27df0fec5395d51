"""What the files of sweeps and plans have in common: keys of scenarios, with values and ranges of values."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.input_files import NotTomlError, parse_toml, read_text
from simulator.scenario.given import LabelledPolicy, is_given
from simulator.scenario.toml import UNSET, Override, as_toml

MOST_STEPS = 100_000  # of a range
_LARGEST = 1e300
_RANGE = ("from", "to", "steps", "scale")


def read(path: Path, kind: str, keys: Sequence[str]) -> dict[str, Any]:
    """Read a file of some ``kind`` with the ``keys`` that all such files may have."""
    try:
        tables = parse_toml(read_text(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; expected a {kind} file (TOML)") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected a {kind} file (TOML)"
        ) from error
    except (NotTomlError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from error
    check_keys(path, "", tables, keys)
    if not isinstance(tables.get("set", {}), dict):
        raise InputError(f"{path}: set: expected a table of scenario keys, got {tables['set']!r}")
    base = tables.get("base")
    if base is not None and not isinstance(base, str):
        raise InputError(f"{path}: base: expected the path of a scenario file, got {base!r}")
    replications = tables.get("replications", 1)
    if not is_count(replications):
        raise InputError(f"{path}: replications: expected a whole number >= 1, got {replications!r}")
    return tables


def check_keys(path: Path, prefix: str, table: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Raise InputError for a key of a table that is none of ``keys``."""
    for key in table:
        if key not in keys:
            raise InputError(f"{path}: {prefix}{key}: unknown key; expected one of {', '.join(keys)}")


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys, whether they are written ``"a.b" = 1``, ``a.b = 1`` or ``[a] b = 1``."""
    for key, value in table.items():
        if isinstance(value, dict) and not set(value) <= set(_RANGE):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def setting(key: str, value: Any) -> Override:
    """Return a key and its value as ``--set`` takes them; a policy that is a class or an instance, in a pair."""
    if isinstance(value, LabelledPolicy):
        return key, value.value
    if isinstance(value, dict) and any(is_given(each) for each in value.values()):
        return key, value
    if value is None or isinstance(value, str):
        return f"{key}={UNSET if value is None else value}"
    try:
        return f"{key}={as_toml(value)}"
    except TypeError:  # of no type that a file can hold: the scenario says what it expects
        return key, value


def values(path: Path, key: str, given: Any) -> list[Any]:
    """Return the values of an axis: a list, or a range ``{from, to, steps, scale = "linear" or "log"}``."""
    if isinstance(given, list) and given:
        return given
    if not isinstance(given, dict):
        raise InputError(f"{path}: {key}: expected a list of values or a range, got {given!r}")
    first, last, steps = given.get("from"), given.get("to"), given.get("steps")
    log = given.get("scale") == "log"
    if (
        not isinstance(first, int | float)
        or not isinstance(last, int | float)
        or not isinstance(steps, int)
        or not (abs(first) <= _LARGEST and abs(last) <= _LARGEST)
        or not 2 <= steps <= MOST_STEPS
        or given.get("scale") not in (None, "linear", "log")
        or (log and not 0 < first < last)
    ):
        raise InputError(
            f'{path}: {key}: expected a range such as {{from = 1.0, to = 8.0, steps = 4, scale = "log"}}'
            f" (steps from 2 to {MOST_STEPS:,}; log: from > 0 and to > from), got {given}"
        )
    whole = isinstance(first, int) and isinstance(last, int)
    found: list[float] = []
    for i in range(steps):
        share = i / (steps - 1)
        value = first * (last / first) ** share if log else first + (last - first) * share
        found.append(round(value) if whole else float(f"{value:.12g}"))
    return list(dict.fromkeys(found))
