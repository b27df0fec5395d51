"""The block size of a trace whose prompts have block ids, where the trace does not say it: told by their numbers."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from simulator.workload.formats import TraceFormat


def block_tokens(records: Iterable[Mapping[str, Any]], fmt: TraceFormat) -> int:
    """Return the tokens of a block that all records fit, of which each has ceil(prompt / block) ids.

    It is that of the format if that fits; else the smallest power of two that does, else the smallest number. If no
    number fits it is that of the format, so that reading names the first record that does not fit it.
    """
    least, most = 1, math.inf
    for record in records:
        prompt, ids = record.get(fmt.prompt_tokens), record.get(fmt.hash_ids or "")
        if isinstance(prompt, int) and prompt > 0 and isinstance(ids, list) and ids:
            least = max(least, -(-prompt // len(ids)))
            most = min(most, -(-prompt // (len(ids) - 1)) - 1 if len(ids) > 1 else math.inf)
    own = fmt.hash_block_tokens
    if least <= own <= most or least > most:
        return own
    power = 1 << (least - 1).bit_length()
    return power if power <= most else least
