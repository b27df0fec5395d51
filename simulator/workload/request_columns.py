"""The columns of a trace that tell of requests one by one, checked batch by batch."""

from collections.abc import Callable

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.workload.columns import Pieces, TrafficColumns, compact
from simulator.workload.containers import Batch, Container, Wanted
from simulator.workload.formats import TraceFormat
from simulator.workload.labels import Labels
from simulator.workload.workload import (
    LARGEST_INTEGER,
    check_patience,
    integers,
    refuse_unless,
    whole_numbers,
)

Where = Callable[[int], str]


def placed(table: Container, first_row: int) -> Where:
    """Return how to name a row that is counted from ``first_row``."""
    return lambda row: table.where(first_row + row)


def wanted(table: Container, fmt: TraceFormat, tenant: Labels | None, with_times: bool) -> Wanted:
    """Return which of the format's columns on requests alone are to be read, with or without arrivals."""
    times = (str(fmt.arrival_s),) if with_times else ()
    optional = (fmt.priority, fmt.patience_s, fmt.prefix_id, fmt.prefix_tokens)
    _refuse_half_a_prefix(table, fmt)
    lists = [fmt.hash_ids] if fmt.hash_ids is not None and fmt.hash_ids in table.header else []
    return Wanted(
        (*times, *fmt.lengths),
        [name for name in optional if name is not None and name in table.header],
        lists,
        [] if tenant is None else [tenant.name],
    )


def checked(
    table: Container, fmt: TraceFormat, batch: Batch, arrival_s: Floats, tenant: Labels | None
) -> TrafficColumns:
    """Check and return what a batch tells of its requests; ``arrival_s`` is what it is said to be."""
    where, numbers = placed(table, batch.first_row), batch.numbers
    prompt = compact(whole_numbers(fmt.prompt_tokens, numbers[fmt.prompt_tokens], where))
    output = compact(whole_numbers(fmt.output_tokens, numbers[fmt.output_tokens], where))
    priority = patience_s = hash_ids = None
    if fmt.priority in numbers:
        given = numbers[str(fmt.priority)]
        priority = compact(integers(str(fmt.priority), np.where(np.isnan(given), 0.0, given), where))
    if fmt.patience_s in numbers:
        patience_s = numbers[str(fmt.patience_s)]
        check_patience(str(fmt.patience_s), patience_s, where)
    prefix_id, prefix_tokens = _prefixes(fmt, numbers, prompt, where)
    if fmt.hash_ids in batch.lists:
        name = str(fmt.hash_ids)
        hash_ids = _block_ids(*batch.lists[name], name, fmt.hash_block_tokens, prompt, where)
    return TrafficColumns(
        arrival_s, prompt, output, priority, patience_s, prefix_id, prefix_tokens, hash_ids,
        tenant=None if tenant is None else compact(tenant.add(batch)),
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


def _block_ids(ids: Ints, offsets: Ints, name: str, block_tokens: int, prompt: Ints, where: Where) -> Pieces:
    """Check and return the prefix blocks of each prompt: as many as it needs, each id >= 0."""
    blocks = -(-prompt // block_tokens)
    lengths = np.diff(offsets)
    if not np.array_equal(lengths, blocks):
        i = int(np.argmax(lengths != blocks))
        raise InputError(
            f"{where(i)}: {name} has {lengths[i]} ids; expected {blocks[i]}, one for each"
            f" {block_tokens} of {prompt[i]} prompt tokens"
        )
    if ids.min() < 0:
        first = int(np.argmax(ids < 0))
        row = int(np.searchsorted(offsets, first, side="right")) - 1
        raise InputError(f"{where(row)}: {name} holds {ids[first]}; expected ids >= 0")
    tokens = np.full(len(ids), block_tokens)
    tokens[offsets[1:] - 1] = prompt - (blocks - 1) * block_tokens
    return Pieces(compact(ids), compact(tokens), offsets)
