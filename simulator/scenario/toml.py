"""Scenario files: reading TOML, writing it with every default explained, and ``section.key=value``."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from simulator.errors import InputError
from simulator.input_files import DEEPEST, NotTomlError, parse_toml, read_text
from simulator.metrics._presets import beside_preset
from simulator.scenario import discover
from simulator.scenario.engine import SPELLED_OUT
from simulator.scenario.given import GivenPolicy

if TYPE_CHECKING:
    from simulator.scenario.scenario import Scenario

Override = str | tuple[str, Any]  # SECTION.KEY=VALUE, or the key and a Python value
UNSET = "none"  # not a TOML value, so it takes nothing away from what can be set

_COMMENTS = {
    "user.preset": "a user model by name, which says what is not given beside it: docs/metrics.md",
    "user.v_s_per_token": "V: seconds that the reader takes for a token",
    "user.alpha": "penalty in tokens per unit of f; unset: 1/V",
    "user.f": "linear, quadratic, exponential, step or hinge: what waiting costs",
    "user.f_scale_s": "c of exponential, step and hinge",
    "user.origin": "arrival or first_token: when the reader's clock starts",
    "user.first_token_allowance_s": "time allowed for the first token, with origin = arrival",
    "user.unserved": "asks_again, wait_ends or wait_to_end: what the tokens that a reader never gets cost",
    "user.weight_input": "worth of a prompt token",
    "user.weight_output": "worth of a delivered token",
    "user.reads": "token, sentence, paragraph, answer or a number of tokens: what is read only when it is whole",
    "user.fatigue": "share by which reading a token takes longer each 1,000 tokens",
    "user.skim_after_tokens": "beyond so many tokens it reads",
    "user.skim_speedup": "so many times as fast",
    "user.thinking_share": "share of an answer that is thinking, not read, where the traffic says nothing of it",
    "user.weight_thinking": "worth of a thinking token; unset: weight_output",
    "slo.ttft_s": "bound on the time to first token; unset: none",
    "slo.tpot_s": "bound on the mean time per output token after the first; unset: none",
    "slo.tail_tbt_s": "bound on a request's tail time between tokens; unset: none",
    "slo.e2e_s": "bound on the time to the last token; unset: none",
    "slo.tail_tbt": "p99 or max: which gap of a request is its tail",
    "policy.scheduling.name": "see: servesim list policies; or path to a file with one class",
    "policy.routing.name": "see: servesim list policies; or path to a file with one class",
}


def read(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; ``InputError`` names the file, and line and column if known."""
    try:
        return parse_toml(read_text(path, "utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected a scenario in TOML") from error
    except NotTomlError as error:
        problem, at, place = str(error).rpartition(" (at ")
        where = f"{place.rstrip(')')}: " if at else ""
        raise InputError(f"{path}: {where}not valid TOML: {problem if at else error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: not UTF-8 text; expected a scenario in TOML") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; expected a scenario in TOML") from error


def key_of(override: Override) -> str:
    """Return the dotted key that an override sets."""
    return override.partition("=")[0].strip() if isinstance(override, str) else override[0]


def apply_override(tables: dict[str, Any], override: Override) -> None:
    """Set ``section.key=value`` in ``tables``; raise ``InputError`` if it has not that form."""
    path = key_of(override).split(".")
    if len(path) > DEEPEST:
        raise InputError(
            f"--set {'.'.join(path[:3])}...: a key of {len(path):,} parts; expected section.key=value"
        )
    if (isinstance(override, str) and "=" not in override) or not all(path):
        raise InputError(f"--set {override}: expected section.key=value, such as cluster.replicas=4")
    if path[0] == "policy" and path[2:] == ["name"]:
        path.pop()  # another policy has other parameters
    if path == ["user", "preset"] and isinstance(tables.get("user"), dict):
        tables["user"] = beside_preset(tables["user"])  # another preset has other values
    value = _value(override.partition("=")[2].strip()) if isinstance(override, str) else override[1]
    table = tables
    for part in path[:-1]:
        inner = table.get(part)
        if isinstance(inner, str) and path[0] == "policy":
            inner = {"name": inner}
        if inner is not None and not isinstance(inner, dict):
            raise InputError(f"--set {override}: {part} is not a table of keys")
        table[part] = inner = dict(inner or {})
        table = inner
    if value is None or (isinstance(value, str) and value == UNSET):
        table.pop(path[-1], None)
    else:
        table[path[-1]] = value


def write(scenario: "Scenario") -> str:
    """Return the scenario as TOML, every key with its value, unset ones as comments.

    Raises InputError for a policy given as a class that no file stands for.
    """
    lines = [f"# A scenario of servesim. --set section.key=value changes a key, {UNSET} unsets it.", ""]
    tables = scenario.model_dump(context=SPELLED_OUT)
    lines += [_line("", key, tables.pop(key), scenario) for key in ("name", "seed")]
    for section, table in tables.items():
        for name, values in _flat(section, table):
            lines += ["", f"[{name}]"]
            lines += [_line(name, key, value, scenario) for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _flat(section: str, table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a table and those below it, by their dotted names."""
    own = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if own or not table:
        yield section, own
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(f"{section}.{_key(key)}", value)


def _line(section: str, key: str, value: Any, scenario: "Scenario") -> str:
    if isinstance(value, GivenPolicy):
        value = _path_of(section, value)
    shown = f"# {key} =" if value is None else f"{_key(key)} = {as_toml(value)}"
    comment = _comment(section, key, scenario)
    return f"{shown:<40}  # {comment}" if comment else shown


def _path_of(section: str, given: GivenPolicy) -> str:
    """Return the path that stands for a policy given as a class; raise InputError if it is not alone in a file."""
    kind = section.rpartition(".")[2]
    path = discover.in_a_file_of_its_own(cast(discover.PolicyKind, kind), given.policy)
    if path is None:
        where = "in no file" if given.file is None else f"not the policy that {given.file} is read as"
        raise InputError(
            f"{section}: {given} was given as a class and is {where}, so a scenario file cannot name it; expected it"
            " in a file of its own, and its path"
        )
    return path.as_posix()


def as_toml(value: Any) -> str:
    """Return a value as TOML on one line, tables and lists of tables too; what is unset in a table is left out."""
    import tomli_w

    if isinstance(value, dict):
        given = (f"{_key(key)} = {as_toml(each)}" for key, each in value.items() if each is not None)
        return f"{{ {', '.join(given)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    return tomli_w.dumps({"_": value})[4:].strip()


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else as_toml(key)


def _comment(section: str, key: str, scenario: "Scenario") -> str:
    table: Any = scenario
    for part in section.split(".") if section else ():
        table = getattr(table, part, None)
    fields = getattr(type(table), "model_fields", {})
    if key in fields:
        return fields[key].description or ""
    return _COMMENTS.get(f"{section}.{key}") or _policy_comment(section, key, scenario)


def _policy_comment(section: str, key: str, scenario: "Scenario") -> str:
    """Return what the policy's own file says behind a parameter, so that a new policy explains itself."""
    kind = section.removeprefix("policy.")
    if kind == section or "." in kind:  # a table of a parameter has no line of its own in the file
        return ""
    choice = getattr(scenario.policy, kind)
    return parameter_comment(discover.load(cast(discover.PolicyKind, kind), choice.name), key)


def parameter_comment(policy: type, key: str) -> str:
    """Return what stands behind a parameter where a policy's class, or one that it derives from, declares it."""
    for declaring in policy.__mro__:
        if key in inspect.get_annotations(declaring):
            source = inspect.getsource(declaring)
            found = re.search(rf"^ +{key}:[^#\n]*(?:\(\n[^#\n]*)?# (.*)$", source, re.MULTILINE)
            return found[1] if found else ""
    return ""


def _value(text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}")
    except NotTomlError:
        return _number_or_text(text)
    return parsed["value"] if len(parsed) == 1 else text


def _number_or_text(text: str) -> float | str:
    """Read what a shell user means by ``.5`` or ``1e6``; TOML wants digits on both sides of the point."""
    try:
        return float(text)
    except ValueError:
        return text
