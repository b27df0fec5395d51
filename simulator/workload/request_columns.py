"""The columns of a trace that tell of requests one by one, checked batch by batch."""

from dataclasses import replace
from typing import cast

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.replica.request import DEFAULTS, FIELDS
from simulator.workload import checks
from simulator.workload.checks import LARGEST_INTEGER, Where, refuse_unless, whole_numbers
from simulator.workload.columns import Pieces, TrafficColumns, compact
from simulator.workload.containers import Batch, Container, Wanted
from simulator.workload.formats import TraceFormat
from simulator.workload.labels import Labels

_HINT = " (workload.block_tokens says another size)"


def placed(table: Container, first_row: int) -> Where:
    """Return how to name a row that is counted from ``first_row``."""
    return lambda row: table.where(first_row + row)


class Carried:
    """The columns of a trace that hold fields of ``Request``, each by itself, read batch by batch."""

    def __init__(self, table: Container, fmt: TraceFormat) -> None:
        there = {name: column for name, column in fmt.fields.items() if column in table.header}
        self._labels = {
            name: Labels(table, column, may_be_empty=FIELDS[name].kind == "name")
            for name, column in there.items()
            if FIELDS[name].kind in ("label", "name")
        }
        self._numbers = {name: column for name, column in there.items() if name not in self._labels}

    @property
    def numbers(self) -> list[str]:
        """The names of the columns of numbers."""
        return list(self._numbers.values())

    @property
    def labels(self) -> list[str]:
        """The names of the columns of labels."""
        return [each.name for each in self._labels.values()]

    def read(self, batch: Batch, where: Where) -> dict[str, Ints | Floats]:
        """Check and return what a batch has, by field; labels are numbered in order of appearance."""
        found: dict[str, Ints | Floats] = {}
        for name, column in self._numbers.items():
            given, default = batch.numbers[column], DEFAULTS[name]
            filled = given if default != default else np.where(np.isnan(given), default, given)
            values = checks.field(name, filled, column, where)
            found[name] = values if FIELDS[name].is_float else compact(cast(Ints, values))
        return found | {name: compact(each.add(batch)) for name, each in self._labels.items()}

    def finished(self, columns: TrafficColumns) -> TrafficColumns:
        """Return all that was read with labels that are numbers as they are in the table."""
        labels = {name: each for name, each in self._labels.items() if name in columns.carried}
        numbers = {
            name: compact(each.finished(cast(Ints, columns.carried[name])))
            for name, each in labels.items()
            if FIELDS[name].kind == "label"
        }
        names = labels["model"].names if "model" in labels else ()
        return replace(columns.carrying(**numbers), model_names=names)


def wanted(table: Container, fmt: TraceFormat, carried: Carried, with_times: bool) -> Wanted:
    """Return which of the format's columns on requests alone are to be read, with or without arrivals."""
    times = (str(fmt.arrival_s),) if with_times else ()
    optional = (fmt.patience_s, fmt.prefix_id, fmt.prefix_tokens, fmt.block_tokens)
    _refuse_half_a_prefix(table, fmt)
    lists = [fmt.hash_ids] if fmt.hash_ids is not None and fmt.hash_ids in table.header else []
    return Wanted(
        (*times, *fmt.lengths),
        [*carried.numbers, *(name for name in optional if name is not None and name in table.header)],
        lists,
        carried.labels,
    )


def checked(
    table: Container, fmt: TraceFormat, batch: Batch, arrival_s: Floats, carried: Carried
) -> TrafficColumns:
    """Check and return what a batch tells of its requests; ``arrival_s`` is what it is said to be."""
    where, numbers = placed(table, batch.first_row), batch.numbers
    prompt = compact(whole_numbers(fmt.prompt_tokens, numbers[fmt.prompt_tokens], where))
    output = compact(whole_numbers(fmt.output_tokens, numbers[fmt.output_tokens], where))
    given = carried.read(batch, where)
    patience_s = hash_ids = None
    if fmt.patience_s in numbers:
        name = str(fmt.patience_s)
        patience_s = cast(Floats, checks.field("leave_s", numbers[name], name, where))
    prefix_id, prefix_tokens = _prefixes(fmt, numbers, prompt, where)
    if fmt.hash_ids in batch.lists:
        hash_ids = _block_ids(fmt, batch, prompt, where)
    return TrafficColumns(
        arrival_s, prompt, output, patience_s, prefix_id, prefix_tokens, hash_ids, carried=given,
    )  # fmt: skip


def _refuse_half_a_prefix(table: Container, fmt: TraceFormat) -> None:
    there = [name for name in (fmt.prefix_id, fmt.prefix_tokens) if name is not None and name in table.header]
    if len(there) == 1:
        missing = fmt.prefix_tokens if there[0] == fmt.prefix_id else fmt.prefix_id
        raise InputError(f"{table.path}: column {there[0]} found without {missing}; expected both or neither")


def _prefixes(
    fmt: TraceFormat, numbers: dict[str, Floats], prompt: Ints, where: Where
) -> tuple[Ints, Ints] | tuple[None, None]:
    """Check and return which prefix each prompt begins with, and its length; -1 and 0 for none."""
    id_name, tokens_name = fmt.prefix_id or "", fmt.prefix_tokens or ""
    if id_name not in numbers:
        return None, None
    ids, tokens = numbers[id_name], numbers[tokens_name]
    none = np.isnan(ids)
    tokens = np.where(np.isnan(tokens), 0.0, tokens)
    with np.errstate(invalid="ignore"):
        good_id = none | ((ids >= 0) & (ids <= LARGEST_INTEGER) & (ids == np.floor(ids)))
        whole = (tokens >= 1) & (tokens <= prompt) & (tokens == np.floor(tokens))
    refuse_unless(good_id, ids, id_name, f"a whole number from 0 to {LARGEST_INTEGER}, or nothing", where)
    refuse_unless(none | whole, tokens, tokens_name, "a whole number from 1 to the prompt's tokens", where)
    refuse_unless(~none | (tokens == 0), tokens, tokens_name, f"nothing, as {id_name} is empty", where)
    return compact(np.where(none, -1.0, ids).astype(np.int64)), compact(tokens.astype(np.int64))


def _block_ids(fmt: TraceFormat, batch: Batch, prompt: Ints, where: Where) -> Pieces:
    """Check and return the prefix blocks of each prompt: as many as it needs, or fewer where some are enough."""
    name = str(fmt.hash_ids)
    ids, offsets = batch.lists[name]
    block_tokens = _block_tokens(fmt, batch, where)
    blocks = -(-prompt // block_tokens)
    lengths = np.diff(offsets)
    good = lengths <= blocks if fmt.some_blocks else (lengths == blocks) | (lengths == 0)
    if not good.all():
        i = int(np.argmin(good))
        most = "at most " if fmt.some_blocks else ""
        raise InputError(
            f"{where(i)}: {name} has {lengths[i]} ids; expected {most}{blocks[i]}, one for each"
            f" {block_tokens[i]} of {prompt[i]} prompt tokens" + (_HINT if fmt.any_block_tokens else "")
        )
    if len(ids) and ids.min() < 0:
        first = int(np.argmax(ids < 0))
        row = int(np.searchsorted(offsets, first, side="right")) - 1
        raise InputError(f"{where(row)}: {name} holds {ids[first]}; expected ids >= 0")
    tokens = np.repeat(block_tokens, lengths)
    is_full = lengths == blocks  # its last block may be partial
    is_full &= lengths > 0
    tokens[offsets[1:][is_full] - 1] = (prompt - (blocks - 1) * block_tokens)[is_full]
    return Pieces(compact(ids), compact(tokens), offsets)


def _block_tokens(fmt: TraceFormat, batch: Batch, where: Where) -> Ints:
    """Return the tokens of a block in each row."""
    given = batch.numbers.get(fmt.block_tokens or "")
    if given is None:
        return np.full(batch.rows, fmt.hash_block_tokens)
    filled = np.where(np.isnan(given), float(fmt.hash_block_tokens), given)
    return whole_numbers(str(fmt.block_tokens), filled, where).astype(np.int64)
