"""Step timings of a user's own engine: reading the CSV.

One row a step, with a heading. Columns, in any order:

    prefill_tokens          prompt tokens computed in the step, all prompts together
    prior_context_tokens    tokens of those prompts computed in earlier steps or cached, all together
    prefill_seqs            prompts in the step; may be left out: 1 where prefill_tokens > 0
    decode_seqs             sequences that decode one token
    decode_context_tokens   their contexts added up, the token that is computed included
    step_ms                 what the step took, in milliseconds
    run                     which run the step is from; may be left out. Cross-validation leaves out whole runs.

Several prompts in one step are taken to be of equal size. Other columns are ignored.
"""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.files import read_text
from simulator.errors import InputError
from simulator.replica.cost import StepShape

COUNTS = ("prefill_tokens", "prior_context_tokens", "decode_seqs", "decode_context_tokens")
_MOST = 10**12  # tokens in a step; beyond is a mistake, and would not be exact in a double


@dataclass(frozen=True)
class TimedStep:
    """One row: the step's shape, its milliseconds with all overheads, its kind and its run."""

    shape: StepShape
    step_ms: float
    kind: str  # prefill, prefill_after_prior_context, decode or mixed
    run: str


def has_steps(path: Path) -> bool:
    """Whether a file is to be read as steps: a CSV, unless its rows are requests that arrive."""
    if path.suffix.lower() != ".csv":
        return False
    return "arrival_s" not in read_text(path).partition("\n")[0]


def read_timings(path: Path) -> list[TimedStep]:
    """Return the rows of a CSV; raise InputError with the line for the first one that cannot be a step."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    steps: list[TimedStep] = []
    try:
        missing = [name for name in (*COUNTS, "step_ms") if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path}, line 1: column '{missing[0]}' is missing")
        steps.extend(_step(row, f"{path}, line {reader.line_num}") for row in reader)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    if not steps:
        raise InputError(f"{path}: no rows; expected one row a step")
    return steps


def _step(row: dict[str, str | None], where: str) -> TimedStep:
    tokens, prior, seqs, context = (_count(row, name, where) for name in COUNTS)
    entries = _count(row, "prefill_seqs", where) if row.get("prefill_seqs") else int(tokens > 0)
    ms = _milliseconds(row, where)
    if not tokens and not seqs:
        raise InputError(f"{where}: the step is empty; expected prefill_tokens or decode_seqs above 0")
    if (entries > 0) != (tokens > 0) or entries > tokens:
        raise InputError(f"{where}: {entries} prompts with {tokens} tokens; expected a token or more each")
    if prior and not tokens:
        raise InputError(f"{where}: prior_context_tokens is {prior} without prefill_tokens")
    if (context < seqs) or (context and not seqs):
        raise InputError(
            f"{where}: decode_context_tokens is {context} for {seqs} decodes; expected their contexts added up"
        )
    shape = StepShape(
        prefill_tokens=tokens,
        prefill_seqs=entries,
        prefill_attention_pairs=tokens * (prior + tokens / 2) / max(1, entries),
        prefill_context_tokens=tokens + prior,
        decode_seqs=seqs,
        decode_context_tokens=context,
    )
    kind = "prefill_after_prior_context" if prior else "prefill"
    if seqs:
        kind = "mixed" if tokens else "decode"
    return TimedStep(shape, ms, kind, row.get("run") or "")


def _count(row: dict[str, str | None], name: str, where: str) -> int:
    text = row.get(name)
    if text is None:
        raise InputError(f"{where}: the row ends before {name}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= _MOST and value.is_integer()):
        raise InputError(f"{where}: {name}: expected a whole number, 0 or more, got {text!r}")
    return int(value)


def _milliseconds(row: dict[str, str | None], where: str) -> float:
    text = row.get("step_ms")
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{where}: step_ms: expected milliseconds above 0, got {text!r}")
    return value
