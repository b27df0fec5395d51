"""Files that are almost those of a trace format: samples with bytes, cells and values changed at random."""

import random
import re
from pathlib import Path

from simulator.errors import InputError
from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs

SAMPLES = Path(__file__).parent / "data" / "formats"
FILES = sorted(path.name for path in SAMPLES.iterdir() if path.suffix in (".csv", ".json", ".jsonl"))
_VALUES = (
    b"", b"null", b"true", b"-1", b"0", b"1e400", b"NaN", b"1e18", b"99999999999999999999999", b'"x"', b"[]", b"{}",
    b"[[1]]", b'{"a": 1}', b"2026-13-45", b'"2026-01-01T00:00:00Z"', b"\xff", b"\x00", b'"', b"\n", b",", b"0.5",
)  # fmt: skip
_WHOLE = re.compile(rb'"[^"\n]*"|-?[\d.]+|\[[^\[\]]*\]|null')


def changed(data: bytes, rng: random.Random) -> bytes:
    """Return a file with one to four changes: a value replaced, bytes flipped, cut out or doubled."""
    for _ in range(rng.randint(1, 4)):
        if not data:
            return data
        kind = rng.randrange(5)
        at = rng.randrange(len(data))
        until = min(len(data), at + rng.randint(1, 40))
        if kind <= 1:
            found = list(_WHOLE.finditer(data))
            if found:
                hit = rng.choice(found)
                data = data[: hit.start()] + rng.choice(_VALUES) + data[hit.end() :]
        elif kind == 2:
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        elif kind == 3:
            data = data[:at] + data[until:]
        else:
            data = data[:until] + data[at:until] + data[until:]
    return data


def is_read_or_refused(path: Path, how: ReadAs) -> bool:
    """Read a file; return whether it was refused, in one sentence that names it. Anything else is raised."""
    return refusal(path, how) is not None


def refusal(path: Path, how: ReadAs) -> str | None:
    """Read a file; return the sentence that refuses it and names it, or None. Anything else is raised."""
    try:
        trace = Trace(path, how)
        columns, _ = trace.read()
    except InputError as error:
        said = str(error)
        assert path.name in said or said.startswith("workload."), said
        assert "\n" not in said, said
        assert not re.search(r"\b(KeyError|AttributeError|IndexError|AssertionError|NameError)\b", said), said
        return said
    assert len(columns) > 0
    assert (columns.prompt_tokens >= 1).all()
    assert (columns.output_tokens >= 1).all()
    return None
