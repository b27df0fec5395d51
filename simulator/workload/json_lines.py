"""Tables in JSON lines: one object a line, its keys the columns; a key may be missing where it is empty."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.workload.containers import Container, Floats, Ints, Label

_LARGEST = 2**63


class JsonLinesFile(Container):
    """A file of JSON lines, plain or gzipped."""

    kind = "JSON lines"

    def where(self, row: int) -> str:
        """As the base class."""
        return f"{self.path}: line {self.rows[row][0]}"

    def numbers(self, required: Sequence[str], optional: Sequence[str]) -> dict[str, Floats]:
        """As the base class."""
        columns = {}
        for name in [*required, *optional]:
            column = np.full(len(self.rows), np.nan)
            for i, (_, entry) in enumerate(self.rows):
                value: Any = entry.get(name)
                if value is None and name in optional:
                    continue
                if type(value) not in (int, float) or abs(value) >= 1e300:
                    raise self._wrong(i, name, "a number")
                column[i] = value
            columns[name] = column
        return columns

    def lists(self, name: str) -> tuple[Ints, Ints]:
        """As the base class."""
        found: list[int] = []
        offsets = [0]
        for i, (_, entry) in enumerate(self.rows):
            ids = entry.get(name)
            if not isinstance(ids, list) or any(type(x) is not int or abs(x) >= _LARGEST for x in ids):
                raise self._wrong(i, name, "a list of whole numbers")
            found += ids
            offsets.append(len(found))
        return np.array(found, np.int64), np.array(offsets, np.int64)

    def labels(self, name: str) -> list[Label]:
        """As the base class."""
        found: list[Label] = []
        for i, (_, entry) in enumerate(self.rows):
            value = entry.get(name)
            if value is not None and (type(value) not in (int, str) or value == ""):
                raise self._wrong(i, name, "a whole number or a text")
            found.append(value)
        return found

    def _header(self) -> list[str]:
        """Read the whole file; the columns are the keys of all lines, in order of appearance."""
        self.rows: list[tuple[int, dict[str, Any]]] = []  # line number, object
        for line, text in enumerate(self._lines(), start=1):
            text = text.strip()
            if not text:
                continue
            try:
                entry = json.loads(text)
            except (ValueError, RecursionError) as error:
                reason = (
                    f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
                )
                raise InputError(
                    f"{self.path}: line {line}: not valid JSON ({reason}); expected one object a line"
                ) from error
            if not isinstance(entry, dict):
                raise InputError(
                    f'{self.path}: line {line}: {_shown(entry)} found; expected an object like {{"column": value}}'
                )
            self.rows.append((line, entry))
        return list(dict.fromkeys(key for _, entry in self.rows for key in entry))

    def _wrong(self, row: int, name: str, expected: str) -> InputError:
        value = self.rows[row][1].get(name)
        found = "empty" if value is None else _shown(value)
        return InputError(f"{self.where(row)}: {name} is {found}; expected {expected}")


def _shown(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
