"""The limits of one engine instance."""

from math import ceil
from typing import NamedTuple


class FixedKv(NamedTuple):
    """KV that a running request holds beside the blocks that grow with it: recurrent states, and layers with a window.

    In KV blocks, which need not be whole. A windowed layer keeps the window's tokens in whole blocks, the one that is
    being filled included (vLLM's SlidingWindowManager); a request that is shorter than that keeps fewer.
    """

    state_blocks: float  # of the recurrent states of one request
    # Tokens, and blocks that a block of tokens takes in such layers
    windows: tuple[tuple[int, float], ...] = ()

    def blocks(self, tokens: int, block_size: int) -> int:
        """Return the blocks of a request that will have so many tokens at most."""
        held = self.state_blocks
        for window, share in self.windows:
            held += share * min(-(-tokens // block_size), -(-(window - 1) // block_size) + 1)
        return ceil(held)


class Limits(NamedTuple):
    """What an engine instance may use, in vLLM's words."""

    max_num_seqs: int  # requests running at once
    max_num_batched_tokens: int  # tokens computed in one step
    max_model_len: int  # tokens of one sequence, prompt included
    num_gpu_blocks: int  # KV blocks of the cache
    block_size: int = 16  # tokens in a KV block
    num_cpu_blocks: int = 0  # KV blocks of host memory to swap to
    stop_tokens: bool = False  # answers below max_tokens end by one, else at a length that the engine knows
    strict_engine: bool = False  # do what the engine does even where it hangs; else fail such requests
    fixed_kv: FixedKv | None = None  # of each running request, beside the blocks that its tokens fill
