"""Policies of installed packages: entry points of the group ``servesim.policies``, named ``KIND.NAME``.

They are looked up only when a name is none of the shipped ones, or all are listed: going through what is installed
takes longer than starting.
"""

import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

from simulator.blame import described
from simulator.errors import InputError
from simulator.scenario.seams import PolicyKind

GROUP = "servesim.policies"
_KINDS: tuple[str, ...] = get_args(PolicyKind)


@dataclass(frozen=True)
class Plugin:
    """One entry point."""

    kind: str  # of a policy; empty where the entry point's name is not KIND.NAME
    name: str
    distribution: str  # the package that it comes with, and its version
    entry: EntryPoint

    def load(self, field: str) -> Any:
        """Import what it points at, a class or a module; raise InputError if that fails."""
        try:
            return self.entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise InputError(
                f"{field}: {self.name!r} of {self.distribution}: {self.entry.value} cannot be imported:"
                f" {described(error)}"
            ) from error


def plugins() -> tuple[Plugin, ...]:
    """Return all entry points of the group, by name, also those that are named as none can be used."""
    return _plugins(tuple(sys.path))


@lru_cache(maxsize=4)
def _plugins(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    found = []
    for entry in entry_points(group=GROUP):
        kind, _, name = entry.name.partition(".")
        dist = entry.dist
        of = "an unnamed package" if dist is None else f"{dist.metadata['Name']} {dist.version}"
        good = kind in _KINDS and name.isidentifier()
        found.append(Plugin(kind if good else "", name if good else entry.name, of, entry))
    return tuple(sorted(found, key=lambda each: (each.kind, each.name, each.distribution)))


def plugin(kind: PolicyKind, name: str, field: str) -> Plugin | None:
    """Return the entry point of a policy; None if there is none.

    Raises InputError if two packages have different ones, and for one whose name lacks the kind.
    """
    found = [each for each in plugins() if (each.kind, each.name) == (kind, name)]
    if len({each.entry.value for each in found}) > 1:
        packages = " and ".join(each.distribution for each in found)
        raise InputError(
            f"{field}: {name!r} comes with {packages}; expected one of them to be installed, or the path of a file"
        )
    if found:
        return found[0]
    wrong = next((each for each in plugins() if not each.kind and each.name.rpartition(".")[2] == name), None)
    if wrong is not None:
        raise InputError(f"{field}: {name!r}: {misnamed(wrong)}")
    return None


def names(kind: PolicyKind) -> list[str]:
    """Return the names of one kind that installed packages bring."""
    return list(dict.fromkeys(each.name for each in plugins() if each.kind == kind))


def misnamed(wrong: Plugin) -> str:
    """Say what is wrong with the name of an entry point."""
    return (
        f"{wrong.distribution} has an entry point called {wrong.name!r} in {GROUP}; expected KIND.NAME, with KIND one"
        f" of {', '.join(_KINDS)}"
    )
