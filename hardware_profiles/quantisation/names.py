"""Which modules a list of names in a checkpoint means: whole names, parts of them, wildcards and ``re:`` patterns.

A module goes by its name in the checkpoint; the first of equal experts stands for all of them. Quantisers write a name
with or without what a wrapper puts before it (``language_model.``), so that is left out on both sides.
"""

import dataclasses
import re
from functools import lru_cache

from simulator.errors import InputError

_EXPERT = re.compile(r"\bexperts\.\d+(?=\.|$)")


def plain(name: str) -> str:
    """Return a module's name without the wrapper's part, and with the first expert for each of them."""
    name = name.replace("experts.*", "experts.0").replace("language_model.model.", "model.")
    return _EXPERT.sub("experts.0", name.replace("model.language_model.", "model."))


@dataclasses.dataclass(frozen=True)
class ModuleNames:
    """A list of names. ``whole``: modules, and all that is below them or ends so; ``patterns``: regular expressions."""

    whole: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()

    def __contains__(self, module: str) -> bool:
        """Whether the list means a module, given by its whole name."""
        name = plain(module)
        parts = name.split(".")
        if self.whole and any(
            ".".join(parts[i:j]) in self.whole
            for i in range(len(parts))
            for j in range(i + 1, len(parts) + 1)
        ):
            return True
        given = module.replace("experts.*", "experts.0")
        return any(each.match(name) or each.match(given) for each in _compiled(self.patterns))


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each) for each in patterns)


def names_of(given: object, where: str, *, ends: bool = False) -> ModuleNames:
    """Return the modules that a list in a checkpoint means.

    A name means the module, those below it, and those of other parents that are called so (``gate`` is a router, and no
    ``gate_proj``). ``*`` stands for anything, and ``re:`` begins a regular expression that must match from the start.
    ``ends``: the first part of a name may be the end of one (AutoAWQ looks for names as parts of others).
    Raises InputError, naming ``where``, for what is no list of names, or no regular expression.
    """
    if given is None:
        return ModuleNames()
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise InputError(f"{where}: expected a list of module names, got {given!r:.80}")
    whole, patterns = set(), []
    for name in given:
        if name.startswith("re:"):
            patterns.append(_checked(name[3:], where))
        elif "*" in name:
            anything = ".*".join(re.escape(piece) for piece in plain(name).split("*"))
            patterns.append(rf"{anything}(?:\..*)?$")
        elif name.strip("."):
            whole.add(plain(name.strip(".")))
            if ends:
                patterns.append(rf".*{re.escape(plain(name.strip('.')))}(?:\..*)?$")
    return ModuleNames(frozenset(whole), tuple(patterns))


def _checked(pattern: str, where: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise InputError(f"{where}: 're:{pattern}' is no regular expression ({error})") from None
    return pattern
