"""Trace formats, one file each: ``FORMAT`` in a file of this folder is all that a new one needs."""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

_OWN = "servesim"


@dataclass(frozen=True)
class TraceFormat:
    """Which columns of a table hold what; the first three must be there, the named others may be."""

    arrival_s: str
    prompt_tokens: str
    output_tokens: str
    priority: str | None = None  # whole numbers, the lower the sooner; empty: 0
    patience_s: str | None = None  # seconds after its arrival at which a client gives up; empty: never
    prefix_id: str | None = None  # requests of one id have their first prefix_tokens in common; empty: none
    prefix_tokens: str | None = None
    hash_ids: str | None = None  # a list: one id for each block of the prompt, the last one possibly partial
    hash_block_tokens: int = 512  # equal ids: equal prompts up to and including that block
    ticks_per_s: float = 1.0  # units of the arrival column in a second, such as 1000 for milliseconds

    @property
    def columns(self) -> tuple[str, str, str]:
        """The names of the three columns that must be there: arrival, prompt, output."""
        return (self.arrival_s, self.prompt_tokens, self.output_tokens)


def all_formats() -> list[TraceFormat]:
    """Return every format in this folder: this project's own, then the others in order of file name."""
    names = sorted((module.name for module in iter_modules(__path__)), key=lambda name: (name != _OWN, name))
    formats: list[TraceFormat] = [import_module(f"{__name__}.{name}").FORMAT for name in names]
    return formats
