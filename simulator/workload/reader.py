"""Reading a table of requests: Parquet, CSV or JSON lines, in any known trace format.

Every problem becomes one ``InputError`` that names the file and the line or the row.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError
from simulator.workload import session_columns
from simulator.workload.columns import Columns, Pieces
from simulator.workload.containers import Container, CsvFile, ParquetFile
from simulator.workload.formats import TraceFormat, all_formats
from simulator.workload.json_lines import JsonLinesFile
from simulator.workload.library import SUFFIXES
from simulator.workload.workload import (
    LARGEST_INTEGER,
    check_patience,
    integers,
    refuse_unless,
    whole_numbers,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def read_trace(path: Path) -> Columns:
    """Return the columns of a trace file: arrivals (s, ascending), tokens, and the optional ones it has.

    Raises ``InputError`` for a file that cannot be read, lacks the columns of every known format, holds no
    rows, or holds a value that is out of range.
    """
    table = _open(path, "trace")
    known = all_formats()
    return _trace(table, known[_choose(table, [fmt.columns for fmt in known])])


def read_lengths(path: Path) -> tuple[Ints, Ints]:
    """Return prompt and output tokens of a table of lengths; arrival times need not be there.

    Raises ``InputError`` as ``read_trace`` does.
    """
    table = _open(path, "length table")
    accepted = list(dict.fromkeys(fmt.lengths for fmt in all_formats()))
    prompt, output = accepted[_choose(table, accepted)]
    numbers = _numbers(table, "length table", (prompt, output), ())
    return whole_numbers(prompt, numbers[prompt], table.where), whole_numbers(
        output, numbers[output], table.where
    )


def describe(path: Path) -> tuple[int, str, str]:
    """Return (rows, source, licence) of a Parquet file, the latter two from its schema metadata."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(path)
    notes = footer.metadata or {}
    return footer.num_rows, notes.get(b"source", b"").decode(), notes.get(b"license", b"").decode()


def _open(path: Path, what: str) -> Container:
    if not path.name.endswith(SUFFIXES):
        raise InputError(
            f"{path}: cannot tell the {what}'s type; expected a name ending in {', '.join(SUFFIXES)}"
        )
    if path.name.endswith(".parquet"):
        return ParquetFile(path)
    return (JsonLinesFile if ".jsonl" in path.suffixes[-2:] else CsvFile)(path)


def _choose(table: Container, accepted: Sequence[tuple[str, ...]]) -> int:
    """Return the first set of column names that the table has all of."""
    header = table.header
    for i, names in enumerate(accepted):
        if set(names) <= set(header):
            return i
    wanted = ", or ".join("/".join(columns) for columns in accepted)
    if not header:
        raise InputError(f"{table.path}: the file is empty; expected columns {wanted}")
    clumped = len(header) == 1 and any(mark in header[0] for mark in ";\t|")
    raise InputError(
        f"{table.path}: columns {', '.join(map(repr, header))} found; expected {wanted}"
        + (table.separated if clumped else "")
    )


def _numbers(
    table: Container, what: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, Floats]:
    for name in (*required, *optional):
        if table.header.count(name) > 1:
            times = table.header.count(name)
            raise InputError(f"{table.path}: column {name} is there {times} times; expected once")
    columns = table.numbers(required, optional)
    if len(columns[required[0]]) == 0:
        raise InputError(f"{table.path}: the {what} is empty; expected at least one row of numbers")
    return columns


def _trace(table: Container, fmt: TraceFormat) -> Columns:
    """Check and return all columns of the format that the table has."""
    where = table.where
    extras = (
        *(fmt.priority, fmt.patience_s, fmt.prefix_id, fmt.prefix_tokens),
        *(fmt.session_offset_s, fmt.think_s, fmt.new_tokens),
    )
    present = tuple(name for name in extras if name is not None and name in table.header)
    later = (
        fmt.session_id in table.header and fmt.think_s in present
    )  # turns may come without an arrival time
    times = () if fmt.arrival_s is None else (fmt.arrival_s,)
    numbers = _numbers(
        table,
        "trace",
        fmt.lengths if later else (*times, *fmt.lengths),
        (*(times if later else ()), *present),
    )
    prompt = whole_numbers(fmt.prompt_tokens, numbers[fmt.prompt_tokens], where)
    output = whole_numbers(fmt.output_tokens, numbers[fmt.output_tokens], where)
    priority = patience_s = tenant = None
    if fmt.priority in present:
        given = numbers[fmt.priority]
        priority = integers(fmt.priority, np.where(np.isnan(given), 0.0, given), where)
    if fmt.patience_s in present:
        patience_s = numbers[fmt.patience_s]
        check_patience(fmt.patience_s, patience_s, where)
    if fmt.tenant is not None and fmt.tenant in table.header:
        tenant = session_columns.codes(table, fmt.tenant, may_be_empty=False)
    session = session_columns.read(table, fmt, numbers, prompt)
    prefix_id, prefix_tokens = _prefixes(table, fmt, numbers, prompt)
    hash_ids = hash_runs = None
    if fmt.hash_ids is not None and fmt.hash_ids in table.header:
        hash_ids = _block_ids(table, fmt.hash_ids, fmt.hash_block_tokens, prompt)
    if fmt.hash_runs is not None and fmt.hash_runs in table.header:
        hash_runs = session_columns.hash_runs(table, fmt, prompt)
    shares = {
        fmt.prefix_id: prefix_id, fmt.hash_ids: hash_ids, fmt.hash_runs: hash_runs, fmt.new_tokens: session.new_tokens,
    }  # fmt: skip
    names = [str(name) for name, column in shares.items() if column is not None]
    if len(names) > 1:
        raise InputError(f"{table.path}: columns {' and '.join(names)} found; expected one of the two")
    return Columns(
        session.arrival_s, prompt, output, priority, patience_s, prefix_id, prefix_tokens, hash_ids, hash_runs,
        tenant, None, session.session, session.think_s, session.new_tokens, session.counted_from,
    )  # fmt: skip


def _prefixes(
    table: Container, fmt: TraceFormat, numbers: dict[str, Floats], prompt: Ints
) -> tuple[Ints, Ints] | tuple[None, None]:
    """Check and return which prefix each prompt begins with, and its length; -1 and 0 for none."""
    id_name, tokens_name = fmt.prefix_id or "", fmt.prefix_tokens or ""
    ids, tokens = numbers.get(id_name), numbers.get(tokens_name)
    if ids is None and tokens is None:
        return None, None
    if ids is None or tokens is None:
        there, missing = (tokens_name, id_name) if ids is None else (id_name, tokens_name)
        raise InputError(f"{table.path}: column {there} found without {missing}; expected both or neither")
    none = np.isnan(ids)
    tokens = np.where(np.isnan(tokens), 0.0, tokens)
    with np.errstate(invalid="ignore"):
        good_id = none | ((ids >= 0) & (ids <= LARGEST_INTEGER) & (ids == np.floor(ids)))
        whole = (tokens >= 1) & (tokens <= prompt) & (tokens == np.floor(tokens))
    refuse_unless(
        good_id, ids, id_name, f"a whole number from 0 to {LARGEST_INTEGER}, or nothing", table.where
    )
    refuse_unless(
        none | whole, tokens, tokens_name, "a whole number from 1 to the prompt's tokens", table.where
    )
    refuse_unless(~none | (tokens == 0), tokens, tokens_name, f"nothing, as {id_name} is empty", table.where)
    return np.where(none, -1.0, ids).astype(np.int64), tokens.astype(np.int64)


def _block_ids(table: Container, name: str, block_tokens: int, prompt: Ints) -> Pieces:
    """Check and return the prefix blocks of each prompt: as many as it needs, each id >= 0."""
    ids, offsets = table.lists(name)
    blocks = -(-prompt // block_tokens)
    lengths = np.diff(offsets)
    if not np.array_equal(lengths, blocks):
        i = int(np.argmax(lengths != blocks))
        raise InputError(
            f"{table.where(i)}: {name} has {lengths[i]} ids; expected {blocks[i]}, one for each"
            f" {block_tokens} of {prompt[i]} prompt tokens"
        )
    if ids.min() < 0:
        first = int(np.argmax(ids < 0))
        row = int(np.searchsorted(offsets, first, side="right")) - 1
        raise InputError(f"{table.where(row)}: {name} holds {ids[first]}; expected ids >= 0")
    tokens = np.full(len(ids), block_tokens)
    tokens[offsets[1:] - 1] = prompt - (blocks - 1) * block_tokens
    return Pieces(ids, tokens, offsets)
