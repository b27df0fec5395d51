"""Trace formats, one file each: ``FORMAT`` in a file of this folder is all that a new one needs."""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules


@dataclass(frozen=True)
class TraceFormat:
    """Which columns of a table hold the arrival time in seconds and the two token counts."""

    arrival_s: str
    prompt_tokens: str
    output_tokens: str

    @property
    def columns(self) -> tuple[str, str, str]:
        """The three column names: arrival, prompt, output."""
        return (self.arrival_s, self.prompt_tokens, self.output_tokens)


def all_formats() -> list[TraceFormat]:
    """Return every format in this folder, in order of file name."""
    names = sorted(module.name for module in iter_modules(__path__))
    formats: list[TraceFormat] = [import_module(f"{__name__}.{name}").FORMAT for name in names]
    return formats
