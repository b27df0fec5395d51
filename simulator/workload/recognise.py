"""Which format a file of requests has: by its content, or as the user says."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import InputError
from simulator.input_files import check_regular
from simulator.workload import many_files, mapped_columns, records, servegen_rates
from simulator.workload import tokenizer as tokenizers
from simulator.workload.block_size import block_tokens
from simulator.workload.containers import AnyText, Container, first_line
from simulator.workload.csv_file import CsvFile, is_large
from simulator.workload.formats import (
    RecordFormat,
    TraceFormat,
    TraceRow,
    names,
    parsers,
    record_formats,
    tables,
)
from simulator.workload.json_lines import JsonLinesFile
from simulator.workload.library import SUFFIXES
from simulator.workload.parquet_file import ParquetFile
from simulator.workload.parsed_file import MadeRows, ParsedFile, RecordsFile
from simulator.workload.plain_csv import PlainCsv
from simulator.workload.records import BadRecord, RecordSource
from simulator.workload.skipped import Skipped
from simulator.workload.tokenizer import TokenCounter
from simulator.workload.values import is_date, typed

if TYPE_CHECKING:
    from simulator.workload.spec import WorkloadSpec

_NO_BLOCKS = "workload.block_tokens: only for a trace whose blocks may have any size, as those of mooncake"
_LOOK_AT = 50  # records, in search of one that can be read


class ReadAs(NamedTuple):
    """How a file is to be read, where that is not left to its content."""

    format: str | None = None  # the name of a format
    columns: str | None = None  # as workload.columns
    skip_bad: bool = False
    sort: bool = False
    block_tokens: int | None = None
    tokenizer: TokenCounter | None = None  # of texts, where a file has no counts
    turns: str | None = None  # "added" or "whole": what prompts of a session's turns are

    @classmethod
    def of(cls, spec: "WorkloadSpec", base_dir: Path | None = None) -> "ReadAs":
        """Return what a scenario says."""
        tokenizer = None if spec.tokenizer is None else tokenizers.load(spec.tokenizer, base_dir)
        return cls(
            spec.format, spec.columns, spec.skip_bad, spec.sort, spec.block_tokens, tokenizer, spec.turns
        )


@dataclass
class Opened:
    """An open file, and the formats of which it has the first whose columns it has."""

    table: Container
    formats: dict[str, TraceFormat]
    said: str | None = None  # of the whole file

    @property
    def notes(self) -> list[str]:
        """What is to be said of the file, and what rows that were read say of themselves, and how many do."""
        notes = self.table.notes if isinstance(self.table, MadeRows) else {}
        own = [] if self.said is None else [self.said]
        return own + [f"{note} in {count:,} rows" for note, count in notes.items()]


def open_requests(path: Path, what: str, how: ReadAs) -> Opened:
    """Open a file of requests; ``what`` it should be is for the ``InputError`` if that cannot be told."""
    check_regular(path)
    many = many_files.are_many(path)
    path = _beside_header(path)
    if not many and servegen_rates.is_one(path):
        raise InputError(
            f"{path}: rates over time, as ServeGen has them, and no requests; expected it as workload.load, beside"
            " workload.arrivals and lengths"
        )
    if how.format is not None and how.format not in names():
        raise InputError(f"workload.format: {how.format!r} found; expected one of {', '.join(names())}")
    if how.format is not None and how.columns is not None:
        raise InputError("workload.format: given together with workload.columns; expected one of the two")
    for parser in parsers():
        fits = not many and path.name.endswith(parser.suffixes) and parser.recognises(first_line(path))
        if how.columns is None and (how.format == parser.name or (how.format is None and fits)):
            return Opened(ParsedFile(path, parser), {parser.name: parser.format})
    found = _records(path, what)
    few = _few(found)
    first, fmt = _first(few, how)
    if fmt is None and found.unit == "entry" and (inner := _only_list(first)):
        found = RecordSource("entry", lambda: enumerate(inner, start=1))
        first, fmt = _first(_few(found), how)
    if fmt is None and how.block_tokens is not None:
        raise InputError(_NO_BLOCKS)
    accepted = {name: each for name, each in tables().items() if how.format in (None, name)}
    if how.turns is not None:
        accepted = {name: replace(each, turns_add=how.turns == "added") for name, each in accepted.items()}
    if fmt is not None:
        fmt, said = _with_blocks(fmt, few, how)
        if how.turns is not None:
            fmt = fmt._replace(format=replace(fmt.format, turns_add=how.turns == "added"))
        if fmt.apart is not None and len(few) > 1:
            fmt = fmt._replace(begin=fmt.apart, sorts=False, format=replace(fmt.format, arrival_s=None))
        return Opened(_rows(path, found, fmt, how), _with_less(fmt), said)
    if how.skip_bad or how.sort or many or found.unit == "entry":
        name, chosen = _table_of(first, accepted)
        if chosen is not None:
            plain = RecordFormat(name, lambda _: True, lambda: _typed, chosen)
            return Opened(_rows(path, found, plain, how), {name: chosen})
    if many or found.unit == "entry":
        keys = ", ".join(map(repr, list(first)[:12])) or "nothing"
        raise InputError(
            f"{path}: {keys} found in its first entry; expected a {what} in one of the formats {', '.join(names())};"
            " workload.columns says what other keys hold"
        )
    return Opened(open_table(path, what), accepted)


def open_table(path: Path, what: str) -> Container:
    """Open a table by the ending of its name.

    ``what`` it should be is for the ``InputError`` if that tells nothing.
    """
    if not path.name.endswith(SUFFIXES):
        raise _unknown(path, what)
    if path.name.endswith(".parquet"):
        return ParquetFile(path)
    return (JsonLinesFile if ".jsonl" in path.suffixes[-2:] else CsvFile)(path)


def _unknown(path: Path, what: str) -> InputError:
    expected = dict.fromkeys([*SUFFIXES, *(suffix for each in parsers() for suffix in each.suffixes)])
    return InputError(
        f"{path}: cannot tell the {what}'s type; expected a name ending in {', '.join(expected)},"
        " or text in JSON or separated by commas"
    )


def _records(path: Path, what: str) -> RecordSource:
    if many_files.are_many(path):
        return many_files.together(many_files.files_of(path), lambda each: _records(each, what))
    text = AnyText(path)
    if not path.name.endswith(SUFFIXES):
        first = first_line(path)
        if not first.lstrip().startswith(("{", "[")) and not any(mark in first for mark in ",;\t"):
            raise _unknown(path, what)
    return records.of(path, text.lines)


def _few(found: RecordSource) -> list[TraceRow]:
    """Return the first records that can be read; one of empty cells if there is none."""
    records = (record for _, record in islice((found.few or found.entries)(), _LOOK_AT))
    return [each for each in records if not isinstance(each, BadRecord)] or [dict.fromkeys(found.header)]


def _first(few: list[TraceRow], how: ReadAs) -> tuple[TraceRow, RecordFormat | None]:
    """Return the first record that a format knows, with that, if it is more than columns; else the first."""
    for record in few:
        fmt = _record_format(record, how)
        if fmt is not None:
            return record, fmt
        if _table_of(record, tables())[1] is not None:
            break
    return few[0], None


def first_records(path: Path, most: int) -> Iterator[TraceRow | BadRecord]:
    """Yield so many records of a file, or those that cannot be read; nothing of a file that has none."""
    try:
        found = _records(_beside_header(path), "trace")
    except InputError:
        return
    for _, record in islice(found.entries(), most):
        yield record


def _only_list(record: TraceRow) -> list[TraceRow] | None:
    lists = [
        each
        for each in record.values()
        if isinstance(each, list) and each and all(isinstance(entry, dict) for entry in each)
    ]
    return lists[0] if len(lists) == 1 else None


def _record_format(first: TraceRow, how: ReadAs) -> RecordFormat | None:
    if how.columns is not None:
        return mapped_columns.record_format(how.columns, how.sort)
    for each in record_formats():
        if how.format == each.name:
            return each
        if how.format is None and not each.last and each.recognises(first):
            return each
    own = {name: each for name, each in tables().items() if not each.lengths_only}
    if how.format is None and _table_of(first, own)[1] is None:
        return next((each for each in record_formats() if each.last and each.recognises(first)), None)
    return None


def _table_of(first: TraceRow, accepted: dict[str, TraceFormat]) -> tuple[str, TraceFormat | None]:
    """Return the format of tables of which a record has all columns, and a number where its time stands."""
    for name, each in accepted.items():
        if set(each.columns) <= first.keys():
            time = first.get(each.arrival_s or "")
            if not (isinstance(time, str) and is_date(time) and not time.strip().replace(".", "").isdigit()):
                return name, each
    return "", None


def _with_blocks(fmt: RecordFormat, few: list[TraceRow], how: ReadAs) -> tuple[RecordFormat, str | None]:
    """Return the format with the size of its blocks, as it is given or told by records, and what is to be said."""
    own = fmt.format
    if how.block_tokens is not None and not own.any_block_tokens:
        raise InputError(_NO_BLOCKS)
    found = how.block_tokens or (block_tokens(few, own) if own.any_block_tokens else own.hash_block_tokens)
    if found == own.hash_block_tokens:
        return fmt, None
    said = f"blocks of {found:,} tokens" + (
        ", as prompts and their ids tell" if how.block_tokens is None else ""
    )
    return fmt._replace(format=replace(own, hash_block_tokens=found)), said


def _with_less(fmt: RecordFormat) -> dict[str, TraceFormat]:
    """Return what a format's rows may be: as it says, without arrivals, without sessions as well."""
    untimed = replace(fmt.format, arrival_s=None)
    lengths = replace(untimed, session_id=None, agent_id=None, think_s=None, new_tokens=None, hash_runs=None)
    found = {fmt.name: fmt.format, f"{fmt.name} without times": untimed, f"{fmt.name} lengths": lengths}
    names = dict[tuple[str, ...], str]()
    for name, each in found.items():
        names.setdefault(each.columns, name)
    return {name: found[name] for name in names.values()}


def _rows(path: Path, found: RecordSource, fmt: RecordFormat, how: ReadAs) -> RecordsFile:
    plain = None if how.skip_bad or not found.header else fmt.plain(found.header)
    if plain is not None and is_large(path):
        once = all(found.header.count(name) == 1 for name in (plain.arrival, plain.prompt, plain.output))
        if once:
            return PlainCsv(path, found, fmt, how.sort, plain)
    return RecordsFile(path, found, fmt, how.sort, Skipped() if how.skip_bad else None, how.tokenizer)


def _typed(record: TraceRow) -> list[TraceRow]:
    return [typed(record)]


def _beside_header(path: Path) -> Path:
    """Return the CSV file beside the YAML header of a BLIS trace, where that was given."""
    if path.suffix not in (".yaml", ".yml") or "trace_version" not in first_line(path):
        return path
    beside = path.with_suffix(".csv")
    if not beside.exists():
        raise InputError(f"{path}: only the header of a trace; expected {beside.name} beside it")
    return beside
