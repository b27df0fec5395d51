"""Decoders of Mamba layers, alone or with a few layers of attention: Mamba-2, Jamba (Mamba-1), Granite 4.

Shapes: transformers 4.57, ``models/{mamba2,jamba,granitemoehybrid}/modeling_*.py``.
"""

from typing import Any

from pydantic import Field

from hardware_profiles.architectures.config import DecoderConfig, ExpertConfig, Family
from hardware_profiles.layers import Layer, LayerPart, Matrix, RecurrentState, attention, experts, mlp


def state_value_bytes(dtype: str | None) -> int:
    """Return the bytes of a value of a recurrent state; 2 where the config leaves it to the model's type."""
    return 4 if dtype == "float32" else 2


def ssd(
    hidden: int, heads: int, head_dim: int, groups: int, state_size: int, kernel: int, *,
    conv_bias: bool, bias: bool, state_bytes: int, module: str = "mixer",
) -> LayerPart:  # fmt: skip
    """Return a Mamba-2 layer (Dao and Gu, arXiv 2405.21060, section 7): a state of ``state_size`` a channel."""
    inner = heads * head_dim
    convolved = inner + 2 * groups * state_size
    matrices = (
        Matrix(f"{module}.in_proj", hidden, inner + convolved + heads),
        Matrix(f"{module}.out_proj", inner, hidden),
    )
    others = convolved * (kernel + int(conv_bias)) + 3 * heads + inner
    others += matrices[0].outputs + hidden if bias else 0
    state = RecurrentState(inner * state_size, state_bytes, convolved * (kernel - 1), heads)
    return LayerPart("mamba", matrices, others, state=state)


class Mamba2Config(DecoderConfig):
    """Mamba-2 alone: a state and no KV cache."""

    num_attention_heads: int = Field(default=1, ge=1)
    intermediate_size: int = Field(default=1, ge=1)
    max_position_embeddings: int = Field(default=2**20, ge=1)  # a state has no positions
    state_size: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    n_groups: int = Field(ge=1)
    conv_kernel: int = Field(ge=1)
    use_bias: bool = False
    use_conv_bias: bool = True


def _mamba2(config: Mamba2Config) -> list[Layer]:
    part = ssd(
        config.hidden_size, config.num_heads, config.head_dim, config.n_groups, config.state_size,
        config.conv_kernel, conv_bias=config.use_conv_bias, bias=config.use_bias, state_bytes=2,
    )  # fmt: skip
    return [Layer(config.layer(i), (part,), config.hidden_size) for i in range(config.num_hidden_layers)]


class JambaConfig(ExpertConfig):
    """Jamba: Mamba-1 layers, every eighth is attention, every second has experts."""

    attn_layer_period: int = Field(ge=1)
    attn_layer_offset: int = Field(ge=0)
    expert_layer_period: int = Field(ge=1)
    expert_layer_offset: int = Field(ge=0)
    mamba_d_state: int = Field(ge=1)
    mamba_d_conv: int = Field(ge=1)
    mamba_expand: int = Field(ge=1)
    mamba_dt_rank: int = Field(ge=1)
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False


def _jamba(config: JambaConfig) -> list[Layer]:
    hidden, state, rank = config.hidden_size, config.mamba_d_state, config.mamba_dt_rank
    inner = config.mamba_expand * hidden
    others = inner * (config.mamba_d_conv + int(config.mamba_conv_bias))  # the convolution
    others += inner * state + inner + inner + rank + 2 * state  # A, D, the bias of dt, three norms
    others += 2 * inner + hidden if config.mamba_proj_bias else 0
    recurrent = LayerPart(
        "mamba",
        (
            Matrix("mamba.in_proj", hidden, 2 * inner),
            Matrix("mamba.x_proj", inner, rank + 2 * state),
            Matrix("mamba.dt_proj", rank, inner),
            Matrix("mamba.out_proj", inner, hidden),
        ),
        others,
        state=RecurrentState(inner * state, 2, inner * (config.mamba_d_conv - 1), inner),
    )
    attended = attention(hidden, config.num_attention_heads, config.kv_heads, config.key_dim)
    dense = mlp(hidden, config.intermediate_size, module="feed_forward")
    mixture = experts(
        hidden, config.intermediate_size, *config.routed, module="feed_forward", router="router"
    )

    def at(index: int, period: int, offset: int, one: Any, other: Any) -> Any:
        return one if index % period == offset else other

    return [
        Layer(
            config.layer(index),
            (
                at(index, config.attn_layer_period, config.attn_layer_offset, attended, recurrent),
                at(index, config.expert_layer_period, config.expert_layer_offset, mixture, dense),
            ),
            2 * hidden,
        )
        for index in range(config.num_hidden_layers)
    ]


class GraniteHybridConfig(ExpertConfig):
    """Granite 4: Mamba-2 layers, a few of attention, and an MLP beside experts, or alone, in each."""

    intermediate_size: int = Field(default=1, ge=0)
    experts: int | None = Field(default=None, ge=0, validation_alias="num_local_experts")
    experts_per_token: int | None = Field(default=None, ge=0, validation_alias="num_experts_per_tok")
    shared_intermediate_size: int = Field(ge=1)
    mamba_n_heads: int = Field(ge=1)
    mamba_d_head: int = Field(ge=1)
    mamba_d_state: int = Field(ge=1)
    mamba_n_groups: int = Field(ge=1)
    mamba_d_conv: int = Field(ge=1)
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False


def _granite_hybrid(config: GraniteHybridConfig) -> list[Layer]:
    hidden = config.hidden_size
    kinds = config.kinds(("mamba", "attention"))
    if kinds is None:
        config.refuse("layer_types", None, "must say what each layer is")
    attended = attention(
        hidden, config.num_attention_heads, config.kv_heads, config.key_dim,
        qkv_bias=config.attention_bias, output_bias=config.attention_bias,
    )  # fmt: skip
    recurrent = ssd(
        hidden, config.mamba_n_heads, config.mamba_d_head, config.mamba_n_groups, config.mamba_d_state,
        config.mamba_d_conv, conv_bias=config.mamba_conv_bias, bias=config.mamba_proj_bias, state_bytes=2,
        module="mamba",
    )  # fmt: skip
    part = mlp(hidden, config.shared_intermediate_size, module="shared_mlp")
    if config.experts:
        part = experts(
            hidden,
            config.intermediate_size,
            *config.routed,
            shared=part,
            module="block_sparse_moe",
            router="router",
        )
    return [
        Layer(config.layer(index), (attended if kind == "attention" else recurrent, part), 2 * hidden)
        for index, kind in enumerate(kinds)
    ]


FAMILIES = {
    "mamba2": Family(Mamba2Config, _mamba2),
    "jamba": Family(JambaConfig, _jamba),
    "granitemoehybrid": Family(GraniteHybridConfig, _granite_hybrid, tied=True),
}
