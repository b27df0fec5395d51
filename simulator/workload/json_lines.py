"""Tables in JSON lines: one object a line, its keys the columns; a key may be missing where it is empty."""

import json
from collections.abc import Iterator

from simulator.errors import InputError
from simulator.workload.rows_file import Entry, RowsFile, shown


class JsonLinesFile(RowsFile):
    """A file of JSON lines, plain or gzipped."""

    kind = "JSON lines"

    def _entries(self) -> Iterator[Entry]:
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
                    f'{self.path}: line {line}: {shown(entry)} found; expected an object like {{"column": value}}'
                )
            yield line, entry
