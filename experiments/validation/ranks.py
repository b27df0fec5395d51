"""Data-parallel ranks that divide a model's experts among them, priced as the one engine that they are in step.

Each rank has whole attention and serves its own requests; every layer's experts see the tokens of all ranks (vLLM,
``--data-parallel-size n --enable-expert-parallel``), so all ranks wait for the busiest one. Requests are taken to be
spread evenly: of D decodes and P prompts the busiest of n ranks has ceil(D/n) and ceil(P/n). It holds E/n experts of a
layer, reads those that any token picks, and computes 1/n of all picks. The tokens of all ranks are gathered before the
experts and their sums scattered after them, which moves what one all-reduce of them moves. How ranks agree on what a
step holds is in no table and left out.
"""

import dataclasses

import numpy as np

from hardware_profiles import Gpu, HardwareCost, Model, TabulatedCost, find_table
from hardware_profiles.expert_times import ExpertTimes, picked
from hardware_profiles.gpu import EngineOverheads, MeasuredRange
from hardware_profiles.step_cost import all_reduce_s
from simulator.errors import InputError
from simulator.replica.cost import StepShape


class RanksCost(HardwareCost):
    """Steps of ``ranks`` data-parallel ranks with one GPU each, in step with one another."""

    kind = "tabulated"

    def __init__(self, gpu: Gpu, model: Model, ranks: int, overheads: EngineOverheads) -> None:
        super().__init__(gpu, model, 1, overheads)
        table = find_table(gpu, model, 1)
        if table is None or not len(table.experts):
            raise InputError(f"{model.name} on {gpu.name}: no table of experts to divide among ranks")
        self.ranks = ranks
        self._times = ExpertTimes(table.experts)
        self._alone = TabulatedCost(
            gpu, model, dataclasses.replace(table, experts=np.empty((0, 3))), 1, overheads
        )
        self._experts_memo: dict[int, float] = {}

    @property
    def measured_range(self) -> MeasuredRange:
        """The grid of the table, on each rank."""
        return self._alone.measured_range

    def step_s(self, shape: StepShape) -> float:
        """Return the duration of one step of all ranks in seconds, overheads included; 0 if empty."""
        busiest = StepShape(swap_in_blocks=shape.swap_in_blocks, swap_out_blocks=shape.swap_out_blocks)
        if shape.decode_seqs:
            busiest.decode_seqs = -(-shape.decode_seqs // self.ranks)
            share = busiest.decode_seqs / shape.decode_seqs
            busiest.decode_context_tokens = round(share * shape.decode_context_tokens)
        if shape.prefill_seqs:
            busiest.prefill_seqs = -(-shape.prefill_seqs // self.ranks)
            share = busiest.prefill_seqs / shape.prefill_seqs
            busiest.prefill_tokens = round(share * shape.prefill_tokens)
            busiest.prefill_attention_pairs = share * shape.prefill_attention_pairs
            busiest.prefill_context_tokens = round(share * shape.prefill_context_tokens)
        return self._alone.step_s(busiest) + self._experts_s(shape.decode_seqs + shape.prefill_tokens)

    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return the seconds of everything but attention in a step of all ranks, engine overheads included."""
        each = self._alone.other_kernels_s(-(-tokens // self.ranks), -(-seqs // self.ranks))
        return each + self._experts_s(tokens)

    def _experts_s(self, tokens: int) -> float:
        """Return the seconds of the experts and of the exchange of all ranks' tokens."""
        found = self._experts_memo.get(tokens)
        if found is None:
            all_tokens = np.array([float(tokens)])
            reached = picked(self.model, all_tokens, share=1 / self.ranks)
            experts_s = 1e-3 * float(self._times.ms(all_tokens / self.ranks, reached)[0])
            size = all_tokens * self.model.hidden_size * self.model.bytes_per_value
            layers = sum(n for part, n in self.model.parts.items() if part.kind == "experts")
            exchange_s = layers * float(all_reduce_s(self.gpu, size, self.ranks)[0])
            found = self.overheads.kernel_factor * (experts_s + exchange_s) if tokens else 0.0
            self._experts_memo[tokens] = found
        return found
