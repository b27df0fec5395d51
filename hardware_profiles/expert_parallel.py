"""What a pass of data-parallel ranks takes that divide a model's experts among them.

    pass = max over ranks of (step without experts) + experts of one GPU + layers·(all-gather + reduce-scatter)

Each rank has whole attention (over its own tensor-parallel GPUs) and serves its own requests. E experts are spread over
all n = ranks x tensor_parallel GPUs. Every layer's experts see the tokens of all ranks: N tokens that pick k of E
evenly reach E/n·(1 - (1 - k/E)^N) of one GPU's experts, which computes 1/n of all picks. That is measured where a table
has experts apart, else

    bytes reached / (efficiency·bandwidth) and FLOP / (efficiency·peak), soft maximum as in ``analytic``

with what kernels of experts reach and add (``expert_kernels``). Before the experts
the tokens of all ranks are gathered and after them their sums are scattered (vLLM: ``allgather_reducescatter``), which
lasts as long as the rank with the most tokens takes: as if all had as many. Not modelled: how ranks agree on a pass
over the host, and padding to the sizes of CUDA graphs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.collectives import group_of
from hardware_profiles.expert_kernels import expert_rate, more_for_prompts, overhead_s, sorting_s_per_token
from hardware_profiles.expert_load import ExpertSpread
from hardware_profiles.expert_times import ExpertTimes, picked
from hardware_profiles.gpu import EngineOverheads, Gpu, MeasuredRange
from hardware_profiles.layers import LayerPart, Matrix
from hardware_profiles.model import Model
from hardware_profiles.step_cost import HardwareCost
from hardware_profiles.tables import find_table
from hardware_profiles.tabulated import TabulatedCost
from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.replica.cost import StepShape

_MEMO = 65_536  # entries of the memo, to bound it
_Amount = TypeVar("_Amount", float, Floats)


class RanksCost(HardwareCost):
    """Passes of ``ranks`` data-parallel ranks in step; a step alone is a pass of one rank beside idle ones."""

    def __init__(
        self,
        gpu: Gpu,
        model: Model,
        ranks: int,
        kind: Literal["auto", "analytic", "tabulated"] = "auto",
        tensor_parallel: int = 1,
        overheads: EngineOverheads | None = None,
        block_size: int = 16,
        spread: ExpertSpread | None = None,
    ) -> None:
        """``kind`` as of ``step_cost``; ``spread``: what each GPU has of the experts, None for equal shares.

        Raises InputError as ``step_cost`` does, and where GPUs cannot divide the experts.
        """
        super().__init__(gpu, model, tensor_parallel, overheads, block_size)
        if spread is None:
            rank_model(model, ranks, tensor_parallel)
        self.spread = spread
        self.ranks, self.gpus = ranks, ranks * tensor_parallel
        # Each rank launches a whole pass, which is said of the pass
        launched = self.overheads.model_copy(update={"expert_layer_launch_ms": 0.0})
        parts = (tensor_parallel, launched, block_size)
        table, whole = (
            None if kind == "analytic" else find_table(gpu, model, size, overheads)
            for size in (tensor_parallel, 1)
        )
        self._times: ExpertTimes | None = None
        self._alone: HardwareCost
        if table is not None and whole is not None and len(table.experts) and len(whole.experts):
            alone = dataclasses.replace(table, experts=np.empty((0, 3)))
            self._alone = TabulatedCost(gpu, model, alone, *parts)
            self._times = ExpertTimes(whole.experts)
        elif kind == "tabulated":
            raise InputError(
                f"no tables of {model.name} on {gpu.name}, its experts whole on each GPU: expected analytic or auto"
            )
        else:
            self._alone = AnalyticCost(gpu, without_experts(model), *parts)
        self.kind = self._alone.kind
        self._more_for_prompts = more_for_prompts(gpu, model) if self._times is None else 0.0
        self._group = None if ranks == 1 else group_of(gpu, self.gpus)
        self._experts_memo: dict[tuple[int, int], float] = {}

    @property
    def measured_range(self) -> MeasuredRange | None:
        """That of each rank."""
        return self._alone.measured_range

    def step_s(self, shape: StepShape) -> float:
        """Return the seconds of a pass in which only one rank computes."""
        return self.pass_s((shape,))

    def pass_s(self, shapes: Sequence[StepShape]) -> float:
        """Return the seconds of a pass of ranks with these steps, the others idle, overheads included."""
        slowest_s, tokens, most_tokens = 0.0, 0, 0
        for shape in shapes:
            mine = shape.decode_seqs + shape.prefill_tokens
            slowest_s = max(slowest_s, self._alone.step_s(shape))
            most_tokens = max(most_tokens, mine)
            tokens += mine
        experts_s = self.experts_s(tokens, most_tokens)
        if self._more_for_prompts:
            decodes = [shape.decode_seqs for shape in shapes]
            if tokens > sum(decodes):
                alone_s = self.experts_s(max(1, sum(decodes)), max(1, *decodes))
                experts_s += self._more_for_prompts * (experts_s - alone_s)
        pass_s = slowest_s + experts_s
        if pass_s < self.least_prompt_s and any(shape.prefill_seqs for shape in shapes):
            return self.least_prompt_s
        return pass_s

    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return the seconds of everything but attention where one rank computes so much, overheads included."""
        return self._alone.other_kernels_s(tokens, seqs) + self.experts_s(tokens, tokens)

    def experts_s(self, tokens: int, most_tokens: int) -> float:
        """Return the seconds of all layers' experts and of the exchange, for so many tokens of all ranks.

        ``most_tokens``: of one rank.
        """
        found = self._experts_memo.get((tokens, most_tokens))
        if found is None:
            found = self.overheads.kernel_factor * (
                self._kernels_s(tokens) + self._exchange_s(most_tokens * self.ranks)
            )
            if len(self._experts_memo) < _MEMO:
                self._experts_memo[tokens, most_tokens] = found
        return found

    def _kernels_s(self, tokens: int) -> float:
        if not tokens:
            return 0.0
        if self.spread is not None:
            each, read = self.spread.at(tokens)
            if self._times is None:
                by_gpu = self._roofline_s(each, lambda matrix: read)
            else:
                by_gpu = 1e-3 * self._times.ms(each, read)
            return float(by_gpu.max(axis=1).mean())
        if self._times is None:
            return self._roofline_s(tokens / self.gpus, lambda matrix: matrix.read(tokens) / self.gpus)
        reached = picked(self.model, np.array([float(tokens)]), share=1 / self.gpus)
        return 1e-3 * float(self._times.ms(np.array([tokens / self.gpus]), reached)[0])

    def _roofline_s(self, tokens: _Amount, read: Callable[[Matrix], _Amount]) -> _Amount:
        """Return the seconds of all layers on a GPU with so many tokens' worth of picks that reads so many experts."""
        gpu = self.gpu
        read_s = compute_s = 0.0 * tokens
        for (matrix, weights), n in self.model.matrices.items():
            if matrix.is_expert:
                rate = expert_rate(gpu, weights)
                size = matrix.bytes(weights) / matrix.count * read(matrix) * n
                read_s = read_s + size / rate.bytes_per_s
                compute_s = compute_s + 2 * matrix.active_parameters * n * tokens / rate.flop_per_s
        p = gpu.kernel_fit.soft_max_exponent
        roofline_s: _Amount = (read_s**p + compute_s**p) ** (1 / p)
        return roofline_s + overhead_s(gpu, self.model) + sorting_s_per_token(gpu, self.model) * tokens

    def _exchange_s(self, tokens: int) -> float:
        """Return the seconds in which all layers' tokens are gathered and their sums scattered."""
        if self._group is None or not tokens:
            return 0.0
        model = self.model
        layers = sum(n for part, n in model.parts.items() if part.kind == "experts")
        size = tokens * model.hidden_size * model.bytes_per_value
        return layers * (self._group.all_gather_s(size) + self._group.reduce_scatter_s(size))


def rank_model(model: Model, ranks: int, tensor_parallel: int = 1, redundant: int = 0) -> Model:
    """Return what each rank holds of a model whose experts are spread over all GPUs of all ranks, for its memory.

    ``redundant``: copies of experts in each layer beside one of each.
    Raises InputError for a model without experts, and where they cannot be divided evenly.
    """
    counts = {matrix.count for matrix, _ in model.matrices if matrix.is_expert}
    if not counts:
        raise InputError(f"{model.name} has no experts to spread over ranks; expected a mixture of experts")
    for count in counts:
        if (count + redundant) % (ranks * tensor_parallel):
            copies = f" and {redundant} copies" if redundant else ""
            raise InputError(
                f"{ranks} x {tensor_parallel} GPUs must divide the {count} experts{copies} of {model.name} evenly"
            )

    def held(matrix: Matrix) -> Matrix:
        count = (matrix.count + redundant) // ranks
        return dataclasses.replace(matrix, count=count, active=min(matrix.active, count))

    return _with_experts(model, held)


def without_experts(model: Model) -> Model:
    """Return a model of all layers with nothing in place of the experts."""
    return _with_experts(model, lambda matrix: None)


def _with_experts(model: Model, change: Callable[[Matrix], Matrix | None]) -> Model:
    """Return a model with other experts, or none."""

    def changed(part: LayerPart) -> LayerPart:
        matrices = (change(each) if each.is_expert else each for each in part.matrices)
        return part._replace(matrices=tuple(each for each in matrices if each is not None))

    layers = tuple(layer._replace(parts=tuple(map(changed, layer.parts))) for layer in model.layers)
    return dataclasses.replace(model, layers=layers)
