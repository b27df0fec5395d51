"""A decoder as a list of layers, and what follows from it: parameters, bytes, arithmetic, KV cache."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from hardware_profiles.expert_load import Chances, reached
from hardware_profiles.layers import Cache, Layer, LayerPart, Matrix, RecurrentState
from hardware_profiles.quantisation.formats import SIXTEEN_BITS, WeightFormat
from hardware_profiles.quantisation.scheme import Quantization
from simulator.errors import InputError


class ReadPlan(NamedTuple):
    """What a step reads of the layers' matrices on one GPU: ``fixed`` always, and experts as they are picked."""

    fixed: float
    experts: tuple[
        tuple[Matrix, float], ...
    ]  # matrices that count as one, with what each expert has in all layers
    chances: Chances = ()  # as of the model

    def read(self, tokens: int) -> float:
        """Return what a step of so many tokens is expected to read, if each picks by itself."""
        return self.fixed + self.picked(tokens)

    def picked(self, tokens: int) -> float:
        """Return what it is expected to read of experts."""
        if self.chances:
            return reached(self.chances, tokens) * sum(size for _, size in self.experts)
        return sum(size * matrix.read(tokens) for matrix, size in self.experts)


@dataclasses.dataclass(frozen=True)
class Model:
    """A decoder: an embedding, layers, a final norm and a head.

    Embedding, norms and biases have 16 bits a value; the layers' matrices and the head have as many unless quantised.
    """

    name: str
    source: str  # where the shape was read
    model_type: str
    hidden_size: int
    vocab_size: int
    max_position_embeddings: int  # tokens of the longest sequence, stretched by rope_scaling where that does
    tie_word_embeddings: bool
    layers: tuple[Layer, ...]
    other_parameters: int  # outside layers, embedding and head: the final norm
    quantization: Quantization | None = None
    kv_bytes_per_value: float = 2.0  # of the KV cache
    model_max_length: int = 0  # a longer sequence than by its positions that the config allows on demand
    expert_chances: Chances = ()  # that a token picks each expert, by layer with experts; empty: all alike
    remarks: tuple[str, ...] = ()  # what its config says and a simulation leaves out, a clause each

    @property
    def shape(self) -> tuple[object, ...]:
        """All that decides cost and memory: two models of equal shape are one to the simulator."""
        fields = [
            field.name
            for field in dataclasses.fields(self)
            if field.name not in ("name", "source", "remarks")
        ]
        return tuple(getattr(self, name) for name in fields)

    @property
    def bytes_per_value(self) -> int:
        """Bytes of a value that is not quantised: 2 (bfloat16, float16; float32 is served as bfloat16)."""
        return 2

    def format_of(self, module: str) -> WeightFormat:
        """Return how the weights of the module of that name are stored and multiplied."""
        return SIXTEEN_BITS if self.quantization is None else self.quantization.format_of(module)

    @property
    def head_bytes_per_value(self) -> float:
        """Bytes of a weight of lm_head; one that is the embedding has 16 bits."""
        if self.quantization is None or self.tie_word_embeddings:
            return float(self.bytes_per_value)
        return self.quantization.head.bytes_per_weight(self.hidden_size, self.vocab_size)

    @property
    def num_hidden_layers(self) -> int:
        """Layers, as the checkpoint counts them."""
        return len(self.layers)

    @property
    def sublayers(self) -> int:
        """Parts of all layers: twice the layers, where each is an attention and an MLP."""
        return sum(self.parts.values())

    @cached_property
    def parts(self) -> dict[LayerPart, int]:
        """The different parts of all layers, and how many there are of each."""
        return Counter(part for layer in self.layers for part in layer.parts)

    @cached_property
    def caches(self) -> dict[Cache, int]:
        """What layers keep of each token, and how many layers do."""
        found: Counter[Cache] = Counter()
        for part, count in self.parts.items():
            for cache in part.caches:
                found[cache] += count
        return found

    @cached_property
    def states(self) -> dict[RecurrentState, int]:
        """What layers keep of a sequence however long it is, and how many layers do."""
        found: Counter[RecurrentState] = Counter()
        for part, count in self.parts.items():
            if part.state is not None:
                found[part.state] += count
        return found

    @cached_property
    def matrices(self) -> dict[tuple[Matrix, WeightFormat], int]:
        """The different matrices of all layers with the format of their weights, and how many layers have each."""
        return Counter(
            (matrix, self.format_of(f"{layer.name}.{matrix.module}"))
            for layer in self.layers
            for part in layer.parts
            for matrix in part.matrices
        )

    @property
    def attention_layers(self) -> int:
        """Layers that keep a KV cache."""
        return sum(count for part, count in self.parts.items() if part.caches)

    @property
    def state_flop_per_token(self) -> int:
        """Arithmetic of recurrent states for one token: each value decays, takes in and is read, 2 FLOP each."""
        return sum(6 * state.values * n for state, n in self.states.items())

    @property
    def num_attention_heads(self) -> int:
        """Query heads of a layer, of the widest one if they differ; 0 without attention."""
        return max((cache.query_heads for cache in self.caches if not cache.copied), default=0)

    @property
    def num_key_value_heads(self) -> int:
        """KV heads of that layer; 1 for a latent."""
        found = [(cache.query_heads, cache.heads) for cache in self.caches if not cache.copied]
        return max(found, default=(0, 0))[1]

    @property
    def head_dim(self) -> int:
        """Values of a key, where keys and values are equally wide."""
        return max((cache.values_per_head // 2 for cache in self.caches), default=0)

    def check_heads(self, tensor_parallel: int) -> None:
        """Raise InputError where ``tensor_parallel`` GPUs cannot divide the heads of some layer.

        Query heads are divided evenly; KV heads are divided, or copied where there are fewer than GPUs.
        """
        for cache in self.caches:
            query, kept = cache.query_heads, cache.heads
            if cache.copied:
                continue
            if query % tensor_parallel or (kept % tensor_parallel and tensor_parallel % kept):
                raise InputError(
                    f"tensor_parallel = {tensor_parallel} must divide the query heads of {self.name} ({query}),"
                    f" and divide its key-value heads ({kept}) or be a multiple of them"
                )
        for state in self.states:
            if state.heads % tensor_parallel:
                raise InputError(
                    f"tensor_parallel = {tensor_parallel} must divide the {state.heads} heads of the recurrent"
                    f" layers of {self.name}"
                )

    @property
    def mlp_width(self) -> int:
        """Values that the widest MLP holds between its matrices for one token: gate, up and their product."""
        return max((part.width for part in self.parts), default=0)

    @property
    def is_dense(self) -> bool:
        """Whether all layers are one: grouped-query attention without a window, and one MLP with a gate."""
        kinds = [(part.kind, len(part.matrices)) for part in self.parts]
        return kinds == [("attention", 4), ("mlp", 3)] and all(cache.reach > 1e9 for cache in self.caches)

    @property
    def linear_parameters(self) -> int:
        """Parameters of all layers' matrices, every expert included: no lm_head, no embedding."""
        return sum(matrix.parameters * count for (matrix, _), count in self.matrices.items())

    @property
    def active_linear_parameters(self) -> int:
        """Those of them that one token is multiplied with."""
        return sum(matrix.active_parameters * count for (matrix, _), count in self.matrices.items())

    @property
    def parameters(self) -> int:
        """Every parameter: matrices, biases, norms, embedding and (unless tied) lm_head."""
        others = sum(part.others * count for part, count in self.parts.items())
        others += sum(layer.norms for layer in self.layers)
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return self.linear_parameters + others + embeddings + self.other_parameters

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights, once."""
        quantised = sum(matrix.bytes(weights) * n for (matrix, weights), n in self.matrices.items())
        saved = (self.bytes_per_value - self.head_bytes_per_value) * self.hidden_size * self.vocab_size
        return int(quantised - saved) + (self.parameters - self.linear_parameters) * self.bytes_per_value

    def weight_bytes_on(self, tensor_parallel: int) -> int:
        """Return the bytes of weights on one of ``tensor_parallel`` GPUs: its share, and what each has whole."""
        copies = sum(
            matrix.bytes(weights) * n * (matrix.share(tensor_parallel) - 1 / tensor_parallel)
            for (matrix, weights), n in self.matrices.items()
        )
        return self.weight_bytes // tensor_parallel + int(copies)

    def weight_bytes_read(self, tokens: int, tensor_parallel: int = 1) -> float:
        """Return the bytes of the layers' matrices that one GPU is expected to read in a step of so many tokens."""
        return self.read_plan(tensor_parallel).read(tokens)

    def active_parameters_on(self, tensor_parallel: int) -> float:
        """Return how many values of the layers' matrices one GPU multiplies each token with."""
        return sum(self.active_by_format(tensor_parallel).values())

    def active_by_format(self, tensor_parallel: int, of_experts: float = 1.0) -> dict[WeightFormat, float]:
        """Return those values by the format that they are stored in, each of an expert counted so many times."""
        found: dict[WeightFormat, float] = {}
        for (matrix, weights), n in self.matrices.items():
            values = matrix.active_parameters * matrix.share(tensor_parallel) * n
            values *= of_experts if matrix.is_expert else 1.0
            found[weights] = found.get(weights, 0.0) + values
        return found

    def read_plan(
        self,
        tensor_parallel: int,
        cost: Callable[[Matrix, WeightFormat], float] = lambda matrix, weights: 1.0,
    ) -> ReadPlan:
        """Return what steps read, in bytes times what one byte of a matrix in a format costs."""
        fixed = 0.0
        picked: dict[tuple[int, int], float] = {}
        for (matrix, weights), n in self.matrices.items():
            total = matrix.bytes(weights) * n * matrix.share(tensor_parallel) * cost(matrix, weights)
            key = matrix.count, matrix.active
            if matrix.count == matrix.active:
                fixed += total
            else:
                picked[key] = picked.get(key, 0.0) + total / matrix.count
        return ReadPlan(
            fixed, tuple((Matrix("", 1, 1, *key), size) for key, size in picked.items()), self.expert_chances
        )

    def cache_bytes(self, cache: Cache, tensor_parallel: int = 1) -> float:
        """Return the bytes of one token in one layer on one of ``tensor_parallel`` GPUs."""
        size = 1.0 if cache.byte_values else self.kv_bytes_per_value
        return cache.heads_on(tensor_parallel) * cache.values_per_head * size

    def kv_bytes_per_token_on(self, tensor_parallel: int) -> int:
        """Return the KV-cache bytes of one token on one of ``tensor_parallel`` GPUs, over all layers."""
        return int(sum(self.cache_bytes(cache, tensor_parallel) * n for cache, n in self.caches.items()))

    @property
    def kv_bytes_per_token(self) -> int:
        """KV-cache bytes of one token over all layers, each head once."""
        return self.kv_bytes_per_token_on(1)

    @property
    def windowed_kv_bytes_per_token(self) -> int:
        """Those of them in layers that keep a window of tokens only."""
        return int(sum(self.cache_bytes(cache) * n for cache, n in self.caches.items() if cache.window))

    @property
    def left_out(self) -> tuple[str, ...]:
        """What a simulation of it leaves out or counts otherwise than engines do, a clause each."""
        if not self.caches or not all(cache.window for cache in self.caches):
            return self.remarks
        whole = "every layer has a window, and KV blocks are counted as if all tokens were kept"
        return (*self.remarks, whole)

    @property
    def state_bytes(self) -> int:
        """Bytes that one sequence has however long it is: the states of recurrent layers."""
        return sum(state.bytes * n for state, n in self.states.items())
