"""Values of records that other programs wrote: times of many kinds, token counts, nested keys, block ids.

Everything raises ``ValueError`` in the words of a sentence on a line: "NAME is VALUE; expected WHAT".
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from simulator.workload.rows_file import shown

Record = Mapping[str, Any]

CHARACTERS_PER_TOKEN = 4  # of English text, about: where a file has texts and no counts
ESTIMATED = f"token counts estimated at {CHARACTERS_PER_TOKEN} characters a token"
# How many tokens a text has, while a record is looked at; None: that is estimated.
counted_by: ContextVar[Callable[[str], int] | None] = ContextVar("counted_by", default=None)
UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_NS = 10**28
_FRACTION = re.compile(r"[.,](\d+)")
_NO_TEXT = ("role", "type", "id", "from", "name", "finish_reason")  # keys of messages
_ABSENT = object()


def get(record: Any, key: str, default: Any = None) -> Any:
    """Return what stands under a key; dots lead into nested objects, unless a key has them itself."""
    found = _find(record, key)
    return default if found is _ABSENT else found


def _find(record: Any, key: str) -> Any:
    if not isinstance(record, Mapping):
        return _ABSENT
    if key in record:
        return record[key]
    for i, letter in enumerate(key):
        if letter == "." and key[:i] in record:
            found = _find(record[key[:i]], key[i + 1 :])
            if found is not _ABSENT:
                return found
    return _ABSENT


def typed(record: Record) -> dict[str, Any]:
    """Return a record with the numbers and lists that it has as text as such, and None for empty cells."""
    return {name: _typed(value) if isinstance(value, str) else value for name, value in record.items()}


def _typed(text: str) -> Any:
    text = text.strip()
    try:
        if text.isascii() and text.lstrip("+-").isdecimal():
            return int(text)
        if text.startswith("["):
            return json.loads(text)
        return float(text) if text and "_" not in text else text or None
    except (ValueError, RecursionError):
        return text


def is_empty(value: Any) -> bool:
    """Tell whether a cell or a key has nothing in it."""
    return value is None or (isinstance(value, str) and not value.strip())


def whole(value: Any, name: str) -> int:
    """Return a whole number that may come as a text or as a float without a fraction."""
    if type(value) is str and value.isdecimal() and value.isascii() and len(value) < 16:  # as most are
        return int(value)
    number = _decimal(value, name, "a whole number")
    if number != number.to_integral_value():
        raise wrong(value, name, "a whole number")
    return int(number)


def number(value: Any, name: str) -> float:
    """Return a finite number that may come as a text."""
    return float(_decimal(value, name, "a number"))


def _decimal(value: Any, name: str, expected: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)) or is_empty(value):
        raise wrong(value, name, expected)
    text = value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    try:
        number = Decimal(text.strip()) if "_" not in text and text.isascii() else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number) >= _LARGEST_NS:
        raise wrong(value, name, expected)
    return number


def time_ns(value: Any, name: str, unit: str | None = None) -> int:
    """Return a time in ns: an ISO date (since 1970; without a zone: UTC) or a number of ``unit``.

    ``unit`` is "iso", "s", "ms", "us" or "ns". Without one a text that is no number is a date, and the size of a number
    tells: from 1e11 on it counts ms, from 1e14 us, from 1e17 ns since 1970, as they would be years beyond 5000 in
    the larger unit; less are seconds.
    """
    if isinstance(value, datetime):
        return _since_1970(value)
    if unit in (None, "iso") and isinstance(value, str):
        text = value.strip()
        if unit == "iso" or not re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", text):
            return _date_ns(text, name)
    if unit == "iso":
        raise wrong(value, name, "a time such as 2023-11-16 18:15:46.680590")
    count = _decimal(value, name, "a time")
    size = abs(count)
    guess = "s" if size < 10**11 else "ms" if size < 10**14 else "us" if size < 10**17 else "ns"
    return round(count * UNITS_NS[unit or guess])


def _date_ns(text: str, name: str) -> int:
    """Return an ISO date in ns, with all digits of its fraction."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        date = None
    fraction = _FRACTION.search(text)
    if date is not None and (fraction is None or len(fraction[1]) <= 6):
        return _since_1970(date)
    try:
        date = datetime.fromisoformat(_FRACTION.sub("", text.replace("/", "-"), count=1).removesuffix(" UTC"))
    except ValueError:
        raise wrong(text, name, "a time such as 2023-11-16 18:15:46.680590") from None
    return _since_1970(date) + (int(fraction[1][:9].ljust(9, "0")) if fraction else 0)


def _since_1970(date: datetime) -> int:
    since = (date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def is_date(value: Any) -> bool:
    """Tell whether a value is a time of the calendar, as a text or a number since 1970, no count from a start."""
    try:
        return isinstance(value, datetime) or time_ns(value, "") >= 10**17  # 1973
    except ValueError:
        return False


def text_tokens(*texts: Any) -> int:
    """Return how many tokens texts have, at least 1; what is no text counts with all texts inside it.

    They are those of the tokenizer in ``counted_by``; without one they are estimated.
    """
    count = counted_by.get()
    if count is not None:
        return max(1, sum(count(text) for each in texts for text in _texts_of(each)))
    letters = sum(len(text) for each in texts for text in _texts_of(each))
    return max(1, -(-letters // CHARACTERS_PER_TOKEN))


def _texts_of(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            pending += [value for key, value in each.items() if key not in _NO_TEXT]
        elif isinstance(each, (list, tuple)):
            pending += each


class BlockNumbers:
    """Numbers from 0 up for block ids of any kind, such as hashes that are beyond 64-bit integers."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def of(self, ids: Any, name: str, scope: Any = None) -> list[int]:
        """Return the numbers of a list of ids; equal ids of one ``scope`` have equal numbers."""
        if not isinstance(ids, (list, tuple)) or any(
            not isinstance(each, (int, str)) or isinstance(each, bool) for each in ids
        ):
            raise wrong(ids, name, "a list of block ids")
        return [self._numbers.setdefault((scope, each), len(self._numbers)) for each in ids]

    def of_tokens(self, tokens: Iterable[Any], block_tokens: int) -> list[int]:
        """Return ids of the full blocks of a prompt's own token ids, each naming all that comes before it."""
        ids, before = list(tokens), -1
        found = []
        for i in range(0, len(ids) // block_tokens * block_tokens, block_tokens):
            key = (before, tuple(map(str, ids[i : i + block_tokens])))
            before = self._numbers.setdefault(key, len(self._numbers))
            found.append(before)
        return found


def wrong(value: Any, name: str, expected: str) -> ValueError:
    """Return what to say about a value that is not what it should be."""
    return ValueError(f"{name} is {'empty' if is_empty(value) else shown(value)}; expected {expected}")
