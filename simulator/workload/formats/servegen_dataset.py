"""Lengths of a client of alibaba/ServeGen (chunk-N-dataset.json): shares of token counts for each span of time.

They are distributions, no requests: so many pairs are taken from each span at equal steps of its shares, prompts and
answers in orders that have nothing to do with each other, as ServeGen draws them.
"""

import json
from collections.abc import Iterator

import numpy as np

from simulator.rng import stream
from simulator.workload.formats import TraceFormat, TraceRow
from simulator.workload.values import wrong

FORMAT = TraceFormat(arrival_s=None, prompt_tokens="prompt_tokens", output_tokens="output_tokens")
_PAIRS = 1000
_NAMES = ("input_tokens", "output_tokens")


def recognises(record: TraceRow) -> bool:
    """Tell by spans that have shares of a count as text."""
    first = next(iter(record.values()), None)
    return isinstance(first, dict) and any(isinstance(first.get(name), str) for name in _NAMES)


def rows(record: TraceRow) -> Iterator[TraceRow]:
    """Yield pairs of each span that has any."""
    for start, span in record.items():
        if not isinstance(span, dict):
            raise wrong(span, f"span {start}", "an object")
        if not any(span.get(name) for name in _NAMES):
            continue
        columns = [_taken(span.get(name), f"{name} of span {start}") for name in _NAMES]
        order = stream(0, f"servegen {start}").permutation(_PAIRS)
        for prompt, output in zip(columns[0], columns[1][order], strict=True):
            yield {
                "prompt_tokens": int(prompt),
                "output_tokens": int(output),
                "note": "drawn from shares of lengths",
            }


def _taken(given: object, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return counts at equal steps of their shares, which are "{count: share, ...}"."""
    try:
        pairs = [part.split(":") for part in str(given).strip().strip("{}").split(",") if part.strip()]
        counts = np.array([int(float(count)) for count, _ in pairs], np.int64)
        shares = np.array([json.loads(share) for _, share in pairs], float)
    except (ValueError, OverflowError):
        raise wrong(given, name, "shares such as {39: 0.25, 40: 0.75}") from None
    if not len(counts) or not (np.isfinite(shares) & (shares >= 0)).all() or shares.sum() <= 0:
        raise wrong(given, name, "shares such as {39: 0.25, 40: 0.75}")
    order = np.argsort(counts, kind="stable")
    steps = (np.arange(_PAIRS) + 0.5) / _PAIRS
    places = np.searchsorted(np.cumsum(shares[order]) / shares.sum(), steps)
    return counts[order][np.minimum(places, len(counts) - 1)]
