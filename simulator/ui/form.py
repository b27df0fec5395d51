"""The form: a field for each key of the scenario's schema that has one value, and the scenario that fields name."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from simulator.errors import InputError
from simulator.input_files import NotTomlError, parse_toml
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.scenario.schema import scenario_schema

MOST_REQUESTS = 20_000  # of a run in the app; a longer one is for the command line
LONGEST_TEXT = 200
USUAL = (
    "hardware.gpu", "hardware.model", "engine.profile", "engine.tensor_parallel_size", "cluster.replicas",
    "policy.scheduling", "policy.routing", "workload.trace", "workload.limit", "workload.rate_scale",
    "workload.arrivals", "workload.rate_rps", "workload.requests", "workload.lengths", "user.preset",
    "user.v_s_per_token", "user.first_token_allowance_s", "user.alpha", "slo.ttft_s", "slo.tpot_s",
)  # fmt: skip
START = {
    "cluster.replicas": "1",
    "workload.limit": "500",
    "workload.rate_scale": "4",
}  # a second's work, near the knee
ARRIVALS = {"workload.rate_rps": "15", "workload.requests": "500", "workload.lengths": "chat_azure2023"}
_OF_TRACES = ("workload.trace", "workload.limit", "workload.rate_scale")
_OF_ARRIVALS = ("workload.rate_rps", "workload.requests", "workload.lengths")
_LEFT_OUT = ("workload.tokenizer",)  # may ask the network
_PATH = re.compile(r"[/\\~\x00]|\.\.|\.(py|toml|json|jsonl|csv|parquet|gz|zst)$", re.IGNORECASE)


@lru_cache(maxsize=1)
def fields() -> list[dict[str, Any]]:
    """Return the fields, the usual ones first: key, kind, choices, default, description, and whether it is usual.

    ``needs`` is ``trace`` or ``arrivals`` for a key that is for one kind of traffic only, else None. Kinds are
    ``choice``, ``name`` (a text with suggestions), ``number`` and ``text``.
    """
    schema = scenario_schema()
    found = {each["key"]: each for each in _leaves(schema, schema, "")}
    order = [key for key in USUAL if key in found] + [key for key in found if key not in USUAL]
    return [found[key] for key in order]


def _leaves(schema: Mapping[str, Any], part: Mapping[str, Any], prefix: str) -> Iterator[dict[str, Any]]:
    for name, given in part["properties"].items():
        key = f"{prefix}{name}"
        inner = _table(schema, given)
        if inner is not None and not key.startswith("policy."):
            yield from _leaves(schema, inner, f"{key}.")
        elif key not in _LEFT_OUT:
            field = _field(key, given)
            if field is not None:
                yield field


def _table(schema: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the table that a key always has; one that may be unset, such as a pool, is no part of the form."""
    reference = given.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] | None = schema["$defs"].get(reference)
    return found if found is not None and "properties" in found else None


def _field(key: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    forms = [each for each in _alternatives(given) if each.get("type") not in ("null", "object")]
    choices = [str(value) for each in forms for value in each.get("enum", [])]
    types = {each.get("type") for each in forms}
    if types == {"boolean"}:
        choices = ["true", "false"]
    examples = [str(each) for each in given.get("examples", [])]
    if examples:
        kind, choices = "name", examples
    elif choices:
        kind = "choice"
    elif types & {"number", "integer"}:
        kind = "number" if "string" not in types else "text"
    elif "string" in types:
        kind = "text"
    else:
        return None  # a list or a table: for a file
    default = given.get("default")
    if isinstance(default, dict):
        default = default.get("name")
    needs = "trace" if key in _OF_TRACES else "arrivals" if key in _OF_ARRIVALS else None
    return {
        "key": key, "kind": kind, "choices": choices, "default": None if default is None else _said(default),
        "description": given.get("description", ""), "usual": key in USUAL, "needs": needs,
    }  # fmt: skip


def _alternatives(given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for each in given.get("anyOf", ()):
        yield from _alternatives(each)
    if "anyOf" not in given:
        yield given


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def scenario_of(values: Any) -> Scenario:
    """Return the scenario that filled fields name; an empty field is left at its default.

    Raises InputError in one sentence for unknown keys, for paths (the app reads no files by name) and as ``Scenario``
    does; and for more requests than the app simulates, as far as the fields say it.
    """
    try:
        scenario = default_scenario([f"{key}={value}" for key, value in _filled(values).items()])
    except InputError as error:
        raise InputError(str(error).removeprefix("--set ")) from error
    for key in ("requests", "limit"):
        check_count(getattr(scenario.workload, key))
    return scenario


def with_trace(scenario: Scenario, name: str) -> Scenario:
    """Return a scenario with the requests of a dropped file, as they come, in place of its traffic."""
    values = scenario.model_dump(mode="json", exclude_unset=True)
    return Scenario(**values | {"workload": {"trace": name, "limit": MOST_REQUESTS}})


def check_count(requests: int | None) -> None:
    """Raise InputError for more requests than the app simulates."""
    if requests is not None and requests > MOST_REQUESTS:
        raise InputError(
            f"{requests:,} requests; expected at most {MOST_REQUESTS:,} in the app (set workload.limit or"
            " workload.requests), or the command: servesim run"
        )


def _filled(values: Any) -> dict[str, str]:
    if not isinstance(values, dict):
        raise InputError(f"form: expected keys with their values, got a {type(values).__name__}")
    known = {each["key"]: each for each in fields()}
    found: dict[str, str] = {}
    for key, value in values.items():
        if key not in known:
            raise InputError(f"form: {str(key)[:LONGEST_TEXT]!r} is no key of the form; see: servesim schema")
        if not isinstance(value, str) or len(value) > LONGEST_TEXT:
            raise InputError(f"{key}: expected a text of at most {LONGEST_TEXT} characters")
        text = value.strip()
        if key != "name" and _PATH.search(text):
            raise InputError(f"{key}: {text!r} may be a path; expected a name (files are for: servesim run)")
        if text:
            found[key] = _quoted(text) if known[key]["kind"] in ("name", "text") else text
    return found


def _quoted(text: str) -> str:
    """Return a text so that TOML does not read it as a number or a list; one that is none of these as it is."""
    try:
        parse_toml(f"value = {text}")
    except NotTomlError:
        return text
    return json.dumps(text)


def command_of(values: Any) -> str:
    """Return the command that simulates what the form says; InputError as ``scenario_of``."""
    scenario_of(values)
    return " ".join(
        [
            "servesim run",
            *(f"--set {shlex.quote(f'{key}={value}')}" for key, value in _filled(values).items()),
        ]
    )
