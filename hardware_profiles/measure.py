"""Timing a model's own layer shapes with random weights, part by part, into the rows of an operator table.

What times a kernel is a ``Timer``; the one that uses torch is in ``torch_timer``. Matrices and attention of one
layer are timed and multiplied by the layers. Attention after a prior context is the causal square of the chunk
plus the rectangle of chunk and past, timed apart. Time between GPUs is not measured.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hardware_profiles.from_table import TableOrigin
from hardware_profiles.model import Model
from simulator.errors import InputError

TINY = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 512, "vocab_size": 2048,
    "max_position_embeddings": 4096, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
_LARGEST_ATTENTION = 0.25  # share of the memory that the keys and values of one timing may take


class Timer(Protocol):
    """Times one kernel, or a few that belong together, in milliseconds."""

    description: str  # of the device
    software: str  # and of what runs on it

    def matmul_ms(self, rows: int, inner: int, columns: int) -> float:
        """Time (rows x inner) times a weight of (inner x columns) that is not in the cache."""
        ...

    def elementwise_ms(self, tokens: int, hidden: int, intermediate: int) -> float:
        """Time what one layer does to its activations: two norms with residuals, and the gate."""
        ...

    def attention_ms(
        self, sequences: int, new: int, keys: int, heads: int, kv_heads: int, head_dim: int, causal: bool
    ) -> float:
        """Time attention of ``new`` queries to ``keys`` keys in each of so many sequences."""
        ...


@dataclass(frozen=True)
class MeasurementPlan:
    """At which points the parts are timed."""

    tokens: tuple[int, ...]
    sequences: tuple[int, ...]
    contexts: tuple[int, ...]
    chunks: tuple[int, ...]
    priors: tuple[int, ...]
    most_decode_tokens: int  # sequences x context beyond it are left out


def plan_for(model: Model, tensor_parallel: int, memory_bytes: int | None) -> MeasurementPlan:
    """Return what to time: a grid that takes a minute or two on a GPU; None for the memory: a second or so."""
    longest = model.max_position_embeddings
    if memory_bytes is None:
        return MeasurementPlan((1, 8, 32, 128, 512), (1, 4, 16, 64), _upto((64, 256, 1024), longest),
                    _upto((1, 32, 128, 512), longest), _upto((0, 256, 1024), longest), 16_384)  # fmt: skip
    values = 2 * model.num_key_value_heads * model.head_dim * model.bytes_per_value
    one_layer = max(1, values // tensor_parallel)
    whole = model.kv_bytes_per_token_on(tensor_parallel)
    most = min(int(_LARGEST_ATTENTION * memory_bytes) // one_layer, memory_bytes // whole)
    return MeasurementPlan(
        tokens=(1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192,
                16384),
        sequences=(1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512),
        contexts=_upto((128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768), longest),
        chunks=_upto((1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384), longest),
        priors=_upto((0, 256, 1024, 4096, 8192, 16384), longest),
        most_decode_tokens=most,
    )  # fmt: skip


def _upto(values: tuple[int, ...], most: int) -> tuple[int, ...]:
    return tuple(value for value in values if value <= most)


def tiny_model(folder: Path) -> Path:
    """Write the config of a model that a CPU times in a second or two, ``tiny.json``, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.json"
    path.write_text(json.dumps(TINY, indent=1) + "\n", encoding="utf-8")
    return path


def check_model(model: Model, tensor_parallel: int) -> None:
    """Raise InputError for a model whose layers are not timed here."""
    what = None if model.is_dense else "made of several kinds of layers"
    if any(part.kind == "experts" for part in model.parts):
        what = "a mixture of experts"
    elif model.quantization:
        what = f"quantised ({model.quantization.method})"
    if what is not None:
        raise InputError(f"measure: {model.name} is {what}; expected a dense model with 16-bit weights")
    if tensor_parallel not in (1, 2, 4, 8) or model.num_attention_heads % tensor_parallel:
        raise InputError(f"--tensor-parallel {tensor_parallel}: expected 1, 2, 4 or 8 that divide the heads")


def measure_rows(model: Model, tensor_parallel: int, timer: Timer, plan: MeasurementPlan) -> dict[str, Any]:
    """Return the rows of a table (new_tokens, prior_tokens, sequences, context_tokens, ms) by part."""
    layers, hidden, size = model.num_hidden_layers, model.hidden_size, tensor_parallel
    heads, dim = model.num_attention_heads // size, model.head_dim
    kv_heads = max(1, model.num_key_value_heads // size)
    inner = model.mlp_width // 3 // size
    matrices = (
        (hidden, (heads + 2 * kv_heads) * dim), (heads * dim, hidden), (hidden, 2 * inner), (inner, hidden),
    )  # fmt: skip

    def square_ms(n: int) -> float:
        return timer.attention_ms(1, n, n, heads, kv_heads, dim, True)

    def past_ms(n: int, prior: int) -> float:
        return timer.attention_ms(1, n, prior, heads, kv_heads, dim, False) if prior else 0.0

    linear = [
        (n, 0, 0, 0, layers * sum(timer.matmul_ms(n, rows, columns) for rows, columns in matrices))
        for n in plan.tokens
    ]
    elementwise = [(n, 0, 0, 0, layers * timer.elementwise_ms(n, hidden, inner)) for n in plan.tokens]
    lm_head = [(0, 0, b, 0, timer.matmul_ms(b, hidden, model.vocab_size // size)) for b in plan.sequences]
    attention: list[tuple[float, ...]] = []
    for n in plan.chunks:
        fresh_ms = square_ms(n)
        attention += [(n, prior, 0, 0, layers * (fresh_ms + past_ms(n, prior))) for prior in plan.priors]
    for b in plan.sequences:
        attention += [
            (0, 0, b, context, layers * timer.attention_ms(b, 1, context, heads, kv_heads, dim, False))
            for i, context in enumerate(plan.contexts)
            if i == 0 or b * context <= plan.most_decode_tokens
        ]
    return {"linear": linear, "elementwise": elementwise, "lm_head": lm_head, "attention": attention}


def origin_of(timer: Timer, model: Model) -> TableOrigin:
    """Return what the new profile says about where its table comes from."""
    return TableOrigin(
        f"servesim profile measure: {model.name} with random weights on {timer.description}",
        "yours",
        timer.software,
        "Matrices, norms, gate and scaled_dot_product_attention were timed one by one, each repeated; attention"
        " after a prior context is the chunk's square plus chunk times past; nothing between GPUs was timed.",
        f"{timer.description}; data sheet, price, overheads and memory are another profile's",
    )
