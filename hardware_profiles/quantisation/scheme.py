"""What a checkpoint says about the bits of its weights and of its KV cache."""

import dataclasses
from typing import Literal

from hardware_profiles.quantisation.formats import (
    FP8,
    MXFP4,
    NF4,
    NVFP4,
    SIXTEEN_BITS,
    WeightFormat,
    fp8_in_blocks,
    whole_numbers,
)
from hardware_profiles.quantisation.names import ModuleNames, plain

KvCacheType = Literal["16 bits", "fp8", "int8", "nvfp4"]
KV_BYTES_PER_VALUE: dict[str, float] = {"16 bits": 2.0, "fp8": 1.0, "int8": 1.0, "nvfp4": 0.5625}

# Matrices that no engine quantises: routers, the gate of a shared expert, the weights of an indexer's heads.
_ALWAYS_16_BITS = frozenset(("gate", "router", "shared_expert_gate", "weights_proj"))


@dataclasses.dataclass(frozen=True)
class Quantization:
    """The format of each module's weights: the first rule that has the module decides, else ``usual``.

    ``by_name`` are modules given one by one, looked up before the rules. ``kv_cache`` is what the checkpoint asks the
    engine to keep keys and values in; None: it does not say.
    """

    method: str  # as the checkpoint calls it
    usual: WeightFormat
    rules: tuple[tuple[ModuleNames, WeightFormat], ...] = ()
    by_name: tuple[tuple[str, WeightFormat], ...] = ()  # plain names
    head: WeightFormat = SIXTEEN_BITS  # of lm_head; engines leave it alone unless it is named
    kv_cache: KvCacheType | None = None

    def format_of(self, module: str) -> WeightFormat:
        """Return how the weights of a layer's module are stored, given its name in the checkpoint."""
        parts = module.split(".")
        if parts[-1] in _ALWAYS_16_BITS or (len(parts) > 1 and parts[-2] in _ALWAYS_16_BITS):
            return SIXTEEN_BITS
        if self.by_name:
            table: dict[str, WeightFormat] = self.__dict__.setdefault("_table", dict(self.by_name))
            name = plain(module)
            while name:
                if name in table:
                    return table[name]
                name = name.rpartition(".")[0]
        return next((found for names, found in self.rules if module in names), self.usual)


# What ``hardware.quantization`` may say of a checkpoint: every matrix of the layers alike.
UNIFORM = {
    "fp8": Quantization("fp8", FP8),
    "fp8_block": Quantization("fp8", fp8_in_blocks(128, 128)),
    "int8": Quantization("compressed-tensors", whole_numbers(8, 0, zero_points=False, activations="int8")),
    "int4": Quantization("gptq", whole_numbers(4, 128, zero_points=True)),
    "mxfp4": Quantization("mxfp4", MXFP4),
    "nvfp4": Quantization("nvfp4", NVFP4),
}
# What an engine makes of a checkpoint in 16 bits when it loads it (vLLM: --quantization).
ON_LOADING = {"fp8": UNIFORM["fp8"], "bitsandbytes": Quantization("bitsandbytes", NF4)}
