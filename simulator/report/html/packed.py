"""Arrays in a document: deflated, as text; ``unpack`` in ``page_metrics.js`` reads them."""

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MOST_BYTES = 6  # of a whole number: what a double of JavaScript holds exactly


def deflated(data: bytes) -> str:
    """Return bytes as raw deflate (RFC 1951) in base64."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(data) + deflate.flush()).decode("ascii")


def packed(values: ArrayLike) -> dict[str, Any]:
    """Return whole numbers as a dictionary for JSON.

    The lowest bytes of all numbers come first, then the next ones: like bytes side by side deflate best. Numbers below
    0 are moved up by the lowest one. Raises ValueError for numbers that do not fit into six bytes.
    """
    found = np.asarray(values, dtype=np.int64)
    lowest = min(0, int(found.min(initial=0)))
    above = found - lowest
    size = max(1, (int(above.max(initial=0)).bit_length() + 7) // 8)
    if size > _MOST_BYTES:
        raise ValueError(f"expected numbers of at most {_MOST_BYTES} bytes, got {size}")
    planes = b"".join(((above >> (8 * plane)) & 255).astype(np.uint8).tobytes() for plane in range(size))
    return {"n": len(found), "bytes": size, "lowest": lowest, "data": deflated(planes)}


def packed_floats(values: NDArray[np.float64]) -> dict[str, Any]:
    """Return doubles, bit for bit, as a dictionary for JSON."""
    return {"n": len(values), "doubles": True, "data": deflated(values.astype("<f8").tobytes())}
