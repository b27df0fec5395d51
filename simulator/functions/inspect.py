"""``servesim.inspect``: what is in a file of requests."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.errors import InputError
from simulator.functions.found import FoundTable
from simulator.report import survey as shown
from simulator.report.tables import Document
from simulator.report.text import number
from simulator.results.imports import tool_of
from simulator.workload import library
from simulator.workload.recognise import ReadAs
from simulator.workload.survey import Survey, survey
from simulator.workload.tokenizer import load

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

CONTEXT_TOKENS = 131_072


class InspectResult(FoundTable):
    """What is in a file of requests."""

    def __init__(self, survey: Survey) -> None:
        """Wrap what was found."""
        self.survey = survey

    @property
    def format(self) -> str:
        """The format that the file is of."""
        return self.survey.format

    @property
    def odd(self) -> list[str]:
        """What is odd in it."""
        return self.survey.odd

    @property
    def refused_with(self) -> str | None:
        """The sentence that a run would refuse the file with; None if it would not."""
        return self.survey.first_problem

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers: seconds, tokens, requests/s, shares from 0 to 1."""
        return self.survey.as_dict()

    @cached_property
    def table(self) -> "pa.Table":
        """A row a request that can be simulated: arrival_s (null: not said), prompt_tokens, output_tokens."""
        import pyarrow as pa

        columns = self.survey.columns
        arrival_s = columns.arrival_s if self.survey.timed else np.full(len(columns), np.nan)
        return pa.table({
            "arrival_s": pa.array(arrival_s, from_pandas=True),
            "prompt_tokens": pa.array(columns.prompt_tokens),
            "output_tokens": pa.array(columns.output_tokens),
        })  # fmt: skip

    def figure(self) -> "Figure":
        """Return rates over time, lengths and gaps."""
        return shown.figure(self.survey)

    def document(self) -> Document:
        """Return what the command prints."""
        return shown.text(self.survey)

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        facts = self.as_dict()
        columns = list(facts["prompt_tokens"])
        rows = [
            [f"{name} tokens", *(number(facts[f"{name}_tokens"][column]) for column in columns)]
            for name in ("prompt", "output")
        ]
        title = f"{Path(self.survey.file).name}: {self.format}, {facts['requests']:,} requests"
        return title, [["", *columns], *rows], [*self.survey.notes, *self.odd]


def inspect(
    file: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # the word of the option
    columns: str | Mapping[str, str] | None = None,
    skip_bad: bool = False,
    tokenizer: str | None = None,
    context_tokens: int = CONTEXT_TOKENS,
) -> InspectResult:
    """Say what is in a file of requests, or in a shipped trace: format, rates, lengths, sessions, what is odd.

    ``format`` is its format by name (default: told by its content), ``columns`` what its columns hold, as a dict
    ``{"arrival": "ts:iso", "prompt": "tokens_in"}`` or one line; with ``skip_bad`` nothing is said of rows that a run
    refuses, but how many they are.
    ``tokenizer`` counts the tokens of texts, as ``workload.tokenizer``.

    Raises InputError for a file of no known format, or without one good row.
    """
    shipped = {**library.shipped_samples(), **library.shipped_traces()}
    path = shipped.get(str(file)) or library.find_table("file", str(file), list(shipped), None, True)
    held = (
        ",".join(f"{name}={column}" for name, column in columns.items())
        if isinstance(columns, Mapping)
        else columns
    )
    counter = None if tokenizer is None else load(tokenizer)
    try:
        how = ReadAs(format, held, skip_bad, skip_bad, tokenizer=counter)
        return InspectResult(survey(path, how, context_tokens))
    except InputError as error:
        tool = tool_of(path) if path.suffix.lower() in (".json", ".jsonl") else None
        if tool is None:
            raise
        raise InputError(
            f"{path}: results of a load test ({tool}), which sent its requests already; expected it with: servesim"
            f" score {path} (or servesim replay, to simulate the same requests)"
        ) from error
