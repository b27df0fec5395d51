"""Blocks of a GPU profile for kernels that dense models do not have: experts, and attention to latents.

Both are fitted to measured kernels, each alone, but for what is said. Formulas: ``expert_kernels``, ``latent_kernels``.
"""

from pydantic import Field

from hardware_profiles.sourced import Profile, Sourced


class Reach(Profile):
    """What kernels of one format reach, as shares of the data sheet's peaks."""

    compute: float = Field(gt=0, le=1.5)  # with many tokens
    bandwidth: float = Field(gt=0, le=1.5)  # with few


class ExpertKernels(Sourced):
    """Experts of a layer; formats that are not here have the shares of dense matrices."""

    overhead_us: float = Field(ge=0)  # of a layer, whatever the tokens
    passes: float = Field(ge=0)  # over the picks' hidden states
    # Fitted to served runs, not to kernels:
    served_prompts: float = Field(ge=1)  # what prompts take in a server, against the sum of their kernels
    bf16: Reach
    fp8: Reach | None = None  # multiplied in FP8, with a scale a block
    mxfp4: Reach | None = None
    weight_only: Reach | None = None  # 8 or 4 bits, unpacked and multiplied in 16
    remark: str


class SparsePrompts(Profile):
    """Prompts whose queries attend to the best so many latents: all slots are computed, with or without a key."""

    # Share of peak FLOP/s in 16 bits; above 1 where slots are skipped
    slot_efficiency: float = Field(gt=0, le=2)
    slot_efficiency_8_bits: float = Field(gt=0, le=2)  # the same with a KV cache of 8 bits
    # Of a token in a layer that has an indexer, its matrices and logits left out
    indexer_us: float = Field(ge=0)


class LatentKernels(Sourced):
    """Attention to latents of a layer, its matrices left out."""

    overhead_us: float = Field(ge=0)  # of a layer, whatever the tokens; fitted to served runs
    sparse_overhead_us: float = Field(ge=0)  # the same where an indexer picks the keys; likewise
    sequence_us: float = Field(ge=0)  # of a layer and a decode
    read_efficiency: float = Field(gt=0, le=1.2)  # of decodes: share of peak bandwidth
    compute_efficiency: float = Field(gt=0, le=1.2)  # of decodes: share of peak FLOP/s in 16 bits
    prompt_efficiency: float = Field(gt=0, le=1.2)  # the same of prompts
    prompt_passes: float = Field(ge=0)  # over the keys and values that a prompt's latents are expanded to
    sparse_prompts: SparsePrompts | None = None  # None: priced as if expanded
    remark: str
