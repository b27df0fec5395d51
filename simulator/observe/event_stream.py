"""Server-sent events, from the bytes of a response as they come.

https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6: lines end with CR LF, LF or CR, and an
empty one ends an event; a line that begins with a colon is a comment; of the fields only ``data`` is wanted here.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"  # of UTF-8, which may begin the stream


class EventStream:
    """Puts the data of events together, wherever the network cuts the bytes."""

    def __init__(self) -> None:
        self._rest = b""  # a line that has not ended yet
        self._data: list[bytes] = []  # of an event that has not ended yet
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes; return the data of each event that they end, in order, never empty."""
        buffer = self._rest + piece
        if not self._begun:
            if len(buffer) < len(_MARK) and _MARK.startswith(buffer):
                self._rest = buffer
                return []
            self._begun, buffer = True, buffer.removeprefix(_MARK)
        found: list[bytes] = []
        start = 0
        for end in _LINE_END.finditer(buffer):
            if end.group() == b"\r" and end.end() == len(buffer):
                break  # a line feed that belongs to it may follow
            self._line(buffer[start : end.start()], found)
            start = end.end()
        self._rest = buffer[start:]
        return found

    def close(self) -> list[bytes]:
        """Return the data of an event that the end of the stream ends; some servers leave its empty line out."""
        found: list[bytes] = []
        self._line(self._rest.rstrip(b"\r"), found)
        self._line(b"", found)
        self._rest = b""
        return found

    def _line(self, line: bytes, found: list[bytes]) -> None:
        if not line:
            if self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        elif line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            if value:
                self._data.append(value)
