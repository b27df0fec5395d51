"""Files that were dropped on the page: kept until the app ends, so that one can be simulated after a look at it."""

import re
import secrets
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Lock

from simulator.errors import InputError

_MOST = 20
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class DroppedFiles:
    """The latest twenty files, each in a folder of its own under a name that is no path."""

    def __init__(self) -> None:
        """Begin without files."""
        self._folder: TemporaryDirectory[str] | None = None  # from the first file on
        self._found: dict[str, Path] = {}
        self._lock = Lock()

    def keep(self, name: str, content: bytes) -> tuple[str, Path]:
        """Keep a file; return what it is asked for by, and where it is."""
        key = secrets.token_hex(8)
        clean = _UNSAFE.sub("_", Path(name).name).lstrip(".")[-60:] or "file"
        with self._lock:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="servesim-ui-")
            path = Path(self._folder.name) / key / clean
        path.parent.mkdir()
        path.write_bytes(content)
        with self._lock:
            self._found[key] = path
            old = [self._found.pop(each) for each in list(self._found)[:-_MOST]]
        for each in old:
            rmtree(each.parent, ignore_errors=True)
        return key, path

    def get(self, key: object) -> Path:
        """Return where a file is; InputError for one that is not kept."""
        found = self._found.get(key) if isinstance(key, str) else None
        if found is None:
            raise InputError("no such file; expected one that was dropped since the app was started")
        return found

    def forget(self, key: str) -> None:
        """Remove a file."""
        with self._lock:
            path = self._found.pop(key, None)
        if path is not None:
            rmtree(path.parent, ignore_errors=True)

    def close(self) -> None:
        """Remove all files."""
        if self._folder is not None:
            self._folder.cleanup()
