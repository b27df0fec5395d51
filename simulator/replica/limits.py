"""The limits of one engine instance."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What an engine instance may use, in vLLM's words."""

    max_num_seqs: int  # requests running at once
    max_num_batched_tokens: int  # tokens computed in one step
    max_model_len: int  # tokens of one sequence, prompt included
    num_gpu_blocks: int  # KV blocks of the cache
    block_size: int = 16  # tokens in a KV block
    num_cpu_blocks: int = 0  # KV blocks of host memory to swap to
    stop_tokens: bool = False  # answers below max_tokens end by one, else at a length that the engine knows
    strict_engine: bool = False  # do what the engine does even where it hangs; else fail such requests
