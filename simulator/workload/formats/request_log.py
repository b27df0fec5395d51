"""Logs of servers, gateways and proxies: any record that has a time and OpenAI's counts of tokens, flat or nested.

Names count without their case, ``_``, ``-`` and spaces. Times may be dates or numbers, in seconds unless their name
ends in a unit or their size tells otherwise (``simulator/workload/values.py``). Logs are often written when answers
end, so records are put in order of their times.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from simulator.workload.formats import PlainColumns, TraceRow
from simulator.workload.values import UNITS_NS, get, is_date, is_empty, number, time_ns, whole

SORTS = True
LAST = True  # any other format knows its records better

_PROMPTS = (
    "prompttokens", "inputtokens", "prompttokencount", "inputtokencount", "numprompttokens", "numinputtokens",
    "contexttokens", "requesttokens", "tokensin", "tokensprompt", "promptlength", "inputlength", "promptlen",
    "inputlen", "isl",
)  # fmt: skip
_OUTPUTS = (
    "completiontokens", "outputtokens", "completiontokencount", "outputtokencount", "candidatestokencount",
    "numcompletiontokens", "numoutputtokens", "generatedtokens", "responsetokens", "tokensout", "tokenscompletion",
    "outputlength", "outputlen", "completionlength", "osl",
)  # fmt: skip
_TIMES = (
    "arrival", "arrivaltime", "arrivedat", "created", "createdat", "requestcreatedat", "timestamp", "@timestamp",
    "requesttimestamp", "starttime", "startedat", "start", "requesttime", "receivedat", "datetime", "time", "ts",
    "date",
)  # fmt: skip
_INSIDE = ("", "usage", "response", "response.usage", "response.body", "response.body.usage", "body",
           "body.usage", "request")  # fmt: skip
_SESSIONS = ("session_id", "conversation_id", "thread_id", "sessionId", "conversationId")


def recognises(record: TraceRow) -> bool:
    """Tell by a time and both counts."""
    return all(_find(record, names) is not None for names in (_PROMPTS, _OUTPUTS, _TIMES))


def plain(header: Sequence[str]) -> PlainColumns | None:
    """Return the columns of a flat log without sessions."""
    record = dict.fromkeys(header, "")
    found = [_find(record, names) for names in (_TIMES, _PROMPTS, _OUTPUTS)]
    if any(each is None for each in found) or set(_SESSIONS) & record.keys():
        return None
    (arrival, _, unit), (prompt, _, _), (output, _, _) = (each for each in found if each is not None)
    return PlainColumns(arrival, prompt, output, unit)


def rows(record: TraceRow) -> Iterator[TraceRow]:
    """Yield the request of a record."""
    row: TraceRow = {}
    for column, names in (("prompt_tokens", _PROMPTS), ("output_tokens", _OUTPUTS)):
        name, value, _ = _find(record, names) or (column, None, None)
        row[column] = whole(value, name)
    name, value, unit = _find(record, _TIMES) or ("time", None, None)
    if is_date(value) or not isinstance(value, (int, float, str)) or not _is_number(value):
        row["time_ns"] = time_ns(value, name, unit if _is_number(value) else None)
    else:
        row["arrival_s"] = number(value, name) * UNITS_NS[unit or "s"] / 1e9
    session = next((each for each in _SESSIONS if not is_empty(record.get(each))), None)
    if session is not None:
        row["session_id"] = str(record[session])
    yield row


def _is_number(value: Any) -> bool:
    try:
        number(value, "")
    except ValueError:
        return False
    return True


def _find(record: TraceRow, names: tuple[str, ...]) -> tuple[str, Any, str | None] | None:
    """Return the first of the names that is there, with what it has, and the unit at its end."""
    best: tuple[int, str, Any, str | None] | None = None
    for place in _INSIDE:
        inner = get(record, place) if place else record
        for key, value in inner.items() if isinstance(inner, dict) else ():
            plain, unit = _plain(str(key))
            rank = (
                names.index(plain) if plain in names and not isinstance(value, (dict, list)) else len(names)
            )
            if rank < (best[0] if best else len(names)):
                best = (rank, f"{place}.{key}" if place else str(key), value, unit)
    return best[1:] if best else None


@lru_cache(1000)
def _plain(key: str) -> tuple[str, str | None]:
    """Return a key without what its spelling varies in, and the unit that it ends in."""
    key = key.rpartition(".")[2]
    stem, _, end = key.rpartition("_")
    if stem and end.lower() in UNITS_NS and _letters(stem):
        return _letters(stem), end.lower()
    return _letters(key), None


def _letters(key: str) -> str:
    """Return a key in lower case, without ``_``, ``-`` and spaces."""
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")
