"""By load: a replica changes sides when one side is overloaded and the other can spare it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.policy import ReplicaView


@dataclass
class ByLoad:
    """The prefill side's pressure is its outstanding tokens, the decode side's its KV blocks in use.

    When one side is beyond its bound and the other would be within its own with a replica less, the less
    busy side's least loaded replica changes; then none for ``cooldown_s``. Sources: the mixed pool of
    Patel et al., "Splitwise", arXiv 2311.18677; instance flip of Hu et al., "TetriInfer", arXiv 2401.11181.
    """

    interval_s: float = 5.0  # seconds between two looks
    prefill_tokens: int = 16384  # tokens outstanding a replica, beyond which the prefill side is overloaded
    decode_kv_share: float = 0.8  # share of KV blocks in use, beyond which the decode side is overloaded
    cooldown_s: float = 30.0  # seconds between two changes
    _changed_s: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 < self.decode_kv_share < 1:
            raise ValueError(f"decode_kv_share is a share between 0 and 1; got {self.decode_kv_share}")

    def switch(
        self, prefill: Sequence[ReplicaView], decode: Sequence[ReplicaView], now_s: float
    ) -> ReplicaView | None:
        """Return the least loaded replica of the side that can spare one, or None."""
        if now_s - self._changed_s < self.cooldown_s:
            return None
        tokens = sum(each.outstanding_tokens for each in prefill) / self.prefill_tokens
        blocks = sum((each.total_blocks - each.free_blocks) / each.total_blocks for each in decode)
        blocks /= self.decode_kv_share
        if tokens > len(prefill) and len(decode) > 1 and blocks <= len(decode) - 1:
            giving = decode
        elif blocks > len(decode) and len(prefill) > 1 and tokens <= len(prefill) - 1:
            giving = prefill
        else:
            return None
        self._changed_s = now_s
        return min(giving, key=lambda each: each.outstanding_tokens)
