"""What the shell's TAB key offers: keys of ``--set`` with their values, metrics, saved runs, names of files.

Names that only imports can tell (keys, metrics) are kept in a file of the user's cache folder until the code they come
from changes: the first TAB takes half a second, those after it a tenth.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from glob import escape, glob
from pathlib import Path
from typing import Any

_PACKAGES = Path(__file__).parents[2]
_SOURCES = (
    "simulator/metrics", "simulator/results", "simulator/scenario", "simulator/studies", "simulator/workload",
    "policies", "hardware_profiles",
)  # fmt: skip
_DEEPEST = 3  # folders below the root that are looked through for runs
_SHELL = "_SERVESIM_COMPLETE"  # environment variable by which a shell asks
_BEFORE_EQUALS = "_SERVESIM_COMPLETE_KEY"  # the key whose value bash asks for


def settings(incomplete: str) -> list[str]:
    """Offer keys of a scenario, or the values of the one that is written."""
    return _settings(_known()["keys"], incomplete)


def measuring(incomplete: str) -> list[str]:
    """Offer keys by which a saved run is measured."""
    keys = {
        key: values
        for key, values in _known()["keys"].items()
        if key.startswith(("user.", "slo.", "metrics.", "run.trim_"))
    }
    return _settings(keys, incomplete)


def variants(incomplete: str) -> list[str]:
    """Offer a key with several values: KEY=A,B."""
    key, equals, given = incomplete.partition("=")
    head = f"{key}="
    if before_equals := os.environ.get(_BEFORE_EQUALS):
        key, given, head = before_equals, incomplete, ""
    elif not equals:
        return settings(incomplete)
    before, comma, _ = given.rpartition(",")
    used = before.split(",")
    return [
        f"{head}{before}{comma}{value}"
        for value in _known()["keys"].get(key, [])
        if value not in used and f"{before}{comma}{value}".startswith(given)
    ]


def targets(incomplete: str) -> list[str]:
    """Offer names of metrics, behind ``and`` as well."""
    before, joined, last = incomplete.rpartition(" and ")
    return [f"{before}{joined}{name}" for name in _known()["metrics"] if name.startswith(last)]


def runs(incomplete: str) -> list[str]:
    """Offer folders of saved runs: those below the root of all, or below a folder that is begun."""
    from simulator.results.folders import runs_root

    roots = [runs_root()]
    begun = Path(incomplete).parent if incomplete and not incomplete.endswith("/") else Path(incomplete)
    if incomplete and begun != Path() and begun not in roots:
        roots.append(begun)
    found = sorted({str(folder) for root in roots for folder in _runs_below(root, _DEEPEST)})
    return [folder for folder in found if folder.startswith(incomplete)]


def runs_and_scenarios(incomplete: str) -> list[str]:
    """Offer folders of saved runs and TOML files."""
    return [*runs(incomplete), *glob(f"{escape(incomplete)}*.toml")]


def gpus(incomplete: str) -> list[str]:
    """Offer GPUs that are shipped."""
    return _files("hardware_profiles/gpus", "*.toml", incomplete)


def models(incomplete: str) -> list[str]:
    """Offer models that are shipped."""
    return _files("hardware_profiles/models", "*.toml", incomplete)


def export_formats(incomplete: str) -> list[str]:
    """Offer formats of ``servesim export``."""
    return _files("simulator/report/exports", "*.py", incomplete)


def trace_formats(incomplete: str) -> list[str]:
    """Offer formats of files of requests."""
    return _files("simulator/workload/formats", "*.py", incomplete)


def figures(incomplete: str) -> list[str]:
    """Offer figures and claims of the paper, other systems, and the league."""
    names = [name.partition("_")[0] for name in _files("experiments/paper", "*.py", "")]
    names += [
        each for package in ("systems", "league") for each in _files(f"experiments/{package}", "*.py", "")
    ]
    return [name for name in ("all", "systems", *dict.fromkeys(names)) if name.startswith(incomplete)]


def topics(incomplete: str) -> list[str]:
    """Offer what ``servesim list`` lists."""
    names = ("policies", "engines", "gpus", "models", "drafters", "links", "workloads", "runs")
    return [name for name in names if name.startswith(incomplete)]


def trace_levels(incomplete: str) -> list[str]:
    """Offer what a run can keep."""
    return [name for name in ("tokens", "steps", "requests", "summary") if name.startswith(incomplete)]


def is_asked() -> bool:
    """Whether a shell asks what it can offer."""
    return _SHELL in os.environ


def join_words() -> None:
    """Undo how bash splits words: ``KEY=VALUE`` reaches a completion as three of them.

    What is offered replaces only what stands behind the last ``=``; the key before it is remembered for that.
    """
    if os.environ.get(_SHELL) != "complete_bash":
        return
    words, place = os.environ.get("COMP_WORDS", "").split(" "), int(os.environ.get("COMP_CWORD") or 0)
    joined: list[str] = []
    at = 0
    for i, word in enumerate(words):
        if joined and i > 1 and (word == "=" or words[i - 1] == "="):
            joined[-1] += word
        else:
            joined.append(word)
        if i <= place:
            at = len(joined) - 1
    key, equals, begun = joined[at].partition("=")
    if equals and at > 1:
        os.environ[_BEFORE_EQUALS], joined[at] = key, begun
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = " ".join(joined), str(at)


def _settings(keys: Mapping[str, Sequence[str]], incomplete: str) -> list[str]:
    if key := os.environ.get(_BEFORE_EQUALS):
        return [value for value in keys.get(key, []) if value.startswith(incomplete)]
    key, equals, _ = incomplete.partition("=")
    chosen = [key] if equals else [each for each in keys if each.startswith(incomplete)]
    if len(chosen) == 1:
        offered = [f"{chosen[0]}={value}" for value in keys.get(chosen[0], ()) or [""]]
    else:
        offered = [f"{each}=" for each in chosen]
    return [each for each in offered if each.startswith(incomplete)]


def _files(folder: str, pattern: str, incomplete: str) -> list[str]:
    names = sorted(path.stem for path in (_PACKAGES / folder).glob(pattern) if path.stem[0] != "_")
    return [name for name in names if name.startswith(incomplete)]


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "manifest.json").is_file():
        yield folder
    elif depth:
        with suppress(OSError):
            for path in folder.iterdir():
                if path.is_dir() and path.name not in ("points", "cache"):
                    yield from _runs_below(path, depth - 1)


def _known() -> dict[str, Any]:
    """Return the keys of a scenario with their values, and the names of metrics."""
    from hashlib import sha256  # no command but this needs it at its start

    state = [sys.version]
    for source in _SOURCES:
        for path in sorted((_PACKAGES / source).rglob("*.*")):
            if path.suffix in (".py", ".toml", ".parquet"):
                about = path.stat()
                state.append(f"{path} {about.st_mtime_ns} {about.st_size}")
    digest = sha256("\n".join(state).encode()).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "servesim"
    file = folder / "completion.json"
    with suppress(OSError, ValueError, LookupError, TypeError):
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if kept["of"] == digest:
            return kept
    found = {"of": digest, "keys": _keys(), "metrics": _metrics()}
    with suppress(OSError):  # a home that cannot be written: each TAB takes as long as the first
        from simulator.results.folders import whole

        with whole(file) as part:
            part.write_text(json.dumps(found), encoding="utf-8")
    return found


def _metrics() -> list[str]:
    from simulator.results.vocabulary import vocabulary
    from simulator.studies.capacity.target import MEASURES

    every = [*vocabulary().values(), *MEASURES.values()]
    return sorted({name for each in every for name in (each.alias, each.key) if name})


def _keys() -> dict[str, list[str]]:
    """Return the values of each key of a scenario: its names, else its default."""
    from simulator.scenario.schema import scenario_schema

    schema = scenario_schema()
    found: dict[str, list[str]] = {}

    def look(part: Mapping[str, Any], key: str) -> None:
        inside = _inside(part, schema)
        fields = [
            each["properties"] for each in inside if "properties" in each and "name" not in each["properties"]
        ]
        for properties in fields:
            for name, each in properties.items():
                look(each, f"{key}.{name}" if key else name)
        values = [str(value) for each in inside for value in each.get("enum", each.get("examples", []))]
        if any(each.get("type") == "boolean" for each in inside):
            values += ["true", "false"]
        if not fields:
            default = part.get("default")
            values = values or ([] if default is None or isinstance(default, dict) else [_word(default)])
            found[key] = list(dict.fromkeys(values))

    for name, each in schema["properties"].items():
        look(each, name)
    return found


def _word(default: object) -> str:
    return json.dumps(default, separators=(",", ":")) if isinstance(default, list | bool) else str(default)


def _inside(part: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the schemas that one may stand for."""
    found: list[Mapping[str, Any]] = [part]
    if "$ref" in part:
        found += _inside(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    for each in part.get("anyOf", part.get("oneOf", [])):
        found += _inside(each, schema)
    return found
