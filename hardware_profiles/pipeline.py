"""A model whose layers are spread over stages (pipeline parallelism), each on GPUs of its own, and over nodes.

Each stage is a model of its own layers: the first has the embedding, the last the final norm and lm_head. A stage is
priced as a model on its GPUs; its table, where there is one, is the whole model's by its share of the layers. To the
next stage it hands hidden states and residuals, 2·N·h values, each GPU its share of them, which the GPUs of the next
stage then gather (vllm/distributed/parallel_state.py, ``send_tensor_dict``). The engine's overhead of a step is that of
every stage, what it adds for each sequence only the last one's, which samples: an assumption, as nothing was measured.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.collectives import Group, group_of
from hardware_profiles.costs import CostKind, table_of
from hardware_profiles.gpu import EngineOverheads, Gpu, MeasuredRange
from hardware_profiles.kv_capacity import KvCapacity, kv_capacity
from hardware_profiles.link import LinkProfile
from hardware_profiles.model import Model
from hardware_profiles.step_cost import HardwareCost, all_reduce_s
from hardware_profiles.tables import OperatorTable
from hardware_profiles.tabulated import TabulatedCost
from simulator.errors import InputError
from simulator.replica.cost import StepShape

_MEMO = 65_536  # largest key of the memo, to bound it


class Layout(NamedTuple):
    """How the GPUs of one engine are divided among stages and nodes; GPUs of a stage are next to each other."""

    layers: tuple[int, ...]  # of each stage
    tensor_parallel: int = 1
    gpus_per_node: int = 8
    link: LinkProfile | None = None  # between nodes

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.layers)

    @property
    def gpus(self) -> int:
        """GPUs of all stages."""
        return self.stages * self.tensor_parallel

    @property
    def spread(self) -> bool:
        """Whether it is anything but one stage on one node."""
        return self.stages > 1 or self.tensor_parallel > self.gpus_per_node

    def crosses(self, stage: int) -> bool:
        """Whether some GPU of a stage has its counterpart in the next one on another node."""
        size, node = self.tensor_parallel, self.gpus_per_node
        first = stage * size
        return any((first + rank) // node != (first + size + rank) // node for rank in range(size))


def layers_of_stages(model: Model, stages: int, partition: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the layers of each stage, as vLLM divides them, or as ``partition`` says.

    What is left over goes to the stages before the last, from the back: the last one has lm_head
    (vllm/distributed/utils.py, ``get_pp_indices``). Raises InputError where some stage would have no layer.
    """
    total = model.num_hidden_layers
    if partition is not None:
        if len(partition) != stages or sum(partition) != total or min(partition) < 1:
            raise InputError(
                f"expected {stages} numbers of layers, each at least 1, that make up the {total} of {model.name},"
                f" got {list(partition)}"
            )
        return tuple(partition)
    if stages > total:
        raise InputError(f"expected at most the {total} layers of {model.name}, got {stages} stages")
    found = [total // stages] * stages
    for place in range(2, total % stages + 2):
        found[-place] += 1
    return tuple(found)


def stage_models(model: Model, layers: Sequence[int]) -> list[Model]:
    """Return each stage as a model: equal parts of the weights, the KV cache and the work of the whole.

    An embedding counts among the other parameters of the first one, so that it has no lm_head. Where lm_head is the
    embedding, the last stage has a copy, as in vLLM.
    """
    if len(layers) == 1:
        return [model]
    embedding, found, first = model.vocab_size * model.hidden_size, [], 0
    for stage, count in enumerate(layers):
        part = dataclasses.replace(
            model,
            layers=model.layers[first : first + count],
            vocab_size=0,
            other_parameters=embedding if stage == 0 else 0,
        )
        if stage == len(layers) - 1:
            others = model.other_parameters - (0 if model.tie_word_embeddings else embedding)
            part = dataclasses.replace(part, vocab_size=model.vocab_size, other_parameters=others)
        found.append(part)
        first += count
    return found


def pipeline_capacity(
    gpu: Gpu, model: Model, layout: Layout, **parts: Any
) -> tuple[KvCapacity, list[KvCapacity]]:
    """Return the memory sum of the stage with the fewest KV blocks, which every stage then has, and of each.

    ``parts`` as for ``kv_capacity``, which raises InputError where a stage does not fit.
    """
    found = [
        kv_capacity(gpu, each, tensor_parallel=layout.tensor_parallel, **parts)
        for each in stage_models(model, layout.layers)
    ]
    return min(found, key=lambda each: each.num_blocks), found


class PipelineCost(HardwareCost):
    """Step times of a model on several stages, or on GPUs of several nodes."""

    def __init__(
        self,
        gpu: Gpu,
        model: Model,
        layout: Layout,
        kind: CostKind = "auto",
        overheads: EngineOverheads | None = None,
        block_size: int = 16,
    ) -> None:
        size = layout.tensor_parallel
        super().__init__(gpu, model, size, overheads, block_size)
        self.layout = layout
        self._group: Group | None = None
        if layout.gpus > 1:
            self._group = group_of(gpu, size, layout.gpus_per_node, layout.link)
        table = table_of(gpu, model, kind, size, overheads)
        self.kind = "analytic" if table is None else "tabulated"
        last = layout.stages - 1
        self._stages: list[HardwareCost] = []
        for stage, part in enumerate(stage_models(model, layout.layers)):
            own = self.overheads
            if stage < last:
                own = own.model_copy(update={"per_sequence_ms": 0.0})
            if table is None:
                self._stages.append(AnalyticCost(gpu, part, size, own, block_size))
                continue
            share = layout.layers[stage] / sum(layout.layers)
            mine = _share_of(table, share, float(stage == last)) if layout.stages > 1 else table
            self._stages.append(TabulatedCost(gpu, part, mine, size, own, block_size))
        self._added_memo: dict[int, list[float]] = {}
        self._across_memo: dict[int, float] = {}

    def step_s(self, shape: StepShape) -> float:
        """Return the seconds of a step that is alone in the pipeline: all stages one after the other."""
        return float(sum(self.stage_s(shape)))

    def stage_s(self, shape: StepShape) -> list[float]:
        """Return the seconds of a step in each stage, handing over to the next one included."""
        added_s = self._added_s(shape.prefill_tokens + shape.decode_seqs)
        return [stage.step_s(shape) + added for stage, added in zip(self._stages, added_s, strict=True)]

    def busiest_s(self, shape: StepShape) -> float:
        """Return the seconds that a step takes the slowest stage."""
        return max(self.stage_s(shape))

    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return the seconds of everything but attention in a step, engine overheads and hand-overs included."""
        return sum(each.other_kernels_s(tokens, seqs) for each in self._stages) + sum(self._added_s(tokens))

    @property
    def measured_range(self) -> MeasuredRange | None:
        """That of the stages; None over several nodes, where nothing was measured."""
        if self.tensor_parallel > self.layout.gpus_per_node:
            return None
        return self._stages[0].measured_range

    def hand_over_s(self, stage: int, tokens: int) -> float:
        """Return the seconds in which a stage hands on what the next one needs of so many tokens."""
        group = self._group
        assert group is not None
        size = 2 * tokens * self.model.hidden_size * self.model.bytes_per_value
        sent_s = group.send_s(size / self.tensor_parallel, self.layout.crosses(stage))
        return sent_s + (group.all_gather_s(size) if self.tensor_parallel > 1 else 0.0)

    def across_s(self, shape: StepShape) -> tuple[float, float]:
        """Return the seconds of a step of one stage in which its ports to other nodes send, and receive."""
        tokens = shape.prefill_tokens + shape.decode_seqs
        found = self._across_memo.get(tokens)
        if found is None:
            group, model = self._group, self.model
            assert group is not None
            size = tokens * model.hidden_size * model.bytes_per_value
            found = model.sublayers * group.all_reduce_across_s(size) if tokens else 0.0
            if tokens <= _MEMO:
                self._across_memo[tokens] = found
        return found, found

    def _added_s(self, tokens: int) -> list[float]:
        """Return what each stage takes beside its own GPUs' work on one node."""
        found = self._added_memo.get(tokens)
        if found is None:
            last = self.layout.stages - 1
            found = [
                self._across_s(stage, tokens) + (self.hand_over_s(stage, tokens) if stage < last else 0.0)
                for stage in range(last + 1)
            ]
            if tokens <= _MEMO:
                self._added_memo[tokens] = found
        return found

    def _across_s(self, stage: int, tokens: int) -> float:
        """Return by how much the all-reduces of a stage take longer because its GPUs are on several nodes."""
        if self.tensor_parallel <= self.layout.gpus_per_node:
            return 0.0
        group, model = self._group, self._stages[stage].model
        assert group is not None
        size = tokens * model.hidden_size * model.bytes_per_value
        inside_s = float(all_reduce_s(self.gpu, np.array([size]), self.tensor_parallel)[0])
        return self.overheads.kernel_factor * model.sublayers * (group.all_reduce_s(size) - inside_s)


def _share_of(table: OperatorTable, layers: float, head: float) -> OperatorTable:
    """Return the table of a share of the layers, and of lm_head or not."""

    def scaled(rows: Any, share: float) -> Any:
        found = np.array(rows, dtype=np.float64)
        if len(found):
            found[:, -1] *= share
        return found

    parts = ("linear", "elementwise", "all_reduce", "attention", "experts")
    found = {name: scaled(getattr(table, name), layers) for name in parts}
    return dataclasses.replace(table, lm_head=scaled(table.lm_head, head), **found)
