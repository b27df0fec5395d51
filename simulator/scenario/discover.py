"""Policies are found by their file name: one file, one class, no registration.

``policies/<kind>/<name>.py`` is the policy ``<name>``; a path ending in ``.py`` is a policy of one's own, as is a class
given in Python (``simulator.scenario.given``); installed packages bring more (``simulator.scenario.plugins``).
Listing the shipped ones reads file names only; choosing one imports that one file.
"""

import dataclasses
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_type_hints

from simulator.blame import described
from simulator.errors import InputError, StallError
from simulator.scenario.given import GivenPolicy, source_file
from simulator.scenario.seams import SEAMS, PolicyKind, check_attributes, check_class
from simulator.workload.checks import LARGEST_INTEGER

__all__ = ["KINDS", "PolicyKind", "blamed", "complete", "discover", "load", "nearest"]

KINDS: tuple[PolicyKind, ...] = tuple(SEAMS)


def discover(kind: PolicyKind) -> list[str]:
    """Return the names of the policies in ``policies/<kind>``, sorted, without importing any."""
    folders = import_module(f"policies.{kind}").__path__
    files = (name for folder in folders for name in os.listdir(folder))
    return sorted(name[:-3] for name in files if name.endswith(".py") and not name.startswith("_"))


def load(kind: PolicyKind, name: str, where: str = "") -> type[Any]:
    """Import one policy by name or by path (``./mine.py``) and return its class.

    Raises ``InputError`` for a name that no file has, suggesting the nearest, for a file that does not
    import or has not exactly one class to choose, and for a class that is not such a policy.
    """
    field = where or f"policy.{kind}"
    if isinstance(name, GivenPolicy):
        return _checked_class(kind, field, name.policy)
    if name.endswith(".py"):
        return _the_class(kind, field, _import_path(field, Path(name).expanduser()))
    names = discover(kind)
    if name not in names:
        return _installed(kind, field, name, names)
    return _the_class(kind, field, import_module(f"policies.{kind}.{name}"))


def complete(kind: PolicyKind, name: str, given: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Return every parameter of a policy: what was given, and the defaults of the rest.

    A parameter is a field of the policy's dataclass. Raises ``InputError`` for one that the policy does
    not have, one that is missing, and a value of the wrong type or range: numbers must be > 0 (or >= 0 where
    the default is 0, which stands for "off") and at most 2^53. ``where`` is the key it is given under.
    """
    policy = load(kind, name, where)
    fields = (
        {f.name: f for f in dataclasses.fields(policy) if f.init} if dataclasses.is_dataclass(policy) else {}
    )
    where = where or f"policy.{kind}"
    for key in given:
        if key not in fields:
            known = f"expected one of {', '.join(fields)}" if fields else f"{name} has no parameters"
            raise InputError(
                f"{where}.{key}: {name} has no such parameter; {nearest(key, list(fields))}{known}"
            )
    try:
        types = get_type_hints(policy)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a text in place of a type is Python code, which may do anything
        raise InputError(
            f"{where}: {name}: the type of a parameter cannot be found: {described(error)}"
        ) from error
    values: dict[str, Any] = {}
    for key, field in fields.items():
        default = _default(field)
        if key in given:
            values[key] = _checked(f"{where}.{key}", given[key], types[key], default)
        elif default is dataclasses.MISSING:
            raise InputError(f"{where}.{key}: missing; {name} needs it")
        else:
            values[key] = default
    made = _made(kind, name, where, policy, values)
    check_attributes(kind, where, made)
    return values


def _made(kind: PolicyKind, name: str, where: str, policy: type[Any], values: dict[str, Any]) -> object:
    """Return an instance; raise InputError in the words of a shipped policy, of another with file and line."""
    try:
        return policy(**values)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        files, text = _files_of(policy), str(error) if isinstance(error, ValueError | TypeError) else ""
        if not _is_own(kind, name) and text:
            raise InputError(text if text.startswith(where) else f"{where}: {text}") from error
        frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename in files]
        place = f"{frames[-1].filename}: line {frames[-1].lineno}" if frames else next(iter(files)) or name
        raise InputError(f"{where}: {place}: {text or described(error)}") from error


def _is_own(kind: str, name: str) -> bool:
    """Whether a policy is none of the shipped ones."""
    return name not in discover(cast(PolicyKind, kind.split()[0]))


@contextmanager
def blamed(**names: str) -> Iterator[None]:
    """Turn an exception from a policy's own file into an ``InputError`` that names the file and the line.

    ``names`` are the policies in use by kind, or kind and role ("scheduling decode"). An exception from elsewhere
    is laid to the policies in use that are not shipped: what they returned or changed is only noticed later. Where
    there are none, it passes as it is, as do a Ctrl-C, an InputError and a StallError.
    """
    try:
        yield
    except (InputError, StallError, KeyboardInterrupt):
        raise
    except BaseException as error:
        origin: BaseException = error
        while origin.__cause__ is not None:  # SimPy raises a copy of what a process raised
            origin = origin.__cause__
        frames = traceback.extract_tb(origin.__traceback__)
        for kind, name in names.items():
            files = _files_of(load(cast(PolicyKind, kind.split()[0]), name))
            for frame in reversed(frames):
                if frame.filename in files:
                    raise InputError(
                        f"policy.{kind}: {frame.filename}: line {frame.lineno}: {described(error)}"
                    ) from error
        own = {
            f"policy.{kind}: {source_file(load(cast(PolicyKind, kind.split()[0]), name)) or name}"
            for kind, name in names.items()
            if isinstance(error, Exception) and not isinstance(error, OSError) and _is_own(kind, name)
        }
        if own:
            raise InputError(
                f"{', '.join(sorted(own))}: the engine cannot go on with what it returned or changed:"
                f" {described(error)}"
            ) from error
        raise


def _files_of(policy: type[Any]) -> set[str | None]:
    """Return the file of a policy's class; of one made in a notebook also the cells of its methods."""
    files = {getattr(sys.modules.get(policy.__module__), "__file__", None)}
    codes = (
        getattr(inspect.unwrap(each), "__code__", None) for each in vars(policy).values() if callable(each)
    )
    return files | {code.co_filename for code in codes if code is not None and code.co_filename != "<string>"}


def nearest(word: str, words: list[str]) -> str:
    """Return ``"did you mean 'x'? "`` for the closest of ``words``, or an empty string if none is close."""
    near = get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _checked(where: str, value: Any, kind: Any, default: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        checked = TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise InputError(f"{where}: expected {reason}, got {value!r}") from error
    if isinstance(checked, int | float) and not isinstance(checked, bool):
        zero_is_off = isinstance(default, int | float) and default == 0
        if not 0 <= checked <= LARGEST_INTEGER or (checked == 0 and not zero_is_off):
            raise InputError(
                f"{where}: expected a finite number {'>=' if zero_is_off else '>'} 0"
                f"{f' and <= {LARGEST_INTEGER:,}' if checked > 0 else ''}, got {value!r}"
            )
    return checked


def _import_path(field: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(
            f"{field}: no policy file {path}; expected a Python file or the name of a shipped policy"
        )
    name = f"policy_file_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while the class is made
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        line = "" if error.lineno is None else f"line {error.lineno}: "  # none of a text with NUL
        raise InputError(f"{field}: {path}: {line}not valid Python: {error.msg}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() too, which would end the command without a word
        raise InputError(f"{field}: {path}: cannot be imported: {described(error)}") from error
    return module


def _installed(kind: PolicyKind, field: str, name: str, shipped: list[str]) -> type[Any]:
    """Return the class of a policy that an installed package brings."""
    from simulator.scenario import plugins  # looking for some takes longer than all else here

    found = plugins.plugin(kind, name, field)
    if found is None:
        names = sorted({*shipped, *plugins.names(kind)})
        raise InputError(
            f"{field}: no policy {name!r}; {nearest(name, names)}expected one of {', '.join(names)}"
        )
    value = found.load(field)
    if isinstance(value, ModuleType):
        return _the_class(kind, field, value)
    if not isinstance(value, type):
        raise InputError(
            f"{field}: {name!r} of {found.distribution}: {found.entry.value} is {value!r}; expected a class, or a"
            " module with one"
        )
    return _checked_class(kind, field, value)


def _checked_class(kind: PolicyKind, field: str, policy: type[Any]) -> type[Any]:
    check_class(kind, field, source_file(policy) or Path(policy.__module__), policy)
    return policy


def in_a_file_of_its_own(kind: PolicyKind, policy: type[Any]) -> Path | None:
    """Return the path of the file that stands for a class, as ``load`` takes it; None if no file does."""
    module, path = sys.modules.get(policy.__module__), source_file(policy)
    if module is None or path is None or policy.__module__ == "__main__":
        return None
    try:
        return path if _the_class(kind, "", module) is policy else None
    except InputError:
        return None


def _the_class(kind: PolicyKind, field: str, module: ModuleType) -> type[Any]:
    """Return the class named after the file in CamelCase, else the only dataclass, else the only class."""
    file = Path(module.__file__ or module.__name__)
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    wanted = file.stem.replace("_", "").lower()
    for choice in (
        [c for c in classes if c.__name__.lower() == wanted],
        [c for c in classes if dataclasses.is_dataclass(c)],
        classes,
    ):
        if len(choice) == 1:
            check_class(kind, field, file, choice[0])
            return choice[0]
    raise InputError(f"{field}: {file} defines {len(classes)} classes; expected exactly one, the policy")
