"""The traces of Azure/AzurePublicDataset as published: 2023, 2024, and multimodal 2025. CSV with dates."""

from collections.abc import Iterator, Sequence

from simulator.workload.formats import PlainColumns, TraceRow
from simulator.workload.values import time_ns, whole

_COLUMNS = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}


def recognises(record: TraceRow) -> bool:
    """Tell such a file by its columns; that of 2025 has the number of images beside them."""
    return record.keys() >= _COLUMNS


def plain(header: Sequence[str]) -> PlainColumns:
    """Return the columns of which ``rows`` only reads the dates."""
    return PlainColumns("TIMESTAMP", "ContextTokens", "GeneratedTokens", "iso")


def rows(record: TraceRow) -> Iterator[TraceRow]:
    """Yield the request of a row; digits below a nanosecond are cut off."""
    yield {
        "time_ns": time_ns(record["TIMESTAMP"], "TIMESTAMP", "iso"),
        "prompt_tokens": whole(record["ContextTokens"], "ContextTokens"),
        "output_tokens": whole(record["GeneratedTokens"], "GeneratedTokens"),
    }
