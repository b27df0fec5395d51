"""Policies given in Python as a class or an instance, where a scenario file has a name or a path."""

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

from simulator.errors import InputError


class GivenPolicy(str):
    """The name of a policy that was given as a class, and the class: it stands wherever a name does.

    Two are equal if their classes are the same; to a plain text it is equal as any text.
    """

    __slots__ = ("policy",)
    policy: type[Any]

    def __new__(cls, name: str, policy: type[Any]) -> "GivenPolicy":
        """Have a name stand for a class."""
        made = super().__new__(cls, name)
        made.policy = policy
        return made

    def __getnewargs__(self) -> tuple[str, type[Any]]:  # type: ignore[override]
        return str(self), self.policy

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GivenPolicy):
            return self.policy is other.policy and str(self) == str(other)
        return str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    @property
    def file(self) -> Path | None:
        """The Python file that defines the class; None for one made in a notebook or at a prompt."""
        return source_file(self.policy)

    @property
    def sendable(self) -> bool:
        """Whether another process can import the class: it stands at the top of a module that is no main program."""
        found: Any = sys.modules.get(self.policy.__module__)
        for part in self.policy.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is self.policy and self.policy.__module__ != "__main__"


class LabelledPolicy(str):
    """What a table calls a class or an instance that is one of several values of a key, and the thing itself."""

    __slots__ = ("value",)
    value: Any

    def __new__(cls, label: str, value: Any) -> "LabelledPolicy":
        """Have a label stand for a class or an instance."""
        made = super().__new__(cls, label)
        made.value = value
        return made

    def __getnewargs__(self) -> tuple[str, Any]:  # type: ignore[override]
        return str(self), self.value


def labelled(value: object) -> object:
    """Return a class or an instance under a label, ``ShortestPrompt(ageing=50.0)``; any other value as it is."""
    if not is_given(value) or isinstance(value, str):
        return value
    if isinstance(value, type):
        return LabelledPolicy(value.__name__, value)
    said = ""
    if dataclasses.is_dataclass(value):
        own = {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.init}
        usual = {each.name: each.default for each in dataclasses.fields(value)}
        said = ", ".join(f"{name}={given!r}" for name, given in own.items() if given != usual[name])
    return LabelledPolicy(type(value).__name__ + (f"({said})" if said else ""), value)


def source_file(policy: type[Any]) -> Path | None:
    """Return the file that defines a class; None where there is none."""
    try:
        name = inspect.getsourcefile(policy)
    except TypeError:  # of a module without a file
        return None
    return Path(name).resolve() if name is not None and Path(name).is_file() else None


def is_given(value: object) -> bool:
    """Whether a value may be a policy: a class of one's own, or an instance of one."""
    kind = value if isinstance(value, type) else type(value)
    return kind.__module__ != "builtins"


def read_given(field: str, value: object) -> tuple[type[Any], dict[str, Any]]:
    """Return the class and the parameters of a policy that was given as a class or an instance.

    The parameters of an instance are the fields of its dataclass. Each replica gets an instance of its own, made of
    them, so one with state that they do not hold is refused with an InputError.
    """
    if isinstance(value, type):
        return value, {}
    policy = type(value)
    if dataclasses.is_dataclass(policy):
        return policy, {
            each.name: getattr(value, each.name) for each in dataclasses.fields(policy) if each.init
        }
    try:
        alike = vars(policy()) == vars(value)
    except (
        TypeError,
        ValueError,
    ):  # it cannot be made without arguments, has no fields, or has arrays in them
        alike = False
    if not alike and getattr(value, "__dict__", None) != {}:
        raise InputError(
            f"{field}: {policy.__name__} was given as an instance with state that cannot be read; expected its class,"
            " or a dataclass, whose fields are its parameters"
        )
    return policy, {}
