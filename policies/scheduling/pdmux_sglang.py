"""SGLang's PD multiplexing: a few ways to split the SMs, chosen by how many requests decode."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from policies.scheduling._split_prompts import SplitScheduler, begin, decode, lanes_of
from simulator.policy import Ledger, check_share

LEAST_DECODE_SMS = 16
H200_SMS = 132
# SMs of decodes, and from how many requests on: SGLang's example for an H200
H200 = ((20, 1), (28, 5), (36, 10), (52, 15), (68, 20), (76, 25))


@dataclass
class PdmuxSglang(SplitScheduler):
    """One batch of prompts at a time beside the decodes; the split stays as it is until that batch is through.

    A slice of layers is launched with each decode step; when the last one has been computed, decodes take the whole
    GPU until the next batch. No bound on the time between tokens is looked at.
    Source: SGLang, multiplex/multiplexing_mixin.py and pdmux_context.py. Which requests start is simplified.
    """

    sm_group_num: int = 8  # ways to split, with prompts alone and decodes alone
    decode_bs_divisor: int = 36  # decodes from which on they get the largest part
    divisions: Literal["spread", "h200"] = "spread"  # over what the GPU allows, or SGLang's example by hand
    split_forward_token_budget: int = 65536  # tokens times layers in a slice
    max_prefill_tokens: int = 16384  # of a batch
    watermark: float = 0.01  # share of KV blocks kept free when admitting beside running requests
    disable_radix_cache: bool = False  # compute every prompt from its first token
    _sms: int = field(default=0, init=False)  # of decodes beside the batch that is under way
    _launched: int = field(default=0, init=False)  # layers of it

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free, and numbers that split nothing."""
        check_share("watermark", self.watermark)
        if self.sm_group_num < 3:
            raise ValueError(f"sm_group_num: expected at least 3, got {self.sm_group_num}")
        if self.decode_bs_divisor < 1:
            raise ValueError(f"decode_bs_divisor: expected at least 1, got {self.decode_bs_divisor}")

    def native_engine(self) -> str:
        """SGLang."""
        return "sglang-0.5"

    def prefix_cache(self) -> Literal["radix"] | None:
        """A radix tree, unless told otherwise."""
        return None if self.disable_radix_cache else "radix"

    def plan(self, step: Ledger) -> None:
        """Decodes, and the next slice of the batch that is under way, or of a new one."""
        decode(step)
        lanes = lanes_of(step)
        under_way = lanes.under_way()
        if not under_way:
            most = [*islice(step.waiting, step.seats)]
            jobs = begin(step, most, self.max_prefill_tokens, int(self.watermark * step.total_blocks))
            if not jobs:
                return
            under_way = [jobs]
            self._launched, self._sms = 0, self._part(step)
        jobs, layers = under_way[0], lanes.split.layers
        tokens = sum(job.remaining_tokens for job in jobs)
        alone = not step.shape.decode_seqs
        slice_layers = layers if alone else max(1, self.split_forward_token_budget // tokens)
        self._launched = min(layers, self._launched + slice_layers)
        lanes.run(self._sms, [(jobs, self._launched)])

    def _part(self, step: Ledger) -> int:
        """Return the SMs of decodes, by how many requests decode."""
        decoding = step.shape.decode_seqs
        if self.divisions == "h200":
            if (sms := lanes_of(step).split.sms) != H200_SMS:
                raise ValueError(f"divisions: expected spread on a GPU of {sms} SMs, got h200, of {H200_SMS}")
            return max(sms for sms, least in H200 if decoding >= least or least == 1)
        parts = self._parts(step)
        place = decoding * (self.sm_group_num - 2) // self.decode_bs_divisor
        return parts[max(1, min(len(parts), place)) - 1]

    def _parts(self, step: Ledger) -> list[int]:
        """Return SGLang's ways to split: prompts get no fewer SMs than decodes, and those 16 at least."""
        split, groups = lanes_of(step).split, self.sm_group_num - 2
        prompts = [
            sms
            for sms in range(split.least_sms, split.sms - split.least_sms + 1, split.sms_step)
            if 2 * sms >= split.sms and split.sms - sms >= LEAST_DECODE_SMS
        ]
        if not prompts:
            raise ValueError(
                f"{split.sms} SMs: expected a part of {LEAST_DECODE_SMS} that is no more than half"
            )
        if len(prompts) > groups:
            prompts = prompts[:: len(prompts) // groups][:groups]
        return [split.sms - sms for sms in reversed(prompts)]
