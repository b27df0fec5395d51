"""Decoders whose layers differ in shape: heads and MLP widths of each layer, heads of each kind of attention.

Nemotron-NAS (DeciLM) and OpenELM give each layer's shape; Gemma 4 and MiniMax-M3 differ by kind of layer. Shapes: the
models' repositories (``modeling_decilm.py``, ``modeling_openelm.py``), transformers 5 ``models/gemma4``, and the
config of MiniMax-M3, whose code was not seen: its count of parameters is not proven.
"""

import dataclasses
from typing import Any

from pydantic import Field

from hardware_profiles.architectures.config import DecoderConfig, ExpertConfig, Family
from hardware_profiles.layers import Cache, Layer, LayerPart, Matrix, attention, experts, mlp


def rounded(value: float, divisor: int) -> int:
    """Return the multiple of ``divisor`` that is nearest to a width, not more than a tenth below it."""
    near = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * value else near


class NasConfig(DecoderConfig):
    """Nemotron-NAS: layers without attention, without MLP, and with MLPs of different widths."""

    intermediate_size: int | None = None  # type: ignore[assignment]
    block_configs: list[dict[str, Any]]


def _nas(config: NasConfig) -> list[Layer]:
    hidden, heads = config.hidden_size, config.num_attention_heads
    layers = []
    for index, block in enumerate(config.block_configs):
        attended, ffn = block.get("attention") or {}, block.get("ffn") or {}
        parts: list[LayerPart] = []
        if attended.get("replace_with_linear"):
            parts.append(LayerPart("linear", (Matrix("self_attn.linear_attn", hidden, hidden),)))
        elif not attended.get("no_op"):
            group = attended.get("n_heads_in_group")
            if not isinstance(group, int) or group < 1 or heads % group:
                config.refuse("block_configs.attention.n_heads_in_group", group, f"must divide {heads}")
            window = attended.get("window_length")
            parts.append(attention(hidden, heads, heads // group, config.key_dim, window=window))
        if ffn.get("replace_with_linear"):
            parts.append(LayerPart("linear", (Matrix("mlp.linear_mlp", hidden, hidden),)))
        elif not ffn.get("no_op"):
            wide = ffn.get("ffn_mult")
            if not isinstance(wide, int | float) or wide <= 0:
                config.refuse("block_configs.ffn.ffn_mult", wide, "must be a number above 0")
            inner = -(-int(2 * wide * hidden / 3) // 256) * 256
            parts.append(mlp(hidden, inner))
        layers.append(Layer(config.layer(index), tuple(parts), len(parts) * hidden))
    return layers


class OpenElmConfig(DecoderConfig):
    """OpenELM: more heads and wider MLPs layer by layer."""

    hidden_size: int = Field(ge=1, validation_alias="model_dim")
    num_hidden_layers: int = Field(ge=1, validation_alias="num_transformer_layers")
    max_position_embeddings: int = Field(ge=1, validation_alias="max_context_length")
    tie_word_embeddings: bool = Field(default=True, validation_alias="share_input_output_layers")
    num_attention_heads: int = Field(default=1, ge=1)
    intermediate_size: int = Field(default=1, ge=1)
    head_dim: int = Field(ge=1)
    num_query_heads: list[int]
    num_kv_heads: list[int]
    ffn_multipliers: list[float]
    ffn_dim_divisor: int = Field(default=256, ge=1)
    ffn_with_glu: bool = True
    normalize_qk_projections: bool = True


def _openelm(config: OpenElmConfig) -> list[Layer]:
    hidden, dim = config.hidden_size, config.head_dim
    shapes = zip(config.num_query_heads, config.num_kv_heads, config.ffn_multipliers, strict=True)
    return [
        Layer(
            config.layer(index),
            (
                attention(hidden, heads, kv, dim, others=2 * dim if config.normalize_qk_projections else 0),
                mlp(hidden, rounded(wide * hidden, config.ffn_dim_divisor), gated=config.ffn_with_glu),
            ),
            2 * hidden,
        )
        for index, (heads, kv, wide) in enumerate(shapes)
    ]


class Gemma4Config(ExpertConfig):
    """Gemma 4: full layers with wider heads whose values are their keys, windowed ones in between."""

    experts_per_token: int | None = Field(default=None, validation_alias="top_k_experts")
    global_head_dim: int = Field(ge=1)
    num_global_key_value_heads: int | None = None
    attention_k_eq_v: bool = False
    enable_moe_block: bool = False


def _gemma4(config: Gemma4Config) -> list[Layer]:
    hidden, heads = config.hidden_size, config.num_attention_heads
    wide = config.global_head_dim
    full = attention(
        hidden, heads, config.num_global_key_value_heads or config.kv_heads, wide,
        others=2 * wide, shared_kv=config.attention_k_eq_v,
    )  # fmt: skip
    windowed = attention(
        hidden,
        heads,
        config.kv_heads,
        config.key_dim,
        window=config.sliding_window,
        others=2 * config.key_dim,
    )
    dense = mlp(hidden, config.intermediate_size)
    others, norms = 0, 4 * hidden + 1  # the layer's scale
    if config.enable_moe_block:  # beside the MLP, with norms, a scale of the router and one of each expert
        count, active = config.routed
        norms += 3 * hidden
        others = hidden + count
        mixture = experts(
            hidden, config.expert_width, count, active, shared=dense, others=others, router="router.proj"
        )
        # Router and experts stand beside the MLP, not in it.
        beside = tuple(
            dataclasses.replace(matrix, module=matrix.module.removeprefix("mlp."))
            if matrix.module.startswith(("mlp.experts", "mlp.router"))
            else matrix
            for matrix in mixture.matrices
        )
        dense = mixture._replace(matrices=beside)
    kinds = config.kinds(("full_attention", "sliding_attention")) or [
        "full_attention" if (index + 1) % 6 == 0 else "" for index in range(config.num_hidden_layers)
    ]
    return [
        Layer(config.layer(index), (full if kind == "full_attention" else windowed, dense), norms)
        for index, kind in enumerate(kinds)
    ]


class MiniMax3Config(ExpertConfig):
    """MiniMax-M3: a few dense layers, a shared expert, and attention to the best blocks of keys in most layers."""

    moe_layer_freq: list[int]
    dense_intermediate_size: int = Field(ge=1)
    first_k_dense_replace: int = 0
    n_shared_experts: int | None = None
    shared_intermediate_size: int = Field(ge=1)
    sparse_attention_config: dict[str, Any]
    use_routing_bias: bool = False


def _minimax3(config: MiniMax3Config) -> list[Layer]:
    hidden, dim, sparse = config.hidden_size, config.key_dim, config.sparse_attention_config
    numbers: list[int] = []
    for key in ("sparse_index_dim", "sparse_num_index_heads", "sparse_topk_blocks", "sparse_block_size"):
        number = sparse.get(key)
        if not isinstance(number, int) or number < 1:
            config.refuse(f"sparse_attention_config.{key}", number, "must be at least 1")
        numbers.append(number)
    width, index_heads, blocks, block = numbers
    full = attention(hidden, config.num_attention_heads, config.kv_heads, dim, others=2 * dim)
    index = Cache(1, width, index_heads, 2 * width, 2 * width, copied=True)
    picked = full._replace(
        matrices=(
            *full.matrices,
            Matrix("self_attn.index_q_proj", hidden, index_heads * width, copied=True),
            Matrix("self_attn.index_k_proj", hidden, width, copied=True),
        ),
        others=full.others + 2 * width,
        caches=(full.caches[0]._replace(most_keys=blocks * block), index),
    )
    freq = sparse.get("sparse_attention_freq") or [1] * config.num_hidden_layers
    if not isinstance(freq, list) or len(freq) != config.num_hidden_layers:
        config.refuse(
            "sparse_attention_config.sparse_attention_freq", freq, "must have an entry for each layer"
        )
    count, active = config.routed
    shared = mlp(
        hidden, config.shared_intermediate_size * (config.n_shared_experts or 1), module="mlp.shared_experts"
    )
    mixture = experts(
        hidden, config.expert_width, count, active, shared=shared, others=count if config.use_routing_bias else 0,
        module="block_sparse_moe", names=("w1", "w3", "w2"),
    )  # fmt: skip
    dense = mlp(hidden, config.dense_intermediate_size)
    return [
        Layer(
            config.layer(i),
            (picked if freq[i] else full, mixture if config.moe_layer_freq[i] else dense),
            2 * hidden,
        )
        for i in range(config.num_hidden_layers)
    ]


FAMILIES = {
    "nemotron-nas": Family(NasConfig, _nas),
    "openelm": Family(OpenElmConfig, _openelm, tied=True),
    "gemma4_text": Family(Gemma4Config, _gemma4, tied=True),
    "minimax_m3": Family(MiniMax3Config, _minimax3),
}
