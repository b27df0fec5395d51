"""How the streaming multiprocessors (SMs) of a GPU can be split between two kernels, and what each takes on its part.

Zhu et al., "MuxWise" (arXiv 2504.14489, first called "Drift"): prompts and decodes run at once on two parts of one GPU.
"""

from collections.abc import Callable
from typing import NamedTuple

from simulator.replica.cost import StepShape

StepPrice = Callable[[StepShape], float]


class SoloTime(NamedTuple):
    """What kernels take alone, s: Amdahl's law, of which some part is the longer the fewer SMs there are."""

    full_s: float  # on all SMs
    scaling_s: float  # of it, what as many times fewer SMs take as many times longer for
    sms: int  # all

    def on(self, sms: int) -> float:
        """Return the seconds on so many SMs."""
        return self.full_s + self.scaling_s * (self.sms / sms - 1)


class SmSplit(NamedTuple):
    """A GPU's SMs, its model's layers, and which shares of a step on all SMs scale with the SMs that it gets.

    A GPU's profile says them (``[sm_split]``), with sources; the defaults are those of an H100.
    """

    sms: int = 132
    least_sms: int = 8  # of a part
    sms_step: int = 8  # by which a part grows
    layers: int = 32
    fixed_scaling: float = 0.11  # of what a step takes whatever is in it: weights read, launches
    kv_scaling: float = 0.9  # of what decodes take for their contexts
    prompt_scaling: float = 1.0  # of what a prompt takes beyond the fixed part
    contention: float = 1.3  # by which decodes take longer while prompts run beside them, at most
    layer_overhead: float = 0.015  # by which a prompt takes longer where its layers are launched one by one

    def parts(self) -> range:
        """Return the SMs that decodes may get while prompts get the others, fewest first."""
        return range(self.least_sms, self.sms - self.least_sms + 1, self.sms_step)

    def decodes(self, price: StepPrice, shape: StepShape) -> SoloTime:
        """Return what the decodes of a step take, its drafts included, at the prices of whole GPUs."""
        decodes = StepShape(decode_seqs=shape.decode_seqs, decode_context_tokens=shape.decode_context_tokens)
        decodes.draft_passes, decodes.draft_width = shape.draft_passes, shape.draft_width
        decodes.draft_tokens = shape.draft_tokens
        full_s = price(decodes)
        decodes.decode_context_tokens = decodes.decode_seqs
        fixed_s = min(full_s, price(decodes))
        return SoloTime(full_s, self.fixed_scaling * fixed_s + self.kv_scaling * (full_s - fixed_s), self.sms)

    def prompts(self, price: StepPrice, shape: StepShape) -> SoloTime:
        """Return what the prompts of a step take, layer by layer."""
        one = StepShape()
        one.count(1, 0, False, 1)
        full_s = price(shape)
        fixed_s = min(full_s, price(one))
        scaling_s = self.fixed_scaling * fixed_s + self.prompt_scaling * (full_s - fixed_s)
        launched = 1 + self.layer_overhead
        return SoloTime(launched * full_s, launched * scaling_s, self.sms)


DEFAULT_SPLIT = SmSplit()
