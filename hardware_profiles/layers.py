"""What a model is made of: layers of parts, each a list of matrices, and what it keeps of a sequence.

Everything that a simulation asks of a model follows from these lists: parameters, bytes of weights, the bytes that a
step reads, arithmetic, KV bytes a token by kind of layer, and each GPU's share of all of them. A matrix goes by the
name that its module has in the checkpoint, because quantisation is written down by those names.
"""

import dataclasses
from math import inf
from typing import NamedTuple

from hardware_profiles.quantisation.formats import WeightFormat


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Equal matrices of one part of a layer, ``inputs`` x ``outputs`` values each.

    ``heads``: the outputs are so many KV heads, and a head that there are too few of is held by several GPUs.
    ``copied``: every GPU of a tensor-parallel group holds it whole (the projection to a latent).
    """

    module: str  # below the layer, as in the checkpoint: self_attn.q_proj, mlp.experts.*.up_proj
    inputs: int
    outputs: int
    count: int = 1  # the experts of a layer
    active: int = 1  # how many of them work on one token
    heads: int | None = None
    copied: bool = False

    @property
    def is_expert(self) -> bool:
        """Whether a token is multiplied with some of them only."""
        return self.count > self.active

    @property
    def parameters(self) -> int:
        """Values of all of them."""
        return self.inputs * self.outputs * self.count

    @property
    def active_parameters(self) -> int:
        """Values that one token is multiplied with."""
        return self.inputs * self.outputs * self.active

    def bytes(self, weights: WeightFormat) -> float:
        """Return the bytes of all of them in a format."""
        return self.parameters * weights.bytes_per_weight(self.inputs, self.outputs)

    def share(self, tensor_parallel: int) -> float:
        """Return the part of them that one of ``tensor_parallel`` GPUs holds: 1 / size, or more where copied."""
        if self.copied:
            return 1.0
        return max(1 / tensor_parallel, 1 / self.heads) if self.heads else 1 / tensor_parallel

    def read(self, tokens: int) -> float:
        """Return how many of them at least one of ``tokens`` tokens picks, if each picks evenly and by itself."""
        if self.count == self.active:
            return float(self.count)
        return self.count * (1 - (1 - self.active / self.count) ** tokens)


class Cache(NamedTuple):
    """What one layer keeps of every token of a sequence, and what attending to it takes.

    ``heads`` KV heads are divided among GPUs, and copied where there are fewer than GPUs; a latent is one head.
    """

    heads: int
    values_per_head: int  # of one token, keys and values together
    query_heads: int
    flop_per_pair: int  # of one query head and one key, when prompts are computed
    decode_flop_per_pair: int  # the same in decodes; more where the latent itself is attended to
    window: int | None = None  # a token is kept until so many have come after it; None: to the end
    most_keys: int | None = None  # as many keys as one query attends to at most (sparse attention)
    byte_values: bool = False  # a value is one byte whatever the type of the KV cache (keys of an indexer)
    copied: bool = False  # every GPU does all of it (an indexer)

    def heads_on(self, tensor_parallel: int) -> int:
        """Return the KV heads on one GPU: max(1, heads / size), as vLLM, SGLang and TensorRT-LLM have it."""
        return self.heads if self.copied else max(1, self.heads // tensor_parallel)

    def query_heads_on(self, tensor_parallel: int) -> float:
        """Return the query heads whose attention one GPU computes."""
        return self.query_heads if self.copied else self.query_heads / tensor_parallel

    @property
    def reach(self) -> float:
        """The keys that one query attends to at most."""
        return min(self.window or inf, self.most_keys or inf)

    @property
    def latent(self) -> bool:
        """Whether decodes attend to what is kept in another form than prompts do."""
        return self.decode_flop_per_pair != self.flop_per_pair


class RecurrentState(NamedTuple):
    """What one layer keeps of a sequence however long it is: a recurrent state, and the inputs of a convolution."""

    values: int
    bytes_per_value: int
    conv_values: int  # of 16 bits
    heads: int  # divided among GPUs

    @property
    def bytes(self) -> int:
        """Bytes of one sequence on all GPUs together."""
        return self.values * self.bytes_per_value + self.conv_values * 2


class LayerPart(NamedTuple):
    """An attention, a recurrent layer, or an MLP: what adds one time to the residual stream."""

    kind: str  # attention, latent attention, linear attention, mamba, mlp, experts
    matrices: tuple[Matrix, ...]
    others: int = 0  # parameters that are in no matrix: biases, norms, sinks; 16 bits always
    caches: tuple[Cache, ...] = ()
    state: RecurrentState | None = None
    width: int = (
        0  # of what an MLP holds between its matrices for one token, experts that are picked together
    )


class Layer(NamedTuple):
    """One layer: its parts in the order in which a token passes them."""

    name: str  # in the checkpoint: model.layers.3
    parts: tuple[LayerPart, ...]
    norms: int  # parameters of the norms around the parts


def attention(
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    value_dim: int | None = None,
    window: int | None = None,
    qkv_bias: bool = False,
    output_bias: bool = False,
    others: int = 0,
    gated: bool = False,
    shared_kv: bool = False,
    module: str = "self_attn",
) -> LayerPart:
    """Return grouped-query attention; ``value_dim`` is the width of a value where it is not that of a key.

    ``gated``: the query projection is twice as wide, the other half gates the output (Qwen3-Next).
    ``shared_kv``: values are the keys before their rotation, so there is no matrix for them (Gemma 4).
    """
    values = head_dim if value_dim is None else value_dim
    queries = heads * head_dim * (2 if gated else 1)
    matrices = [
        Matrix(f"{module}.q_proj", hidden, queries),
        Matrix(f"{module}.k_proj", hidden, kv_heads * head_dim, heads=kv_heads),
        Matrix(f"{module}.v_proj", hidden, kv_heads * values, heads=kv_heads),
        Matrix(f"{module}.o_proj", heads * values, hidden),
    ]
    if shared_kv:
        del matrices[2]
    if qkv_bias:
        others += sum(matrix.outputs for matrix in matrices[:-1])
    if output_bias:
        others += hidden
    flop = 2 * (head_dim + values)
    cache = Cache(kv_heads, head_dim + values, heads, flop, flop, window)
    return LayerPart("attention", tuple(matrices), others, (cache,))


def latent_attention(
    hidden: int,
    heads: int,
    *,
    q_rank: int | None,
    kv_rank: int,
    nope_dim: int,
    rope_dim: int,
    value_dim: int,
    others: int = 0,
    most_keys: int | None = None,
    module: str = "self_attn",
) -> LayerPart:
    """Return multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    A token keeps its latent of ``kv_rank`` values and one rotated key of ``rope_dim``, whole on every GPU. Prompts
    expand the latent to heads; decodes attend to it as it is, with the expansion absorbed into queries and outputs.
    """
    wide = nope_dim + rope_dim
    if q_rank is None:
        queries = [Matrix(f"{module}.q_proj", hidden, heads * wide)]
    else:
        queries = [
            Matrix(f"{module}.q_a_proj", hidden, q_rank, copied=True),
            Matrix(f"{module}.q_b_proj", q_rank, heads * wide),
        ]
        others += q_rank
    matrices = (
        *queries,
        Matrix(f"{module}.kv_a_proj_with_mqa", hidden, kv_rank + rope_dim, copied=True),
        Matrix(f"{module}.kv_b_proj", kv_rank, heads * (nope_dim + value_dim)),
        Matrix(f"{module}.o_proj", heads * value_dim, hidden),
    )
    kept = kv_rank + rope_dim
    cache = Cache(1, kept, heads, 2 * (wide + value_dim), 2 * (kept + kv_rank), most_keys=most_keys)
    return LayerPart("latent attention", matrices, others + kv_rank, (cache,))


def mlp(
    hidden: int, inner: int, *, gated: bool = True, bias: bool = False, module: str = "mlp", kind: str = "mlp"
) -> LayerPart:
    """Return an MLP of ``inner`` values between its matrices; ``gated`` has a third matrix for the gate."""
    into = ["gate_proj", "up_proj"] if gated else ["up_proj"]
    matrices = [Matrix(f"{module}.{name}", hidden, inner) for name in into]
    matrices.append(Matrix(f"{module}.down_proj", inner, hidden))
    others = len(into) * inner + hidden if bias else 0
    return LayerPart(kind, tuple(matrices), others, width=inner * len(matrices))


def experts(
    hidden: int,
    inner: int,
    count: int,
    active: int,
    *,
    shared: LayerPart | None = None,
    shared_gate: bool = False,
    gated: bool = True,
    bias: bool = False,
    others: int = 0,
    latent: int | None = None,
    module: str = "mlp",
    router: str = "gate",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> LayerPart:
    """Return a mixture of ``count`` MLPs of which each token picks ``active``; ``shared`` works on every token.

    ``bias``: of the experts and of the router. ``latent``: experts work on so many values, to which the token
    is projected before and from which it is projected after (Nemotron 3).
    """
    one = mlp(latent or hidden, inner, gated=gated, bias=bias)
    matrices = [Matrix(f"{module}.{router}", hidden, count)]
    matrices += [
        dataclasses.replace(matrix, module=f"{module}.experts.*.{name}", count=count, active=active)
        for matrix, name in zip(one.matrices, names if gated else names[1:], strict=True)
    ]
    others += one.others * count + (count if bias else 0)
    if latent:
        matrices += [
            Matrix(f"{module}.fc1_latent_proj", hidden, latent),
            Matrix(f"{module}.fc2_latent_proj", latent, hidden),
        ]
    width = one.width * active
    if shared is not None:
        matrices += shared.matrices
        others += shared.others
        width += shared.width
        if shared_gate:
            matrices.append(Matrix(f"{module}.shared_expert_gate", hidden, 1))
    return LayerPart("experts", tuple(matrices), others, width=width)
