"""Tables in a text format that a file of ``simulator/workload/formats`` parses."""

from collections.abc import Iterator
from pathlib import Path

from simulator.errors import InputError
from simulator.workload.formats import Parser
from simulator.workload.rows_file import Entry, RowsFile, shown


class ParsedFile(RowsFile):
    """A file of lines, plain or gzipped, and what a parser makes of them."""

    kind = "text"

    def __init__(self, path: Path, parser: Parser) -> None:
        self._parser = parser
        super().__init__(path)

    def _entries(self) -> Iterator[Entry]:
        line = 0

        def counted() -> Iterator[str]:
            nonlocal line
            for text in self._lines():
                line += 1
                yield text.rstrip("\r\n")

        try:
            for row in self._parser.parse(counted()):
                if not isinstance(row, dict):
                    raise TypeError(f"{shown(row)} made of it; expected a row like {{'column': value}}")
                yield line, row
        except InputError:
            raise
        except Exception as error:
            problem = (
                str(error) if type(error) in (ValueError, TypeError) else f"{type(error).__name__} {error}"
            )
            raise InputError(
                f"{self.path}: line {line}: {problem} (trace format {self._parser.name})"
            ) from error
