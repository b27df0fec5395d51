"""Finding and reading profile files; every refusal is one sentence naming the file and the key."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from simulator.errors import InputError
from simulator.input_files import NotTomlError, parse_toml
from simulator.input_files import read_text as text_of

PACKAGE_DIR = Path(__file__).parent

TomlTable = dict[str, Any]
_Validated = TypeVar("_Validated", bound=BaseModel)


def shipped_names(folder: str) -> list[str]:
    """Return the sorted names (file stems) of the profiles shipped in ``folder`` ("gpus" or "models")."""
    return sorted(path.stem for path in (PACKAGE_DIR / folder).glob("*.toml"))


def shipped_path(folder: str, name: str) -> Path:
    """Return where the shipped profile ``name`` lives, whether or not it exists."""
    return PACKAGE_DIR / folder / f"{name}.toml"


def profile_path(
    folder: str, kind: str, name_or_path: str, base_dir: Path | None, known: Iterable[str], also: str
) -> Path:
    """Return where a shipped profile, or a TOML file given by path (relative to ``base_dir``), is.

    Raises InputError, as ``full_name`` and ``unknown`` have it, for what is neither.
    """
    name = full_name(kind, name_or_path, shipped_names(folder))
    if name is not None:
        return shipped_path(folder, name)
    if not name_or_path.endswith(".toml"):
        raise unknown(kind, name_or_path, known, also)
    return (base_dir or Path()) / name_or_path


def full_name(kind: str, name: str, names: Sequence[str]) -> str | None:
    """Return the one of ``names`` that is meant: the name itself, or the only one that begins with it (``h100``).

    Capital letters do not matter. None if there is none. Raises InputError where several begin so.
    """
    wanted = name.lower()
    if wanted in names:
        return wanted
    near = [full for full in names if full.startswith(f"{wanted}-")]
    if len(near) > 1:
        raise InputError(f"{kind} '{name}' could be any of {', '.join(near)}; expected one of them")
    return near[0] if near else None


def unknown(kind: str, name: str, known: Iterable[str], also: str) -> InputError:
    """Return (not raise) the refusal of an unknown ``name``, with the nearest of ``known`` if one is near.

    ``also`` says what else would have been accepted, e.g. "the path of a config.json".
    """
    names = list(known)
    return InputError(
        f"unknown {kind} '{name}': expected one of {', '.join(names)}, or {also}{nearest(name, names)}"
    )


def nearest(name: str, names: Sequence[str]) -> str:
    """Return ``; did you mean '...'?`` with the name that is nearest to another, or nothing if none is near."""
    import difflib

    wanted = name.lower()
    # An abbreviation ("h100") is nearer to its own card than the letters of another are.
    near = [full for full in names if wanted and full.startswith(wanted)]
    near = near or difflib.get_close_matches(wanted, names, n=1, cutoff=0.4)
    return f"; did you mean '{near[0]}'?" if near else ""


def read_text(path: Path) -> str:
    """Return the text of ``path``; InputError if it cannot be read or is not UTF-8."""
    try:
        return text_of(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, found other bytes at offset {error.start}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table in ``path``; InputError naming the file and line on a syntax error."""
    return toml_of(read_text(path), path)


def toml_of(text: str, path: Path) -> dict[str, Any]:
    """Return the table in the text of ``path``, as ``read_toml`` does."""
    try:
        return parse_toml(text)
    except NotTomlError as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None


def load(
    schema: type[_Validated],
    path: Path,
    fill: Callable[[TomlTable, Path], TomlTable] = lambda table, path: table,
) -> _Validated:
    """Return the table in ``path`` as a ``schema``, made once of the same text; ``fill`` adds what it leaves open.

    Raises InputError as ``read_toml`` and ``validate`` do.
    """
    found = _loaded(schema, read_text(path), path, fill)
    assert isinstance(found, schema)
    return found


@lru_cache
def _loaded(
    schema: type[BaseModel], text: str, path: Path, fill: Callable[[TomlTable, Path], TomlTable]
) -> BaseModel:
    return validate(schema, fill(toml_of(text, path), path), str(path))


def validate(schema: type[_Validated], values: object, where: str) -> _Validated:
    """Return ``values`` as a ``schema``; InputError naming ``where`` and the first wrong key."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        if first["type"] == "missing":
            raise InputError(f"{where}: key '{key}' is missing") from None
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}: unknown key '{key}'") from None
        wanted = first["msg"][0].lower() + first["msg"][1:]
        raise InputError(f"{where}: key '{key}': {wanted}, got {first['input']!r}") from None
